"""Peak memory of the twin on a large subject: 256 x 256 x 256 voxels, 32 coils, every engine.

A head-sized ellipsoid of three tissues fills four voxels of ten, 6.7 million. It is scanned by a
few lines of a three-dimensional gradient echo, whose pulse is not selective, so that everything
plays, and by a few of a slice. Each scan runs in a process of its own, which tells the most memory
that it ever held. How many lines are played makes no difference to what is held of the subject;
what a whole scan adds, its signals, is bounded (`scanroom.mri.twin.blocks.MOST_HELD`).
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from scanroom.mri.drive.model import Drive, Gradient
from scanroom.mri.system import system
from scanroom.mri.twin import Effort, Twin
from scanroom.subject.model import Subject
from validation.drives import DWELL, cleared, drive, gradient, sinc
from validation.table import say, show

COMMAND = "python -m validation.mri_memory"
N, N_COILS, VOXEL = 256, 32, 0.9e-3
BOUND = 8.0  # GiB
SEMI_AXES = (104.0, 125.0, 123.0)  # voxels
N_LINES, N_SAMPLES = 2, 256
TR, RAMP, READ = 12e-3, 1e-4, N_SAMPLES * DWELL
SCANS = {"volume": ("isochromats", "continuum", "classes"), "slice": ("isochromats", "continuum",
         "classes")}  # fmt: skip
# Of skin, white matter and fluid at 3 T: shares of the radius, and what is known of each.
SHELLS = (1.0, 0.92, 0.35)
TISSUES: dict[str, tuple[float, float, float]] = {
    "proton_density": (0.9, 0.7, 1.0),
    "t1": (0.37, 0.83, 4.0),
    "t2": (0.13, 0.07, 1.5),
    "t2_prime": (0.05, 0.2, np.inf),
    "chemical_shift": (-3.4e-6, 0.0, 0.0),
    "susceptibility": (-7.8e-6, -9.05e-6, -9.05e-6),
    "conductivity": (0.07, 0.34, 2.1),
}
AIR = {"susceptibility": 0.36e-6}


def subject(n: int = N) -> Subject:
    """An ellipsoid of three tissues, one within the other, in air."""
    axes = [((np.arange(n) - (n - 1) / 2) * N / n / size) ** 2 for size in SEMI_AXES]
    radius = axes[0][:, None, None] + axes[1][:, None] + axes[2]
    kind = np.sum([radius <= shell**2 for shell in SHELLS], axis=0, dtype=np.int8)
    size = VOXEL * N / n
    affine = np.diag([size, size, size, 1.0])
    affine[:3, 3] = -size * (n - 1) / 2
    maps = {
        name: np.array([AIR.get(name, 0.0), *values], np.float32)[kind]
        for name, values in TISSUES.items()
    }
    return Subject(name="ellipsoid", field=3.0, affine=affine, maps=maps)


def lobes(*lobes: tuple[float, float, float]) -> Gradient:
    """Trapezoids, each a start [s], a flat time [s] and an amplitude [Hz/m]."""
    knots = [(0.0, 0.0)]
    for start, flat, amplitude in lobes:
        ends = (start, start + RAMP, start + RAMP + flat, start + 2 * RAMP + flat)
        knots += list(zip(ends, (0.0, amplitude, amplitude, 0.0), strict=True))
    return gradient(*knots)


def lines(kind: str) -> Drive:
    """Spoiled gradient echoes, one line each: of a volume or of a slice of 5 mm."""
    step = 1 / (N * VOXEL)
    x, y, z, pulses, windows = [], [], [], [], []
    for line in range(N_LINES):
        at = 1e-3 + line * TR
        pulses.append((at, 0.0, 0.0))
        read = step / DWELL
        after = at + 2.2e-3
        x += [(after, READ / 2, -read), (after + READ / 2 + 4e-4, READ + 4e-4, read)]
        y.append((after, 1e-3, step * (20 * line - 30) / 1.1e-3))
        if kind == "slice":
            select = 4.0 / 2e-3 / 5e-3
            z += [(at - RAMP, 2e-3, select), (after, 1e-3, -select * 2.1e-3 / 2 / 1.1e-3)]
        else:
            z.append((after, 1e-3, step * (10 * line - 15) / 1.1e-3))
        windows.append((after + READ / 2 + 6e-4, N_SAMPLES))
        z.append((after + 7e-3, 1e-3, 1.5e6))
    return drive(
        pulses=pulses,
        windows=windows,
        gradients=(lobes(*x), lobes(*y), lobes(*z)),
        shape=sinc(np.deg2rad(20)),
    )


def scan(kind: str, engine: str) -> None:
    """Play in this process, and print peak memory [GiB], time [s] and size of what was played."""
    start = time.perf_counter()
    twin = Twin(
        subject(), system=system("3T"), n_coils=N_COILS, effort=Effort(engine=engine)
    )  # fmt: skip
    twin.arm(cleared(lines(kind)))
    signal = np.stack([readout.signal for readout in twin.play()])
    held = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    )
    if not np.isfinite(signal).all() or not signal.any():
        raise SystemExit("the scan gave no signal")
    truth = twin.truth
    filled = truth["n_voxels"] / N**3
    print(int(held.split()[1]) / 2**20, time.perf_counter() - start, filled)


def measured(kind: str, engine: str) -> tuple[float, float, float]:
    """`scan` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "validation.mri_memory", kind, engine],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{kind} by {engine}: {done.stderr.strip()[-300:]}")
    peak, seconds, filled = map(float, done.stdout.split())
    return peak, seconds, filled


def claims() -> list[dict[str, Any]]:
    """One row for each scan and engine."""
    found = []
    for kind, engines in SCANS.items():
        for engine in engines:
            peak, seconds, filled = measured(kind, engine)
            say(f"  {kind} by {engine}: {peak:.2f} GiB, {seconds:.0f} s, {filled:.2f} filled")
            found.append(
                {
                    "claim": f"peak memory of a {kind} of {N}^3 voxels, {N_COILS} coils, by "
                    f"{engine}",
                    "value": peak,
                    "unit": "GiB",
                    "bound": BOUND,
                    "truth": "the system's count of the process's largest resident set",
                    "source": "scanroom.mri.twin.device",
                    "command": COMMAND,
                    "passes": peak <= BOUND,
                }
            )
    return found


if __name__ == "__main__":
    if sys.argv[1:]:
        scan(*sys.argv[1:])
    else:
        show(claims())
