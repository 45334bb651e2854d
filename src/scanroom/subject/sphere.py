"""A ball of phantom solution: signal, field and coil loading are known on paper."""

import numpy as np
from jaxtyping import Float

from scanroom.core.units import Metre, Tesla
from scanroom.subject.model import Subject
from scanroom.subject.solid import filled, lattice, sampled

SOLUTION = "acr_solution"


def sphere(
    field: Tesla,
    *,
    radius: Metre = 0.08,
    voxel: tuple[Metre, Metre, Metre] = (2.5e-3, 2.5e-3, 2.5e-3),
    centre: tuple[Metre, Metre, Metre] = (0.0, 0.0, 0.0),
) -> Subject:
    """Fill a sphere with the solution of the ACR phantom; its surface cuts voxels by volume."""
    middle = np.array(centre)
    x, y, z = centre
    lower, upper = (x - radius, y - radius, z - radius), (x + radius, y + radius, z + radius)

    def inside(points: Float[np.ndarray, "*point 3"]) -> Float[np.ndarray, "*point"]:
        return np.asarray((((points - middle) ** 2).sum(axis=-1) < radius**2).astype(np.float64))

    shape, affine = lattice((lower, upper), voxel)
    return filled("sphere", field, affine, (SOLUTION, sampled(inside, shape, affine)))
