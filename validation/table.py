"""How claims are printed and written: one shape for a terminal, a page and a file."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

KEYS = ("claim", "value", "unit", "bound", "truth", "source", "command", "passes")


def number(value: Any) -> str:
    """Four figures of a number, yes or no for a truth value, anything else as it is."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "NO"
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, int | float | np.number) else str(value)


def markdown(rows: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> str:
    """One table; a bar inside a cell is escaped, line ends become spaces."""
    lines = ["| " + " | ".join(keys) + " |", "|" + "---|" * len(keys)]
    for row in rows:
        cells = (number(row[key]).replace("|", "\\|").replace("\n", " ") for key in keys)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def show(rows: Iterable[Mapping[str, Any]], keys: Sequence[str] = KEYS[:5] + KEYS[-1:]) -> None:
    """Print a table."""
    print(markdown(rows, keys), end="")


def say(text: str) -> None:
    """Progress, for people only: silent when nobody watches the terminal."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


def write_json(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write aside and rename, so that no half-written file is ever read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(list(rows), indent=1, allow_nan=False, default=float) + "\n")
    aside.replace(path)
