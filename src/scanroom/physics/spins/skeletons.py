"""Samples that stand for all others: decay and small phases of a shot as a sum of few products."""

from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Complex128, Float, Float32, Int

# Samples among which is chosen, and spins to build or to try on.
_SAMPLES, _SPINS = 256, 192
# What may be left out of the spins built on, as a share of what is allowed: tried in turn.
_SHARES = (0.3, 0.1, 0.03, 0.003)
_MOST = 96


# Places of some spins, by row, and their decay [1/s].
Some = tuple[Float[np.ndarray, "spin row"], Float[np.ndarray, " spin"]]


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

    A pivoted QR factorisation chooses them (interpolative decomposition: H. Cheng, Z. Gimbutas,
    P. G. Martinsson, V. Rokhlin, SIAM J. Sci. Comput. 26, 1389 (2005), doi:10.1137/030602678),
    built on the first of ``spins`` and tried on the second, see `examples`; None if more than
    ``most`` are needed.
    """
    moment, time = course
    some, tried = spins
    chance = np.random.default_rng(len(time))
    looked = np.arange(len(time))
    if len(time) > _SAMPLES:
        looked = np.unique(np.append(chance.integers(0, len(time), _SAMPLES), [0, len(time) - 1]))
    rows = values(moment, time, *some)
    _, upper, order = scipy.linalg.qr(rows[looked].T, mode="economic", pivoting=True)
    size = np.abs(np.diag(upper)) / np.sqrt(len(some[1]))
    truth = values(moment[looked], time[looked], *tried)
    for share in _SHARES:
        count = max(1, int(np.count_nonzero(size > share * allowed)))
        if count > most:
            return None
        chosen = np.sort(looked[order[:count]])
        mixed = _mixed(rows, chosen)
        found = mixed[looked] @ values(moment[chosen], time[chosen], *tried)
        if np.abs(found - truth).max() <= allowed:
            return Skeleton(chosen, mixed)
    return None


def _mixed(
    rows: Complex128[np.ndarray, "sample spin"], chosen: Int[np.ndarray, " term"]
) -> Complex128[np.ndarray, "sample term"]:
    """Weights of the chosen rows that come closest to every row."""
    left, upper = scipy.linalg.qr(rows[chosen].T, mode="economic")
    return np.asarray(scipy.linalg.solve_triangular(upper, left.conj().T @ rows.T).T)


def examples(
    place: Float[np.ndarray, "row spin"], r2: Float32[np.ndarray, " spin"], seed: int = 0
) -> tuple[Some, Some]:
    """Spins to build on and spins to try the result on, among both the outermost."""
    ends = [(row.argmin(), row.argmax()) for row in (*place, r2)]
    chance = np.random.default_rng(seed)
    drawn = chance.integers(0, len(r2), (2, _SPINS))
    first, last = (np.concatenate([np.ravel(ends), some]) for some in drawn)
    return _some(place, r2, first), _some(place, r2, last)


def _some(
    place: Float[np.ndarray, "row spin"],
    r2: Float32[np.ndarray, " spin"],
    which: Int[np.ndarray, " chosen"],
) -> Some:
    return np.ascontiguousarray(place[:, which].T), r2[which].astype(np.float64)
