"""Isochromats spread onto a grid of up to three coordinates, and summed plainly: the kernels.

The grid is twice as fine as the moments ask for; each isochromat goes to seven nodes per coordinate
with the kernel of `gridding`, one node wider.
"""

from concurrent.futures import Executor
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Float32, Int
from numba import njit

from scanroom.physics.spins.direct import sum_samples
from scanroom.physics.spins.trig import decay, turn
from scanroom.physics.spins.vector import COILS, LANES
from scanroom.physics.spins.vector_rows import ROW, add_row

# A. H. Barnett, J. Magland, L. af Klinteberg, SIAM J. Sci. Comput. 41, C479 (2019),
# doi:10.1137/18M120885X: width w, shape 2.30 w at twofold oversampling, error about 10^(1 - w).
_SHAPE = 2.30 * ROW
_DEGREE = 12
DIMENSIONS = 3
_STEP = 8
# Spins worked on at once: their values stay in the first-level cache.
_CHUNK = 256
# Spins laid out by one task.
_PART = 1 << 16


def kernel(place: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """What a node at this distance, in nodes, gets."""
    inside = np.maximum(1.0 - (2.0 * place / ROW) ** 2, 0.0)
    return np.asarray(np.exp(_SHAPE * (np.sqrt(inside) - 1.0)))


def kernel_at(frequency: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Fourier transform of the kernel, at cycles per node, by Gauss-Legendre quadrature."""
    place, weight = np.polynomial.legendre.leggauss(48)
    angle = 2 * np.pi * frequency[..., None] * (place * ROW / 2)
    return np.asarray(np.cos(angle) @ (kernel(place * ROW / 2) * weight * ROW / 2))


def _polynomials() -> Float32[np.ndarray, "power tap"]:
    """Fit the kernel at tap t for a spin that stands by -0.5 to 0.5 off the middle tap."""
    away = 0.5 * np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    table = np.zeros((_DEGREE + 1, _STEP), np.float32)
    for tap in range(ROW):
        values = kernel(tap - ROW // 2 - away)
        fit = np.polynomial.Polynomial.fit(away, values, _DEGREE, domain=[-1, 1])
        table[:, tap] = fit.coef
    return table


_TAPS = _polynomials()


class Spread(NamedTuple):
    """Spins of a shot in the order of their cells.

    ``cell`` is the first node; ``taps`` are the weights of the nodes by coordinate; ``still`` are
    the turns [cycles] that the middle moment makes. What follows is copied from the ensemble:
    transverse magnetisation and decay [1/s] (``state``), the rows of field coordinates that are not
    transformed, and the weights of all coils.
    """

    cell: np.ndarray
    taps: np.ndarray
    still: np.ndarray
    state: np.ndarray
    rows: np.ndarray
    weight: np.ndarray


@njit(cache=True, nogil=True)
@no_type_check
def find_cells(chosen, rows, scale, shape, place, cell):
    """Place of every spin on the grid, in nodes, and the number of its first node.

    ``rows`` are the field coordinates and the offset; place ``d`` is ``scale[d, 0]`` plus these
    times the rest of ``scale[d]``.
    """
    for at in range(chosen.size):
        number = 0
        for d in range(shape.size):
            total = scale[d, 0]
            for a in range(rows.shape[0]):
                if scale[d, 1 + a] != 0.0:
                    total += scale[d, 1 + a] * rows[a, chosen[at]]
            place[d, at] = total
            number = number * shape[d] + int(np.floor(total + 0.5)) - ROW // 2
        cell[at] = number


@njit(cache=True, nogil=True)
@no_type_check
def sorted_by_cell(cell, n_cells):
    """Order of the spins by cell, those of one cell as they come."""
    begin = np.zeros(n_cells + 1, np.int64)
    for at in range(cell.size):
        begin[cell[at] + 1] += 1
    for number in range(n_cells):
        begin[number + 1] += begin[number]
    order = np.empty(cell.size, np.int64)
    for at in range(cell.size):
        order[begin[cell[at]]] = at
        begin[cell[at]] += 1
    return order


@njit(cache=True, nogil=True)
@no_type_check
def _fill_taps(place, order, middle, polynomials, taps, still):
    """Weights of every spin's nodes, and the turns that ``middle`` [cycles per node] makes."""
    away, value = np.zeros(_CHUNK, np.float32), np.empty(_CHUNK, np.float32)
    still[:] = 0.0
    for low in range(0, order.size, _CHUNK):
        size = min(_CHUNK, order.size - low)
        for d in range(place.shape[0]):
            for i in range(size):
                here = place[d, order[low + i]]
                still[low + i] += middle[d] * here
                away[i] = np.float32(here - np.floor(here + 0.5))
            for tap in range(ROW):
                _evaluate(polynomials[:, tap], away, value)
                for i in range(size):
                    taps[low + i, d, tap] = value[i]


@njit(cache=True, nogil=True)
@no_type_check
def _evaluate(polynomial, at, out):
    """Polynomial of many numbers, lowest power first."""
    for i in range(_CHUNK):
        out[i] = polynomial[polynomial.size - 1]
    for power in range(polynomial.size - 2, -1, -1):
        share = polynomial[power]
        for i in range(_CHUNK):
            out[i] = out[i] * at[i] + share


@njit(cache=True, nogil=True)
@no_type_check
def _copy(spins, spin, used, out):
    """Copy state, rows and weights of these spins."""
    mx, my, r2, place, weight = spins
    state, rows, weights = out
    for i in range(spin.size):
        j = spin[i]
        state[0, i], state[1, i], state[2, i] = mx[j], my[j], r2[j]
        for column in range(weight.shape[1]):
            weights[i, column] = weight[j, column]
    for row in range(used.size):
        for i in range(spin.size):
            rows[row, i] = place[used[row], spin[i]]


def spread_of(
    spins: tuple[np.ndarray, ...],
    chosen: Int[np.ndarray, " chosen"],
    used: Int[np.ndarray, " used"],
    grid: tuple[np.ndarray, np.ndarray, np.ndarray],
    pool: Executor,
) -> Spread:
    """Find the cells of the chosen spins and their weights, and copy the spins in that order.

    ``spins`` are transverse magnetisation, decay, field coordinates and weights of all; ``used``
    the rows to be copied; ``grid`` its shape, ``scale`` (see `find_cells`) and ``middle``.
    """
    shape, scale, middle = grid
    count, n_dimensions = len(chosen), len(shape)
    place, cell = np.empty((n_dimensions, count)), np.empty(count, np.int64)
    parts = [slice(low, low + _PART) for low in range(0, count, _PART)]

    def find(part: slice) -> None:
        find_cells(chosen[part], spins[3], scale, shape, place[:, part], cell[part])

    list(pool.map(find, parts))
    order = sorted_by_cell(cell, int(np.prod(shape)))
    found = Spread(
        cell[order],
        np.empty((count, n_dimensions, _STEP), np.float32),
        np.empty(count),
        np.empty((3, count), np.float32),
        np.empty((len(used), count)),
        np.empty((count, spins[4].shape[1]), np.float32),
    )

    def fill(part: slice) -> None:
        _fill_taps(place, order[part], middle, _TAPS, found.taps[part], found.still[part])
        out = (found.state[:, part], found.rows[:, part], found.weight[part])
        _copy(spins, chosen[order[part]], used, out)

    list(pool.map(fill, parts))
    return found


@njit(cache=True, nogil=True)
@no_type_check
def spread_plane(spread, moment, time, block, shape, grid):
    """Add all spins, as they are at one instant, to ``grid[node, number]`` for 8 coils.

    ``moment`` is that of every row at the instant, ``block`` the first column of the coils.
    """
    count = spread.cell.size
    work = np.empty((2, _CHUNK), np.float32)
    turns, values = np.empty(_CHUNK), np.zeros((_CHUNK, LANES), np.float32)
    factors = np.empty(_CHUNK, np.float32)
    for low in range(0, count, _CHUNK):
        size = min(_CHUNK, count - low)
        turns[:size] = spread.still[low : low + size]
        for a in range(moment.size):
            row, much = spread.rows[a, low : low + size], moment[a]
            for i in range(size):
                turns[i] += much * row[i]
        _turned(spread.state, low, turns[:size], np.float32(time), work)
        _weighed(work, spread.weight[low : low + size, block : block + LANES], values)
        _add(spread, low, size, (values, factors), shape, grid)


@njit(cache=True, nogil=True)
@no_type_check
def _turned(state, low, turns, time, work):
    """Transverse magnetisation after so many turns and this time."""
    count = turns.size
    mx, my, r2 = (
        state[0, low : low + count],
        state[1, low : low + count],
        state[2, low : low + count],
    )
    real, imag = work[0], work[1]
    for i in range(count):
        cosine, sine = turn(turns[i])
        kept = decay(r2[i] * time)
        real[i] = (mx[i] * cosine + my[i] * sine) * kept
        imag[i] = (my[i] * cosine - mx[i] * sine) * kept


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
@no_type_check
def _weighed(work, weight, values):
    """What every spin gives to 8 coils."""
    for i in range(weight.shape[0]):
        real, imag = work[0, i], work[1, i]
        for coil in range(COILS):
            values[i, coil] = real * weight[i, coil] - imag * weight[i, COILS + coil]
        for coil in range(COILS):
            values[i, COILS + coil] = real * weight[i, COILS + coil] + imag * weight[i, coil]


@njit(cache=True, nogil=True)
@no_type_check
def _add(spread, low, size, room, shape, grid):
    """Add the values of a chunk, cell by cell and row by row."""
    values, factors = room[0].reshape(-1), room[1]
    flat, taps, dimensions = grid.reshape(-1), spread.taps.reshape(-1), shape.size
    step = dimensions * _STEP
    in_row = (dimensions - 1) * _STEP
    begin = 0
    while begin < size:
        end = begin + 1
        while end < size and spread.cell[low + end] == spread.cell[low + begin]:
            end += 1
        first = spread.cell[low + begin]
        inner = (taps, low * step + in_row, step)
        if dimensions == 1:
            for i in range(begin, end):
                factors[i] = np.float32(1.0)
            add_row((flat, first * LANES), values, inner, (factors, 0, 1), (begin, end))
        elif dimensions == 2:
            for row in range(ROW):
                node = (first + row * shape[1]) * LANES
                outer = (taps, low * step + row, step)
                add_row((flat, node), values, inner, outer, (begin, end))
        else:
            for outer in range(ROW):
                for row in range(ROW):
                    node = (first + (outer * shape[1] + row) * shape[2]) * LANES
                    for i in range(begin, end):
                        base = (low + i) * step
                        factors[i] = taps[base + outer] * taps[base + _STEP + row]
                    add_row((flat, node), values, inner, (factors, 0, 1), (begin, end))
        begin = end


@njit(cache=True, nogil=True)
@no_type_check
def sum_runs(spins, edge, runs, course, out):
    """Add runs of spins, sample by sample, to ``out[sample, column]``."""
    longest = 1
    for run in runs:
        longest = max(longest, edge[run + 1] - edge[run])
    weight = np.empty((spins.weight.shape[1], longest), np.float32)
    work = np.empty((2, longest), np.float32)
    for run in runs:
        first, last = edge[run], edge[run + 1]
        weight[:, : last - first] = spins.weight[first:last].T
        sum_samples(spins, first, last, course, weight, work, out)
