"""Sums over the neighbourhood of every sample, quick and in single precision.

Samples are spread onto a grid in a few points around each, transformed, weighed and gathered again.
The points' shares are the exponential of a semicircle (Barnett, Magland, af Klinteberg, SIAM J.
Sci. Comput. 41, C479 (2019), doi:10.1137/18M120885X), four wide on a grid a quarter finer than
needed: right to some parts in a thousand, for sums that need no more.
"""

from collections.abc import Callable
from typing import no_type_check

import numpy as np
import scipy.fft
from jaxtyping import Float, Float32, Int32
from numba import njit

WIDTH = 4
FINER = 1.25
_STEEPNESS = 0.976 * np.pi * WIDTH * (1 - 1 / (2 * FINER))

Values = Float32[np.ndarray, " sample"]


def neighbourhood(
    place: Float[np.ndarray, "sample axis"], windows: list[Float[np.ndarray, " _"]]
) -> Callable[[Values], Values]:
    """Sum of samples, each times the kernel at its distance [cycles per pixel].

    The kernel is the mean over pixels of ``window exp(2 pi i k.r)``; ``windows`` are its factors
    along each axis, symmetric, centred at ``n // 2``.
    """
    sides = [scipy.fft.next_fast_len(int(np.ceil(FINER * len(w))), real=True) for w in windows]
    index, share = _taps(place, sides)
    gain = _gain(windows, sides)
    spread, gather = (_spread2, _gather2) if len(sides) == 2 else (_spread3, _gather3)
    axes = tuple(range(len(sides)))

    def apply(values: Values) -> Values:
        grid = np.zeros(sides, np.float32)
        spread(index, share, values, grid)
        inside = scipy.fft.rfftn(grid, axes=axes, workers=1)
        inside *= gain
        grid = scipy.fft.irfftn(inside, sides, axes=axes, overwrite_x=True, workers=1)
        result = np.empty(len(values), np.float32)
        gather(index, share, grid, result)
        return result

    return apply


def _taps(
    place: Float[np.ndarray, "sample axis"], sides: list[int]
) -> tuple[Int32[np.ndarray, "sample axis tap"], Float32[np.ndarray, "sample axis tap"]]:
    """Points that each sample touches along each axis, and how much."""
    at = np.mod(place, 1.0) * sides
    first = np.ceil(at - WIDTH / 2)
    points = first[..., None] + np.arange(WIDTH)
    away = (points - at[..., None]) / (WIDTH / 2)
    share = np.exp(_STEEPNESS * (np.sqrt(np.maximum(0, 1 - away**2)) - 1))
    index = np.mod(points, np.array(sides)[:, None])
    return index.astype(np.int32), share.astype(np.float32)


def _gain(windows: list[Float[np.ndarray, " _"]], sides: list[int]) -> Float32[np.ndarray, "..."]:
    """Window over the square of the taps' own transform, on the half spectrum of a real grid."""
    gain = np.ones([1] * len(sides))
    for axis, (window, side) in enumerate(zip(windows, sides, strict=True)):
        index, share = _taps(np.zeros((1, 1)), [side])
        point = np.zeros(side)
        point[index[0, 0]] = share[0, 0]
        own = scipy.fft.fft(point).real
        wide = np.zeros(side)
        wide[np.arange(len(window)) - len(window) // 2] = window
        along = wide / own**2 * (side / len(window))
        if axis == len(sides) - 1:
            along = along[: side // 2 + 1]
        gain = gain * along.reshape([-1 if i == axis else 1 for i in range(len(sides))])
    return gain.astype(np.float32)


@njit(cache=True, nogil=True)
@no_type_check
def _spread2(index, share, values, grid):
    for s in range(values.size):
        for i in range(WIDTH):
            a = values[s] * share[s, 0, i]
            row = grid[index[s, 0, i]]
            for j in range(WIDTH):
                row[index[s, 1, j]] += a * share[s, 1, j]


@njit(cache=True, nogil=True)
@no_type_check
def _gather2(index, share, grid, values):
    for s in range(values.size):
        total = np.float32(0.0)
        for i in range(WIDTH):
            row = grid[index[s, 0, i]]
            line = np.float32(0.0)
            for j in range(WIDTH):
                line += row[index[s, 1, j]] * share[s, 1, j]
            total += line * share[s, 0, i]
        values[s] = total


@njit(cache=True, nogil=True)
@no_type_check
def _spread3(index, share, values, grid):
    for s in range(values.size):
        for i in range(WIDTH):
            a = values[s] * share[s, 0, i]
            for j in range(WIDTH):
                b = a * share[s, 1, j]
                row = grid[index[s, 0, i], index[s, 1, j]]
                for m in range(WIDTH):
                    row[index[s, 2, m]] += b * share[s, 2, m]


@njit(cache=True, nogil=True)
@no_type_check
def _gather3(index, share, grid, values):
    for s in range(values.size):
        total = np.float32(0.0)
        for i in range(WIDTH):
            for j in range(WIDTH):
                row = grid[index[s, 0, i], index[s, 1, j]]
                line = np.float32(0.0)
                for m in range(WIDTH):
                    line += row[index[s, 2, m]] * share[s, 2, m]
                total += line * share[s, 0, i] * share[s, 1, j]
        values[s] = total
