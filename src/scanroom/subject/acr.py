"""The ACR large phantom by analytic geometry.

Inside the phantom: a cylinder of diameter 190 mm and length 148 mm along z, filled with solution.
The patient lies head first and supine: the chin marker is inferior, the nose anterior (+y). Slice 1
lies at the inferior end, on the vertex of the crossed wedges, slice 11 100 mm above it. In an image
shown by convention, anterior is up and the patient's right (+x here) is on the left of the picture.

What the ACR Large and Medium Phantom Test Guidance (American College of Radiology) gives in words
is taken from it: inside length and diameter, slices, 45 degree wedges, ramps of 1 in 10 in slots of
1 mm, holes of 1.1, 1.0 and 0.9 mm two diameters apart, discs of 7.0 to 1.5 mm in ten spokes,
contrasts. Places and outlines it shows only in figures (inserts, vial, lattice, wedges) are
measured to about 0.5 mm in public images of the phantom: GE Signa 3 T and Siemens Skyra 3 T, test
data of GSTT-CSC/hazen at commit ce5426a. The vial holds the same solution as the phantom, not its
own of 20 mM NiCl2; air bubble, filling ports, screws and all supports but one are left out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from scanroom.core.units import Metre
from scanroom.subject.mixture import WHOLE, Mixture, box, grid
from scanroom.subject.shapes import Point, axes, check_size, voxel_of

RADIUS: Metre = 0.095
HALF_LENGTH: Metre = 0.074
WALL: Metre = 0.006
SLICES = tuple(-0.050 + 0.010 * n for n in range(11))
"""Centres of the eleven slices along z [m]: 5 mm thick, 5 mm apart."""

HOLE_DIAMETERS: tuple[Metre, ...] = (1.1e-3, 1.0e-3, 0.9e-3)
DISC_DIAMETERS: tuple[Metre, ...] = tuple(round(7.0e-3 - n * 5.5e-3 / 9, 6) for n in range(10))
"""Of the ten spokes, from 7.0 to 1.5 mm [m]."""

DISC_RADII: tuple[Metre, ...] = (12.5e-3, 25.0e-3, 38.0e-3)
CONTRASTS: tuple[float, ...] = (0.014, 0.025, 0.036, 0.051)
"""Of slices 8 to 11: part of a 5 mm slice that a plastic sheet takes, holes aside."""

SHEET_RADIUS: Metre = 0.0440
SHEET_RIM: Metre = 0.0510
SHEET_CENTRE: tuple[Metre, Metre] = (0.0, -0.0076)
SHEET_FIRST_ANGLE = np.deg2rad(90.0)
SHEET_TURN = np.deg2rad(9.0)
"""Each sheet is turned by 9 degrees from the one before."""


@dataclass(frozen=True, slots=True)
class Part:
    """Plastic in a box: where it is solid, and whether that varies with height."""

    x: tuple[Metre, Metre]
    y: tuple[Metre, Metre]
    z: tuple[Metre, Metre]
    solid: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    varies: bool


def acr(
    *,
    resolution: Point | Metre = (0.6e-3, 0.6e-3, 1.25e-3),
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
    share = np.round(_sampled(shape, affine, voxel, supersample) * WHOLE).astype(np.uint8)
    x, y, z = axes(shape, affine)
    wall = (x**2 + y**2 <= (RADIUS + WALL) ** 2) & (np.abs(z) <= HALF_LENGTH + WALL)
    other = np.where(wall, 1, 2).astype(np.uint8)
    return Mixture(
        tissues=("acr_solution", "acrylic", "air"),
        first=np.where(share > 0, 0, other).astype(np.uint8),
        second=np.where(share < WHOLE, other, 0).astype(np.uint8),
        share=np.where(share > 0, share, WHOLE).astype(np.uint8),
        affine=affine,
    )


def acr_solution(points: Float[np.ndarray, "point 3"]) -> Float64[np.ndarray, " point"]:
    """Share of solution at points [m]: 1, 0, or what the thin sheets leave of a 5 mm slice."""
    x, y, z = np.asarray(points, np.float64).T
    open_ = _inside(x, y) & (np.abs(z) <= HALF_LENGTH)
    open_ &= ~_blocked(x, y, z)
    share = open_.astype(np.float64)
    for n, contrast in enumerate(CONTRASTS):
        near = np.abs(z - SLICES[7 + n]) <= 2.5e-3
        share -= contrast * (open_ & near & sheet(x, y, n))
    return np.asarray(share)


def _sampled(
    shape: tuple[int, int, int], affine: Float[np.ndarray, "4 4"], voxel: Point, n: int
) -> Float32[np.ndarray, "x y z"]:
    """Mean share of solution in every voxel: the full cylinder less what each part takes."""
    fine = (np.arange(n) + 0.5) / n - 0.5
    xs, ys = (
        (affine[i, i] * (np.arange(shape[i])[:, None] + fine) + affine[i, 3]).ravel()
        for i in range(2)
    )
    round_ = _inside(xs[:, None], ys[None, :])
    disc = _binned(round_, n)
    out = np.zeros(shape, np.float32)
    cuts = [_Cut.of(part, xs, ys, round_, n) for part in PARTS]
    sheets = [_binned(sheet(xs[:, None], ys[None, :], k) & round_, n) for k in range(4)]
    for k in range(shape[2]):
        centre = affine[2, 2] * k + affine[2, 3]
        layer = disc * _overlap(centre, voxel[2], 0.0, 2 * HALF_LENGTH)
        for cut in cuts:
            for z in centre + voxel[2] * fine:
                cut.take(layer, z)
        for j, contrast in enumerate(CONTRASTS):
            layer -= _overlap(centre, voxel[2], SLICES[7 + j], contrast * 5e-3) * sheets[j]
        out[:, :, k] = layer
    return out


@dataclass(frozen=True, slots=True)
class _Cut:
    """A part on the fine grid, cropped to where it is."""

    part: Part
    x: Float64[np.ndarray, "x 1"]
    y: Float64[np.ndarray, "1 y"]
    inside: Bool[np.ndarray, "x y"]
    span: tuple[slice, slice]
    n: int
    known: dict[float, Float64[np.ndarray, "vx vy"]]

    @classmethod
    def of(cls, part: Part, xs: np.ndarray, ys: np.ndarray, round_: np.ndarray, n: int) -> "_Cut":
        """Crop to whole voxels that hold the part's rectangle."""
        rows = _voxels(xs, part.x, n)
        columns = _voxels(ys, part.y, n)
        fine = (slice(rows.start * n, rows.stop * n), slice(columns.start * n, columns.stop * n))
        return cls(part, xs[fine[0], None], ys[None, fine[1]], round_[fine], (rows, columns), n, {})

    def take(self, layer: np.ndarray, z: Metre) -> None:
        """Subtract one height's share of the part from a layer of voxels."""
        part = self.part
        if not part.z[0] <= z <= part.z[1] or not self.inside.size:
            return
        height = round(z, 9) if part.varies else 0.0
        if height not in self.known:
            solid = part.solid(self.x, self.y, np.full((1, 1), z)) & self.inside
            self.known[height] = _binned(solid, self.n) / self.n
        layer[self.span] -= self.known[height]


