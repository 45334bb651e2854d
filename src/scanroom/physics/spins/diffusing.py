"""How diffusion dims orders of dephasing: each by the b-matrix of its own course.

An order of moment k(t) loses exp(-sum over i, j of B_ij D_ij), with B the integral of
(2 pi)^2 k k' over time, transverse or longitudinal. Between events k is what it was plus the moment
of the gradients since, so B follows from the moment, its integral and the integral of its products,
which the programme knows (`Program.dephasing`).

References
----------
E. O. Stejskal, J. E. Tanner, J. Chem. Phys. 42, 288 (1965), doi:10.1063/1.1695690;
M. Weigel, S. Schwenk, V. G. Kiselev, K. Scheffler, J. Hennig, J. Magn. Reson. 205, 276 (2010),
doi:10.1016/j.jmr.2010.05.011 (the same for configurations).
"""

import math
from typing import no_type_check

import numpy as np
from numba import njit

from scanroom.physics.spins.configurations import DEPHASING, MOMENT, RECOVERED, TIME
from scanroom.physics.spins.trig import decay

_FOUR_PI2 = 4.0 * math.pi**2
# Rows and columns of the products xx, yy, zz, xy, xz, yz.
_ROWS, _COLUMNS = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)
# Times diffusion, what is below this dims nothing that single precision could tell.
_NOTHING = 1e-8
_F, _Z = 0, 1


@njit(cache=True, nogil=True)
@no_type_check
def since_clock(clock, time, dephasing, course):
    """Write integrals of the moment since the run's clock into ``course``.

    Its 10 numbers are the time [s], the integral of the moment [s/m] and those of its products
    [s/m2]; ``dephasing`` are the last nine since the start of the programme, at ``time``.
    """
    elapsed = time - clock[TIME]
    course[0] = elapsed
    for i in range(3):
        whole = dephasing[i] - clock[DEPHASING + i]
        course[1 + i] = whole - clock[MOMENT + i] * elapsed
    for at in range(6):
        i, j = _ROWS[at], _COLUMNS[at]
        a, b = clock[MOMENT + i], clock[MOMENT + j]
        whole = dephasing[3 + at] - clock[DEPHASING + 3 + at]
        first = a * course[1 + j] + b * course[1 + i]
        course[4 + at] = whole - first - a * b * elapsed


@njit(cache=True, nogil=True)
@no_type_check
def along_line(moment, time, course):
    """As `since_clock`, of a moment that grows evenly from nothing."""
    course[0] = time
    for i in range(3):
        course[1 + i] = moment[i] * time / 2.0
    for at in range(6):
        course[4 + at] = moment[_ROWS[at]] * moment[_COLUMNS[at]] * time / 3.0


@njit(cache=True, nogil=True)
@no_type_check
def weighting(key, course, out):
    """b-matrix [s/m2] of an order over a course: xx, yy, zz, 2 xy, 2 xz, 2 yz.

    Return its trace. A longitudinal order keeps its moment: its course holds the time only.
    """
    for at in range(6):
        i, j = _ROWS[at], _COLUMNS[at]
        total = key[i] * key[j] * course[0] + course[4 + at]
        total += key[i] * course[1 + j] + key[j] * course[1 + i]
        out[at] = _FOUR_PI2 * total * (1.0 if at < 3 else 2.0)
    return out[0] + out[1] + out[2]


@njit(cache=True, nogil=True)
@no_type_check
def thin(kept, diffusion, b, trace):
    """Multiply by what the b-matrix leaves, with a coefficient or a tensor for each box."""
    if len(diffusion) == 1:
        coefficient, much = diffusion[0], np.float32(trace)
        for i in range(kept.size):
            kept[i] *= decay(much * coefficient[i])
        return
    for i in range(kept.size):
        total = 0.0
        for at in range(6):
            total += b[at] * diffusion[at, i]
        kept[i] *= decay(np.float32(max(total, 0.0)))


@njit(cache=True, nogil=True)
@no_type_check
def _diffuse(work, length, diffused, course, since):
    """Dim every order of a run over a course; longitudinal ones over ``since`` [s].

    ``diffused`` are a row of coefficients [m2/s], or six (xx, yy, zz, xy, xz, yz), and the largest
    of them.
    """
    diffusion, most = diffused
    kept, kind, key, slot = work.kept, work.kind, work.key, work.slot
    bank, count = work.banks[work.tally[1]], diffusion.shape[1]
    b, still = np.empty(6), np.zeros(10)
    still[0] = since
    for at in range(work.tally[0]):
        if kind[at] == _F:
            trace = weighting(key[at], course, b)
        elif kind[at] == _Z:
            trace = weighting(key[at], still, b)
        else:
            continue
        if trace * most < _NOTHING:
            continue
        kept[:count] = np.float32(1.0)
        thin(kept[:count], diffusion, b, trace)
        place = slot[at] * 2 * length
        for part in range(2):
            row = bank[place + part * length : place + part * length + count]
            for i in range(count):
                row[i] *= kept[i]


@njit(cache=True, nogil=True)
@no_type_check
def diffuse_until(work, length, diffused, event):
    """Dim the orders of a run from its clock to an event: its time [s] and dephasing."""
    time, dephasing = event
    course = np.empty(10)
    since_clock(work.clock, time, dephasing, course)
    _diffuse(work, length, diffused, course, time - work.clock[RECOVERED])


@njit(cache=True, nogil=True)
@no_type_check
def diffuse_along(work, length, diffused, moment, time):
    """Dim the orders of a run while the moment grows evenly by ``moment`` [1/m] in ``time`` [s]."""
    course = np.empty(10)
    along_line(moment, time, course)
    _diffuse(work, length, diffused, course, time)


@njit(cache=True, nogil=True)
@no_type_check
def add_diffused(held, diffused, r2_prime, late, signal):
    """`configurations.add_seen` of what diffuses, dimmed as at the end of its course.

    ``held`` are the work and its length, ``diffused`` coefficients and the course since the clock.
    """
    work, length = held
    diffusion, course = diffused
    real, imag = signal[0], signal[1]
    real[:] = np.float32(0.0)
    imag[:] = np.float32(0.0)
    bank, slot, key, shares = work.banks[work.tally[1]], work.slot, work.key, work.share
    kept, count, b = work.kept, r2_prime.size, np.empty(6)
    for at in range(work.tally[0]):
        if shares[at] == 0.0:
            continue
        time = np.float32(abs(key[at, 3] + late))
        for i in range(count):
            kept[i] = np.float32(shares[at]) * decay(r2_prime[i] * time)
        thin(kept[:count], diffusion, b, weighting(key[at], course, b))
        place = slot[at] * 2 * length
        for i in range(count):
            real[i] += kept[i] * bank[place + i]
            imag[i] += kept[i] * bank[place + length + i]
