"""Choose one of a few candidates in every voxel so that neighbours agree."""

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float32, Int
from numba import njit

_PATIENCE = 5


class _Graph(NamedTuple):
    """Candidates of every voxel, their cost, how many are some, and who is beside whom."""

    value: np.ndarray
    cost: np.ndarray
    some: np.ndarray
    beside: np.ndarray


def chosen(
    value: Float32[np.ndarray, "voxel candidate"],
    cost: Float32[np.ndarray, "voxel candidate"],
    mask: Bool[np.ndarray, "z y x"],
    *,
    stiffness: float,
    n_rounds: int = 60,
) -> Int[np.ndarray, " voxel"]:
    """Candidate of every voxel of the mask (in its order) that makes the whole least costly.

    The whole costs the sum of all ``cost`` and of ``stiffness`` times the difference of ``value``
    between neighbours. Messages are passed along the rows and back, sequentially and reweighted by
    trees, which lowers a bound of the least cost; the best choice seen is kept. A cost that is
    infinite marks a candidate that is none; the first one always counts.

    References
    ----------
    V. Kolmogorov, IEEE Trans. Pattern Anal. Mach. Intell. 28, 1568 (2006),
    doi:10.1109/TPAMI.2006.200.
    """
    count = np.isfinite(cost).sum(axis=1)
    ordered = np.argsort(cost, axis=1, kind="stable")
    value = np.ascontiguousarray(np.take_along_axis(value, ordered, 1))
    cost = np.ascontiguousarray(np.take_along_axis(cost, ordered, 1))
    number = np.full(mask.shape, -1, np.int64)
    number[mask] = np.arange(len(value))
    graph = _Graph(value, cost, count, _neighbours(number, mask))
    message = np.zeros((len(value), 6, value.shape[1]), np.float32)
    label = np.zeros(len(value), np.int64)
    best, least, waited = label.copy(), np.inf, 0
    for _ in range(n_rounds):
        total = _round(graph, message, label, stiffness)
        waited += 1
        if total < least * (1 - 1e-7):
            best, least, waited = label.copy(), total, 0
        if waited >= _PATIENCE:
            break
    return np.asarray(np.take_along_axis(ordered, best[:, None], 1)[:, 0])


def _neighbours(
    number: Int[np.ndarray, "z y x"], mask: Bool[np.ndarray, "z y x"]
) -> Int[np.ndarray, "voxel side"]:
    """Numbers of the six neighbours, -1 where there is none: before in z, y, x, then after."""
    wide = np.pad(number, 1, constant_values=-1)
    sides = []
    for move in (-1, 1):
        for axis in range(3):
            core = [slice(1, -1)] * 3
            core[axis] = slice(1 + move, wide.shape[axis] - 1 + move)
            sides.append(wide[tuple(core)][mask])
    return np.stack(sides, axis=1)


@njit(cache=True, nogil=True)
@no_type_check
def _send(voxel, side, graph, belief, message, stiffness):
    """Message from a voxel to the one on a side: the least cost for each of its candidates."""
    value, count = graph.value, graph.some
    other, back = graph.beside[voxel, side], (side + 3) % 6
    least = np.inf
    for there in range(count[other]):
        best = np.inf
        for here in range(count[voxel]):
            step = abs(value[voxel, here] - value[other, there])
            now = belief[here] - message[voxel, side, here] + stiffness * step
            best = min(best, now)
        message[other, back, there] = best
        least = min(least, best)
    for there in range(count[other]):
        message[other, back, there] -= least


@njit(cache=True, nogil=True)
@no_type_check
def _round(graph, message, label, stiffness):
    """Messages forth and back; a choice made on the way forth, and what it costs."""
    count, beside = graph.some, graph.beside
    n, n_labels = graph.cost.shape
    belief = np.empty(n_labels)
    total = 0.0
    for turn in range(2):
        first = 3 * (1 - turn)
        for place in range(n):
            voxel = place if turn == 0 else n - 1 - place
            _believe(voxel, graph, message, belief)
            if turn == 0:
                total += _choose(voxel, graph, message, label, stiffness)
            ahead = np.sum(beside[voxel, first : first + 3] >= 0)
            behind = np.sum(beside[voxel, 3 - first : 6 - first] >= 0)
            for here in range(count[voxel]):
                belief[here] /= max(ahead, behind, 1)
            for side in range(first, first + 3):
                if beside[voxel, side] >= 0:
                    _send(voxel, side, graph, belief, message, stiffness)
    return total


@njit(cache=True, nogil=True)
@no_type_check
def _believe(voxel, graph, message, belief):
    """Cost of each candidate with what all neighbours say."""
    for here in range(graph.some[voxel]):
        belief[here] = graph.cost[voxel, here]
        for side in range(6):
            if graph.beside[voxel, side] >= 0:
                belief[here] += message[voxel, side, here]


@njit(cache=True, nogil=True)
@no_type_check
def _choose(voxel, graph, message, label, stiffness):
    """Fix a voxel's label given those before it; its own cost and that of the pairs behind."""
    value, cost, count, beside = graph.value, graph.cost, graph.some, graph.beside
    least, paid = np.inf, 0.0
    for here in range(count[voxel]):
        own = cost[voxel, here]
        for side in range(3):
            other = beside[voxel, side]
            if other >= 0:
                own += stiffness * abs(value[voxel, here] - value[other, label[other]])
        hope = own
        for side in range(3, 6):
            if beside[voxel, side] >= 0:
                hope += message[voxel, side, here]
        if hope < least:
            least, paid, label[voxel] = hope, own, here
    return paid
