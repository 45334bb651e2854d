"""The ACR large phantom by analytic geometry.

Inside the phantom: a cylinder of diameter 190 mm and length 148 mm along z, filled with solution.
The patient lies head first and supine: the chin marker is inferior, the nose anterior (+y). Slice 1
lies at the inferior end, on the vertex of the crossed wedges, slice 11 100 mm above it. In an image
shown by convention, anterior is up and the patient's right (+x here) is on the left of the picture.

Places and sizes follow the ACR Large and Medium Phantom Test Guidance (American College of
Radiology, figures and text) and, where it gives none, figures of the slices in J. Med. Imaging and
the layout that published analyses of it rely on; each says which. Air bubble, chamfers and the
sides' screws are left out.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from scanroom.core.units import Metre
from scanroom.subject.mixture import Mixture, box, grid
from scanroom.subject.shapes import Point, check_size, two_tissues, voxel_of

RADIUS: Metre = 0.095
HALF_LENGTH: Metre = 0.074
SLICES = tuple(-0.050 + 0.010 * n for n in range(11))
"""Centres of the eleven slices along z [m]: 5 mm thick, 5 mm apart."""

HOLE_DIAMETERS: tuple[Metre, ...] = (1.1e-3, 1.0e-3, 0.9e-3)
DISC_DIAMETERS: tuple[Metre, ...] = tuple(round(7.0e-3 - n * 5.5e-3 / 9, 6) for n in range(10))
"""Of the ten spokes, from 7.0 to 1.5 mm [m]."""

DISC_RADII: tuple[Metre, ...] = (12.5e-3, 25.0e-3, 38.0e-3)
CONTRASTS: tuple[float, ...] = (0.014, 0.025, 0.036, 0.051)
"""Of slices 8 to 11: part of a 5 mm slice that a plastic sheet takes, holes aside."""

SHEET_RADIUS: Metre = 0.0430
SHEET_CENTRE: tuple[Metre, Metre] = (0.0, -0.005)
SHEET_FIRST_ANGLE = np.deg2rad(90.0)
SHEET_TURN = np.deg2rad(9.0)
"""Each sheet is turned by 9 degrees from the one before."""


@dataclass(frozen=True, slots=True)
class Slab:
    """Part of the phantom between two heights that hinders solution by a pattern in x and y."""

    bottom: Metre
    top: Metre


INSERT = Slab(SLICES[0] - 0.010, SLICES[0] + 0.010)
"""Height of what stands around slice 1: resolution insert, slice thickness insert."""

GRID = Slab(SLICES[4] - 0.005, SLICES[4] + 0.005)


def acr(
    *,
    resolution: Point | Metre = (0.5e-3, 0.5e-3, 1.0e-3),
    lower: Point | None = None,
    upper: Point | None = None,
    supersample: int = 4,
) -> Mixture:
    """Sample the phantom, walls of acrylic included, on any grid; ``lower``, ``upper`` crop it.

    Each voxel is the mean over ``supersample`` ** 2 points in x and y and as many heights; the
    thin sheets of slices 8 to 11 are integrated exactly over z.
    """
    voxel = voxel_of(resolution)
    shape, affine = grid((0.204, 0.204, 0.165), voxel, (0.0, 0.0, 0.0))
    if lower is not None or upper is not None:
        least = np.array(lower if lower is not None else (-1.0, -1.0, -1.0))
        most = np.array(upper if upper is not None else (1.0, 1.0, 1.0))
        span, affine = box(affine, shape, least, most)
        nx, ny, nz = (part.stop - part.start for part in span)
        shape = (nx, ny, nz)
    check_size(shape)
    return two_tissues(_sampled(shape, affine, voxel, supersample), affine, ("acr_solution", "air"))


def acr_solution(points: Float[np.ndarray, "point 3"]) -> Float64[np.ndarray, " point"]:
    """Share of solution at points [m]: 1, 0, or what the thin sheets leave of a 5 mm slice."""
    x, y, z = np.asarray(points, np.float64).T
    open_ = _inside(x, y) & (np.abs(z) <= HALF_LENGTH)
    open_ &= ~_blocked(x, y, z)
    share = open_.astype(np.float64)
    for n, contrast in enumerate(CONTRASTS):
        near = np.abs(z - SLICES[7 + n]) <= 2.5e-3
        share -= contrast * (open_ & near & sheet(x, y, n))
    return share


def _sampled(
    shape: tuple[int, int, int], affine: Float[np.ndarray, "4 4"], voxel: Point, n: int
) -> np.ndarray:
    """Mean share of solution in every voxel, layer by layer."""
    fine = (np.arange(n) + 0.5) / n - 0.5
    xs, ys = (
        (affine[i, i] * (np.arange(shape[i])[:, None] + fine) + affine[i, 3]).ravel()
        for i in range(2)
    )
    x, y = np.meshgrid(xs, ys, indexing="ij")
    round_ = _inside(x, y)
    out = np.zeros(shape, np.float32)
    sheets = [sheet(x, y, k) & round_ for k in range(len(CONTRASTS))]
    known: dict[bytes, np.ndarray] = {}
    for k in range(shape[2]):
        centre = affine[2, 2] * k + affine[2, 3]
        heights = centre + voxel[2] * fine
        filled = np.abs(heights) <= HALF_LENGTH
        key = _layer_key(heights)
        if key not in known:
            layer = np.zeros(shape[:2])
            for z in heights[filled]:
                layer += _binned(round_ & ~_blocked(x, y, np.full(1, z)), n) / n
            known[key] = layer
        out[:, :, k] = known[key]
        for j, contrast in enumerate(CONTRASTS):
            part = _overlap(centre, voxel[2], SLICES[7 + j], contrast * 5e-3)
            if part > 0:
                out[:, :, k] -= part * _binned(sheets[j], n)
    return out


def _layer_key(heights: np.ndarray) -> bytes:
    """Layers between inserts are alike; those at an insert are their own."""
    slabs = [INSERT, GRID, Slab(SLICES[10] - 0.020, SLICES[10] + 0.020)]
    slabs.append(Slab(SLICES[0] - 0.020, SLICES[0] + 0.020))
    busy = any(np.any((heights >= s.bottom) & (heights <= s.top)) for s in slabs)
    return heights.tobytes() if busy else bytes(np.abs(heights) <= HALF_LENGTH)


def _binned(fine: np.ndarray, n: int) -> np.ndarray:
    """Mean over n x n points."""
    nx, ny = fine.shape
    return np.asarray(fine.reshape(nx // n, n, ny // n, n).mean(axis=(1, 3)))


def _overlap(centre: Metre, height: Metre, at: Metre, thickness: Metre) -> float:
    """Part of a voxel's height that a sheet takes."""
    top = min(centre + height / 2, at + thickness / 2)
    bottom = max(centre - height / 2, at - thickness / 2)
    return max(top - bottom, 0.0) / height


