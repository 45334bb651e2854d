"""Signals on a grid of two quantities, and where between its points a measured one lies.

The signals are compressed by their singular vectors and joined by cubic splines, so that a match
does not end at a grid point: Gauss and Newton's steps on the splines take it to the least squares
of the continuous signal, with its standard error.

References
----------
D. F. McGivney et al., IEEE Trans. Med. Imaging 33, 2311 (2014), doi:10.1109/TMI.2014.2337321.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Shaped
from numba import njit

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.fitting import as_map
from scanroom.mri.maps.model import Map
from scanroom.operators.threads import each

Signal = Callable[[float, float], np.ndarray]
_BLOCK = 512
_N_STEPS = 60
_COARSE = 3
"""Every third point of the grid is looked at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Values of one quantity, evenly spaced or, with ``geometric``, by a factor apart."""

    name: str
    unit: str
    low: float
    high: float
    n_points: int
    geometric: bool = True

    def __post_init__(self) -> None:
        if not self.low < self.high or self.n_points < 5 or (self.geometric and self.low <= 0):
            raise ProtocolError(
                f"{self.name} is to run from {self.low:.4g} to {self.high:.4g} {self.unit} in "
                f"{self.n_points} points; it rises, in five or more, by factors only from above 0 "
                "(scanroom.mri.maps.dictionary). Choose another range."
            )

    @property
    def values(self) -> Float[np.ndarray, " point"]:
        """The grid."""
        space = np.geomspace if self.geometric else np.linspace
        return space(self.low, self.high, self.n_points)

    def at(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value at a place counted in grid points, and its derivative."""
        if self.geometric:
            step = np.log(self.high / self.low) / (self.n_points - 1)
            value = self.low * np.exp(step * place)
            return value, step * value
        step = (self.high - self.low) / (self.n_points - 1)
        return self.low + step * place, np.full(place.shape, step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dictionary:
    """Compressed signals; ``basis`` has orthonormal columns, ``lost`` is the share of energy left.

    ``splines`` has one coefficient more than the grid at both ends of both axes.
    """

    axes: tuple[Axis, Axis]
    basis: Shaped[np.ndarray, "sample rank"]
    atoms: Shaped[np.ndarray, "first second rank"]
    splines: Shaped[np.ndarray, "more_first more_second rank"]
    lost: float

    def compressed(self, images: np.ndarray) -> np.ndarray:
        """Coefficients [rank ...] of images whose first axis is that of the samples.

        Raises
        ------
        ProtocolError
            If there are not as many images as samples.
        """
        if len(images) != len(self.basis):
            raise ProtocolError(
                f"there are {len(images)} images; the dictionary has {len(self.basis)} samples "
                "(scanroom.mri.maps.dictionary). Give one image for each."
            )
        return np.tensordot(self.basis.conj().T.astype(images.dtype), images, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Where each voxel lies: places on both axes in grid points, amplitude, information [2 2].

    ``ended`` says that the search did, ``inside`` for each axis that it did so between the ends.
    """

    place: Float[np.ndarray, "voxel 2"]
    amplitude: Shaped[np.ndarray, " voxel"]
    information: Float[np.ndarray, "voxel 3"]
    left: Float[np.ndarray, " voxel"]
    ended: Shaped[np.ndarray, " voxel"]
    inside: Shaped[np.ndarray, "voxel 2"]

    def covariance(self) -> Float[np.ndarray, "voxel 2"]:
        """Variances of both places for noise of one; infinite for an axis it ended at the end of.

        The other axis is then that of a quantity that is known.
        """
        first, both, second = self.information.T
        size = first * second - both**2
        out = np.full((len(first), 2), np.inf)
        free = self.inside.all(axis=1) & (size > 1e-12 * first * second)
        out[free, 0] = second[free] / size[free]
        out[free, 1] = first[free] / size[free]
        for axis, info in ((0, first), (1, second)):
            alone = self.inside[:, axis] & ~free & (info > 0)
            out[alone, axis] = 1 / info[alone]
        return out


def build(axes: tuple[Axis, Axis], signal: Signal, *, lost: float = 1e-8) -> Dictionary:
    """Compute signals on the grid and keep as many singular vectors as leave ``lost`` of energy."""
    first, second = (axis.values for axis in axes)
    rows = each(lambda i: np.stack([signal(first[i], value) for value in second]), len(first))
    signals = np.stack(rows)
    flat = signals.reshape(-1, signals.shape[-1])
    # Each counts alike, loud or not: what is left out is relative to the signal itself.
    unit = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.finfo(float).tiny)
    energy, vectors = np.linalg.eigh((unit.T @ unit.conj()) / len(unit))
    order = np.argsort(energy)[::-1]
    rest = 1 - np.cumsum(energy[order]) / energy.sum()
    rank = int(np.argmax(rest <= lost)) + 1 if (rest <= lost).any() else len(order)
    basis = vectors[:, order[:rank]]
    atoms = (flat @ basis.conj()).reshape(*signals.shape[:2], rank)
    splines = np.einsum("pi,qj,ijr->pqr", _spline(len(first)), _spline(len(second)), atoms)
    return Dictionary(
        axes=axes,
        basis=basis,
        atoms=atoms,
        splines=np.ascontiguousarray(splines),
        lost=float(max(rest[rank - 1], 0.0)),
    )


def _spline(n: int) -> Float[np.ndarray, "coefficient point"]:
    """Matrix from values to coefficients of even cubic splines without knots beside the ends."""
    system = np.zeros((n + 2, n + 2))
    for i in range(n):
        system[i, i : i + 3] = 1 / 6, 4 / 6, 1 / 6
    system[n, :5] = 1, -4, 6, -4, 1
    system[n + 1, -5:] = 1, -4, 6, -4, 1
    return np.asarray(np.linalg.inv(system)[:, :n])


def match(coefficients: np.ndarray, dictionary: Dictionary, *, n_starts: int = 1) -> Match:
    """Find every voxel of compressed images [rank ...] in the dictionary.

    The search goes down from the best grid point, or with ``n_starts`` from that of each of so many
    parts of the second axis, where there may be several valleys.
    """
    rank, n_voxels = len(coefficients), int(np.prod(coefficients.shape[1:]))
    kind = np.result_type(coefficients, dictionary.splines, np.float64)
    flat = coefficients.reshape(rank, n_voxels)
    splines = dictionary.splines.astype(kind)
    single = np.complex64 if np.issubdtype(kind, np.complexfloating) else np.float32
    rows, places = _grid(dictionary, n_starts)
    rows = [np.ascontiguousarray(row.T, dtype=single) for row in rows]
    numbers = np.zeros((n_voxels, 11))

    def block(number: int) -> None:
        some = slice(number * _BLOCK, min((number + 1) * _BLOCK, n_voxels))
        data = np.ascontiguousarray(flat[:, some].T, dtype=kind)
        given = np.ascontiguousarray(flat[:, some].T, dtype=single)
        best = [np.abs(given @ row).argmax(axis=1) for row in rows]
        start = np.stack([at[k] for at, k in zip(places, best, strict=True)], axis=1)
        _search(splines, data, start, numbers[some])

    each(block, -(-n_voxels // _BLOCK))
    turned = np.issubdtype(kind, np.complexfloating)
    return Match(
        place=numbers[:, :2],
        amplitude=numbers[:, 9] + 1j * numbers[:, 10] if turned else numbers[:, 9],
        left=numbers[:, 2],
        information=numbers[:, 3:6],
        ended=numbers[:, 6] > 0,
        inside=numbers[:, 7:9] > 0,
    )


def signals_at(
    dictionary: Dictionary, place: Float[np.ndarray, "voxel 2"]
) -> Shaped[np.ndarray, "rank voxel"]:
    """Compressed signals at places counted in grid points."""
    out = np.empty((len(place), dictionary.splines.shape[2]), dictionary.splines.dtype)
    _evaluate(dictionary.splines, np.ascontiguousarray(place), out)
    return out.T


def maps_of(
    found: Match,
    dictionary: Dictionary,
    squares: tuple[np.ndarray, np.ndarray, int],
    noise: Float[np.ndarray, " voxel"] | None,
    shape: tuple[int, ...],
) -> tuple[Map, Map]:
    """Maps of both quantities; ``squares`` are those left, those of the signal, and samples.

    A quantity that is found at the end of its range is not trusted; the other then counts as if
    that one were known. How much the signal leaves does not matter by itself: frames may be noisy,
    or undersampled, and many.
    """
    left, total, n_samples = squares
    parts = 2 if np.iscomplexobj(found.amplitude) else 1
    n_free = n_samples * parts - 2 - parts
    if noise is None:
        spread = left / n_free if n_free > 0 else np.full(left.shape, np.inf)
    else:
        spread = noise**2
    described = found.ended & (total > 0)
    variance = found.covariance()
    made = []
    for number, axis in enumerate(dictionary.axes):
        value, slope = axis.at(found.place[:, number])
        known = np.isfinite(variance[:, number]) & np.isfinite(spread)
        error = np.full(value.shape, np.inf)
        error[known] = slope[known] * np.sqrt(variance[known, number] * spread[known])
        trusted = described & found.inside[:, number]
        residual = np.sqrt(left / (n_samples * parts))
        made.append(as_map(axis.name, axis.unit, (value, error, trusted, residual), shape))
    return made[0], made[1]


def _grid(dictionary: Dictionary, n_parts: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Signals of length one, conjugate, at some grid points of each part, and their places."""
    rows, places = [], []
    n_first, n_second, rank = dictionary.atoms.shape
    for part in np.array_split(np.arange(0, n_second, _COARSE), n_parts):
        first, second = np.meshgrid(np.arange(0, n_first, _COARSE), part, indexing="ij")
        chosen = dictionary.atoms[first.ravel(), second.ravel()].reshape(-1, rank)
        size = np.linalg.norm(chosen, axis=1, keepdims=True)
        rows.append((chosen / np.maximum(size, np.finfo(float).tiny)).conj())
        places.append(np.stack([first.ravel(), second.ravel()], axis=-1).astype(np.float64))
    return rows, places


# ---------------------------------------------------------------- kernels


@njit(cache=True, nogil=True)
@no_type_check
def _weights(place: float, n_points: int, out: np.ndarray) -> int:
    """Four cubic splines at a place and their slopes, and the first of their coefficients."""
    low = min(max(int(place), 0), n_points - 2)
    t = place - low
    s = 1 - t
    out[0, 0], out[0, 3] = s**3 / 6, t**3 / 6
    out[0, 1] = (3 * t**3 - 6 * t**2 + 4) / 6
    out[0, 2] = (3 * s**3 - 6 * s**2 + 4) / 6
    out[1, 0], out[1, 3] = -(s**2) / 2, t**2 / 2
    out[1, 1] = (3 * t**2 - 4 * t) / 2
    out[1, 2] = (4 * s - 3 * s**2) / 2
    return low


@njit(cache=True, nogil=True)
@no_type_check
def _signal(
    splines: np.ndarray, place: tuple[float, float], weights: np.ndarray, out: np.ndarray
) -> None:
    """Compressed signal at a place and its slopes along both axes."""
    i = _weights(place[0], splines.shape[0] - 2, weights[0])
    j = _weights(place[1], splines.shape[1] - 2, weights[1])
    one, two = weights[0], weights[1]
    for r in range(splines.shape[2]):
        value, along, across = splines[0, 0, r] * 0, splines[0, 0, r] * 0, splines[0, 0, r] * 0
        for a in range(4):
            first, second = splines[i + a, j, r], splines[i + a, j + 1, r]
            third, fourth = splines[i + a, j + 2, r], splines[i + a, j + 3, r]
            row = two[0, 0] * first + two[0, 1] * second + two[0, 2] * third + two[0, 3] * fourth
            rise = two[1, 0] * first + two[1, 1] * second + two[1, 2] * third + two[1, 3] * fourth
            value += one[0, a] * row
            along += one[1, a] * row
            across += one[0, a] * rise
        out[0, r], out[1, r], out[2, r] = value, along, across


@njit(cache=True, nogil=True)
@no_type_check
def _evaluate(splines: np.ndarray, place: np.ndarray, out: np.ndarray) -> None:
    """Compressed signals at many places."""
    weights = np.empty((2, 2, 4))
    signal = np.empty((3, splines.shape[2]), splines.dtype)
    for v in range(len(place)):
        _signal(splines, (place[v, 0], place[v, 1]), weights, signal)
        out[v] = signal[0]


@njit(cache=True, nogil=True)
@no_type_check
def _project(data: np.ndarray, signal: np.ndarray, found: np.ndarray) -> None:
    """Slopes and normal equations at a place; ``found`` is left, g1, g2, n11, n12, n22, re, im."""
    power, h = 0.0, data[0] * 0
    for r in range(len(data)):
        power += abs(signal[0, r]) ** 2
        h += np.conj(signal[0, r]) * data[r]
    if power == 0.0:
        found[:] = 0.0
        found[0] = np.inf
        return
    amplitude = h / power
    p, q = data[0] * 0, data[0] * 0
    for r in range(len(data)):
        p += np.conj(signal[0, r]) * signal[1, r]
        q += np.conj(signal[0, r]) * signal[2, r]
    p, q = p / power, q / power
    found[:] = 0.0
    for r in range(len(data)):
        rest = data[r] - amplitude * signal[0, r]
        one = amplitude * (signal[1, r] - p * signal[0, r])
        two = amplitude * (signal[2, r] - q * signal[0, r])
        found[0] += abs(rest) ** 2
        found[1] += (np.conj(one) * rest).real
        found[2] += (np.conj(two) * rest).real
        found[3] += abs(one) ** 2
        found[4] += (np.conj(one) * two).real
        found[5] += abs(two) ** 2
    found[6], found[7] = amplitude.real, amplitude.imag


@njit(cache=True, nogil=True)
@no_type_check
def _step(found: np.ndarray, held: tuple[bool, bool], damping: float) -> tuple[float, float]:
    """Step of Levenberg and Marquardt along the axes that are not held at an end."""
    n11, n12, n22 = found[3] * (1 + damping), found[4], found[5] * (1 + damping)
    if held[0] and held[1]:
        return 0.0, 0.0
    if held[0] or n11 == 0.0:
        return 0.0, found[2] / n22 if n22 > 0 else 0.0
    if held[1] or n22 == 0.0:
        return found[1] / n11, 0.0
    size = n11 * n22 - n12 * n12
    if size <= 1e-14 * n11 * n22:
        return found[1] / n11, 0.0
    return (n22 * found[1] - n12 * found[2]) / size, (n11 * found[2] - n12 * found[1]) / size


@njit(cache=True, nogil=True)
@no_type_check
def _descend(
    splines: np.ndarray,
    data: np.ndarray,
    start: np.ndarray,
    work: tuple[np.ndarray, np.ndarray, np.ndarray],
    found: np.ndarray,
) -> tuple[float, float, bool]:
    """Go down from a place: where it ends, and whether it does; ``found`` as in `_project`."""
    weights, signal, tried = work
    ends = (splines.shape[0] - 3.0, splines.shape[1] - 3.0)
    x, y = min(start[0], ends[0]), min(start[1], ends[1])
    _signal(splines, (x, y), weights, signal)
    _project(data, signal, found)
    damping = 1e-3
    for _ in range(_N_STEPS):
        held = (
            (x <= 0 and found[1] <= 0) or (x >= ends[0] and found[1] >= 0),
            (y <= 0 and found[2] <= 0) or (y >= ends[1] and found[2] >= 0),
        )
        one, two = _step(found, held, damping)
        gain = found[1] * one + found[2] * two
        if gain <= 1e-8 * found[0] or abs(one) + abs(two) < 1e-10:
            return x, y, True
        # Two points of the grid at once, at most: the splines are local.
        longest = max(abs(one), abs(two), 2.0)
        new_x = min(max(x + 2 * one / longest, 0.0), ends[0])
        new_y = min(max(y + 2 * two / longest, 0.0), ends[1])
        _signal(splines, (new_x, new_y), weights, signal)
        _project(data, signal, tried)
        share = (found[0] - tried[0]) / gain  # of what the slopes promised; overshoot brings less
        if share < 0.5:
            damping = max(damping, 0.05) * 4
        elif share > 0.8:
            damping *= 0.1
        if share > 0:
            x, y = new_x, new_y
            found[:] = tried
        elif damping > 1e9:
            return x, y, True
    return x, y, False


@njit(cache=True, nogil=True)
@no_type_check
def _search(splines: np.ndarray, data: np.ndarray, start: np.ndarray, out: np.ndarray) -> None:
    """Every voxel: both places, left, information (3), ended, inside (2), amplitude (2)."""
    ends = (splines.shape[0] - 3.0, splines.shape[1] - 3.0)
    signal = np.empty((3, splines.shape[2]), splines.dtype)
    work = (np.empty((2, 2, 4)), signal, np.empty(8))
    found = np.empty(8)
    for v in range(len(data)):
        if not (np.abs(data[v]) ** 2).sum() > 0:
            continue
        least = np.inf
        for k in range(start.shape[1]):
            x, y, ended = _descend(splines, data[v], start[v, k], work, found)
            if found[0] < least:
                least = found[0]
                out[v, 0], out[v, 1], out[v, 2], out[v, 3:6] = x, y, found[0], found[3:6]
                out[v, 6], out[v, 9], out[v, 10] = ended, found[6], found[7]
                out[v, 7], out[v, 8] = 0.0 < x < ends[0], 0.0 < y < ends[1]