def _voxels(fine: np.ndarray, reach: tuple[Metre, Metre], n: int) -> slice:
    """Voxels that touch a range."""
    used = np.flatnonzero((fine >= reach[0]) & (fine <= reach[1]))
    return slice(int(used[0]) // n, int(used[-1]) // n + 1) if used.size else slice(0, 0)


def _binned(fine: np.ndarray, n: int) -> Float64[np.ndarray, "x y"]:
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


def _blocked(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Bool[np.ndarray, "..."]:
    """Where plastic is, thin sheets aside."""
    blocked = np.zeros(np.broadcast(x, y, z).shape, bool)
    for part in PARTS:
        blocked |= (z >= part.z[0]) & (z <= part.z[1]) & part.solid(x, y, z)
    return blocked


def _rectangle(
    x: np.ndarray, y: np.ndarray, centre: tuple[Metre, Metre], size: tuple[Metre, Metre]
) -> np.ndarray:
    return np.asarray(
        (np.abs(x - centre[0]) <= size[0] / 2) & (np.abs(y - centre[1]) <= size[1] / 2)
    )


WEDGE_WIDTH: Metre = 0.0054
WEDGE_REACH: Metre = 0.017
WEDGE_END: Metre = 0.063
WEDGE_BASE: Metre = 0.080
WEDGE_TOP: Metre = 0.093
"""A film of solution of 2 mm lies above the wedges."""


def _wedges(at: Metre) -> Part:
    """Crossed wedges of 45 degrees at the top of the image: two bars, one longer off the vertex.

    Where the slice lies too far up, the bar on the patient's left (the right one of the picture)
    is the longer, by twice the distance.
    """

    def solid(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        end = WEDGE_END + np.where(x >= 0, 1.0, -1.0) * (z - at)
        return np.asarray((np.abs(x) <= WEDGE_WIDTH) & (y >= end) & (y < WEDGE_BASE))

    return Part(
        x=(-WEDGE_WIDTH, WEDGE_WIDTH),
        y=(WEDGE_END - WEDGE_REACH, WEDGE_BASE),
        z=(at - WEDGE_REACH, at + WEDGE_REACH),
        solid=solid,
        varies=True,
    )


def _box(x: tuple[Metre, Metre], y: tuple[Metre, Metre], z: tuple[Metre, Metre]) -> Part:
    """Solid plastic; shares no point with a part that ends where it begins."""

    def solid(px: np.ndarray, py: np.ndarray, _z: np.ndarray) -> np.ndarray:
        return np.asarray((px >= x[0]) & (px <= x[1]) & (py >= y[0]) & (py <= y[1]))

    return Part(x=x, y=y, z=z, solid=solid, varies=False)


def _ring(centre: tuple[Metre, Metre], radii: tuple[Metre, Metre], z: tuple[Metre, Metre]) -> Part:
    """A tube along z."""
    inner, outer = radii

    def solid(x: np.ndarray, y: np.ndarray, _z: np.ndarray) -> np.ndarray:
        square = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
        return np.asarray((square >= inner**2) & (square <= outer**2))

    x, y = _around(centre, (2 * outer, 2 * outer))
    return Part(x=x, y=y, z=z, solid=solid, varies=False)


RESOLUTION_CENTRE: tuple[Metre, Metre] = (0.0, -0.0390)
RESOLUTION_SIZE: tuple[Metre, Metre] = (0.1134, 0.0380)
HOLE_PLACES: tuple[tuple[Metre, Metre], ...] = (
    (0.0140, -0.0395),
    (-0.0090, -0.0395),
    (-0.0320, -0.0395),
)
"""Where the two arrays of each size share a hole, largest holes on the left of the picture."""

POCKETS: tuple[tuple[Metre, Metre], ...] = ((0.0464, -0.0360), (0.0367, -0.0427))
POCKET_SIZE: tuple[Metre, Metre] = (0.0096, 0.0096)
"""Two square openings beside the arrays, full of solution."""


def _resolution_insert(x: np.ndarray, y: np.ndarray, _z: np.ndarray) -> np.ndarray:
    """A block of plastic, 11 mm thick, with three pairs of arrays of holes along z."""
    block = _rectangle(x, y, RESOLUTION_CENTRE, RESOLUTION_SIZE)
    holes = np.zeros(np.broadcast(x, y).shape, bool)
    for diameter, place in zip(HOLE_DIAMETERS, HOLE_PLACES, strict=True):
        for u, v in hole_centres(diameter):
            holes |= (x - place[0] + u) ** 2 + (y - place[1] - v) ** 2 <= (diameter / 2) ** 2
    for pocket in POCKETS:
        holes |= _rectangle(x, y, pocket, POCKET_SIZE)
    return np.asarray(block & ~holes)


def hole_centres(diameter: Metre) -> tuple[tuple[Metre, Metre], ...]:
    """Holes of both arrays of one size; right and up in the picture, from the hole they share.

    Centres are two diameters apart. In the upper left array each row of four lies a quarter of a
    diameter to the right of the row above it; in the lower right one each column lies as much
    lower than the column on its left. So one row or column meets the pixels wherever they fall.
    """
    pitch, shift = 2 * diameter, diameter / 4
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


THICKNESS_CENTRE: tuple[Metre, Metre] = (0.0, -0.0005)
THICKNESS_SIZE: tuple[Metre, Metre] = (0.1790, 0.0112)
RAMP_WIDTH: Metre = 0.0040
RAMP_GAP: Metre = 0.0010
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


GRID_PITCH: Metre = 0.0144
GRID_WALL: Metre = 0.0012
GRID_CELLS: tuple[int, ...] = (6, 8, 10, 10, 10, 10, 10, 10, 8, 6)
"""Cells of each row: corners of the ten by ten are missing, as they would not fit the cylinder."""


def _grid(x: np.ndarray, y: np.ndarray, _z: np.ndarray) -> np.ndarray:
    """Lattice of slice 5: the walls of all its cells."""
    lines = np.zeros(np.broadcast(x, y).shape, bool)
    half = GRID_WALL / 2
    for row, cells in enumerate(GRID_CELLS):
        low, high = (row - 5) * GRID_PITCH, (row - 4) * GRID_PITCH
        reach = cells / 2 * GRID_PITCH
        across = np.abs(x) <= reach + half
        for level in (low, high):
            lines |= across & (np.abs(y - level) <= half)
        away = np.abs(x - GRID_PITCH * np.round(x / GRID_PITCH))
        lines |= across & (away <= half) & (y >= low) & (y <= high)
    return lines


def _around(
    centre: tuple[Metre, Metre], size: tuple[Metre, Metre]
) -> tuple[tuple[Metre, Metre], tuple[Metre, Metre]]:
    """Ranges in x and y of a rectangle."""
    (x, y), (w, h) = centre, size
    return (x - w / 2, x + w / 2), (y - h / 2, y + h / 2)


_LOWER_END = (SLICES[0] - 0.010, SLICES[0] + 0.034)
_BLOCK = (SLICES[0] - 0.0055, SLICES[0] + 0.0055)
_GRID = (SLICES[4] - 0.005, SLICES[4] + 0.005)
_GRID_REACH = (-5 * GRID_PITCH - GRID_WALL, 5 * GRID_PITCH + GRID_WALL)

PARTS: tuple[Part, ...] = (
    _wedges(SLICES[0]),
    _wedges(SLICES[10]),
    _box((-WEDGE_WIDTH, WEDGE_WIDTH), (WEDGE_BASE, WEDGE_TOP), (-HALF_LENGTH, HALF_LENGTH)),
    _ring((0.0455, 0.0453), (0.0122, 0.0187), (-HALF_LENGTH, SLICES[0] + 0.034)),
    Part(*_around(RESOLUTION_CENTRE, RESOLUTION_SIZE), _BLOCK, _resolution_insert, varies=False),
    _box((-0.0567, -0.0487), (-0.0580, -0.0200), (_BLOCK[1] + 1e-9, _LOWER_END[1])),
    Part(*_around(THICKNESS_CENTRE, THICKNESS_SIZE), _LOWER_END, _thickness_insert, varies=True),
    Part(_GRID_REACH, _GRID_REACH, _GRID, _grid, varies=False),
    _ring(SHEET_CENTRE, (SHEET_RADIUS, SHEET_RIM), (SLICES[7] - 0.003, SLICES[10] + 0.006)),
)
"""No two of them overlap."""


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
