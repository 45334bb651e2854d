"""The circulant matrix next to a normal operator, and conjugate gradients that it leads.

Samples that crowd in the middle of k-space let conjugate gradients creep. A circulant matrix is
undone by two transforms of one image, however many coils there are; the one nearest to the normal
operator of coils and point spread follows from the spread and the autocorrelation of the maps.

References ---------- T. F. Chan, SIAM J. Sci. Stat. Comput. 9, 766 (1988), doi:10.1137/0909051. K.
Koolstra et al., Magn. Reson. Med. 81, 670 (2019), doi:10.1002/mrm.27371.
"""

from collections.abc import Callable

import numpy as np
import scipy.fft
from jaxtyping import Complex, Float

from scanroom.operators.linear import Array

_MAP_POINTS = 64
"""Points along an axis that are enough for the autocorrelation of smooth maps."""


def circulant(
    spread: Complex[Array, "..."], maps: Complex[Array, "coil ..."]
) -> Float[Array, "..."]:
    """Eigenvalues of the circulant nearest to ``sum over coils of conj(S) T S``, in FFT order.

    ``spread`` is the point spread of ``T`` on a grid twice as wide as the maps, its middle at 0.
    """
    shape = maps.shape[1:]
    alike = _autocorrelation(maps)
    column = spread.astype(np.result_type(spread, np.complex64))
    for axis, n in enumerate(shape):
        distance = np.abs(np.arange(-n, n))
        column = column * _column(1 - distance / n, axis, len(shape)).astype(column.real.dtype)
    column *= alike
    for axis, n in enumerate(shape):
        low, high = np.split(column, [n], axis=axis)
        column = low + high
    return np.ascontiguousarray(scipy.fft.fftn(column, workers=1).real)


def _autocorrelation(maps: Complex[Array, "coil ..."]) -> Array:
    """Mean likeness of what coils see, by distance, on a grid twice as wide; 1 at no distance."""
    shape = maps.shape[1:]
    steps = [max(1, -(-n // _MAP_POINTS)) for n in shape]
    few = maps[(slice(None), *(slice(None, None, step) for step in steps))]
    wide = [2 * n for n in few.shape[1:]]
    axes = tuple(range(len(shape)))
    power = np.zeros(wide)
    for one in few:
        power += np.abs(scipy.fft.fftn(one, wide, workers=1)) ** 2
    alike = np.fft.fftshift(scipy.fft.ifftn(power, workers=1)).conj()
    for axis, (n, few_n, step) in enumerate(zip(shape, few.shape[1:], steps, strict=True)):
        count = few_n - np.abs(np.arange(-few_n, few_n))
        alike = alike / _column(np.maximum(count, 1), axis, len(axes))
        alike = _finer(alike, np.arange(-n, n) / step, axis)
    return alike.astype(maps.dtype)


def _finer(values: Array, place: Float[Array, " _"], axis: int) -> Array:
    """Linear interpolation along one axis; the middle of the old axis is place 0."""
    n = values.shape[axis]
    at = np.clip(place + n // 2, 1, n - 1)  # the lowest element has no pair of pixels behind it
    below = np.minimum(at.astype(int), n - 2)
    share = _column(at - below, axis, values.ndim)
    finer: Array = values.take(below, axis) * (1 - share) + values.take(below + 1, axis) * share
    return finer


def _column(values: Array, axis: int, n_axes: int) -> Array:
    return values.reshape([-1 if i == axis else 1 for i in range(n_axes)])


def undoing(eigen: Float[Array, "..."], *, floor: float) -> Callable[[Array], Array]:
    """Inverse of a circulant; eigenvalues count at least ``floor`` of their mean."""
    gain = 1 / np.maximum(eigen, floor * float(eigen.mean()))

    def apply(image: Array) -> Array:
        inside = scipy.fft.fftn(image, workers=1)
        inside *= gain.astype(image.real.dtype)
        undone: Array = scipy.fft.ifftn(inside, overwrite_x=True, workers=1)
        return undone

    return apply


def preconditioned_gradients(
    normal: Callable[[Array], Array],
    right: Array,
    undo: Callable[[Array], Array],
    *,
    n_iterations: int,
    tolerance: float = 0.0,
) -> Array:
    """Solve ``normal x = right`` for Hermitian positive maps ``normal`` and ``undo``, from zero.

    Stops early when the residual, as ``undo`` sees it, has fallen to ``tolerance`` of its start.
    """
    x = np.zeros_like(right)
    residual = right.copy()
    undone = undo(residual)
    direction = undone
    power = float(np.vdot(residual, undone).real)
    goal = power * tolerance**2
    for _ in range(n_iterations):
        if power <= goal:
            break
        image = normal(direction)
        step = right.real.dtype.type(power / float(np.vdot(direction, image).real))
        x += step * direction
        residual -= step * image
        undone = undo(residual)
        before, power = power, float(np.vdot(residual, undone).real)
        direction = undone + right.real.dtype.type(power / before) * direction
    return x
