"""Readout under any waveform: every spin's phase at every sample."""

from typing import no_type_check

import numpy as np
from numba import njit

from scanroom.physics.spins.precession import add_further
from scanroom.physics.spins.trig import decay, turn
from scanroom.physics.spins.vector import COILS


@njit(cache=True, nogil=True)
@no_type_check
def _signal_at(spins, first, last, moment, time, work):
    """Transverse magnetisation of every spin at one moment [1/m] and time [s] from now."""
    add_further(spins, first, last, moment)
    mx, my = spins.mx[first:last], spins.my[first:last]
    x, y, z = spins.x[first:last], spins.y[first:last], spins.z[first:last]
    offset, r2, turns = spins.offset[first:last], spins.r2[first:last], spins.turns[first:last]
    real, imag = work[0], work[1]
    kx, ky, kz = moment[0], moment[1], moment[2]
    time32 = np.float32(time)
    for i in range(last - first):
        cosine, sine = turn(kx * x[i] + ky * y[i] + kz * z[i] + time * offset[i] + turns[i])
        kept = decay(r2[i] * time32)
        real[i] = (mx[i] * cosine + my[i] * sine) * kept
        imag[i] = (my[i] * cosine - mx[i] * sine) * kept


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
@no_type_check
def _weigh(work, weight, count, out):
    """Add the sum over spins, weighed by each coil."""
    real, imag = work[0], work[1]
    for block in range(0, weight.shape[0], 2 * COILS):
        for coil in range(block, block + COILS):
            a, b = weight[coil], weight[coil + COILS]
            total_real = np.float32(0.0)
            total_imag = np.float32(0.0)
            for i in range(count):
                total_real += real[i] * a[i] - imag[i] * b[i]
                total_imag += real[i] * b[i] + imag[i] * a[i]
            out[coil] += total_real
            out[coil + COILS] += total_imag


@njit(cache=True, nogil=True)
@no_type_check
def sum_samples(spins, first, last, course, weight, work, out):
    """Add every sample of a window to ``out[sample, column]``; ``weight[column, spin]``."""
    moments, times = course
    for sample in range(times.size):
        _signal_at(spins, first, last, moments[sample], times[sample], work)
        _weigh(work, weight, last - first, out[sample])
