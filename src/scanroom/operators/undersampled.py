"""Cartesian k-space of several coils, of which some lines were measured.

The readout is transformed already (hybrid space): every column along it is a problem of its own,
of one or two axes. The normal operator takes sixteen columns at a time through one coil after the
other without leaving the core's cache: weigh, transform, mask, transform back, combine.
"""

import functools
from typing import no_type_check

import numpy as np
import scipy.fft
from jaxtyping import Complex, Shaped
from numba import njit

from scanroom.operators import lanes
from scanroom.operators.linear import Array, Linear
from scanroom.operators.threads import each

Maps = Complex[np.ndarray, "coil z y x"]


def undersampled(maps: Maps, sampled: Shaped[np.ndarray, "z y"]) -> Linear:
    """Image to hybrid space (k in z and y, image in x), zeros where nothing was measured.

    ``sampled`` is true where a line was measured, or a real weight. With maps of unit norm and
    weights of at most one the norm of the operator is at most one.
    """
    axes = tuple(axis for axis in (0, 1) if maps.shape[axis + 1] > 1)
    weight = np.fft.ifftshift(np.asarray(sampled, np.float32))[:, :, None]

    def forward(image: Array) -> Array:
        result = np.empty((len(maps), *image.shape), np.result_type(image, maps))

        def work(coil: int) -> None:
            wave = np.fft.ifftshift(maps[coil] * image, axes)
            wave = scipy.fft.fftn(wave, axes=axes, norm="ortho", overwrite_x=True, workers=1)
            result[coil] = np.fft.fftshift(wave * weight, (0, 1))

        each(work, len(maps))
        return result

    def adjoint(data: Array) -> Array:
        def work(coil: int) -> Array:
            wave = np.fft.ifftshift(data[coil], (0, 1)) * weight
            wave = scipy.fft.ifftn(wave, axes=axes, norm="ortho", overwrite_x=True, workers=1)
            seen: Array = np.fft.fftshift(wave, axes) * maps[coil].conj()
            return seen

        total: Array = functools.reduce(np.add, each(work, len(maps)))
        return total

    fast = maps.dtype == np.complex64 and all(lanes.can_transform(n) for n in sampled.shape)
    gram = _Gram(maps, sampled) if fast else None
    return Linear(forward, adjoint, maps.shape[1:], maps.shape, gram)


class _Gram:
    """The normal operator, maps and masks laid out once."""

    def __init__(self, maps: Maps, sampled: Shaped[np.ndarray, "z y"]) -> None:
        self.shape = maps.shape[1:]
        self.plans = tuple(lanes.plan(n) for n in sampled.shape)
        power = np.fft.ifftshift(np.asarray(sampled, np.float64) ** 2) / sampled.size
        z, y = (plan.frequencies for plan in self.plans)
        # of a column of z: the weights of its frequencies lie together
        self.weight = np.ascontiguousarray(power[np.ix_(z, y)].T, np.float32).ravel()
        laid = [lanes.as_rows(coil) for coil in maps]
        self.maps = np.ascontiguousarray(np.stack(laid, axis=1))

    def __call__(self, image: Array) -> Array:
        result = np.empty(self.shape, np.complex64)
        flat_image = np.ascontiguousarray(image, np.complex64).reshape(-1, self.shape[2])
        flat_result = result.reshape(flat_image.shape)

        def work(block: int) -> None:
            z, y = self.plans
            _block(
                flat_image, flat_result, block * lanes.LANES, self.maps[block], self.weight,
                (z.n, z.stages, z.twiddles), (y.n, y.stages, y.twiddles),
            )  # fmt: skip

        each(work, len(self.maps))
        return result


@njit(cache=True, nogil=True)
@no_type_check
def _block(image, result, first, maps, weight, across, along):
    """Sixteen columns through all coils, and their sum."""
    n_z, z_stages, z_twiddles = across
    n_y, y_stages, y_twiddles = along
    n = n_z * n_y
    n_lanes = min(lanes.LANES, image.shape[1] - first)
    seen, total = np.zeros(n * lanes.ROW, np.float32), np.zeros(n * lanes.ROW, np.float32)
    work, column = np.empty(n * lanes.ROW, np.float32), np.empty(n_z * lanes.ROW, np.float32)
    for row in range(n):
        for lane in range(n_lanes):
            value = image[row, first + lane]
            seen[row * lanes.ROW + lane] = value.real
            seen[row * lanes.ROW + lanes.LANES + lane] = value.imag
    flat_maps = maps.reshape(-1)
    for coil in range(maps.shape[0]):
        lanes.weigh(work, 0, flat_maps, coil * n, seen, n)
        for z in range(n_z):
            lanes.forward(work, z * n_y, n_y, y_stages, y_twiddles)
        if n_z == 1:
            lanes.scale(work, weight, 0, n)
        else:
            for y in range(n_y):
                lanes.copy(column, 0, 1, work, y, n_y, n_z)
                lanes.forward(column, 0, n_z, z_stages, z_twiddles)
                lanes.scale(column, weight, y * n_z, n_z)
                lanes.inverse(column, 0, n_z, z_stages, z_twiddles)
                lanes.copy(work, y, n_y, column, 0, 1, n_z)
        for z in range(n_z):
            lanes.inverse(work, z * n_y, n_y, y_stages, y_twiddles)
        lanes.combine(total, work, flat_maps, coil * n, n)
    for row in range(n):
        for lane in range(n_lanes):
            at = row * lanes.ROW + lane
            result[row, first + lane] = complex(total[at], total[at + lanes.LANES])
