"""Phantoms of simple closed geometry: a sphere, and three rods that tell left from right."""

import numpy as np
from jaxtyping import Float, Float64

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Metre
from scanroom.subject.mixture import WHOLE, Mixture, grid

Point = tuple[Metre, Metre, Metre]

MAX_VOXELS = 64_000_000
"""Largest grid that a built-in phantom is sampled on: 256 MB a map."""


def sphere(
    *,
    radius: Metre = 0.08,
    centre: Point = (0.0, 0.0, 0.0),
    tissue: str = "water",
    surroundings: str = "air",
    resolution: Point | Metre = 0.002,
    margin: Metre = 0.01,
) -> Mixture:
    """Sample a sphere, voxels at its surface filled by the volume of the sphere inside them.

    The surface is taken as plane within a voxel: the error of a voxel's share is of the order of
    (voxel / radius), that of the whole volume of its square.
    """
    if radius <= 0 or margin < 0:
        raise ProtocolError(
            f"radius is {radius:.4g} m and margin {margin:.4g} m; they must be positive "
            "(scanroom.subject.shapes). Give a radius above 0."
        )
    voxel = voxel_of(resolution)
    shape, affine = grid(tuple_of(np.full(3, 2 * (radius + margin))), voxel, centre)
    check_size(shape)
    x, y, z = axes(shape, affine)
    offset = x - centre[0], y - centre[1], z - centre[2]
    distance = np.sqrt(offset[0] ** 2 + offset[1] ** 2 + offset[2] ** 2)
    normal = [np.abs(part) / np.maximum(distance, 1e-12) for part in offset]
    inside = plane_share(radius - distance, normal, voxel)
    return two_tissues(inside, affine, (tissue, surroundings))


def plane_share(
    depth: Float64[np.ndarray, "x y z"], normal: list[Float64[np.ndarray, "x y z"]], voxel: Point
) -> Float64[np.ndarray, "x y z"]:
    """Share of a box below a plane at ``depth`` above its centre; exact for any direction.

    The volume under a plane in the unit cube, by inclusion and exclusion of its corners: the sum
    of (+-) max(0, s - corner) ** 3 / (6 n1 n2 n3).
    """
    # Directions along an axis are tilted by 1e-3: the formula divides by each of the parts.
    a, b, c = (np.maximum(n * d, 1e-3 * d) for n, d in zip(normal, voxel, strict=True))
    level = depth + 0.5 * (a + b + c)
    total = np.zeros(np.broadcast_shapes(level.shape))
    for i, j, k in np.ndindex(2, 2, 2):
        sign = (-1) ** (i + j + k)
        total += sign * np.maximum(level - i * a - j * b - k * c, 0) ** 3
    whole = level >= a + b + c
    return np.where(whole, 1.0, np.clip(total / (6 * a * b * c), 0, 1))


def asymmetric(*, resolution: Point | Metre = 0.002) -> Mixture:
    """Sample a water cylinder with three pieces of fat that no mirror or turn maps onto itself.

    The cylinder (radius 80 mm, length 160 mm) stands along z. A thick rod (radius 15 mm, 120 mm
    long) lies to the right (x = +45 mm), a thinner one (10 mm) in front (y = +45 mm) from the
    middle 60 mm downwards, and a ball (12 mm) above and behind, at (0, -30, +45) mm.
    """
    voxel = voxel_of(resolution)
    shape, affine = grid((0.18, 0.18, 0.18), voxel, (0.0, 0.0, 0.0))
    check_size(shape)
    x, y, z = axes(shape, affine)
    edge = min(voxel)

    def soft(depth: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(depth / edge + 0.5, 0, 1))

    def rod(at: tuple[Metre, Metre], radius: Metre, ends: tuple[Metre, Metre]) -> np.ndarray:
        along = soft(np.minimum(z - ends[0], ends[1] - z))
        return np.asarray(soft(radius - np.hypot(x - at[0], y - at[1])) * along)

    water = rod((0.0, 0.0), 0.08, (-0.08, 0.08))
    right = rod((0.045, 0.0), 0.015, (-0.06, 0.06))
    front = rod((0.0, 0.045), 0.010, (-0.06, 0.0))
    ball = soft(0.012 - np.sqrt(x**2 + (y + 0.03) ** 2 + (z - 0.045) ** 2))
    fat = np.maximum.reduce([right, front, ball])
    share = np.where(fat > 0, fat, water)
    return Mixture(
        tissues=("air", "water", "fat"),
        first=np.where(fat > 0, 2, 1).astype(np.uint8),
        second=np.where(fat > 0, 1, 0).astype(np.uint8),
        share=np.round(share * WHOLE).astype(np.uint8),
        affine=affine,
    )


def two_tissues(
    inside: Float[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    tissues: tuple[str, str],
) -> Mixture:
    """Make a mixture of an object and what is around it from the object's share."""
    share = np.round(inside * WHOLE).astype(np.uint8)
    return Mixture(
        tissues=tissues,
        first=(share == 0).astype(np.uint8),
        second=(share < WHOLE).astype(np.uint8),
        share=np.where(share == 0, WHOLE, share).astype(np.uint8),
        affine=affine,
    )


def voxel_of(resolution: Point | Metre) -> Point:
    """Edge lengths of a voxel from one number or three.

    Raises
    ------
    ProtocolError
        If one is not between 0.05 and 20 mm.
    """
    edges = np.broadcast_to(np.asarray(resolution, np.float64), 3)
    good = (edges >= 5e-5) & (edges <= 0.02)
    if not good.all():
        raise ProtocolError(
            f"resolution is {np.round(edges * 1e3, 6).tolist()} mm; it may be 0.05 to 20 mm "
            "(scanroom.subject.shapes). Choose one in that range."
        )
    return tuple_of(edges)


def tuple_of(values: Float[np.ndarray, "3"]) -> Point:
    """Three plain numbers."""
    x, y, z = (float(value) for value in values)
    return x, y, z


def check_size(shape: tuple[int, int, int]) -> None:
    """Refuse a grid that would not fit.

    Raises
    ------
    ProtocolError
        If it has too many voxels.
    """
    n = int(np.prod(shape))
    if n > MAX_VOXELS:
        raise ProtocolError(
            f"a grid of {' x '.join(map(str, shape))} has {n} voxels; the most is {MAX_VOXELS} "
            "(scanroom.subject.shapes). Take coarser voxels or a smaller region."
        )


def axes(
    shape: tuple[int, int, int], affine: Float[np.ndarray, "4 4"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates of voxel centres along each axis, shaped to broadcast."""
    x, y, z = (affine[i, i] * np.arange(shape[i]) + affine[i, 3] for i in range(3))
    return x[:, None, None], y[None, :, None], z[None, None, :]
