"""The door between our images and DICOM: RAS metres to LPS millimetres, axes to rows and columns.

Pictures are turned in steps of 90 degrees and mirrored until they stand as radiologists read
them: axial and coronal with the subject's left on the right side of the screen, sagittal with the
nose to the left. The geometry turns with them, so every voxel keeps its place.
"""

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Integer

from scanroom.core.errors import FormatError

SKEW = 1e-4
"""Largest cosine between two axes that is taken as a right angle: 0.1 voxel in a thousand."""
_LPS_MILLIMETRE = np.diag([-1e3, -1e3, 1e3])
_LEFT, _POSTERIOR, _INFERIOR = np.eye(3)[0], np.eye(3)[1], -np.eye(3)[2]
_STANDING = {  # by the axis the slices are stacked along: (towards the right, towards the bottom)
    0: (_POSTERIOR, _INFERIOR),
    1: (_LEFT, _INFERIOR),
    2: (_LEFT, _POSTERIOR),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planes:
    """Slices as DICOM has them: LPS millimetres, ascending along row x column.

    ``pixel_spacing`` is (between rows, between columns). ``position`` is the centre of the first
    pixel of each slice. ``is_turned`` tells that the array's x runs down the picture.
    """

    pixels: Integer[np.ndarray, "slice row column"]
    row: Float[np.ndarray, "3"]
    column: Float[np.ndarray, "3"]
    position: Float[np.ndarray, "slice 3"]
    pixel_spacing: tuple[float, float]
    spacing: float
    is_turned: bool

    @property
    def orientation(self) -> list[float]:
        """Image Orientation (Patient)."""
        return [*self.row, *self.column]

    @property
    def location(self) -> Float[np.ndarray, " slice"]:
        """Place of each slice along the normal."""
        location: np.ndarray = self.position @ np.cross(self.row, self.column)
        return location

    def phase_direction(self, axis: Literal["x", "y"]) -> Literal["ROW", "COL"]:
        """Which way phase was encoded in the picture, given the array's axis."""
        return "COL" if (axis == "y") != self.is_turned else "ROW"


def planes(array: Integer[np.ndarray, "z y x"], affine: Float[np.ndarray, "4 4"]) -> Planes:
    """Cut a stack into standing pictures.

    Raises
    ------
    FormatError
        If an axis has no length or the axes are not at right angles.
    """
    steps = _LPS_MILLIMETRE @ affine[:3, :3]
    length = np.linalg.norm(steps, axis=0)
    if not (np.isfinite(affine).all() and (length > 0).all()):
        raise FormatError(
            f"the image's axes are {length} mm long a voxel; each must have a length "
            "(DICOM PS3.3 C.7.6.2). Give a proper affine."
        )
    unit = steps / length
    lean = np.abs(unit.T @ unit - np.eye(3)).max()
    if lean > SKEW:
        raise FormatError(
            f"the image's axes lean by a cosine of {lean:.2g}; DICOM rows and columns are at right "
            f"angles within {SKEW:g} (PS3.3 C.7.6.2.1.1). Resample the image."
        )
    order, signs = _standing(unit)
    row, column = unit[:, order[0]] * signs[0], unit[:, order[1]] * signs[1]
    signs[2] = np.sign(np.cross(row, column) @ unit[:, 2])
    shape = np.array(array.shape[::-1])
    first = np.where(signs < 0, shape[list(order)] - 1, 0)[np.argsort(order)]
    origin = _LPS_MILLIMETRE @ affine[:3, 3] + steps @ first
    picture = np.transpose(array, (0, 2, 1) if order[0] == 1 else (0, 1, 2))
    picture = picture[:: int(signs[2]), :: int(signs[1]), :: int(signs[0])]
    return Planes(
        pixels=np.ascontiguousarray(picture),
        row=row,
        column=column,
        position=origin + np.arange(shape[2])[:, None] * (steps[:, 2] * signs[2]),
        pixel_spacing=(float(length[order[1]]), float(length[order[0]])),
        spacing=float(length[2]),
        is_turned=order[0] == 1,
    )


def affine_of(planes: Planes) -> Float[np.ndarray, "4 4"]:
    """Return the affine, RAS metres, of an array ``z y x`` = slice, row, column."""
    affine = np.eye(4)
    between_rows, between_columns = planes.pixel_spacing
    normal = np.cross(planes.row, planes.column)
    step = (
        (planes.position[-1] - planes.position[0]) / (len(planes.position) - 1)
        if len(planes.position) > 1
        else normal * planes.spacing
    )
    affine[:3, :3] = np.stack([planes.row * between_columns, planes.column * between_rows, step], 1)
    affine[:3, 3] = planes.position[0]
    affine[:3] = np.linalg.inv(_LPS_MILLIMETRE) @ affine[:3]
    return affine


def _standing(unit: Float[np.ndarray, "3 3"]) -> tuple[tuple[int, int, int], np.ndarray]:
    """Of the eight ways to lay the two in-plane axes, the one nearest to the usual picture."""
    right, down = _STANDING[int(np.abs(unit[:, 2]).argmax())]
    ways = [
        (float(s * unit[:, i] @ right + t * unit[:, j] @ down), (i, j, 2), np.array([s, t, 1]))
        for (i, j), s, t in itertools.product(((0, 1), (1, 0)), (1, -1), (1, -1))
    ]
    _, order, signs = max(ways, key=lambda way: way[0])
    return order, signs
