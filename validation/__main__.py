"""Run every validation, write ``build/claims.json`` and the page made from it.

``python -m validation`` runs all of them; ``python -m validation mri_noise physics_coils`` runs
those and prints them only. Exit code 1 if a claim fails or a validation cannot be run.
"""

import importlib
import pkgutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import validation
from validation.table import KEYS, markdown, say, show, write_json

ROOT = Path(__file__).resolve().parents[1]


def names() -> list[str]:
    """Every module of this folder that makes claims."""
    found = sorted(item.name for item in pkgutil.iter_modules(validation.__path__))
    return [
        name for name in found if name not in ("__main__", "filled_head", "slice_signal", "table")
    ]


def complete(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of the house, plain types; a value that is not a number never passes."""
    if missing := set(KEYS) - claim.keys():
        raise KeyError(f"claim {claim.get('claim')!r} lacks {sorted(missing)}")
    row = {key: claim[key] for key in KEYS} | {"passes": bool(claim["passes"])}
    if isinstance(row["value"], int | float | np.number) and not np.isfinite(row["value"]):
        row |= {"value": str(row["value"]), "passes": False}
    return row


def collect(name: str, load: Callable[[str], ModuleType] = importlib.import_module) -> list[Any]:
    """Claims of one validation; one that fails itself becomes a claim that does not pass."""
    try:
        module = load(f"validation.{name}")
        if not hasattr(module, "claims"):
            return []
        return [complete(claim) for claim in module.claims()]
    except Exception as error:  # noqa: BLE001 - one broken validation must not hide the others
        if sys.stderr.isatty():
            traceback.print_exc()
        return [
            {
                "claim": f"{name} can be run",
                "value": f"{type(error).__name__}: {error}",
                "unit": "",
                "bound": "no error",
                "truth": "the run itself",
                "source": f"validation/{name}.py",
                "command": f"python -m validation.{name}",
                "passes": False,
            }
        ]


def page(claims: Sequence[Any]) -> str:
    """The page of `docs/` that holds every claim."""
    n_failed = sum(not claim["passes"] for claim in claims)
    head = (
        "# Claims\n\nWritten by `make validate` from a run; do not edit. "
        f"{len(claims)} claims, {n_failed} of them not met.\n\n"
    )
    return head + markdown(claims, ("claim", "value", "unit", "bound", "passes", "truth", "source",
                                    "command"))  # fmt: skip


def main(wanted: Sequence[str]) -> int:
    """Run, write, and say how it went."""
    if unknown := sorted(set(wanted) - set(names())):
        print(
            f"there is no validation {', '.join(unknown)}; there are {', '.join(names())} "
            "(validation/). Choose some of them, or none for all.",
            file=sys.stderr,
        )
        return 2
    claims: list[Any] = []
    for name in wanted or names():
        start = time.perf_counter()
        say(f"{name} ...")
        claims += collect(name)
        say(f"{name} done in {time.perf_counter() - start:.1f} s")
    failed = [claim for claim in claims if not claim["passes"]]
    if wanted:
        show(claims)
    else:
        write_json(ROOT / "build" / "claims.json", claims)
        target = ROOT / "docs" / "reference" / "generated" / "claims.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page(claims))
        show(failed)
        print(f"{len(claims) - len(failed)} of {len(claims)} claims hold: {target}")
    return 1 if failed or not claims else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
