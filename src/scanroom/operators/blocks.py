"""Operators made of operators, side by side."""

from collections.abc import Sequence

import numpy as np

from scanroom.operators.linear import Array, Linear


def block_diagonal(parts: Sequence[Linear]) -> Linear:
    """Each operator acts on its own item of a leading axis; all have the same shapes."""
    normals = [part.N for part in parts]
    if len({(part.domain, part.codomain) for part in parts}) != 1:
        raise ValueError("operators of different shapes cannot stand on one diagonal.")

    def run(maps: Sequence[Linear], x: Array) -> Array:
        return np.stack([one(item) for one, item in zip(maps, x, strict=True)])

    return Linear(
        forward=lambda x: run(parts, x),
        adjoint=lambda y: run([part.H for part in parts], y),
        domain=(len(parts), *parts[0].domain),
        codomain=(len(parts), *parts[0].codomain),
        gram=lambda x: run(normals, x),
    )
