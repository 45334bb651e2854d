"""Every public Pulseq file: read or refused, and decoded waveforms beside MATLAB's.

Truth: waveforms decoded by the MATLAB toolbox of Pulseq, as stored by the KomaMRI project.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from scanroom.core.errors import FormatError
from scanroom.core.gate import Finding
from scanroom.mri.drive.model import Drive, Gradient
from scanroom.mri.drive.seqfile import read_seq
from scanroom.mri.limits import limits_for
from scanroom.mri.system import SYSTEMS
from validation.table import markdown, say, show

COMMAND = "python -m validation.mri_seq_files"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
COMPARED = (
    "mri_sim_truth/JuliaHealth+KomaMRI.jl/KomaMRIFiles/test/test_files/pulseq/read_comparison"
)
PAGE = Path(__file__).resolve().parents[1] / "docs/reference/generated/seq-files.md"
KOMA_GAMMA = 42.5774688e6
"""Hz/T, the constant the stored waveforms were divided by."""
BOUND = 1e-6
SLOWEST = 10.0
COLUMNS = (
    "file", "version", "blocks", "duration [s]", "windows", "pulses", "read in [s]", "outcome",
    "gate of 3T",
)  # fmt: skip


def matlab_errors(drive: Drive, stored: Path) -> dict[str, float]:
    """Largest deviation of each kind of waveform, relative to its largest value."""
    blocks = np.atleast_1d(
        scipy.io.loadmat(stored, squeeze_me=True, struct_as_record=False)["sequence"]
    )
    pulses, windows = drive.pulses, drive.windows
    errors = {"time": 0.0, "pulse": 0.0, "frequency": 0.0, "gradient": 0.0, "window": 0.0}
    n_pulses = n_windows = 0
    for block in blocks:
        if np.size(block.rf.t):
            shape = drive.shapes[pulses.shape[n_pulses]]
            _worst(errors, "time", block.rf.t[1:-1], pulses.start[n_pulses] + shape.time)
            _worst(errors, "pulse", block.rf.A[1:-1], shape.signal / KOMA_GAMMA)
            frequency = float(block.df.A[1])
            _worst(errors, "frequency", frequency, pulses.frequency[n_pulses])
            n_pulses += 1
        for axis, part in zip(drive.gradients, (block.gx, block.gy, block.gz), strict=True):
            if np.size(part.t):
                ours = _nearest(axis, part.t, part.A * KOMA_GAMMA)
                _worst(errors, "gradient", part.A * KOMA_GAMMA, ours)
        if np.size(block.adc.t):
            number = np.arange(windows.n_samples[n_windows]) + 0.5
            ours = windows.start[n_windows] + number * windows.dwell[n_windows]
            _worst(errors, "window", block.adc.t, ours)
            n_windows += 1
    if (n_pulses, n_windows) != (len(pulses.start), len(windows.start)):
        errors["pulse"] = float("inf")
    return errors


def _worst(errors: dict[str, float], kind: str, theirs: Any, ours: Any) -> None:
    theirs, ours = np.atleast_1d(theirs), np.atleast_1d(ours)
    if theirs.shape != ours.shape:
        errors[kind] = float("inf")
        return
    largest = float(np.abs(theirs).max(initial=0.0)) or 1.0
    errors[kind] = max(errors[kind], float(np.abs(theirs - ours).max(initial=0.0)) / largest)


def _nearest(axis: Gradient, at: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Value of a gradient at given times; where it steps, the side nearer to what is wanted."""
    close = 1e-9
    sides = [np.interp(at + shift, axis.time, axis.amplitude) for shift in (-close, 0.0, close)]
    knots = np.searchsorted(axis.time, at - close), np.searchsorted(axis.time, at + close)
    first = axis.amplitude[np.minimum(knots[0], len(axis.time) - 1)]
    last = axis.amplitude[np.maximum(knots[1] - 1, 0)]
    at_knot = knots[1] > knots[0]
    sides += [np.where(at_knot, first, sides[1]), np.where(at_knot, last, sides[1])]
    stack = np.stack(sides)
    best = np.argmin(np.abs(stack - wanted), axis=0)
    return np.asarray(np.take_along_axis(stack, best[None], axis=0)[0])


def compared() -> list[tuple[Path, Path]]:
    """Pairs of a Pulseq file and the waveforms MATLAB decoded from it."""
    stored = sorted((SHARED / COMPARED).rglob("*.mat"))
    return [(path.with_suffix(".seq"), path) for path in stored]


def files() -> list[dict[str, Any]]:
    """One row for each public file."""
    found = sorted(SHARED.rglob("*.seq"))
    out = []
    for path in found:
        say(f"reading {path.name}")
        out.append(_row(path))
    return out


def _row(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row["file"] = str(path.relative_to(SHARED))
    start = time.perf_counter()
    try:
        drive = read_seq(path, field=SYSTEMS["3T"].field)
    except FormatError as error:
        row["read in [s]"] = time.perf_counter() - start
        row["outcome"] = f"refused: {error}"
        return row
    row["read in [s]"] = time.perf_counter() - start
    findings = [Finding(limit, limit.measure(drive)) for limit in limits_for(SYSTEMS["3T"])]
    refused = [f"{f.limit.name} {f.value:.4g} {f.limit.unit}" for f in findings if not f.passes]
    row |= {
        "version": ".".join(map(str, drive.version)),
        "blocks": str(len(drive.block_edge) - 1),
        "duration [s]": drive.duration,
        "windows": str(len(drive.windows.start)),
        "pulses": str(len(drive.pulses.start)),
        "outcome": "read",
        "gate of 3T": "; ".join(refused) or "passes",
    }
    return row


def claims() -> list[dict[str, Any]]:
    """Claims about reading, and the table of all files written to the reference."""
    table = files()
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(
        "# Public Pulseq files\n\n"
        f"Made by `{COMMAND}` from every `.seq` file of the shared data. Offsets in ppm are taken "
        "at 3 T.\n\n" + markdown(table, COLUMNS)
    )
    worst: dict[str, float] = {}
    for sequence, stored in compared():
        # Some of these files were edited after they were signed; what they say is compared anyway.
        for kind, error in matlab_errors(read_seq(sequence, verify=False), stored).items():
            worst[kind] = max(worst.get(kind, 0.0), error)
    slowest = max((row["read in [s]"] for row in table), default=float("inf"))
    unexplained = sum("\n" in row["outcome"] for row in table)
    source = "github.com/JuliaHealth/KomaMRI.jl, read_comparison"
    rows = [
        (f"deviation of decoded waveforms from MATLAB: {kind}", error, "1", BOUND, source)
        for kind, error in worst.items()
    ]
    rows += [
        ("slowest public Pulseq file, read or refused", slowest, "s", SLOWEST, "the clock"),
        ("refusals longer than one line", unexplained, "1", 0, "the rule"),
    ]
    return [
        {
            "claim": claim,
            "value": value,
            "unit": unit,
            "bound": f"<= {bound:g}",
            "truth": "MATLAB toolbox of Pulseq" if "MATLAB" in claim else "measured",
            "source": truth,
            "command": COMMAND,
            "passes": bool(value <= bound),
        }
        for claim, value, unit, bound, truth in rows
    ]


if __name__ == "__main__":
    show(claims())
