"""Receive coils: one image seen through many sensitivities."""

import numpy as np
from jaxtyping import Complex

from scanroom.operators.linear import Array, Linear


def coils(maps: Complex[Array, "coil ..."]) -> Linear:
    """Weigh an image by each coil's sensitivity; the adjoint combines the coils."""
    return Linear(
        forward=lambda image: maps * image,
        adjoint=lambda data: np.einsum("c...,c...->...", maps.conj(), data),
        domain=maps.shape[1:],
        codomain=maps.shape,
    )
