"""Which regular pattern the lines of an accelerated scan make, apart from its full centre."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from scanroom.mri.recon.parallel import centre_block

MAX_FACTOR = 8
"""Largest acceleration along one axis that is looked for."""

Sampled = Bool[np.ndarray, "z y"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Lines at ``origin + i (step_z, shift) + j (0, step_y)``, within the grid."""

    step_z: int
    step_y: int
    shift: int
    origin: tuple[int, int]

    @property
    def factor(self) -> int:
        """How many lines of the grid there are to each of the lattice."""
        return self.step_z * self.step_y

    def holds(self, z: np.ndarray, y: np.ndarray) -> Bool[np.ndarray, "..."]:
        """Whether places lie on it; they may lie outside of any grid."""
        up = z - self.origin[0]
        row = up // self.step_z
        on: np.ndarray = (up % self.step_z == 0) & (
            (y - self.origin[1] - row * self.shift) % self.step_y == 0
        )
        return on

    def on(self, shape: tuple[int, int]) -> Sampled:
        """Its lines on a grid."""
        z, y = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
        return self.holds(z, y)


def lattice_of(sampled: Sampled) -> Lattice | None:
    """Find the lattice that all lines outside the full centre lie on, None if there is none.

    It is complete within the part of k-space that was measured, the sparsest if there are several.
    """
    n_z, n_y = sampled.shape
    outside = sampled.copy()
    outside[_full_block(sampled)] = False
    places = np.argwhere(outside)
    if len(places) == 0:
        return None
    low, high = np.argwhere(sampled).min(axis=0), np.argwhere(sampled).max(axis=0)
    z, y = np.meshgrid(
        np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1), indexing="ij"
    )
    measured = sampled[z, y]
    origin = (int(places[0, 0]), int(places[0, 1]))
    rows = np.gcd.reduce(places[:, 0] - places[0, 0])
    in_rows = np.gcd.reduce(np.diff(places[:, 1])[np.diff(places[:, 0]) == 0])
    best: Lattice | None = None
    for step_z in [n for n in range(1, min(MAX_FACTOR, n_z) + 1) if rows % n == 0]:
        for step_y in [n for n in range(1, min(MAX_FACTOR, n_y) + 1) if in_rows % n == 0]:
            for shift in range(step_y if step_z > 1 else 1):
                if best is not None and step_z * step_y <= best.factor:
                    continue
                tried = Lattice(step_z=step_z, step_y=step_y, shift=shift, origin=origin)
                if not tried.holds(places[:, 0], places[:, 1]).all():
                    continue
                if measured[tried.holds(z, y)].all():
                    best = tried
    return best if best is not None and best.factor > 1 else None


def _full_block(sampled: Sampled) -> tuple[slice, slice]:
    """The centre without gaps, as far as it goes to each side by itself: it may stand askew."""
    z, y = centre_block(sampled)
    low_z, high_z, low_y, high_y = z.start, z.stop, y.start, y.stop
    while low_y > 0 and high_y > low_y and sampled[z, low_y - 1].all():
        low_y -= 1
    while high_y < sampled.shape[1] and high_y > low_y and sampled[z, high_y].all():
        high_y += 1
    while low_z > 0 and high_z > low_z and sampled[low_z - 1, low_y:high_y].all():
        low_z -= 1
    while high_z < sampled.shape[0] and high_z > low_z and sampled[high_z, low_y:high_y].all():
        high_z += 1
    return slice(low_z, high_z), slice(low_y, high_y)
