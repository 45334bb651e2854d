"""Series of images cut into small blocks, each a matrix of places and frames."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex

from scanroom.operators.linear import Array, Shape

Shift = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Patches:
    """Blocks that tile images "frame z y x" on a circle, without overlap.

    Sizes that the block does not divide get zeros added; cutting is an isometry.
    """

    shape: Shape
    block: tuple[int, int, int]

    @property
    def padded(self) -> tuple[int, int, int]:
        """Size of the images with zeros added."""
        z, y, x = (-(-n // size) * size for n, size in zip(self.shape[1:], self.block, strict=True))
        return z, y, x

    def cut(
        self, images: Complex[Array, "frame z y x"], shift: Shift = (0, 0, 0)
    ) -> Complex[Array, "block place frame"]:
        """Cut, after moving the images by ``shift`` on their circle."""
        n, (z, y, x), (bz, by, bx) = self.shape[0], self.padded, self.block
        wide = np.zeros((n, z, y, x), images.dtype)
        wide[:, : self.shape[1], : self.shape[2], : self.shape[3]] = images
        wide = np.roll(wide, shift, (1, 2, 3))
        split = wide.reshape(n, z // bz, bz, y // by, by, x // bx, bx)
        return split.transpose(1, 3, 5, 2, 4, 6, 0).reshape(-1, bz * by * bx, n)

    def join(
        self, blocks: Complex[Array, "block place frame"], shift: Shift = (0, 0, 0)
    ) -> Complex[Array, "frame z y x"]:
        """Undo `cut`; its adjoint."""
        n, (z, y, x), (bz, by, bx) = self.shape[0], self.padded, self.block
        split = blocks.reshape(z // bz, y // by, x // bx, bz, by, bx, n)
        wide = split.transpose(6, 0, 3, 1, 4, 2, 5).reshape(n, z, y, x)
        wide = np.roll(wide, tuple(-one for one in shift), (1, 2, 3))
        return wide[:, : self.shape[1], : self.shape[2], : self.shape[3]].copy()