def _inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(x**2 + y**2 <= RADIUS**2)


def _blocked(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Where plastic is, thin sheets aside."""
    blocked = np.asarray(_wedges(x, y, z - SLICES[0]) | _wedges(x, y, z - SLICES[10]))
    blocked |= _within(z, INSERT) & (_resolution_insert(x, y) | _thickness_insert(x, y, z))
    blocked |= _within(z, GRID) & _grid(x, y)
    return blocked


def _within(z: np.ndarray, slab: Slab) -> np.ndarray:
    return np.asarray((z >= slab.bottom) & (z <= slab.top))


def _rectangle(
    x: np.ndarray, y: np.ndarray, centre: tuple[Metre, Metre], size: tuple[Metre, Metre]
) -> np.ndarray:
    return np.asarray(
        (np.abs(x - centre[0]) <= size[0] / 2) & (np.abs(y - centre[1]) <= size[1] / 2)
    )


WEDGE_WIDTH: Metre = 0.0065
WEDGE_REACH: Metre = 0.020
WEDGE_VERTEX: Metre = 0.080


def _wedges(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Crossed wedges of 45 degrees at the top of the image: two bars, one longer off the vertex.

    The bars hang from the anterior wall and end at y = vertex -+ z: where the slice lies too far
    up, the bar on the patient's left is the longer (the right bar of the picture).
    """
    lower = WEDGE_VERTEX - 0.010
    left_end = lower + z
    right_end = lower - z
    near = np.abs(z) <= WEDGE_REACH / 2
    right_bar = (x >= 0) & (x <= WEDGE_WIDTH) & (y >= left_end)
    left_bar = (x < 0) & (x >= -WEDGE_WIDTH) & (y >= right_end)
    return np.asarray(near & (right_bar | left_bar))


RESOLUTION_CENTRE: tuple[Metre, Metre] = (0.0, -0.0400)
RESOLUTION_SIZE: tuple[Metre, Metre] = (0.0800, 0.0300)
HOLE_PLACES: tuple[tuple[Metre, Metre], ...] = (
    (0.0140, -0.0400),
    (-0.0090, -0.0400),
    (-0.0320, -0.0400),
)
"""Where the two arrays of each size meet, largest holes on the left of the picture."""


def _resolution_insert(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A block of plastic with three pairs of arrays of holes along z."""
    block = _rectangle(x, y, RESOLUTION_CENTRE, RESOLUTION_SIZE)
    holes = np.zeros(np.broadcast(x, y).shape, bool)
    for diameter, place in zip(HOLE_DIAMETERS, HOLE_PLACES, strict=True):
        for u, v in hole_centres(diameter):
            holes |= (x - place[0] + u) ** 2 + (y - place[1] - v) ** 2 <= (diameter / 2) ** 2
    return np.asarray(block & ~holes)


def hole_centres(diameter: Metre) -> tuple[tuple[Metre, Metre], ...]:
    """Holes of both arrays of one size; right and up in the picture, from the hole they share.

    Centres are two diameters apart. In the upper left array each row of four is shifted to the
    right of the row above by half a diameter in all three steps' sum of 1.5 diameters; in the
    lower right one each column is shifted down likewise.
    """
    pitch, shift = 2 * diameter, diameter / 2
    upper = [
        (-pitch * (3 - column) - shift * (3 - row), pitch * (3 - row))
        for row in range(4)
        for column in range(4)
    ]
    lower = [
        (pitch * column, -pitch * row - shift * column)
        for row in range(4)
        for column in range(4)
        if (row, column) != (0, 0)
    ]
    return tuple(upper + lower)


THICKNESS_CENTRE: tuple[Metre, Metre] = (0.0, 0.0)
THICKNESS_SIZE: tuple[Metre, Metre] = (0.1600, 0.0180)
RAMP_WIDTH: Metre = 0.0050
RAMP_GAP: Metre = 0.0020
RAMP_SLOT: Metre = 0.0010
RAMP_SLOPE = 0.1


def _thickness_insert(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """A block of plastic with two slots, 1 mm high, that cross slice 1 with slopes of 1 in 10."""
    block = _rectangle(x, y, THICKNESS_CENTRE, THICKNESS_SIZE)
    offset = (RAMP_WIDTH + RAMP_GAP) / 2
    slots = np.zeros(np.broadcast(x, y, z).shape, bool)
    for sign in (1.0, -1.0):
        band = np.abs(y - THICKNESS_CENTRE[1] - sign * offset) <= RAMP_WIDTH / 2
        height = z - SLICES[0] - sign * RAMP_SLOPE * x
        slots |= band & (np.abs(height) <= RAMP_SLOT / 2)
    return np.asarray(block & ~slots)


GRID_PITCH: Metre = 0.0145
GRID_WALL: Metre = 0.0015
GRID_HALF: Metre = 5 * 0.0145


def _grid(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Lattice of slice 5, ten by ten cells, cut by the circle of its frame."""
    extent = (np.abs(x) <= GRID_HALF + GRID_WALL / 2) & (np.abs(y) <= GRID_HALF + GRID_WALL / 2)
    lines = np.zeros(np.broadcast(x, y).shape, bool)
    for part in (x, y):
        away = np.abs(part - GRID_PITCH * np.round(part / GRID_PITCH))
        lines |= away <= GRID_WALL / 2
    return np.asarray(extent & lines & (x**2 + y**2 <= 0.088**2))


def sheet(x: np.ndarray, y: np.ndarray, n: int) -> np.ndarray:
    """Where the thin plastic sheet of slice 8 + n is: a disc with thirty holes."""
    u, v = x - SHEET_CENTRE[0], y - SHEET_CENTRE[1]
    plastic = u**2 + v**2 <= SHEET_RADIUS**2
    for spoke, diameter in enumerate(DISC_DIAMETERS):
        # Clockwise in the picture, whose left is +x: from +y towards -x.
        angle = SHEET_FIRST_ANGLE + SHEET_TURN * n + 2 * np.pi * spoke / len(DISC_DIAMETERS)
        for radius in DISC_RADII:
            du, dv = u - radius * np.cos(angle), v - radius * np.sin(angle)
            plastic &= du**2 + dv**2 > (diameter / 2) ** 2
    return np.asarray(plastic)
