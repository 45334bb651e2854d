"""Grids of k-space and image, and where their voxels lie in the scanner.

Voxel ``n // 2`` of every axis lies at the centre of the field of view, as the centred transform
has it: for an even number of voxels the field of view reaches half a voxel further on the low
side. All positions are RAS+ metres.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from scanroom.core.units import Metre
from scanroom.mri.raw.encoding import Encoding

STRAIGHT: Metre = 1e-5
"""Slices whose centres leave a common even ladder by more than this are separate images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis of k-space and image.

    ``n_grid`` points of k-space, 1 / ``fov`` apart, make pixels of which ``n_pixels`` in the
    middle are kept; ``n_measured`` of the points belong to the measured grid.
    """

    n_grid: int
    n_pixels: int
    n_measured: int
    fov: Metre

    @property
    def pixel(self) -> Metre:
        """Distance between voxel centres."""
        return self.fov / self.n_grid


Axes = tuple[Axis, Axis, Axis]
"""Along (read, phase, slice)."""


def axes_of(encoding: Encoding) -> Axes:
    """Grids along (read, phase, slice).

    The measured k-space is padded with zeros, or cropped, until its pixels have the size asked
    for; then the field of view asked for is cut out of the middle.
    """
    read, phase, partition = (
        _axis(
            encoding.encoded_matrix[i],
            encoding.encoded_fov[i],
            encoding.recon_matrix[i],
            encoding.recon_fov[i],
        )
        for i in range(3)
    )
    return read, phase, partition


def _axis(n_measured: int, fov: Metre, n_wanted: int, fov_wanted: Metre) -> Axis:
    """Missing lengths count as one millimetre a point."""
    fov = fov if fov > 0 else 1e-3 * n_measured
    fov_wanted = fov_wanted if fov_wanted > 0 else fov
    if n_measured == 1:
        return Axis(n_grid=1, n_pixels=1, n_measured=1, fov=fov)
    n_grid = max(1, round(fov * n_wanted / fov_wanted))
    return Axis(n_grid=n_grid, n_pixels=min(n_wanted, n_grid), n_measured=n_measured, fov=fov)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Slices one above the other: the centre of each and the three directions as columns."""

    centres: Float[np.ndarray, "slice 3"]
    directions: Float[np.ndarray, "3 3"]
    thickness: Metre

    @property
    def is_even(self) -> bool:
        """Whether one affine describes all slices."""
        if len(self.centres) == 1:
            return True
        steps = np.arange(len(self.centres))[:, None] / (len(self.centres) - 1)
        line = self.centres[0] + steps * (self.centres[-1] - self.centres[0])
        rise = (self.centres[-1] - self.centres[0]) @ self.directions[:, 2]
        return bool(np.abs(self.centres - line).max() < STRAIGHT and rise > STRAIGHT)

    def affine(self, read: Axis, phase: Axis, partition: Axis) -> Float[np.ndarray, "4 4"]:
        """Voxel index (x, y, z, 1) to scanner position."""
        columns = self.directions * [read.pixel, phase.pixel, partition.pixel]
        origin = self.centres[0] - columns[:, :2] @ [read.n_pixels // 2, phase.n_pixels // 2]
        if len(self.centres) > 1:
            columns[:, 2] = (self.centres[-1] - self.centres[0]) / (len(self.centres) - 1)
        elif partition.n_pixels > 1:
            origin = origin - columns[:, 2] * (partition.n_pixels // 2)
        else:
            columns[:, 2] = self.directions[:, 2] * self.thickness
        matrix = np.eye(4)
        matrix[:3, :3] = columns
        matrix[:3, 3] = origin
        return matrix


def directions_of(encoding: Encoding, window: int) -> Float[np.ndarray, "3 3"]:
    """Read, phase and slice direction as columns; files without any get the scanner's axes."""
    columns = np.stack(
        [
            encoding.read_direction[window],
            encoding.phase_direction[window],
            encoding.slice_direction[window],
        ],
        axis=1,
    )
    if not np.allclose(columns.T @ columns, np.eye(3), atol=1e-3):
        return np.diag([-1.0, -1.0, 1.0])
    return columns
