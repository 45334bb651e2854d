"""The ACR phantom as an independent analyser sees it: hazen reads our DICOM and prints numbers.

Truth: the published acceptance test of the American College of Radiology, measured by a program
of others, in an environment of its own. Without a folder the exam is scanned first. With the real
scanner's DICOM in `../shared/data` the page shows what the same program prints there.

    python -m validation.mri_acr_hazen [FOLDER OF DICOM]
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread

from benchmarks.peers import environment
from validation.table import markdown, say, show

COMMAND = "python -m validation.mri_acr_hazen"
ROOT = Path(__file__).resolve().parents[1]
EXAM = ROOT / "build" / "acr-exam"
SCAN = ("mri", "scan", "acr-t1-se", "--subject", "acr")
PAGE = ROOT / "docs/reference/generated/acr-hazen.md"
REAL = ROOT.parent / "shared/data/mri_qa_dicom/GSTT-CSC+hazen/tests/data/acr"
SCANNERS = ("Siemens_MagnetomSkyra_3T_T1", "GE_Signa_3T_T1")
SECONDS = 300.0
GUIDANCE = "ACR Large Phantom Guidance as quoted in PMC9359023"
INSIDE = 190.0
"""Inner diameter of the phantom [mm]."""

Printed = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Task:
    """One of hazen's tests: the figures taken from it, and what they may be."""

    name: str
    title: str
    unit: str
    bound: str
    pick: Callable[[Printed], Iterator[float]]
    worst: Callable[[list[float]], float]
    passes: Callable[[float], bool]


def final(printed: Printed) -> Iterator[float]:
    """Every number that hazen marks as a result."""
    for row in printed:
        if row["visibility"] == "final" and not isinstance(row["value"], bool | dict):
            yield float(math.nan if row["value"] is None else row["value"])


def spokes(printed: Printed) -> Iterator[float]:
    """Spokes seen in all slices together."""
    return final([row for row in printed if row["subtype"] == "total"])


def ratio(printed: Printed) -> Iterator[float]:
    """SNR as measured; hazen's normalised one is in units of another scanner's voxel."""
    for row in printed:
        if row["type"] == "measured":
            yield float(row["value"])


def resolved(printed: Printed) -> Iterator[float]:
    """Hole size that is told apart in both directions; -1 where none is."""
    for row in printed:
        if row["subtype"] in ("Upper Left", "Lower Right"):
            value = float(row["value"])
            yield value if value > 0 else math.inf


def furthest(values: list[float]) -> float:
    """Take the length furthest from the truth."""
    return max(values, key=lambda value: abs(value - INSIDE))


TASKS = (
    Task(
        "acr_geometric_accuracy",
        "geometry, length furthest from 190 mm",
        "mm",
        "190 +-2",
        final,
        furthest,
        lambda value: abs(value - INSIDE) <= 2.0,
    ),
    Task(
        "acr_slice_thickness",
        "slice thickness",
        "mm",
        "5 +-0.7",
        final,
        max,
        lambda value: abs(value - 5.0) <= 0.7,
    ),
    Task("acr_ghosting", "ghosting", "%", "<= 2.5", final, max, lambda value: value <= 2.5),
    Task(
        "acr_spatial_resolution",
        "resolution, the worse of two directions",
        "mm",
        "<= 1.0",
        resolved,
        max,
        lambda value: value <= 1.0,
    ),
    Task(
        "acr_uniformity",
        "integral uniformity",
        "%",
        ">= 82",
        final,
        min,
        lambda value: value >= 82.0,
    ),
    Task(
        "acr_slice_position",
        "slice position, larger of slices 1 and 11",
        "mm",
        "within +-5",
        final,
        lambda values: max(values, key=abs),
        lambda value: abs(value) <= 5.0,
    ),
    Task(
        "acr_low_contrast_object_detectability",
        "low-contrast spokes of 40",
        "1",
        ">= 37",
        spokes,
        min,
        lambda value: value >= 37.0,
    ),
    Task("acr_snr", "SNR", "1", "reported", ratio, min, math.isfinite),
)


