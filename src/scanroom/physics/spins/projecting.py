"""The compiled sum over voxels: from nodes along the slice, offset and transmit field to images."""

import math
from typing import no_type_check

import numpy as np
from numba import njit, prange

_LEFT, _HERE, _RIGHT = 0, 1, 2
# Distance of Gauss's two points, of the interval.
_GAUSS = 1.0 / math.sqrt(3.0)
# Pieces of an interval for each turn of the phase in it.
_PIECES = 6.0


# Complex numbers are kept as all real parts, then all imaginary ones: so that loops over factors
# and coils become vector instructions.


@njit(parallel=True, cache=True)
@no_type_check
def project(lists, voxels, table, factors, within, what, sums):
    """Sum every column of voxels into ``sums[column, pair, coil]``.

    ``lists`` are the order of the voxels, where columns begin, and of how many columns one is
    summed; ``factors`` their values by node, whether a node has any, and between which places along
    the slice those stand; ``what`` are the pairs of factor and course, the moment [1/m] across the
    slice, the height of a voxel [m] and the time [s] for which slopes of the field within it have
    turned. Coils and factors hold real parts, then imaginary ones.
    """
    order, edge, every = lists
    fields, weight, faint, kinds = voxels
    pairs, moment, height, time = what
    n_factors, n_courses = factors[0].shape[1] // 2, within[0].shape[2]
    n_coils, flat = weight.shape[1] // 2, weight.reshape(-1)
    longest = 6 + math.ceil(np.max(fields[:, 3] - fields[:, 2]) / table[2][0])
    for looked in prange(len(sums)):
        value = np.zeros(2 * n_factors, np.float32)
        course = np.zeros(n_courses, np.complex64)
        lines = np.zeros((2, 3))
        along = np.zeros(longest, np.complex128)
        total = np.zeros((len(pairs), 2 * n_coils), np.float32)
        for position in range(edge[looked * every], edge[looked * every + 1]):
            voxel = order[position]
            if fields[voxel, 3] < factors[2] or fields[voxel, 2] > factors[3]:
                continue
            one = (fields[voxel, :5], faint[voxel], kinds[voxel])
            value[:] = np.float32(0.0)
            if not _fill(one, table, factors, (moment, height, time), (lines, along), value):
                continue
            _turn_on(one, within, course)
            dim = np.float32(_sinc(fields[voxel, 5] * time) * _sinc(fields[voxel, 6] * time))
            base = voxel * 2 * n_coils
            for p in range(len(pairs)):
                r = pairs[p, 0]
                both = complex(value[r], value[n_factors + r]) * course[pairs[p, 1]]
                a, b = dim * np.float32(both.real), dim * np.float32(both.imag)
                for c in range(n_coils):
                    total[p, c] += a * flat[base + c] - b * flat[base + n_coils + c]
                for c in range(n_coils):
                    total[p, n_coils + c] += a * flat[base + n_coils + c] + b * flat[base + c]
        for p in range(len(pairs)):
            for c in range(n_coils):
                sums[looked, p, c] = complex(total[p, c], total[p, n_coils + c])


@njit(inline="always")
@no_type_check
def _sinc(turns):
    """Mean of exp(-i 2 pi turns s) over -1/2 < s < 1/2."""
    angle = math.pi * turns
    return math.sin(angle) / angle if abs(angle) > 1e-4 else 1.0 - angle * angle / 6.0


@njit(parallel=True, cache=True)
@no_type_check
def accumulate(total, values, left, along):
    """Add ``values[coil, row, sample]`` to ``total``, weighed by row and by sample."""
    for row in prange(total.shape[0]):
        for coil in range(total.shape[1]):
            for t in range(total.shape[2]):
                total[row, coil, t] += left[row] * along[t] * values[coil, row, t]


