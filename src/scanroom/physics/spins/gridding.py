"""Readout under a constant gradient: every spin is one decaying line of the spectrum.

A spin at total frequency f with decay R2 is spread onto a fine frequency grid with a short kernel
(exponential of a semicircle); one FFT per window and division by the kernel's transform give the
samples. Decay is a shift of the line off the real axis: the kernel, a polynomial per node, is
evaluated there.
"""

import functools
from typing import no_type_check

import numpy as np
import scipy.fft
from jaxtyping import Complex64, Float, Float32
from numba import njit

from scanroom.physics.spins.precession import along
from scanroom.physics.spins.vector import COILS, WIDTH, add_group, padded

# A. H. Barnett, J. Magland, L. af Klinteberg, SIAM J. Sci. Comput. 41, C479 (2019),
# doi:10.1137/18M120885X: width w, shape 2.30 w at twofold oversampling, error about 10^(1 - w).
_SHAPE = 2.30 * WIDTH
_DEGREE = 11
# Largest shift off the real axis, in fine bins, at which the kernel still holds to 1e-4.
LARGEST_SHIFT = 0.25


def _kernel(place: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    inside = np.maximum(1.0 - (2.0 * place / WIDTH) ** 2, 0.0)
    return np.asarray(np.exp(_SHAPE * (np.sqrt(inside) - 1.0)))


def _polynomials() -> Float32[np.ndarray, "power tap"]:
    """Fit the kernel at tap t and fraction f, place t - f - (WIDTH / 2 - 1), -1 <= 2 f - 1 <= 1."""
    fraction = 0.5 + 0.5 * np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    columns = [
        np.polynomial.Polynomial.fit(
            fraction - 0.5, _kernel(tap - fraction - (WIDTH / 2 - 1)), _DEGREE, domain=[-1, 1]
        ).coef
        for tap in range(WIDTH)
    ]
    return np.ascontiguousarray(np.array(columns).T, np.float32)


POLYNOMIALS = _polynomials()


def grid_length(n_samples: int) -> int:
    """Length of the fine grid: twofold oversampled, cheap to transform."""
    return int(scipy.fft.next_fast_len(max(2 * n_samples, 4 * WIDTH)))


@njit(cache=True, nogil=True)
@no_type_check
def plan_taps(spins, first, last, line, plan):
    """Order, first grid node and complex weight of each tap for every spin of a run.

    ``line`` is the gradient, fine bins per hertz, length of the grid and polynomials of the taps;
    ``plan`` takes the order of the spins, the first node of each in that order, and the taps, real
    parts and then imaginary ones.
    """
    gradient, scale, length, polynomials = line
    order, start, taps = plan
    count, n_taps = last - first, polynomials.shape[1]
    degree = polynomials.shape[0] - 1
    places = np.empty(count)
    for i in range(count):
        j = first + i
        places[i] = (along(spins, gradient, j) + spins.offset[j]) * scale
    order[:count] = first + np.argsort(np.floor(places), kind="mergesort")
    for i in range(count):
        place = places[order[i] - first]
        below = np.floor(place)
        fraction = np.float32(place - below - 0.5)
        shift = np.float32(-spins.r2[order[i]] * scale / (2.0 * np.pi))
        start[i] = (int(below) - (n_taps // 2 - 1)) % length
        for tap in range(n_taps):
            real, imag = polynomials[degree, tap], np.float32(0.0)
            for power in range(degree - 1, -1, -1):
                real, imag = (
                    real * fraction - imag * shift + polynomials[power, tap],
                    real * shift + imag * fraction,
                )
            taps[i, tap] = real
            taps[i, n_taps + tap] = imag


@njit(cache=True, nogil=True)
@no_type_check
def spread(spins, count, plan, grid):
    """Add every spin of a plan, weighed by each coil, to ``grid[node, block of coils]``."""
    order, start, taps = plan
    row = grid.shape[1]
    flat_grid, flat_taps, weight = grid.reshape(-1), taps.reshape(-1), spins.weight.reshape(-1)
    begin = 0
    while begin < count:
        end = begin + 1
        while end < count and start[end] == start[begin]:
            end += 1
        for block in range(0, row, 2 * COILS):
            add_group(
                (flat_grid, start[begin] * row + block, row),
                (spins.mx, spins.my, weight, row, block),
                (order, flat_taps),
                (begin, end),
            )
        begin = end


def samples_of_grid(
    grid: Float32[np.ndarray, "node columns"], n_samples: int
) -> Complex64[np.ndarray, "coil sample"]:
    """Samples of a window, the reference time being that of sample ``n_samples // 2``."""
    length = grid.shape[0] - WIDTH
    folded = grid[:length].copy()
    folded[:WIDTH] += grid[length:]
    signal = scipy.fft.fft(coils_of(folded), axis=1)
    order = np.arange(n_samples) - n_samples // 2
    return np.asarray(signal[:, order] / kernel_transform(n_samples, length), np.complex64)


def coils_of(
    columns: Float32[np.ndarray, "row columns"],
) -> Complex64[np.ndarray, "coil row"]:
    """Undo the layout of the kernels: blocks of 8 real parts, then 8 imaginary parts."""
    blocks = columns.reshape(len(columns), columns.shape[1] // (2 * COILS), 2, COILS)
    values = blocks[:, :, 0] + 1j * blocks[:, :, 1]
    return np.ascontiguousarray(values.reshape(len(columns), columns.shape[1] // 2).T)


def columns_of(
    values: Complex64[np.ndarray, "row coil"],
) -> Float32[np.ndarray, "row columns"]:
    """Lay out complex values for the kernels, zeros filling the last block of coils."""
    n_rows, n_coils = values.shape
    wide = np.zeros((n_rows, padded(n_coils)), np.complex64)
    wide[:, :n_coils] = values
    blocks = wide.reshape(n_rows, wide.shape[1] // COILS, COILS)
    return np.stack([blocks.real, blocks.imag], axis=2).reshape(n_rows, 2 * wide.shape[1])


@functools.lru_cache(maxsize=64)
def kernel_transform(n_samples: int, length: int) -> Float32[np.ndarray, " sample"]:
    """Fourier transform of the spreading kernel at every sample, by Gauss-Legendre quadrature."""
    frequency = (np.arange(n_samples) - n_samples // 2) / length
    place, weight = np.polynomial.legendre.leggauss(64)
    values = _kernel(place * WIDTH / 2) * weight * WIDTH / 2
    wave = np.cos(2 * np.pi * np.outer(frequency, place * WIDTH / 2))
    return np.asarray(wave @ values, np.float32)
