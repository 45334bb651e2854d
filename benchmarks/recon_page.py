"""The page of `benchmarks.mri_recon`: a table for each task, what was asked, who is left out."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from benchmarks.__main__ import machine
from benchmarks.peers import ROOT
from validation.table import markdown

TARGET = ROOT / "docs" / "reference" / "generated" / "recon-benchmarks.md"
KEYS = ("program", "CPU s", "times ours", "error", "peak MB", "runs", "FFT s", "steps", "asked for")
LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {
        "calibrate": "pygrappa and mri-nufft make no maps of Cartesian lines.",
        "grappa": "BART, bartorch, SigPy, MRpro and mri-nufft have no GRAPPA.",
        "sense": "pygrappa's CG-SENSE cannot be told how many steps to do; mri-nufft is for what "
        "is not Cartesian.",
        "wavelet": "pygrappa has none; mri-nufft is for what is not Cartesian.",
        "radial": "pygrappa has none of SENSE.",
    }
)
WORDS = """# Reconstruction beside published programs

Written by `{command}` in {minutes:.0f} minutes; do not edit. {quiet}

Machine: {machine}.

Everybody gets the same arrays (`benchmarks/brain_kspace.py`): a head of formulas, finer than the
grid of the image, through coils of two wires each, with white noise of standard deviation 1 in
real and
imaginary part; 80 is the signal of white matter. All have the true maps, but where maps are what
is made. Each makes each image in a process of its own, on one thread. *CPU s* is user and system
time of the best run, after one that loads what is compiled, from k-space in memory to the image in
memory (the command `bart`: from file to file); a run longer than 12 s is done once. *Error* is
the norm of what
differs from the truth over the norm of the truth, nothing fitted; of calibration: what the maps
miss
of the noise-free coil images within the head, over those. *Peak MB* is that of the whole
process, program and libraries included. *FFT s* is the time of the Fourier transforms alone that
our steps need, by `scipy.fft` (our own transforms, many columns at a time, can be faster).
*Times ours*
compares with our row that does the same number of steps where there is one.

"""


def write_page(
    cells: Sequence[Mapping[str, Any]],
    waits: Sequence[Mapping[str, Any]],
    *,
    load: float,
    quiet: bool,
    seconds: float,
) -> None:
    """Write ``docs/reference/generated/recon-benchmarks.md``."""
    said = (
        f"The machine was quiet (load {load:.1f} before)."
        if quiet
        else f"**Figures are provisional: others used the machine (load {load:.1f} before).**"
    )
    text = WORDS.format(
        command="python -m benchmarks mri_recon",
        minutes=seconds / 60,
        quiet=said,
        machine=machine(),
    )
    for name in dict.fromkeys(cell["task"] for cell in cells):
        text += f"## {name}\n\n" + section([cell for cell in cells if cell["task"] == name]) + "\n"
    text += WAITS + markdown(
        [
            {
                "task": row["task"], "size": row["size"], "s": row["seconds"], "bar s": row["bar"],
                "peak MB": round(row["megabytes"]), "error": row["error"], "how": row["how"],
            }
            for row in waits
        ],
        ("task", "size", "s", "bar s", "peak MB", "error", "how"),
    )  # fmt: skip
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(text)


WAITS = """## Waiting for images

Ours alone: wall-clock seconds on two threads, the whole chain (`benchmarks/large_recon.py`). The
2-D scan is 20 slices that take turns, so that all of them end within the last repetition time;
it is
handed over as fast as it is taken, which no scanner does. The volume is read from a file of its
lines.

"""


def section(cells: Sequence[Mapping[str, Any]]) -> str:
    """Table of one task, and who is left out."""
    ours = reference(cells)
    rows = [
        {
            "program": f"{cell['way'].label} {cell['version']}",
            "CPU s": cell["seconds"],
            "times ours": cell["seconds"] / ours["seconds"],
            "error": cell["error"],
            "peak MB": round(cell["megabytes"]),
            "runs": cell["runs"],
            "FFT s": cell.get("floor"),
            "steps": cell.get("steps"),
            "asked for": cell["way"].said,
        }
        for cell in cells
    ]
    size = f"{cells[0]['size']}. Left out: {LEFT_OUT[cells[0]['method']]}\n\n"
    return size + markdown(rows, KEYS)


def reference(cells: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Our row that others are compared with: the last of ours, which does as many steps as they."""
    return [cell for cell in cells if cell["way"].program == "scanroom"][-1]