@njit(cache=True)
@no_type_check
def _fill(one, table, factors, seen, room, value):
    """Integrate the factors over one voxel; False if nothing is there.

    Along the slice they are cubic between nodes; two of Gauss's points stand for each piece of an
    interval, in which the phase turns by less than a sixth.
    """
    (offset, strength, low, high, slope), is_faint, _ = one
    _, first, step, shift, _, _ = table
    moment, height, time = seen
    lines, along = room
    f, b = (offset - first[1]) / step[1], (strength - first[2]) / step[2]
    around = 0 if is_faint else 1
    nearest = (math.floor(f + 0.5 - 0.5 * around), math.floor(b + 0.5))
    above = (f - nearest[0]) * around
    lines[0, 0], lines[0, 1] = 1.0 - above, above
    _parabola(b - nearest[1], around, lines[1])
    begin = math.floor((low - first[0]) / step[0])
    end = math.floor((high - first[0]) / step[0])
    middle, stretch = 0.5 * (low + high), height / max(high - low, 1e-12)
    steep = moment + slope * time / height
    along[: end - begin + 4] = 0
    for s in range(begin, end + 1):
        left, right = max(low, first[0] + s * step[0]), min(high, first[0] + (s + 1) * step[0])
        if right <= left:
            continue
        pieces = 1 + math.floor(_PIECES * abs(steep) * (right - left) * stretch)
        length = (right - left) / pieces
        for point in range(2 * pieces):
            place = left + length * (point // 2 + 0.5 + (point % 2 - 0.5) * _GAUSS)
            away = (place - middle) * stretch
            angle = -2.0 * math.pi * (moment * (middle - shift * offset) + steep * away)
            part = 0.5 * length / (high - low)
            much = part * complex(math.cos(angle), math.sin(angle))
            _cubic((place - first[0]) / step[0] - s, much, along[s - begin : s - begin + 4])
    found = False
    for s in range(begin - 1, end + 3):
        weight = along[s - begin + 1]
        if weight == 0.0:
            continue
        if _add_nodes(one, table, factors, (s, nearest, around), lines, weight, value):
            found = True
    return found


@njit(cache=True)
@no_type_check
def _add_nodes(one, table, factors, where, lines, weight, value):
    """Add the nodes about one place, by line and parabola; False if none is heard."""
    number, _, _, _, tissue, share = table
    right, heard = factors[0].reshape(-1), factors[1]
    s, (f, b), around = where
    kind, found, half = one[2], False, value.size // 2
    for k in range(tissue.shape[1]):
        mixed = share[kind, k]
        if mixed == 0.0:
            continue
        for i in range(around + 1):
            for j in range(-around, around + 1):
                node = number[tissue[kind, k], s, f + i, b + j]
                if node < 0 or not heard[node]:
                    continue
                found = True
                much = weight * (mixed * lines[0, i] * lines[1, _HERE + j])
                x, y = np.float32(much.real), np.float32(much.imag)
                base = node * 2 * half
                for r in range(half):
                    value[r] += x * right[base + r] - y * right[base + half + r]
                for r in range(half):
                    value[half + r] += x * right[base + half + r] + y * right[base + r]
    return found


@njit(cache=True)
@no_type_check
def _turn_on(one, within, course):
    """The courses of one voxel, with the phase its offset has gained when the window opens."""
    offset, kind = one[0][0], one[2]
    late, opening, first, step = within
    at = (offset - first) / step
    row = math.floor(at)
    above = np.float32(at - row)
    angle = -2.0 * math.pi * offset * opening
    turned = np.complex64(complex(math.cos(angle), math.sin(angle)))
    for c in range(course.size):
        mean = (np.float32(1.0) - above) * late[kind, row, c] + above * late[kind, row + 1, c]
        course[c] = turned * mean


@njit(inline="always")
@no_type_check
def _parabola(away, around, out):
    """Weights of the nodes at -1, 0 and 1; of the middle one alone with ``around`` 0."""
    if around == 0:
        out[_LEFT], out[_HERE], out[_RIGHT] = 0.0, 1.0, 0.0
        return
    out[_LEFT] = 0.5 * away * (away - 1.0)
    out[_HERE] = 1.0 - away * away
    out[_RIGHT] = 0.5 * away * (away + 1.0)


@njit(inline="always")
@no_type_check
def _cubic(above, much, out):
    """Share ``much`` out to the nodes at -1, 0, 1 and 2, as Lagrange's cubic does."""
    below, before, beyond = 1.0 - above, 1.0 + above, 2.0 - above
    out[0] -= much * (above * below * beyond / 6.0)
    out[1] += much * (before * below * beyond / 2.0)
    out[2] += much * (before * above * beyond / 2.0)
    out[3] -= much * (before * above * below / 6.0)