def measure(task: Task, folder: Path) -> tuple[float, str]:
    """Run one test on a folder; the figure, or NaN and why there is none."""
    hazen = environment("hazen").with_name("hazen")
    command = [hazen, task.name, "--format", "json", "--level", "all", folder]
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=os.environ | {"OMP_NUM_THREADS": "2"},
            cwd=ROOT / "build",
        )
        text = done.stdout
        printed = json.loads(text[text.index("\n{") :])["measurements"] if "\n{" in text else []
    except (subprocess.TimeoutExpired, ValueError, KeyError) as error:
        return math.nan, f"{type(error).__name__} from {task.name}"
    picked = list(task.pick(printed))
    if not picked or any(math.isnan(value) for value in picked):
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        return math.nan, f"{task.name}: {last[:160]}" if not picked else f"NaN from {task.name}"
    return task.worst(picked), ", ".join(f"{value:g}" for value in picked)


def series(folder: Path) -> Path:
    """Return the folder of classic DICOM below an exam."""
    classic = sorted(path for path in folder.rglob("classic") if path.is_dir())
    return classic[0] if classic else folder


def renamed(folder: Path, aside: Path) -> Path:
    """Copy a series under a maker's name that hazen knows; nothing else is changed.

    hazen 2.0 refuses every maker but five in two of its tests. Of the one chosen here it expects
    nothing but the standard's own attributes.
    """
    for path in sorted(folder.glob("*.dcm")):
        file = dcmread(path)
        file.Manufacturer = "Toshiba"
        file.save_as(aside / path.name)
    return aside


def claims(folder: Path = EXAM) -> list[dict[str, Any]]:
    """Every test of the exam; a number that is not one fails, and so does an exam not there.

    Without a folder of its own the phantom is scanned first, which takes some two minutes.
    """
    if folder == EXAM and not any(folder.rglob("*.dcm")):
        scanroom = Path(sys.executable).with_name("scanroom")
        subprocess.run([scanroom, *SCAN, "--out", str(folder)], check=False)
    if not any(folder.rglob("*.dcm")):
        return [
            {
                "claim": f"ACR phantom by hazen 2.0: an exam at {folder}",
                "value": 0,
                "unit": "exams",
                "bound": ">= 1",
                "truth": "published acceptance test, measured by another program",
                "source": GUIDANCE,
                "command": COMMAND,
                "passes": False,
            }
        ]
    with tempfile.TemporaryDirectory() as aside:
        return judged(renamed(series(folder), Path(aside)))


def judged(own: Path) -> list[dict[str, Any]]:
    """Run every test on a folder and write the page."""
    found = []
    page = []
    for task in TASKS:
        say(f"{task.name} ...")
        start = time.perf_counter()
        value, printed = measure(task, own)
        seconds = time.perf_counter() - start
        found.append(
            {
                "claim": f"ACR phantom by hazen 2.0: {task.title}",
                "value": value,
                "unit": task.unit,
                "bound": task.bound,
                "truth": "published acceptance test, measured by another program",
                "source": GUIDANCE,
                "command": COMMAND,
                "passes": math.isfinite(value) and task.passes(value),
            }
        )
        page.append(
            {
                "test": task.title,
                "unit": task.unit,
                "bound": task.bound,
                "Scanroom twin": value,
                "passes": found[-1]["passes"],
                **{name: measure(task, REAL / name)[0] for name in real()},
                "printed for the twin": printed,
                "seconds": seconds,
            }
        )
    write_page(page)
    return found


def real() -> tuple[str, ...]:
    """Real scanners at hand."""
    return tuple(name for name in SCANNERS if (REAL / name).is_dir())


def write_page(rows: list[dict[str, Any]]) -> None:
    """Write the table with what hazen printed, also where it falls short."""
    failed = [row["test"] for row in rows if not row["passes"]]
    verdict = f"Not met: {'; '.join(failed)}." if failed else "All bounds are met."
    text = (
        "# The ACR phantom, seen by hazen\n\n"
        f"Written by `{COMMAND}` from a run; do not edit. The twin scans the ACR phantom by the "
        "preset `acr-t1-se`; hazen 2.0.0, an independent program in an environment of its own, "
        "reads the exported classic DICOM (a copy with another maker's name, for it refuses "
        "unknown ones; nothing else is changed). Columns of real scanners are what it prints for "
        f"public images of them. Bounds: {GUIDANCE}.\n\n{verdict}\n\n"
    )
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text + markdown(rows, tuple(rows[0])))


if __name__ == "__main__":
    result = claims(Path(sys.argv[1]) if len(sys.argv) > 1 else EXAM)
    show(result)
    sys.exit(0 if all(claim["passes"] for claim in result) else 1)
