"""Where the image lies: field of view, matrix, slices, orientation, in scanner RAS+ metres."""

# ruff: noqa: RUF009 - bounded and chosen make dataclass fields

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float

from scanroom.core.units import Metre, Radian, Unit
from scanroom.mri.protocol.bounds import bounded, check_record, chosen

Point = tuple[float, float, float]
# Read, phase and slice directions (RAS+), so that the image shows as DICOM viewers expect: columns
# to the subject's left (or posterior), rows to posterior (or inferior). PS3.3 C.7.6.2.1.1.
ORIENTATIONS: dict[str, tuple[Point, Point, Point]] = {
    "transverse": ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
    "sagittal": ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0)),
    "coronal": ((-1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, -1.0, 0.0)),
}
ORIGIN: Point = (0.0, 0.0, 0.0)
UNIT_TOLERANCE = 1e-6
NO_DIRECTIONS = (0.0,) * 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A stack of slices, or one slab of partitions, anywhere and at any angle.

    ``orientation`` names the directions; ``angles`` then turn them about the scanner's x, y and z
    axes, in this order. ``orientation="oblique"`` takes ``directions`` instead: read, phase and
    slice, nine numbers. ``swap_phase`` exchanges read and phase in the plane. With more than one
    partition the scan is 3-D and ``slice_thickness`` is that of a partition.
    """

    field_of_view_read: Metre = bounded(
        0.01, 0.6, "the bore of a whole-body magnet", "Give the extent along the readout."
    )
    field_of_view_phase: Metre = bounded(
        0.01, 0.6, "the bore of a whole-body magnet", "Give the extent along the phase encoding."
    )
    matrix_read: int = bounded(
        16, 1024, "8192 samples a window at eightfold margin", "Choose fewer pixels.", even=True
    )
    matrix_phase: int = bounded(
        8, 1024, "one line each, 1024 of them at most", "Choose fewer lines.", even=True
    )
    n_slices: int = bounded(1, 256, "one excitation each in TR", "Split the scan.", default=1)
    slice_thickness: Metre = bounded(
        0.2e-3, 0.5, "gradient strength and pulse bandwidth", "Choose another thickness."
    )
    slice_gap: Metre = bounded(
        0.0, 0.5, "slices may touch, not overlap", "Choose a gap of 0 or more.", default=0.0
    )
    n_partitions: int = bounded(
        1, 512, "1 is a 2-D scan", "Choose an even number of partitions, or 1.", default=1
    )
    centre: Annotated[Point, Unit("m")] = bounded(
        -0.5, 0.5, "half a metre from isocentre", "Move the table.", default=ORIGIN, length=3
    )
    orientation: str = chosen(
        (*ORIENTATIONS, "oblique"),
        "scanroom.mri.protocol.geometry",
        "Choose one; turn it with angles.",
        default="transverse",
    )
    angles: Annotated[tuple[Radian, Radian, Radian], Unit("rad")] = bounded(
        -math.pi, math.pi, "one turn", "Give angles in -180 to 180.", default=ORIGIN, length=3
    )
    directions: tuple[float, ...] = bounded(
        -1.0,
        1.0,
        "read, phase and slice unit vectors",
        "Give nine numbers with orientation oblique.",
        default=NO_DIRECTIONS,
        length=9,
    )
    swap_phase: bool = False

    def __post_init__(self) -> None:
        check_record(self, self._relations)

    def _relations(self) -> list[str]:
        """What several values say together."""
        lines = []
        if not isinstance(self.swap_phase, bool):
            lines.append(f"swap_phase is {self.swap_phase!r}; it must be true or false.")
        if self.n_partitions > 1 and self.n_partitions % 2:
            lines.append(
                f"n_partitions is {self.n_partitions}; it must be 1 or even, so that k = 0 is a "
                "sample. Add or remove a partition."
            )
        if self.n_partitions > 1 and self.n_slices > 1:
            lines.append(
                f"n_slices is {self.n_slices} with n_partitions {self.n_partitions}; a 3-D scan "
                "has one slab (scanroom.mri.protocol.geometry). Set n_slices to 1."
            )
        if self.n_slices * self.spacing > 1.0 or self.slab > 1.0:
            extent = max(self.n_slices * self.spacing, self.slab) * 1e3
            lines.append(
                f"the slices reach over {extent:.4g} mm; the ceiling is 1000 mm (the magnet). "
                "Choose fewer or thinner slices."
            )
        if (self.orientation == "oblique") != (self.directions != NO_DIRECTIONS):
            lines.append(
                f"orientation is {self.orientation!r} with directions {self.directions}; they "
                "belong to orientation oblique and to no other. Give both or neither."
            )
        elif self.orientation == "oblique":
            lines += self._skewed()
        return lines

    def _skewed(self) -> list[str]:
        """Say if the directions are not a right-handed set of unit vectors."""
        frame = np.array(self.directions).reshape(3, 3).T
        error = float(np.abs(frame.T @ frame - np.eye(3)).max())
        if error > UNIT_TOLERANCE:
            return [
                f"directions {self.directions} miss an orthonormal set by {error:.3g}; the ceiling "
                f"is {UNIT_TOLERANCE:g} (they are unit vectors at right angles). Normalise them."
            ]
        if np.linalg.det(frame) < 0:
            return [
                f"directions {self.directions} are left-handed; read x phase must be slice "
                "(a rotation). Turn one of them round."
            ]
        return []

    @property
    def spacing(self) -> Metre:
        """From one slice centre to the next."""
        return self.slice_thickness + self.slice_gap

    @property
    def slab(self) -> Metre:
        """Thickness that one pulse excites."""
        return self.slice_thickness * self.n_partitions

    @property
    def is_3d(self) -> bool:
        """Whether the slab is encoded in partitions."""
        return self.n_partitions > 1

    @property
    def rotation(self) -> Float[np.ndarray, "3 3"]:
        """Columns are the read, phase and slice directions in scanner RAS+."""
        if self.orientation == "oblique":
            frame = np.array(self.directions, dtype=float).reshape(3, 3).T
        else:
            frame = np.array(ORIENTATIONS[self.orientation]).T
            for axis, angle in enumerate(self.angles):
                frame = turn(axis, angle) @ frame
        if self.swap_phase:
            frame = np.column_stack([frame[:, 1], -frame[:, 0], frame[:, 2]])
        return frame

    @property
    def slice_offsets(self) -> Float[np.ndarray, " slice"]:
        """Distance of each slice from the centre, along the slice direction."""
        index = np.arange(self.n_slices)
        return (index - (self.n_slices - 1) / 2) * self.spacing


def turn(axis: int, angle: Radian) -> Float[np.ndarray, "3 3"]:
    """Right-handed rotation about scanner axis 0 (x), 1 (y) or 2 (z)."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[first, first] = rotation[second, second] = np.cos(angle)
    rotation[second, first] = np.sin(angle)
    rotation[first, second] = -np.sin(angle)
    return rotation
