"""Samples anywhere along one line of k-space, and the best even line that explains them.

The model is exact: a profile of ``n`` pixels, whose samples are its discrete Fourier sums at the
places the trajectory names. The inverse is least squares of minimum norm; directions the samples
do not see (singular values below `RCOND` of the largest) stay zero, as in zero filling.
"""

import numpy as np
from jaxtyping import Complex, Float

from scanroom.operators.linear import Array, Linear

RCOND = 0.02
"""Smallest singular value kept: noise along any kept direction grows at most 50-fold."""


def line_matrix(place: Float[Array, " sample"], n: int) -> Complex[Array, "sample n"]:
    """Discrete Fourier sums of ``n`` pixels at ``place``, in cycles per field of view."""
    pixel = (np.arange(n) - n // 2) / n
    wave: Array = np.exp(-2j * np.pi * np.outer(place, pixel)) / np.sqrt(n)
    return wave


def line(place: Float[Array, " sample"], n: int, *, batch: tuple[int, ...] = ()) -> Linear:
    """Profiles of ``n`` pixels to their samples at ``place``, in cycles per field of view."""
    matrix = line_matrix(place, n)
    return Linear(
        forward=lambda x: x @ matrix.T.astype(x.dtype),
        adjoint=lambda y: y @ matrix.conj().astype(y.dtype),
        domain=(*batch, n),
        codomain=(*batch, len(place)),
    )


def line_inverse(
    place: Float[Array, " sample"], n: int, *, rcond: float = RCOND
) -> Complex[Array, "n sample"]:
    """Least-squares inverse of `line_matrix`: samples to pixels."""
    return np.linalg.pinv(line_matrix(place, n), rcond=rcond)
