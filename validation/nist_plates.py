"""Plates of the NIST / ISMRM system phantom, scanned at four sites: images, spheres, known values.

Images and the values that hazen's own fit finds come with its tests (GSTT-CSC/hazen, Apache-2.0);
nominal relaxation times of the spheres at 1.5 T are those it lists for plates 4 and 5.
"""

import ast
import csv
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

FOLDER = Path("../shared/data/mri_qa_dicom")
IMAGES = FOLDER / "GSTT-CSC+hazen/tests/data/relaxometry"
EXPECTED = FOLDER / "hazen_expected_values_dev.tsv"
SOURCE = "NIST / ISMRM system phantom, values listed by hazen (GSTT-CSC/hazen, Apache-2.0)"

CENTRES = np.array(
    [(56, 95), (62, 117), (81, 133), (104, 134), (124, 121), (133, 98), (127, 75), (109, 61),
     (84, 60), (64, 72), (80, 81), (78, 111), (109, 113), (110, 82)], float
)  # fmt: skip
"""Rows and columns of the spheres on a matrix of 192 over 250 mm, before registration."""

MIDDLE = 96.0
INSIDE = 5.0
"""Radius that is measured of each sphere, in such pixels: 6.5 of 10 mm."""

NOMINAL = {
    ("T1", "plate5"): [2033, 1489, 1012, 730.8, 514.1, 367.9, 260.1, 184.6, 132.7, 92.7, 65.4,
                       46.32, 32.45, 22.859],
    ("T1", "plate4"): [2376, 2183, 1870, 1539, 1237, 1030, 752.2, 550.2, 413.4, 292.9, 194.9,
                       160.2, 106.4, 83.3],
    ("T2", "plate4"): [939.4, 594.3, 416.5, 267.0, 184.9, 140.6, 91.76, 64.84, 45.28, 30.62,
                       19.76, 15.99, 10.47, 8.15],
}  # fmt: skip
"""Milliseconds at 1.5 T."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """Images [time y x] in one unit, their times [s], and the pixels of each sphere."""

    name: str
    images: np.ndarray
    times: np.ndarray
    repetition_times: np.ndarray
    echo_time: float
    signed: bool
    spheres: list[np.ndarray]
    nominal: np.ndarray
    by_hazen: np.ndarray


WHERE = {
    "T1 plate 5, Siemens Aera": ("T1", "site1_20200218/plate5", "PLATE5_T1"),
    "T1 plate 5, Siemens, signed": ("T1", "site2_20180925/plate5", "SITE2_PLATE5_T1"),
    "T1 plate 5, GE": ("T1", "site3_ge/plate5", "SITE3_T1_P5_VALS"),
    "T1 plate 4, GE": ("T1", "site3_ge/plate4", "SITE3_T1_P4_VALS"),
    "T1 plate 5, Philips": ("T1", "site4_philips/plate5", "SITE4_T1_P5"),
    "T1 plate 4, Philips": ("T1", "site4_philips/plate4", "SITE4_T1_P4"),
    "T2 plate 4, Siemens Aera": ("T2", "site1_20200218/plate4", "PLATE4_T2"),
    "T2 plate 4, Philips": ("T2", "site4_philips/plate4", "SITE4_T2_P4"),
}


def at_hand() -> bool:
    """Whether the images are there."""
    return IMAGES.is_dir()


@functools.cache
def plate(name: str) -> Plate:
    """Read one plate; Philips stores every image on a scale of its own."""
    kind, folder, key = WHERE[name]
    files = [pydicom.dcmread(path) for path in sorted((IMAGES / kind / folder).iterdir())]
    label = "InversionTime" if kind == "T1" else "EchoTime"
    files.sort(key=lambda file: float(file.get(label)))
    images, signed = [], False
    for file in files:
        image = file.pixel_array.astype(np.float64)
        scale = file.get((0x2005, 0x100E))
        if scale is not None:
            image = image / float(scale.value)
        elif float(file.get("RescaleIntercept", 0)) < 0:
            image = image * float(file.RescaleSlope) + float(file.RescaleIntercept)
            signed = True
        images.append(image)
    stack = np.stack(images)
    return Plate(
        name=name,
        images=stack,
        times=np.array([float(file.get(label)) for file in files]) * 1e-3,
        repetition_times=np.array([float(file.RepetitionTime) for file in files]) * 1e-3,
        echo_time=float(files[0].EchoTime) * 1e-3,
        signed=signed,
        spheres=registered(stack),
        nominal=np.array(NOMINAL[kind, folder.split("/")[1]]) * 1e-3,
        by_hazen=np.array(expected()[key][:14]) * 1e-3,
    )


@functools.cache
def expected() -> dict[str, list[float]]:
    """What hazen's tests expect its own fit to find [ms]."""
    with EXPECTED.open() as file:
        rows = [
            row for row in csv.DictReader(file, delimiter="\t") if "relaxometry" in row["test_file"]
        ]
    found = {}
    for row in rows:
        if row["value"].startswith("[") and row["name"].isupper():
            try:
                found[row["name"]] = ast.literal_eval(row["value"])
            except (ValueError, SyntaxError):
                continue
    return found


def registered(images: np.ndarray) -> list[np.ndarray]:
    """Pixels of each sphere, after the shift and turn that tell it best from its dark wall.

    In the brightest image: what is inside 6 pixels, over the wall between 7.5 and 9 pixels.
    """
    zoom = images.shape[1] / 192
    y, x = np.mgrid[: images.shape[1], : images.shape[2]]
    bright = np.abs(images[np.abs(images).sum(axis=(1, 2)).argmax()])
    dark = 0.05 * bright.max()
    n = int(np.ceil(9 * zoom))

    def contrast(centres: np.ndarray) -> float:
        total = 0.0
        for row, column in centres:
            r, c = round(row), round(column)
            near = np.s_[r - n : r + n + 1, c - n : c + n + 1]
            far = np.hypot(y[near] - row, x[near] - column) / zoom
            wall = bright[near][(far > 7.5) & (far < 9)].mean()
            total += float(bright[near][far < 6].mean() / (wall + dark))
        return total

    best, most = CENTRES * zoom, -np.inf
    for turn in np.radians(np.arange(-5.0, 5.1, 1.0)):
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        around = (CENTRES - MIDDLE) @ matrix.T + MIDDLE
        for shift in np.ndindex(13, 13):
            centres = (around + np.array(shift) - 6.0) * zoom
            if (now := contrast(centres)) > most:
                best, most = centres, now
    return [np.hypot(y - row, x - column) < INSIDE * zoom for row, column in best]
