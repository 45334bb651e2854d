"""Phase without its jumps by whole turns, in space along the best paths and over echoes.

Neighbours are joined pair by pair, the surest pair first, until all that hang together share one
count of turns: the maximum spanning tree of the pairs' quality, whatever voxel one begins with.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit

from scanroom.core.errors import ProtocolError

TURN = 2 * np.pi
_BEST = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwrapped:
    """Phase [rad]; the region of each voxel (0 outside the mask); the surest of its joints, 0 to 1.

    Whole turns between two regions cannot be known: of each region the mean lies within half a
    turn of zero.
    """

    phase: Float[np.ndarray, "z y x"]
    region: Int[np.ndarray, "z y x"]
    quality: Float[np.ndarray, "z y x"]


def unwrap(
    phase: Float[np.ndarray, "z y x"],
    *,
    mask: Bool[np.ndarray, "z y x"],
    magnitude: Float[np.ndarray, "z y x"] | None = None,
    later: Float[np.ndarray, "z y x"] | None = None,
    ratio: float = 2.0,
) -> Unwrapped:
    """Unwrap in three dimensions; a single slice is a volume of one.

    The quality of a pair is the product of how little the phase steps, how alike its
    ``magnitude`` is, and how well the step of a ``later`` echo, whose time is ``ratio`` times as
    long, agrees with it. Outside the mask the phase comes back as it was.

    Raises
    ------
    ProtocolError
        If a phase inside the mask is not finite, or shapes differ.

    References
    ----------
    B. Dymerska et al., Magn. Reson. Med. 85, 2294 (2021), doi:10.1002/mrm.28563;
    H. S. Abdul-Rahman et al., Appl. Opt. 46, 6623 (2007), doi:10.1364/AO.46.006623.
    """
    given = [array for array in (phase, mask, magnitude, later) if array is not None]
    if len({array.shape for array in given}) > 1 or not np.isfinite(phase[mask]).all():
        raise ProtocolError(
            f"phase, mask and magnitude have shapes {[array.shape for array in given]} and "
            f"{int((~np.isfinite(phase[mask])).sum())} phases that are not finite; they must be "
            "alike and finite within the mask (scanroom.mri.maps.unwrapping). Correct the input."
        )
    plain = np.ascontiguousarray(np.where(mask, phase, 0.0), np.float64)
    size = np.ones_like(plain) if magnitude is None else np.where(mask, magnitude, 0.0)
    second = plain if later is None else np.where(mask, later, 0.0)
    quality = _qualities(
        plain,
        np.ascontiguousarray(size, np.float64),
        np.ascontiguousarray(second, np.float64),
        0.0 if later is None else float(ratio),
        np.ascontiguousarray(mask),
    )
    order = _sorted(quality.ravel())
    root, turns = _joined(plain.ravel(), order, np.array(plain.shape))
    region, turns = _settled(plain, mask, root.reshape(plain.shape), turns.reshape(plain.shape))
    best = quality.max(axis=0).astype(np.float32) / _BEST
    whole = np.where(mask, plain + TURN * turns, phase)
    return Unwrapped(phase=whole.astype(phase.dtype), region=region, quality=best)


def wrapped(phase: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Phase between minus and plus half a turn."""
    return np.asarray(phase - TURN * np.round(phase / TURN))


def unwrap_in_time(phase: Float[np.ndarray, "time *voxel"]) -> Float[np.ndarray, "time *voxel"]:
    """Steps from one image to the next below half a turn; the first image stays as it is."""
    steps = wrapped(np.diff(phase, axis=0))
    return np.concatenate([phase[:1], phase[:1] + np.cumsum(steps, axis=0)])


def unwrap_echoes(
    phase: Float[np.ndarray, "echo *voxel"],
    times: Float[np.ndarray, " echo"],
    rate: Float[np.ndarray, "*voxel"],
) -> Float[np.ndarray, "echo *voxel"]:
    """Whole turns of every echo from a ``rate`` [rad/s] that is roughly known.

    The first echo stays as it is; each later one comes nearest to what the one before foretells,
    so that the rate may err by half a turn over the longest spacing.
    """
    whole = [phase[0]]
    for before, now in zip(range(len(times) - 1), range(1, len(times)), strict=True):
        foretold = whole[-1] + rate * (times[now] - times[before])
        whole.append(foretold + wrapped(phase[now] - foretold))
    return np.stack(whole)


