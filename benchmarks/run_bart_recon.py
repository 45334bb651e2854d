"""Do one task of reconstruction with the command ``bart``: its own user and system time.

Arguments FOLDER, JSON of what is asked for, OUT.npy; prints JSON. Reading and writing files is in
the times, as it is in every use of this program. Numbers are imported late, so that the peak of
memory is that of ``bart`` and not of this script.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path


def command(folder: Path, method: str, options: list[str], out: Path) -> list[str]:
    """The task as one command."""
    kspace, maps, place = (str(folder / name) for name in ("kspace", "maps", "place"))
    if method == "calibrate":
        return ["bart", "ecalib", *options, kspace, str(out)]
    along = ["-t", place] if method == "radial" else []
    return ["bart", "pics", *options, *along, kspace, maps, str(out)]


def main(folder: Path, asked: dict[str, object], out: Path) -> None:
    """Run the command a few times; the best counts."""
    result = out.with_suffix("")
    line = command(folder, str(asked["method"]), list(asked["options"]), result)  # type: ignore[call-overload]
    times: list[float] = []
    while not enough(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(line, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    version = subprocess.run(["bart", "version"], check=True, capture_output=True, text=True).stdout
    convert(result, out)
    print(
        json.dumps(
            {
                "seconds": min(times),
                "runs": len(times),
                "megabytes": peak,
                "version": version.strip().removeprefix("v"),
            }
        )
    )


def enough(times: list[float]) -> bool:
    """As in `stopwatch`, which would bring numbers with it."""
    most = int(os.environ.get("STOPWATCH_RUNS", "4"))
    return len(times) > most or sum(times[1:]) > 4 or max(times, default=0.0) > 12


def convert(path: Path, out: Path) -> None:
    """Turn BART's pair of files into an array, last axis first there."""
    import numpy as np  # noqa: PLC0415

    sizes = path.with_name(path.name + ".hdr").read_text().splitlines()[1].split()
    shape = tuple(int(n) for n in reversed(sizes))
    array = np.fromfile(path.with_name(path.name + ".cfl"), np.complex64).reshape(shape)
    np.save(out, array.reshape([n for n in shape if n > 1]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3]))
