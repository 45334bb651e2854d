"""Convolutions with a point spread: what a Fourier sum at any places and its adjoint make together.

``A.H @ A`` of samples at places ``k_j`` with weights ``w_j`` turns an image into its convolution
with ``t(d) = sum_j w_j exp(2 pi i k_j.d)``, exactly, for ``d`` up to the width of the image: no
sample needs to be visited again (Fessler, Lee, Olafsson, Shi, Noll, IEEE Trans. Signal Process. 53,
3393 (2005), doi:10.1109/TSP.2005.853152). A grid twice as wide holds it; its transform has samples
of even number, the transform of the image, and of odd number, that of the image turned by half a
sample. So nothing is padded: each axis is transformed twice at its own length, and a coil stays in
cache.
"""

from collections.abc import Callable

import numpy as np
import scipy.fft
from jaxtyping import Complex, Float

from scanroom.operators.linear import Array, Linear, Shape


def eigenvalues(spread: Complex[Array, "..."]) -> Float[Array, "..."]:
    """Transform a Hermitian point spread, centred on a grid of even sides, to its real eigenvalues.

    What lies at the low edge has no partner on the high one: it is left out, no image reaches it.
    """
    kept = spread.copy()
    for axis in range(kept.ndim):
        np.moveaxis(kept, axis, 0)[0] = 0
    moved = scipy.fft.fftn(np.fft.ifftshift(kept), overwrite_x=True, workers=1)
    return np.ascontiguousarray(moved.real)


def convolution(gains: Float[Array, "..."]) -> Linear:
    """Convolve an image with the point spread whose eigenvalues, on twice its grid, are given."""
    shape = tuple(n // 2 for n in gains.shape)
    apply = _apply(gains / 2 ** len(shape), shape)
    return Linear(apply, apply, shape, shape)


def _apply(gains: Float[Array, "..."], shape: Shape) -> Callable[[Array], Array]:
    """Transform axis by axis, each at its own length, weigh, and transform back."""
    n_axes = len(shape)
    turns: dict[np.dtype, list[Array]] = {}
    parts: dict[tuple[int, ...], Array] = {}

    def prepared(dtype: np.dtype) -> list[Array]:
        if dtype not in turns:
            turns[dtype] = [_half_turn(n, axis, n_axes, dtype) for axis, n in enumerate(shape)]
        return turns[dtype]

    def part(odd: tuple[int, ...], dtype: np.dtype) -> Array:
        if odd not in parts or parts[odd].dtype != dtype:
            chosen = gains[tuple(slice(start, None, 2) for start in odd)]
            parts[odd] = np.ascontiguousarray(chosen, dtype=dtype)
        return parts[odd]

    def along(x: Array, axis: int, odd: tuple[int, ...]) -> Array:
        """``x`` may be overwritten."""
        if axis == n_axes:
            x *= part(odd, x.real.dtype)
            return x
        turn = prepared(x.dtype)[axis]
        turned = x * turn
        even = _there_and_back(x, axis, lambda y: along(y, axis + 1, (*odd, 0)))
        other = _there_and_back(turned, axis, lambda y: along(y, axis + 1, (*odd, 1)))
        other *= turn.conj()
        even += other
        return even

    return lambda x: along(x.copy(), 0, ())


def _there_and_back(x: Array, axis: int, work: Callable[[Array], Array]) -> Array:
    y = work(scipy.fft.fft(x, axis=axis, overwrite_x=True, workers=1))
    back: Array = scipy.fft.ifft(y, axis=axis, overwrite_x=True, workers=1)
    return back


def _half_turn(n: int, axis: int, n_axes: int, dtype: np.dtype) -> Array:
    turn: Array = np.exp(-1j * np.pi * np.arange(n) / n).astype(dtype)
    return turn.reshape([-1 if i == axis else 1 for i in range(n_axes)])
