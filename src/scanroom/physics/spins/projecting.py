"""The compiled sum over voxels: from nodes along the slice, offset and transmit field to images."""

import math
from typing import no_type_check

import numpy as np
from numba import njit, prange

_LEFT, _HERE, _RIGHT = 0, 1, 2


@njit(parallel=True, cache=True)
@no_type_check
def project(lists, voxels, table, factors, within, what, sums):
    """Sum every column of voxels into ``sums[column, pair, coil]``.

    ``lists`` are the order of the voxels, where columns begin, and of how many columns one is
    summed; ``what`` are the pairs of factor and course, the moment [1/m] across the slice, the
    height of a voxel [m] and the time [s] for which a slope of the field within it has turned.
    """
    order, edge, every = lists
    fields, weight, faint, kinds = voxels
    pairs, moment, height, time = what
    n_factors, n_courses = factors[0].shape[1], within[0].shape[2]
    for looked in prange(len(sums)):
        value = np.zeros(n_factors, np.complex64)
        course = np.zeros(n_courses, np.complex64)
        lines = np.zeros((2, 3))
        total = sums[looked]
        for position in range(edge[looked * every], edge[looked * every + 1]):
            voxel = order[position]
            one = (fields[voxel], faint[voxel], kinds[voxel])
            value[:] = 0
            if not _fill(one, table, factors, (moment, height, time), lines, value):
                continue
            _turn_on(one, within, course)
            for p in range(len(pairs)):
                both = value[pairs[p, 0]] * course[pairs[p, 1]]
                for coil in range(weight.shape[1]):
                    total[p, coil] += both * weight[voxel, coil]


@njit(cache=True)
@no_type_check
def _fill(one, table, factors, seen, lines, value):
    """Integrate the factors over the height of one voxel; False if there is nothing."""
    (offset, strength, low, high, slope), is_faint, _ = one
    _, first, step, shift, _, _ = table
    moment, height, time = seen
    f, b = (offset - first[1]) / step[1], (strength - first[2]) / step[2]
    nearest = (math.floor(f + 0.5), math.floor(b + 0.5))
    around = 0 if is_faint else 1
    _parabola(f - nearest[0], around, lines[0])
    _parabola(b - nearest[1], around, lines[1])
    begin = math.floor((low - first[0]) / step[0] + 0.5)
    end = math.floor((high - first[0]) / step[0] + 0.5)
    middle, stretch = 0.5 * (low + high), height / max(high - low, 1e-12)
    steep = moment + slope * time / height
    found = False
    for s in range(begin, end + 1):
        left = max(low, first[0] + (s - 0.5) * step[0])
        right = min(high, first[0] + (s + 0.5) * step[0])
        if right <= left:
            continue
        part = (right - left) / (high - low)
        away = (0.5 * (left + right) - middle) * stretch
        turns = moment * (middle - shift * offset) + steep * away
        size = part * _sinc(steep * part * height)
        angle = -2.0 * math.pi * turns
        phase = size * complex(math.cos(angle), math.sin(angle))
        if _add_nodes(one, table, factors, (s, nearest, around), lines, phase, value):
            found = True
    return found


@njit(cache=True)
@no_type_check
def _add_nodes(one, table, factors, where, lines, phase, value):
    """Add the nodes about one place, weighed by their parabolas; False if none is heard."""
    number, _, _, _, tissue, share = table
    right, heard = factors
    s, (f, b), around = where
    kind, found = one[2], False
    for k in range(tissue.shape[1]):
        mixed = share[kind, k]
        if mixed == 0.0:
            continue
        for i in range(-around, around + 1):
            for j in range(-around, around + 1):
                node = number[tissue[kind, k], s, f + i, b + j]
                if node < 0 or not heard[node]:
                    continue
                found = True
                much = np.complex64(phase * (mixed * lines[0, _HERE + i] * lines[1, _HERE + j]))
                for r in range(value.size):
                    value[r] += much * right[node, r]
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
def _sinc(turns):
    angle = math.pi * turns
    return math.sin(angle) / angle if abs(angle) > 1e-4 else 1.0 - angle * angle / 6.0
