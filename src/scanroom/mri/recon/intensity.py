"""Evens out the shading that coils leave on an image, from the image alone.

Tissue is bright or dark in steps, shading changes gently: so the differences between neighbouring
blocks of an image are those of the shading, but for few that straddle an edge. A polynomial whose
own differences have the least sum of absolute deviations from them passes over the edges, and needs
to know nothing of tissues, coils or the object. What it takes for shading may be any gentle change
of brightness, whatever made it: receiver, transmitter or the object itself. Evened images are for
looking at and for tests that ask for even brightness, not for comparing numbers across an object.

References
----------
U. Vovk, F. Pernus, B. Likar, IEEE Trans. Med. Imaging 26, 405 (2007),
doi:10.1109/TMI.2006.891486, a review; least absolute deviations by reweighting:
E. J. Schlossmacher, J. Am. Stat. Assoc. 68, 857 (1973), doi:10.1080/01621459.1973.10481436.
"""

import itertools
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped
from numpy.polynomial.legendre import legvander
from threadpoolctl import threadpool_limits

from scanroom.core.errors import ProtocolError
from scanroom.core.result import Result
from scanroom.core.units import Metre

INTENSITIES = ("received", "even")
# Total degree of the polynomial: bends as short as a third of the object, which coils make.
_DEGREE = 6
# A degree along an axis needs this many blocks.
_BLOCKS_PER_DEGREE = 3
_BLOCK: Metre = 4e-3
_MOST_BLOCKS = 60_000
# Part of the brightest region's magnitude above which a block belongs to the object.
_OBJECT = 0.2
_BRIGHTEST = 98
# Differences of the logarithm: larger ones are edges, and how exactly smaller ones are told apart.
_EDGE, _SMALL = 0.25, 0.01
_ROUNDS = 20
# What the field may be beyond where the object showed it: its own extremes, but for outliers.
_OUTLIERS = 0.5
_RIDGE = 1e-6

Volume = Float[np.ndarray, "z y x"]
Bases = tuple[Float[np.ndarray, "_ _"], ...]


def checked(intensity: str) -> str:
    """Return the name of a way to treat intensity, or refuse it."""
    if intensity not in INTENSITIES:
        raise ProtocolError(
            f"intensity is {intensity!r}; it may be {' or '.join(INTENSITIES)} "
            "(scanroom.mri.recon). Choose one of them."
        )
    return intensity


def evened(result: Result) -> Result:
    """Divide an image by its shading; what it was in units of the noise stays in its provenance."""
    spacing = np.linalg.norm(result.affine[:3, :3], axis=0)
    field = shading(result.array, spacing)
    step = f"intensity evened: {field.min():.3g} to {field.max():.3g} of the median divided out"
    past = {
        **result.provenance,
        "received": {"unit": result.unit, **levels(result.array)},
        "steps": (*result.provenance["steps"], step),
    }
    return replace(result, array=result.array / field, unit="a.u.", provenance=past)


def levels(array: Shaped[np.ndarray, "..."]) -> dict[str, float]:
    """Figures of an image that need no truth: its brightest regions and its middle."""
    values = np.abs(array[np.isfinite(array)])
    return {
        "99th percentile": float(np.percentile(values, 99)) if values.size else 0.0,
        "median": float(np.median(values)) if values.size else 0.0,
    }


def shading(
    volume: Shaped[np.ndarray, "z y x"], spacing: Float[np.ndarray, " 3"]
) -> Float32[np.ndarray, "z y x"]:
    """Estimate the shading of an image whose voxels lie ``spacing`` (x, y, z) [m] apart.

    Its median over the object is one: dividing by it keeps the overall brightness. An image
    without an object has none.
    """
    magnitude = np.abs(volume).astype(np.float64)
    sizes = _block_sizes(magnitude, spacing[::-1])
    blocks = _means(magnitude, sizes)
    inside = blocks > _OBJECT * np.percentile(blocks, _BRIGHTEST)
    if not inside.any():
        return np.ones(volume.shape, np.float32)
    ends = _ends(inside, sizes)
    degrees = [
        min(_DEGREE, int(inside.any(axis=_others(axis)).sum()) // _BLOCKS_PER_DEGREE)
        for axis in range(3)
    ]
    if not any(degrees):
        return np.ones(volume.shape, np.float32)
    terms = [
        term
        for term in itertools.product(*(range(n + 1) for n in degrees))
        if 0 < sum(term) <= _DEGREE
    ]
    centres = [
        n * np.arange(count) + (n - 1) / 2 for n, count in zip(sizes, blocks.shape, strict=True)
    ]
    at_blocks = _bases(centres, ends, degrees)
    slopes, steps = _differences(np.log(np.maximum(blocks, 1e-12)), inside, at_blocks, terms)
    table = np.zeros([n + 1 for n in degrees])
    with threadpool_limits(limits=1, user_api="blas"):  # threads wait longer than they work
        table[tuple(np.array(terms).T)] = _least_deviations(slopes, steps)
    everywhere = _bases([np.arange(n, dtype=float) for n in magnitude.shape], ends, degrees)
    field = _evaluated(everywhere, table)
    shown = _evaluated(at_blocks, table)[inside]
    field = np.clip(field, *np.percentile(shown, [_OUTLIERS, 100 - _OUTLIERS]))
    return np.asarray(np.exp(field - np.median(shown)), np.float32)


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)