def _settled(
    phase: Float[np.ndarray, "z y x"],
    mask: Bool[np.ndarray, "z y x"],
    root: Int[np.ndarray, "z y x"],
    turns: Int[np.ndarray, "z y x"],
) -> tuple[Int[np.ndarray, "z y x"], Int[np.ndarray, "z y x"]]:
    """Number the regions by size, largest first, and bring each one's mean close to zero."""
    region = np.zeros(phase.shape, np.int32)
    _, inside, count = np.unique(root[mask], return_inverse=True, return_counts=True)
    rank = np.empty(len(count), np.int32)
    rank[np.argsort(-count, kind="stable")] = np.arange(1, len(count) + 1)
    region[mask] = rank[inside]
    total = np.bincount(inside, phase[mask] + TURN * turns[mask], minlength=len(count))
    too_many = np.round(total / np.maximum(count, 1) / TURN).astype(np.int64)
    settled = turns.copy()
    settled[mask] -= too_many[inside]
    return region, settled


@njit(cache=True, nogil=True)
@no_type_check
def _step(a, b):
    step = b - a
    return step - TURN * np.round(step / TURN)


@njit(cache=True, nogil=True)
@no_type_check
def _qualities(phase, size, later, ratio, mask):
    """Quality of the pair of each voxel and its next along z, y, x: 1 to 255, 0 is no pair."""
    nz, ny, nx = phase.shape
    quality = np.zeros((3, nz, ny, nx), np.uint8)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if not mask[z, y, x]:
                    continue
                for axis in range(3):
                    w, v, u = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                    if w == nz or v == ny or u == nx or not mask[w, v, u]:
                        continue
                    step = _step(phase[z, y, x], phase[w, v, u])
                    good = 1.0 - abs(step) / np.pi
                    if ratio > 0.0:
                        odd = abs(_step(later[z, y, x], later[w, v, u]) - ratio * step)
                        odd = abs(odd - TURN * np.round(odd / TURN))
                        good *= max(0.0, 1.0 - odd / np.pi)
                    a, b = size[z, y, x], size[w, v, u]
                    if a + b > 0.0:
                        alike = min(a, b) / max(a, b)
                        good *= alike * alike
                    quality[axis, z, y, x] = 1 + int(254.0 * good)
    return quality


@njit(cache=True, nogil=True)
@no_type_check
def _sorted(quality):
    """Pairs by falling quality, equal ones in their order; those that are none are left out."""
    count = np.zeros(257, np.int64)
    for value in quality:
        count[256 - value] += 1
    first = np.zeros(257, np.int64)
    for value in range(1, 257):
        first[value] = first[value - 1] + count[value - 1]
    order = np.empty(first[256], np.int64)
    for pair in range(len(quality)):
        value = quality[pair]
        if value > 0:
            order[first[256 - value]] = pair
            first[256 - value] += 1
    return order


@njit(cache=True, nogil=True)
@no_type_check
def _find(parent, turns, voxel):
    """Root of a voxel; on the way its turns become those against the root."""
    root, total = voxel, 0
    while parent[root] != root:
        total += turns[root]
        root = parent[root]
    while parent[voxel] != root and voxel != root:
        ahead, own = parent[voxel], turns[voxel]
        parent[voxel], turns[voxel] = root, total
        total -= own
        voxel = ahead
    return root


@njit(cache=True, nogil=True)
@no_type_check
def _joined(phase, order, shape):
    """Root of every voxel and its turns against it, pairs joined in the given order."""
    n = len(phase)
    parent = np.arange(n)
    turns = np.zeros(n, np.int64)
    size = np.ones(n, np.int64)
    stride = np.array([shape[1] * shape[2], shape[2], 1])
    for pair in order:
        a = pair % n
        b = a + stride[pair // n]
        root, other = _find(parent, turns, a), _find(parent, turns, b)
        if root == other:
            continue
        more = turns[a] - turns[b] - int(np.round((phase[b] - phase[a]) / TURN))
        if size[root] < size[other]:
            root, other, more = other, root, -more
        parent[other], turns[other] = root, more
        size[root] += size[other]
    for voxel in range(n):
        _find(parent, turns, voxel)
    return parent, turns
