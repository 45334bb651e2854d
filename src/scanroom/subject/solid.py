"""Solids by formula, sampled on a grid: what fraction of each voxel is solution, plastic, air."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Float32

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Metre, Tesla
from scanroom.subject.model import Subject
from scanroom.subject.tissue import tissue_table

Box = tuple[tuple[Metre, Metre, Metre], tuple[Metre, Metre, Metre]]
Occupancy = Callable[[Float[np.ndarray, "*point 3"]], Float[np.ndarray, "*point"]]
Material = Mapping[str, float]

MAX_VOXELS = 400_000_000
"""A float32 map of more voxels takes over 1.6 GB."""

# Of the magnetic properties, these add up by volume; the others are those of what gives signal.
_BY_VOLUME = ("proton_density", "susceptibility", "conductivity")
_OF_THE_SIGNAL = ("t1", "t2", "t2_prime", "chemical_shift", "diffusion")


def material(name: str, field: Tesla) -> Material:
    """Magnetic properties of a tissue or a phantom's filling."""
    table = tissue_table()
    return {
        quantity: table.number(name, quantity, field).value
        for quantity in (*_BY_VOLUME, *_OF_THE_SIGNAL)
    }


def lattice(
    box: Box, voxel: tuple[Metre, Metre, Metre]
) -> tuple[tuple[int, int, int], Float[np.ndarray, "4 4"]]:
    """Shape and affine of the smallest grid, on the box's centre, whose voxels cover the box.

    Raises
    ------
    ProtocolError
        If the box or the voxels have no size, or there are too many voxels.
    """
    lower, upper = np.array(box, np.float64)
    size = np.array(voxel, np.float64)
    if not (np.all(size > 0) and np.all(upper > lower) and np.isfinite([lower, upper, size]).all()):
        raise ProtocolError(
            f"voxels of {voxel} m in a box from {box[0]} to {box[1]} m; edges are positive and the "
            "upper corner lies above the lower one (scanroom.subject). Correct the numbers."
        )
    count = np.ceil((upper - lower) / size - 1e-6)
    if count.prod() > MAX_VOXELS:
        raise ProtocolError(
            f"the grid would have {count.prod():.3g} voxels; the ceiling is {MAX_VOXELS:.3g} "
            "(memory). Choose larger voxels or a smaller box."
        )
    nx, ny, nz = (int(n) for n in count)
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = (lower + upper) / 2 - (count - 1) / 2 * size
    return (nx, ny, nz), affine


def sampled(
    occupancy: Occupancy,
    shape: tuple[int, int, int],
    affine: Float[np.ndarray, "4 4"],
    supersampling: tuple[int, int, int] = (4, 4, 4),
) -> Float32[np.ndarray, "x y z"]:
    """Mean occupancy of each voxel over a regular grid of points inside it.

    A surface cuts a voxel at random, so the volume of a large solid is far closer than one voxel's
    fraction, whose error is about 1 / (2 n).
    """
    within = [(np.arange(n) + 0.5) / n - 0.5 for n in supersampling]
    x, y, z = (
        (np.arange(count)[:, None] + inner) * affine[axis, axis] + affine[axis, 3]
        for axis, (count, inner) in enumerate(zip(shape, within, strict=True))
    )
    out = np.empty(shape, np.float32)
    rows = np.stack(np.broadcast_arrays(x.reshape(-1, 1), y.reshape(1, -1)), axis=-1)
    points = np.empty((*rows.shape[:2], 3))
    points[..., :2] = rows
    coarse = (shape[0], supersampling[0], shape[1], supersampling[1])
    for index, heights in enumerate(z):
        plane = np.zeros((shape[0], shape[1]))
        for height in heights:
            points[..., 2] = height
            plane += occupancy(points).reshape(coarse).mean(axis=(1, 3))
        out[..., index] = plane / len(heights)
    return out


def filled(
    name: str,
    field: Tesla,
    affine: Float[np.ndarray, "4 4"],
    solution: tuple[str, Float32[np.ndarray, "x y z"]],
    plastic: tuple[str, Float32[np.ndarray, "x y z"]] | None = None,
) -> Subject:
    """Property maps of a solution that gives signal, a plastic that gives none, and air.

    Proton density, susceptibility and conductivity are means by volume. The other maps are those
    of the solution everywhere: read-only views of one number.
    """
    liquid, fraction = solution
    air = material("air", field)
    parts = [(material(liquid, field), fraction)]
    if plastic is not None:
        parts.append((material(plastic[0], field), plastic[1]))
    maps: dict[str, Float[np.ndarray, "x y z"]] = {}
    for quantity in _BY_VOLUME:
        total = np.full(fraction.shape, air[quantity], np.float32)
        for properties, share in parts:
            total += np.float32(properties[quantity] - air[quantity]) * share
        maps[quantity] = total
    for quantity in _OF_THE_SIGNAL:
        maps[quantity] = np.broadcast_to(np.float32(parts[0][0][quantity]), fraction.shape)
    return Subject(name=name, field=field, affine=affine, maps=maps)
