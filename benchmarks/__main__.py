"""Run every benchmark beside its peers, write ``build/bench.json`` and the page made from it.

``python -m benchmarks`` runs all of them; names after it run those and print them only. The first
run makes the peers' own environments under ``build/peers``.
"""

import importlib
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import benchmarks
from validation.table import markdown, say, show, write_json

ROOT = Path(__file__).resolve().parents[1]
KEYS = ("task", "size", "ours", "peer", "version", "ratio", "error_ours", "error_peer")


def names() -> list[str]:
    """Every module of this folder named after an instrument and a topic."""
    found = sorted(item.name for item in pkgutil.iter_modules(benchmarks.__path__))
    rooms = ("mri_", "elastography_", "neuromodulation_", "physics_", "operators_", "formats_")
    return [name for name in found if name.startswith(rooms)]


def machine() -> str:
    """What the figures were taken on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = named[0].split(":", 1)[1].strip() if named else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def page(rows: Sequence[Any]) -> str:
    """The page of `docs/` that holds every figure."""
    return (
        "# Benchmarks\n\nWritten by `make bench` from one run; do not edit. Times are wall-clock "
        "seconds on the same machine in the same run unless the task names another unit; `ratio` "
        "is peer over ours, above 1 means that ours is faster. Errors are against the truth that "
        f"the task names.\n\nMachine: {machine()}.\n\n" + markdown(rows, KEYS)
    )


def main(wanted: Sequence[str]) -> int:
    """Run, write, and say where."""
    rows: list[Any] = []
    for name in wanted or names():
        start = time.perf_counter()
        say(f"{name} ...")
        found = importlib.import_module(f"benchmarks.{name}").rows()
        rows += [{key: row[key] for key in KEYS} for row in found]
        say(f"{name} done in {time.perf_counter() - start:.1f} s")
    if wanted:
        show(rows, KEYS)
    else:
        write_json(ROOT / "build" / "bench.json", rows)
        target = ROOT / "docs" / "reference" / "generated" / "benchmarks.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page(rows))
        print(f"{len(rows)} rows: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
