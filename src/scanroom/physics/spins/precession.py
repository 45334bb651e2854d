"""Motion of the magnetisation between and across events, over one run of spins."""

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from scanroom.physics.spins.trig import decay, turn

_ONE = np.float32(1.0)


class SpinArrays(NamedTuple):
    """Isochromats as the kernels see them: one array per quantity.

    Positions [m] and offset [Hz] in double precision, the rest in single. ``further`` holds the
    field coordinates beyond position (see `Program`), ``turns`` is room for the phase [cycles] that
    they add. ``transmit`` and ``transmit_turn`` [cycles] hold a column per set of channel weights.
    ``weight`` holds the receive weights, real parts of all coils, then imaginary parts.
    ``bound`` are partners that exchange with the longitudinal magnetisation (see `pools`).
    Magnetisation is relative to equilibrium.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    further: np.ndarray
    turns: np.ndarray
    offset: np.ndarray
    r1: np.ndarray
    r2: np.ndarray
    transmit: np.ndarray
    transmit_turn: np.ndarray
    weight: np.ndarray
    mx: np.ndarray
    my: np.ndarray
    mz: np.ndarray
    bound: np.ndarray


@njit(cache=True, nogil=True)
@no_type_check
def add_further(spins, first, last, moment):
    """Write down the turns that moments of the field coordinates beyond position make."""
    if spins.further.shape[0] == 0:
        return
    turns = spins.turns[first:last]
    turns[:] = 0.0
    for row in range(spins.further.shape[0]):
        coordinate, size = spins.further[row, first:last], moment[3 + row]
        for i in range(last - first):
            turns[i] += size * coordinate[i]


@njit(cache=True, nogil=True)
@no_type_check
def along(spins, gradient, j):
    """Frequency [Hz] of a spin under a gradient, its own offset aside."""
    total = gradient[0] * spins.x[j] + gradient[1] * spins.y[j] + gradient[2] * spins.z[j]
    for row in range(spins.further.shape[0]):
        total += gradient[3 + row] * spins.further[row, j]
    return total


@njit(cache=True, nogil=True)
@no_type_check
def precess(spins, first, last, moment, time):
    """Turn and decay freely: gradient moment [1/m] and time [s] since the last event."""
    add_further(spins, first, last, moment)
    mx, my = spins.mx[first:last], spins.my[first:last]
    x, y, z = spins.x[first:last], spins.y[first:last], spins.z[first:last]
    offset, r2, turns = spins.offset[first:last], spins.r2[first:last], spins.turns[first:last]
    kx, ky, kz = moment[0], moment[1], moment[2]
    time32 = np.float32(time)
    for i in range(last - first):
        cosine, sine = turn(kx * x[i] + ky * y[i] + kz * z[i] + time * offset[i] + turns[i])
        transverse = decay(r2[i] * time32)
        real = mx[i] * transverse
        imag = my[i] * transverse
        mx[i] = real * cosine + imag * sine
        my[i] = imag * cosine - real * sine


@njit(cache=True, nogil=True)
@no_type_check
def recover(spins, first, last, time):
    """Let the longitudinal magnetisation recover for a time [s]."""
    mz, r1 = spins.mz[first:last], spins.r1[first:last]
    time32 = np.float32(time)
    for i in range(last - first):
        mz[i] = _ONE - (_ONE - mz[i]) * decay(r1[i] * time32)


@njit(cache=True, nogil=True)
@no_type_check
def apply_maps(spins, first, last, maps, turns):
    """Apply one affine map per spin, between rotations about z by ``turns`` [cycles] in and out."""
    mx, my, mz = spins.mx[first:last], spins.my[first:last], spins.mz[first:last]
    cos_in, sin_in = turn(turns[0])
    cos_out, sin_out = turn(turns[1])
    for i in range(last - first):
        a = mx[i] * cos_in - my[i] * sin_in
        b = mx[i] * sin_in + my[i] * cos_in
        c = mz[i]
        x = maps[0, i] * a + maps[1, i] * b + maps[2, i] * c + maps[9, i]
        y = maps[3, i] * a + maps[4, i] * b + maps[5, i] * c + maps[10, i]
        mz[i] = maps[6, i] * a + maps[7, i] * b + maps[8, i] * c + maps[11, i]
        mx[i] = x * cos_out + y * sin_out
        my[i] = y * cos_out - x * sin_out


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
@no_type_check
def largest_transverse(spins, first, last):
    """Largest transverse magnetisation of the run."""
    mx, my = spins.mx[first:last], spins.my[first:last]
    largest = np.float32(0.0)
    for i in range(last - first):
        largest = max(largest, mx[i] * mx[i] + my[i] * my[i])
    return np.sqrt(largest)