def _block_sizes(magnitude: Volume, spacing: Float[np.ndarray, " 3"]) -> list[int]:
    """Voxels of a block along each axis; larger blocks where there would be too many."""
    edge = max(_BLOCK, (magnitude.size * float(np.prod(spacing)) / _MOST_BLOCKS) ** (1 / 3))
    return [
        int(np.clip(round(edge / step), 1, n))
        for step, n in zip(spacing.tolist(), magnitude.shape, strict=True)
    ]


def _means(magnitude: Volume, sizes: list[int]) -> Float[np.ndarray, "block_z block_y block_x"]:
    """Mean of every whole block."""
    for axis, n in enumerate(sizes):
        starts = np.arange(magnitude.shape[axis] // n) * n
        whole = magnitude.take(range(len(starts) * n), axis)
        magnitude = np.add.reduceat(whole, starts, axis=axis) / n
    return magnitude


def _ends(inside: Bool[np.ndarray, "z y x"], sizes: list[int]) -> list[tuple[float, float]]:
    """First and last voxel of the object along each axis."""
    where = np.argwhere(inside)
    low, high = where.min(axis=0), where.max(axis=0) + 1
    return [(float(a * n), float(b * n - 1)) for a, b, n in zip(low, high, sizes, strict=True)]


def _bases(
    places: list[Float[np.ndarray, " _"]], ends: list[tuple[float, float]], degrees: list[int]
) -> Bases:
    """Legendre polynomials along each axis, over the object."""
    out = []
    for place, (low, high), degree in zip(places, ends, degrees, strict=True):
        u = 2 * (place - low) / max(high - low, 1.0) - 1
        out.append(legvander(np.clip(u, -1, 1), degree))
    return tuple(out)


def _evaluated(bases: Bases, table: Float[np.ndarray, "a b c"]) -> Volume:
    z, y, x = bases
    field: np.ndarray = np.einsum("zi,yj,xk,ijk->zyx", z, y, x, table, optimize=True)
    return field


def _differences(
    logs: Volume,
    inside: Bool[np.ndarray, "z y x"],
    bases: Bases,
    terms: list[tuple[int, ...]],
) -> tuple[Float[np.ndarray, "pair term"], Float[np.ndarray, " pair"]]:
    """Differences between neighbouring blocks of the object: of every term, and of the image."""
    slopes, steps = [], []
    for axis in range(3):
        here = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        there = tuple(slice(-1) if a == axis else slice(None) for a in range(3))
        step = logs[here] - logs[there]
        where = np.argwhere(inside[here] & inside[there] & (np.abs(step) < _EDGE))
        columns = []
        for term in terms:
            value = np.ones(len(where))
            for a, order in enumerate(term):
                along = bases[a][:, order]
                line = np.diff(along) if a == axis else along
                value *= line[where[:, a]]
            columns.append(value)
        slopes.append(np.stack(columns, axis=1))
        steps.append(step[tuple(where.T)])
    return np.concatenate(slopes), np.concatenate(steps)


def _least_deviations(
    slopes: Float[np.ndarray, "pair term"], steps: Float[np.ndarray, " pair"]
) -> Float[np.ndarray, " term"]:
    """Coefficients with the least sum of absolute deviations, by reweighted least squares."""
    found = np.zeros(slopes.shape[1])
    weight = np.ones(len(steps))
    for _ in range(_ROUNDS):
        weighed = slopes * weight[:, None]
        normal = weighed.T @ slopes
        normal += _RIDGE * max(float(np.trace(normal)), 1e-12) / len(found) * np.eye(len(found))
        found = np.linalg.solve(normal, weighed.T @ steps)
        weight = 1.0 / np.maximum(np.abs(steps - slopes @ found), _SMALL)
    return found
