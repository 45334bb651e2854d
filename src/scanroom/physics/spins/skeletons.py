"""Samples that stand for all others: decay and small phases of a shot as a sum of few products."""

from typing import NamedTuple, no_type_check

import numpy as np
import scipy.linalg
from jaxtyping import Complex128, Float, Float32, Int
from numba import njit

# Samples among which is chosen, and at which is tried, twice as many; spins built and tried on.
_SAMPLES, _CHECKED = 160, 24
_SPINS, _TRIED = 128, 2048
# Spins that join when they come out too badly.
_ADDED = 48
# Spins at even distances, of every row, out of these.
_EVEN, _POOL = 24, 4096
# Largest error of a single spin beside the mean.
_SINGLE = 10.0
# What may be left out of the spins built on, as a share of what is allowed: tried in turn.
_SHARES = (0.3, 0.1, 0.03, 0.003)
_MOST = 96


# Places of some spins, by row, and their decay [1/s].
Some = tuple[Float[np.ndarray, "_ row"], Float[np.ndarray, " _"]]


class Skeleton(NamedTuple):
    """``value(sample, spin)`` is about ``mixed[sample] @ value(chosen, spin)`` for every spin."""

    chosen: Int[np.ndarray, " term"]
    mixed: Complex128[np.ndarray, "sample term"]


def values(
    moment: Float[np.ndarray, "sample row"],
    time: Float[np.ndarray, " sample"],
    place: Float[np.ndarray, "spin row"],
    r2: Float[np.ndarray, " spin"],
) -> Complex128[np.ndarray, "sample spin"]:
    """exp(-i 2 pi moment . place - r2 time)."""
    return np.asarray(np.exp(-2j * np.pi * (moment @ place.T) - np.outer(time, r2)))


def skeleton(
    course: tuple[Float[np.ndarray, "sample row"], Float[np.ndarray, " sample"]],
    spins: tuple[Some, Some],
    allowed: float,
    most: int = _MOST,
) -> Skeleton | None:
    """Find samples from which all others follow, within ``allowed`` of the value at time zero.

    Gram and Schmidt's method with pivots chooses them (interpolative decomposition: H. Cheng,
    Z. Gimbutas, P. G. Martinsson, V. Rokhlin, SIAM J. Sci. Comput. 26, 1389 (2005),
    doi:10.1137/030602678), built on the first of ``spins`` and tried on the second, see `examples`:
    the root of the mean square over spins must be within ``allowed`` at every sample tried, and
    each spin within `_SINGLE` times that; else the worst join those built on, and less is left out.
    None if more than ``most`` samples are needed.
    """
    moment, time = course
    some, tried = spins
    chance = np.random.default_rng(len(time))
    looked = _scattered(len(time), _SAMPLES, chance)
    checked = _scattered(len(time), _CHECKED, chance)
    truth = values(moment[checked], time[checked], *tried)
    rows = values(moment, time, *some)
    for share in _SHARES:
        order, _ = _pivots(rows[looked], share * allowed, most + 1)
        if len(order) > most:
            return None
        chosen = np.sort(looked[order])
        mixed = _mixed(rows, chosen)
        found = mixed[checked] @ values(moment[chosen], time[chosen], *tried)
        square = np.square(np.abs(found - truth))
        if max(square.mean(axis=1).max(), square.max() / _SINGLE**2) <= allowed**2:
            return Skeleton(chosen, mixed)
        worst = np.argsort(-square.max(axis=0), kind="stable")[:_ADDED]
        rows = np.hstack([rows, values(moment, time, *(part[worst] for part in tried))])
    return None


@njit(cache=True)
@no_type_check
def _pivots(rows, least, most):
    """Rows chosen one after the other, each the furthest from what those before it span.

    Also that distance, the root of the mean square, of each; no more than ``most``, and none but
    the first closer than ``least``.
    """
    left = rows.copy()
    n_rows, n_columns = left.shape
    order, size = np.empty(most, np.int64), np.empty(most)
    for count in range(most):
        best, largest = 0, -1.0
        for row in range(n_rows):
            square = 0.0
            for k in range(n_columns):
                square += left[row, k].real ** 2 + left[row, k].imag ** 2
            if square > largest:
                best, largest = row, square
        far = np.sqrt(largest / n_columns)
        if far <= least and count > 0:
            return order[:count], size[:count]
        order[count], size[count] = best, far
        along = left[best] / np.sqrt(largest)
        for row in range(n_rows):
            share = 0j
            for k in range(n_columns):
                share += np.conj(along[k]) * left[row, k]
            for k in range(n_columns):
                left[row, k] -= share * along[k]
    return order, size


def _scattered(n_samples: int, count: int, chance: np.random.Generator) -> Int[np.ndarray, " some"]:
    """Some samples, one at random out of each part: even parts, and parts that end up short."""
    part = (np.arange(count) + chance.uniform(0, 1, (2, count))) / count
    place = np.concatenate([part[0], 0.5 - 0.5 * np.cos(np.pi * part[1]), [0.0, 1.0]])
    return np.unique(np.minimum((place * n_samples).astype(np.int64), n_samples - 1))


def _mixed(
    rows: Complex128[np.ndarray, "sample spin"], chosen: Int[np.ndarray, " term"]
) -> Complex128[np.ndarray, "sample term"]:
    """Weights of the chosen rows that come closest to every row."""
    left, upper = scipy.linalg.qr(rows[chosen].T, mode="economic")
    return np.asarray(scipy.linalg.solve_triangular(upper, left.conj().T @ rows.T).T)


def examples(
    place: Float[np.ndarray, "row spin"], r2: Float32[np.ndarray, " spin"], seed: int = 0
) -> tuple[Some, Some]:
    """Spins to build on and spins to try the result on.

    Both hold the outermost, some at even distances and some at random; more are tried.
    """
    rows = (*place, r2)
    ends = np.ravel([(row.argmin(), row.argmax()) for row in rows])
    chance = np.random.default_rng(seed)
    sets = []
    for n_drawn in (_SPINS, _TRIED):
        pool = chance.integers(0, len(r2), _POOL)
        even = [np.argsort(row[pool])[_even(np.sort(row[pool]))] for row in rows]
        which = np.concatenate([ends, pool[:n_drawn], *(pool[places] for places in even)])
        sets.append(_some(place, r2, which))
    return sets[0], sets[1]


def _even(ranked: Float[np.ndarray, " spin"]) -> Int[np.ndarray, " some"]:
    """Where to find values at even distances."""
    wanted = np.linspace(ranked[0], ranked[-1], _EVEN)
    return np.minimum(np.searchsorted(ranked, wanted), len(ranked) - 1)


def _some(
    place: Float[np.ndarray, "row spin"],
    r2: Float32[np.ndarray, " spin"],
    which: Int[np.ndarray, " chosen"],
) -> Some:
    return np.ascontiguousarray(place[:, which].T), r2[which].astype(np.float64)
