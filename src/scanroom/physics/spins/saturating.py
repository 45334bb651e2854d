"""What pulses do to two pools that exchange: they turn the free one and saturate the bound one.

A pulse of b [Hz] saturates the bound pool at the rate W = pi (2 pi b)^2 g, g its line at the
pulse's frequency. It is cut in short parts. Within one, relaxation and exchange enter by the first
Magnus term in the frame that turns with the free pool (`rotations`): with u(t) the direction that
the part, up to t, turns onto z, the free pool gives the bound one kr times the mean of u along
itself and takes kf times that mean. Half of the part's saturation comes before, half after. The
product of all parts is one affine map of (x, y, z, bound z). A pulse that turns nobody only
saturates, at the middle of pieces of it, between which the pools exchange freely.

References
----------
S. J. Graham, R. M. Henkelman, J. Magn. Reson. Imaging 7, 903 (1997), doi:10.1002/jmri.1880070520.
"""

import math
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from scanroom.physics.lineshape import absorption
from scanroom.physics.spins.pools import BOUND, R1, T2, TO_BOUND, TO_FREE, recover_coupled
from scanroom.physics.spins.precession import along
from scanroom.physics.spins.rotations import turn_of

# Terms of the series of an exponential, exact to 2e-9 where rows sum up to less than this.
_TERMS, _SMALL = 5, 0.1


class Pieces(NamedTuple):
    """Pulses cut in pieces: those of a kind lie between two edges.

    ``duration`` [s]; ``power`` [1/s] is W times the duration at unit transmit field and unit line
    (1 s); ``gradient`` [Hz/m] and ``frequency`` [Hz] are means over the piece; ``shim`` is the
    column of the transmit field.
    """

    edge: np.ndarray
    duration: np.ndarray
    power: np.ndarray
    gradient: np.ndarray
    frequency: np.ndarray
    shim: np.ndarray


class Saturation(NamedTuple):
    """All that pulses do to bound pools.

    ``parts`` are laid out for the kernels in ``pulses`` too, ``coarse`` pieces serve pulses that
    turn nobody. ``acts[run, kind]`` says that a kind of pulse saturates somebody of a run. ``line``
    is `lineshape.line_table`.
    """

    parts: Pieces
    pulses: tuple[np.ndarray, ...]
    coarse: Pieces
    acts: np.ndarray
    line: np.ndarray


@njit(cache=True, nogil=True)
@no_type_check
def saturated(spins, j, pieces, piece, line):
    """W times the duration of a piece, at one spin."""
    offset = along(spins, pieces.gradient[piece], j) + spins.offset[j] - pieces.frequency[piece]
    absorbed = absorption(line, offset, spins.bound[T2, j])
    return pieces.power[piece] * spins.transmit[j, pieces.shim[piece]] ** 2 * absorbed


@njit(cache=True, nogil=True)
@no_type_check
def mark_saturated(spins, edge, saturation, least):
    """Note which kinds of pulses saturate anybody of a run by more than ``least``."""
    coarse, acts = saturation.coarse, saturation.acts
    for run in range(acts.shape[0]):
        for kind in range(acts.shape[1]):
            for j in range(edge[run], edge[run + 1]):
                total = 0.0
                if spins.bound[TO_BOUND, j] > 0.0:
                    for piece in range(coarse.edge[kind], coarse.edge[kind + 1]):
                        total += saturated(spins, j, coarse, piece, saturation.line)
                if total > least:
                    acts[run, kind] = 1
                    break


@njit(cache=True, nogil=True)
@no_type_check
def _generator(entry, rates, duration, out):
    """Relaxation and exchange during a part, averaged over its turns: rows of x, y, z, bound z.

    ``rates`` are R1 and R2 of the free pool, kf, kr and R1 of the bound pool [1/s]; the fifth
    column is what equilibrium adds. Return the largest sum of a row's sizes.
    """
    r1, r2, to_bound, to_free, bound = rates
    apart = (r1 + to_bound - r2) * duration
    out[0, 0], out[1, 1] = -entry[4] * apart, -entry[5] * apart
    out[2, 2] = -(1.0 - entry[4] - entry[5]) * apart
    out[0, 1] = out[1, 0] = -entry[6] * apart
    out[0, 2] = out[2, 0] = -entry[7] * apart
    out[1, 2] = out[2, 1] = -entry[8] * apart
    for i in range(3):
        out[i, i] -= r2 * duration
        out[i, 3] = to_bound * duration * entry[9 + i]
        out[3, i] = to_free * duration * entry[9 + i]
        out[i, 4] = r1 * duration * entry[9 + i]
    out[3, 3] = -(to_free + bound) * duration
    out[3, 4] = bound * duration
    largest = 0.0
    for i in range(4):
        total = 0.0
        for j in range(4):
            total += abs(out[i, j])
        largest = max(largest, total)
    return largest


