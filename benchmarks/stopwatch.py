"""The clock of the scripts ``run_<program>_recon.py``, alike for everybody: CPU time, peak memory.

Nothing of Scanroom: this is imported in the peers' own environments.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RUNS, PATIENCE, LONG = int(os.environ.get("STOPWATCH_RUNS", "4")), 4.0, 12.0
"""After a first run repeat so often, or until so many seconds of CPU are spent; the best counts. A
first run that takes long is not repeated: what it warms up is little of it."""


def arguments() -> tuple[Path, dict[str, Any], Path]:
    """Folder of the task's arrays, what is asked for, and where the result goes."""
    folder, asked, out = sys.argv[1:4]
    return Path(folder), json.loads(asked), Path(out)


def best(work: Callable[[], Any], out: Path) -> dict[str, Any]:
    """CPU seconds of the best run, of all threads together; the result is saved as an array."""
    times: list[float] = []
    while not enough(times):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    peak = peak_megabytes()
    np.save(out, np.asarray(result))
    return {"seconds": min(times), "runs": len(times), "megabytes": peak}


def enough(times: list[float]) -> bool:
    """Whether these runs will do."""
    return len(times) > RUNS or sum(times[1:]) > PATIENCE or max(times, default=0.0) > LONG


def peak_megabytes() -> float:
    """Most memory that this process had at a time, its program and libraries included."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 / 1e6 if found else float("nan")


def answer(measured: dict[str, Any], version: str) -> None:
    """Print what `benchmarks.peers.run` reads."""
    print(json.dumps(measured | {"version": version}))