@njit(cache=True, nogil=True)
@no_type_check
def _follow(matrix, largest, product):
    """Multiply a product by the exponential of an affine matrix: its series, in few steps."""
    steps = max(1, math.ceil(largest / _SMALL))
    for column in range(5):
        added = 1.0 if column == 4 else 0.0
        for _ in range(steps):
            x, y, z, b = (
                product[0, column],
                product[1, column],
                product[2, column],
                product[3, column],
            )
            for power in range(_TERMS, 0, -1):
                for row in range(4):
                    more = matrix[row, 0] * x + matrix[row, 1] * y + matrix[row, 2] * z
                    matrix[row, 5] = more + matrix[row, 3] * b + matrix[row, 4] * added
                scale = 1.0 / (power * steps)
                x = product[0, column] + scale * matrix[0, 5]
                y = product[1, column] + scale * matrix[1, 5]
                z = product[2, column] + scale * matrix[2, 5]
                b = product[3, column] + scale * matrix[3, 5]
            product[0, column], product[1, column] = x, y
            product[2, column], product[3, column] = z, b


@njit(cache=True, nogil=True)
@no_type_check
def start_products(products):
    """Begin with what leaves everything as it is."""
    products[:] = 0.0
    for row in range(4):
        products[:, row, row] = 1.0


@njit(cache=True, nogil=True)
@no_type_check
def add_part(spins, j, saturation, part, entry, room):
    """Multiply the product of one spin by a part of a pulse, given by its table's ``entry``.

    ``room`` are the product and places to work: 4 x 6 and 3 x 3 numbers.
    """
    product, matrix, rotation = room
    parts, bound = saturation.parts, spins.bound
    duration = parts.duration[part]
    kept = math.exp(-saturated(spins, j, parts, part, saturation.line) / 2.0)
    rates = (
        float(spins.r1[j]),
        float(spins.r2[j]),
        float(bound[TO_BOUND, j]),
        float(bound[TO_FREE, j]),
        float(bound[R1, j]),
    )
    largest = _generator(entry, rates, duration, matrix)
    for column in range(5):
        product[3, column] *= kept
    _follow(matrix, largest, product)
    turn_of(entry, rotation)
    for column in range(5):
        x, y, z = product[0, column], product[1, column], product[2, column]
        for row in range(3):
            product[row, column] = (
                rotation[row, 0] * x + rotation[row, 1] * y + rotation[row, 2] * z
            )
        product[3, column] *= kept


@njit(cache=True, nogil=True)
@no_type_check
def write_products(spins, run, shim, products, maps):
    """Write the products as the maps of `pools.apply_coupled`, transmit phases and all.

    ``run`` is where it begins and ends. What exchanges nothing keeps the map of its free pool.
    """
    first, last = run
    for i in range(last - first):
        if spins.bound[TO_BOUND, first + i] == 0.0:
            for row in range(12, 20):
                maps[row, i] = 0.0
            maps[18, i] = 1.0
            continue
        product = products[i]
        angle = 2.0 * math.pi * spins.transmit_turn[first + i, shim]
        c, s = math.cos(angle), math.sin(angle)
        for row in range(4):
            x, y = product[row, 0], product[row, 1]
            product[row, 0], product[row, 1] = x * c - y * s, x * s + y * c
        for column in range(5):
            x, y = product[0, column], product[1, column]
            product[0, column], product[1, column] = x * c - y * s, x * s + y * c
        for row in range(3):
            for k in range(3):
                maps[3 * row + k, i] = product[row, k]
            maps[9 + row, i] = product[row, 4]
            maps[12 + row, i] = product[row, 3]
            maps[15 + row, i] = product[3, row]
        maps[18, i], maps[19, i] = product[3, 3], product[3, 4]


@njit(cache=True, nogil=True)
@no_type_check
def left_over(spins, first, last, saturation, piece, out):
    """What a coarse piece leaves of the bound magnetisation of each spin."""
    for i in range(last - first):
        j = first + i
        if spins.bound[TO_BOUND, j] > 0.0:
            out[i] = math.exp(-saturated(spins, j, saturation.coarse, piece, saturation.line))
        else:
            out[i] = 1.0


@njit(cache=True, nogil=True)
@no_type_check
def saturate(spins, first, last, saturation, kind, times):
    """Saturate a run by a pulse that turns nobody of it; return when it last recovered.

    ``times`` are when the pulse begins and when the run last recovered.
    """
    now, recovered = times
    coarse, bound = saturation.coarse, spins.bound[BOUND, first:last]
    left = np.empty(last - first)
    for piece in range(coarse.edge[kind], coarse.edge[kind + 1]):
        middle = now + coarse.duration[piece] / 2.0
        recover_coupled(spins, first, last, middle - recovered)
        left_over(spins, first, last, saturation, piece, left)
        for i in range(last - first):
            bound[i] *= left[i]
        recovered = middle
        now += coarse.duration[piece]
    return recovered
