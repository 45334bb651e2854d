"""Least squares of signals with one rate and amplitudes, voxel by voxel.

Every law here is a sum of one or two columns that hang on one rate, times amplitudes that are free.
The amplitudes follow from the rate by linear least squares, so one number is searched for: on a
table of rates first, then by Gauss and Newton's steps with the variable projection of Kaufman.

References
----------
G. Golub, V. Pereyra, Inverse Probl. 19, R1 (2003), doi:10.1088/0266-5611/19/2/201.
L. Kaufman, BIT 15, 49 (1975), doi:10.1007/BF01932995.
J. K. Barral et al., Magn. Reson. Med. 64, 1057 (2010), doi:10.1002/mrm.22497 (inversion recovery).
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float
from numba import njit

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.model import Map
from scanroom.operators.threads import each

DECAY, DECAY_OFFSET, RECOVERY, RECOVERY_PARTIAL, SPOILED = range(5)
"""Laws: exp(-x r); that and a constant; inversion recovery; that of any inversion; steady state."""

LARGEST_ERROR = 0.5
"""Largest standard error, relative to the value, of a voxel that is trusted."""

LARGEST_MISFIT = 0.25
"""Largest root mean square of what is left, relative to that of the signal."""

_BLOCK = 8192
_N_RATES = 40
_N_STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """Which law, and where it is sampled: up to three numbers per sample, and the rates allowed."""

    kind: int
    points: Float[np.ndarray, "sample 3"]
    low: float
    high: float

    @property
    def n_amplitudes(self) -> int:
        """How many columns the law has."""
        return 2 if self.kind in (DECAY_OFFSET, RECOVERY_PARTIAL) else 1

    def rates(self) -> Float[np.ndarray, " rate"]:
        """Rates to begin with: by a factor apart, evenly where the rate may be negative."""
        if self.low > 0:
            return np.geomspace(self.low, self.high, _N_RATES)
        return np.linspace(self.low, self.high, _N_RATES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What was found in every voxel; ``amplitude`` [column part voxel], a part real or imaginary.

    ``information`` is that of the rate in units of the noise, amplitudes unknown; ``left`` is the
    sum of squares that the law leaves of ``total``, over ``n_free`` degrees of freedom.
    """

    rate: Float[np.ndarray, " voxel"]
    amplitude: Float[np.ndarray, "column part voxel"]
    information: Float[np.ndarray, " voxel"]
    left: Float[np.ndarray, " voxel"]
    total: Float[np.ndarray, " voxel"]
    n_negative: Float[np.ndarray, " voxel"]
    found: Bool[np.ndarray, " voxel"]
    n_samples: int
    n_free: int

    def variance(self, noise: Float[np.ndarray, " voxel"] | None) -> Float[np.ndarray, " voxel"]:
        """Variance of a sample: the given noise, or what the residual says; infinite if nothing."""
        if noise is not None:
            return noise**2
        if self.n_free < 1:
            return np.full(self.rate.shape, np.inf)
        return self.left / self.n_free

    def error(self, noise: Float[np.ndarray, " voxel"] | None) -> Float[np.ndarray, " voxel"]:
        """Standard error of the rate: Cramer and Rao's bound at what was found."""
        spread = self.variance(noise)
        error = np.full(self.rate.shape, np.inf)
        known = self.found & (self.information > 0) & np.isfinite(spread)
        error[known] = np.sqrt(spread[known] / self.information[known])
        return error

    def trusted(self) -> Bool[np.ndarray, " voxel"]:
        """Where the search ended inside the range and the law describes the signal."""
        return self.found & (self.left <= LARGEST_MISFIT**2 * self.total)

    def residual(self) -> Float[np.ndarray, " voxel"]:
        """Root mean square of what the law leaves."""
        return np.sqrt(self.left / self.n_samples)


def fit(
    images: np.ndarray,
    law: Law,
    *,
    scale: Float[np.ndarray, "..."] | None = None,
    start: Float[np.ndarray, "..."] | None = None,
    polarity: bool = False,
) -> Fit:
    """Fit a law to images whose first axis is that of the samples, in the order of the law.

    Complex images take complex amplitudes. ``scale`` multiplies the first number of every point,
    voxel by voxel, and needs a ``start``. With ``polarity`` the images are magnitudes of a signal
    that is negative at its first samples, nobody knows how many.
    """
    n_samples, n_voxels = len(images), int(np.prod(images.shape[1:]))
    n_parts = 2 if np.iscomplexobj(images) else 1
    flat = images.reshape(n_samples, n_voxels)
    points = np.ascontiguousarray(law.points, dtype=np.float64)
    rates = law.rates()
    table = _table(law.kind, rates, points)
    out = np.zeros((n_voxels, 6 + 2 * n_parts))
    scales = None if scale is None else np.asarray(scale, np.float64).reshape(n_voxels)
    starts = None if start is None else np.asarray(start, np.float64).reshape(n_voxels)
    how = (law.kind, float(law.low), float(law.high))

    def block(number: int) -> None:
        chosen = slice(number * _BLOCK, min((number + 1) * _BLOCK, n_voxels))
        part = flat[:, chosen].T
        data = np.stack([part.real, part.imag][:n_parts], axis=1).astype(np.float64)
        size = len(data)
        many = np.ones(size) if scales is None else scales[chosen]
        begin = np.full(size, np.nan) if starts is None else starts[chosen]
        search = (table, rates, polarity)
        _fit_block(how, search, points, data, many, begin, out[chosen])

    each(block, -(-n_voxels // _BLOCK))
    width = 2 if law.n_amplitudes == 2 else 1
    amplitude = out[:, 6:].reshape(n_voxels, 2, n_parts)[:, :width].transpose(1, 2, 0)
    return Fit(
        rate=out[:, 0],
        left=out[:, 1],
        total=out[:, 2],
        information=out[:, 3],
        n_negative=out[:, 4],
        found=out[:, 5] > 0,
        amplitude=amplitude,
        n_samples=n_samples * n_parts,
        n_free=n_samples * n_parts - 1 - law.n_amplitudes * n_parts,
    )


def time_map(
    name: str, found: Fit, shape: tuple[int, ...], noise: Float[np.ndarray, " voxel"] | None
) -> Map:
    """Map of a time constant, the inverse of the rate."""
    good = found.found & (found.rate > 0)
    time = np.zeros(found.rate.shape)
    time[good] = 1 / found.rate[good]
    error = np.full(time.shape, np.inf)
    error[good] = found.error(noise)[good] * time[good] ** 2
    return as_map(name, "s", (time, error, found.trusted() & good, found.residual()), shape)


def as_map(
    name: str,
    unit: str,
    parts: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None],
    shape: tuple[int, ...],
) -> Map:
    """Map of (values, errors, trusted, residuals); a large known error is not to be trusted."""
    array, error, trusted, residual = parts
    known = np.isfinite(error)
    close = np.ones(array.shape, bool)
    close[known] = error[known] <= LARGEST_ERROR * np.abs(array[known])
    return Map(
        name=name,
        array=array.reshape(shape),
        unit=unit,
        valid=(trusted & close).reshape(shape),
        error=np.where(trusted, error, np.inf).reshape(shape),
        residual=None if residual is None else residual.reshape(shape),
    )


def per_voxel(
    value: float | np.ndarray | None, shape: tuple[int, ...], name: str
) -> Float[np.ndarray, " voxel"] | None:
    """A number or a map as one number per voxel.

    Raises
    ------
    ProtocolError
        If it has another shape than the images, or is not positive.
    """
    if value is None:
        return None
    given = np.asarray(value, np.float64)
    if given.shape not in {(), shape}:
        raise ProtocolError(
            f"{name} has the shape {given.shape}; it may be one number or a map of shape {shape} "
            "(scanroom.mri.maps). Bring it to the grid of the images."
        )
    if not (np.isfinite(given).all() and (given >= 0).all()):
        raise ProtocolError(
            f"{name} holds numbers that are negative or not finite (scanroom.mri.maps). Give zero "
            "where nothing is known."
        )
    return np.broadcast_to(given, shape).reshape(-1).copy()


def series(images: np.ndarray, times: np.ndarray, least: int, name: str) -> np.ndarray:
    """Times as an array, after a look at whether they fit the images.

    Raises
    ------
    ProtocolError
        If there are too few of them, not as many as images, or numbers that are not finite.
    """
    at = np.asarray(times, np.float64)
    if at.ndim != 1 or len(at) != len(images) or len(np.unique(at)) < least:
        raise ProtocolError(
            f"there are {at.size} {name}, {np.unique(at).size} of them different, for "
            f"{len(images)} images; each image needs one, and {least} must differ "
            "(scanroom.mri.maps). Give one for each image, the images along the first axis."
        )
    if not np.isfinite(at).all() or not np.isfinite(images).all():
        raise ProtocolError(
            f"the images or the {name} hold numbers that are not finite (scanroom.mri.maps). "
            "Set the voxels to zero: they are then left out."
        )
    return at


# ---------------------------------------------------------------- kernels


@njit(cache=True, nogil=True)
@no_type_check
def _columns(
    kind: int, rate: float, x: float, y: float, z: float
) -> tuple[float, float, float, float]:
    """Both columns of a law at one sample, each with its derivative by the rate."""
    if kind == SPOILED:
        kept = np.exp(-y * rate)
        below = 1 - np.cos(x) * kept
        sine = np.sin(x)
        slope = sine * (np.cos(x) - 1) / below**2 * (-y * kept)
        return sine * (1 - kept) / below, slope, 0.0, 0.0
    first = np.exp(-x * rate)
    if kind == DECAY:
        return first, -x * first, 0.0, 0.0
    if kind == DECAY_OFFSET:
        return first, -x * first, 1.0, 0.0
    # y: from the last refocusing pulse to the next inversion's excitation; z: the repetition.
    late, last = np.exp(-y * rate), np.exp(-z * rate)
    turned, turned_slope = 2 * late - last, -2 * y * late + z * last
    if kind == RECOVERY:
        return 1 - 2 * first + turned, 2 * x * first + turned_slope, 0.0, 0.0
    return 1 - first, x * first, turned - first, turned_slope + x * first


@njit(cache=True, nogil=True)
@no_type_check
def _table(kind: int, rates: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Orthonormal columns at every rate [rate column sample]."""
    n = len(points)
    table = np.zeros((len(rates), 2, n))
    for g in range(len(rates)):
        for i in range(n):
            table[g, 0, i], _, table[g, 1, i], _ = _columns(
                kind, rates[g], points[i, 0], points[i, 1], points[i, 2]
            )
        size = np.sqrt((table[g, 0] ** 2).sum())
        if size > 0:
            table[g, 0] /= size
        along = (table[g, 0] * table[g, 1]).sum()
        before = (table[g, 1] ** 2).sum()
        table[g, 1] -= along * table[g, 0]
        after = (table[g, 1] ** 2).sum()
        if after > 1e-12 * before:
            table[g, 1] /= np.sqrt(after)
        else:
            table[g, 1] = 0.0
    return table


@njit(cache=True, nogil=True)
@no_type_check
def _nearest(table: np.ndarray, data: np.ndarray) -> tuple[int, float]:
    """Row of the table that explains most of the data, and how much."""
    best, most = 0, -1.0
    for g in range(table.shape[0]):
        held = 0.0
        for p in range(data.shape[0]):
            one, two = 0.0, 0.0
            for i in range(data.shape[1]):
                one += table[g, 0, i] * data[p, i]
                two += table[g, 1, i] * data[p, i]
            held += one * one + two * two
        if held > most:
            best, most = g, held
    return best, most


@njit(cache=True, nogil=True)
@no_type_check
def _project(
    kind: int,
    rate: float,
    points: np.ndarray,
    scale: float,
    data: np.ndarray,
    work: np.ndarray,
    amplitude: np.ndarray,
) -> tuple[float, float, float]:
    """Sum of squares left at a rate, its downhill slope and the curvature of Gauss and Newton."""
    n = points.shape[0]
    two = kind in (DECAY_OFFSET, RECOVERY_PARTIAL)
    g11, g12, g22 = 0.0, 0.0, 0.0
    for i in range(n):
        a, da, b, db = _columns(kind, rate, points[i, 0] * scale, points[i, 1], points[i, 2])
        work[0, i], work[1, i], work[2, i], work[3, i] = a, da, b, db
        g11 += a * a
        g12 += a * b
        g22 += b * b
    size = g11 * g22 - g12 * g12 if two else g11
    if size <= (1e-15 * g11 * g22 if two else 0.0):
        return np.inf, 0.0, 0.0
    left, slope, curve = 0.0, 0.0, 0.0
    for p in range(data.shape[0]):
        h1, h2 = 0.0, 0.0
        for i in range(n):
            h1 += work[0, i] * data[p, i]
            h2 += work[2, i] * data[p, i]
        first = (g22 * h1 - g12 * h2) / size if two else h1 / size
        second = (g11 * h2 - g12 * h1) / size if two else 0.0
        amplitude[0, p], amplitude[1, p] = first, second
        h1, h2 = 0.0, 0.0
        for i in range(n):
            change = first * work[1, i] + second * work[3, i]
            h1 += work[0, i] * change
            h2 += work[2, i] * change
        along = (g22 * h1 - g12 * h2) / size if two else h1 / size
        across = (g11 * h2 - g12 * h1) / size if two else 0.0
        for i in range(n):
            rest = data[p, i] - first * work[0, i] - second * work[2, i]
            change = first * work[1, i] + second * work[3, i]
            change -= along * work[0, i] + across * work[2, i]
            left += rest * rest
            slope += rest * change
            curve += change * change
    return left, slope, curve


@njit(cache=True, nogil=True)
@no_type_check
def _refine(
    law: tuple[int, float, float],
    rate: float,
    points: np.ndarray,
    scale: float,
    data: np.ndarray,
    work: np.ndarray,
    amplitude: np.ndarray,
) -> tuple[float, float, float, bool]:
    """Steps of Gauss and Newton that never climb: rate, sum left, information, whether it ended."""
    kind, low, high = law
    left, slope, curve = _project(kind, rate, points, scale, data, work, amplitude)
    small = 1e-4 * (high - low)
    for _ in range(_N_STEPS):
        if not curve > 0:
            return rate, left, 0.0, False
        step = min(max(rate + slope / curve, low), high) - rate
        settled = slope * slope <= 1e-14 * left * curve  # a ten millionth of a standard error
        if settled or abs(step) <= 1e-11 * max(abs(rate), small):
            return rate, left, curve, low < rate < high
        for _ in range(30):
            new = _project(kind, rate + step, points, scale, data, work, amplitude)
            if new[0] <= left * (1 + 1e-11):  # sums of squares are no more exact than this
                break
            step *= 0.5
        else:
            # No lower place can be told apart: this is the bottom.
            left, slope, curve = _project(kind, rate, points, scale, data, work, amplitude)
            return rate, left, curve, low < rate < high
        rate += step
        left, slope, curve = new
    return rate, left, curve, False


@njit(cache=True, nogil=True)
@no_type_check
def _turned(data: np.ndarray, n_negative: int, signed: np.ndarray) -> None:
    """Give the first samples a minus."""
    for p in range(data.shape[0]):
        for i in range(data.shape[1]):
            signed[p, i] = -data[p, i] if i < n_negative else data[p, i]


@njit(cache=True, nogil=True)
@no_type_check
def _polarities(table: np.ndarray, data: np.ndarray, signed: np.ndarray) -> tuple[int, int]:
    """The two likeliest numbers of negative samples, by the table.

    The sign changes beside the smallest sample: one before it to two after.
    """
    lowest = 0
    for i in range(data.shape[1]):
        if data[0, i] < data[0, lowest]:
            lowest = i
    one, two, most, second = 0, 0, -1.0, -1.0
    for negative in range(max(lowest - 1, 0), min(lowest + 2, data.shape[1]) + 1):
        _turned(data, negative, signed)
        held = _nearest(table, signed)[1]
        if held > most:
            one, two, most, second = negative, one, held, most
        elif held > second:
            two, second = negative, held
    return one, two


@njit(cache=True, nogil=True)
@no_type_check
def _fit_block(
    law: tuple[int, float, float],
    search: tuple[np.ndarray, np.ndarray, bool],
    points: np.ndarray,
    data: np.ndarray,
    scale: np.ndarray,
    start: np.ndarray,
    out: np.ndarray,
) -> None:
    """Every voxel of a block: rate, left, total, information, negative samples, found, amplitudes.

    An empty voxel is left out.
    """
    table, rates, polarity = search
    n_parts, n = data.shape[1], data.shape[2]
    work, amplitude, signed = np.empty((4, n)), np.empty((2, n_parts)), np.empty((n_parts, n))
    for v in range(len(data)):
        out[v, 2] = (data[v] ** 2).sum()
        if out[v, 2] == 0.0:
            continue
        least, tries = np.inf, (0, 0)
        if polarity:
            tries = _polarities(table, data[v], signed)
        for k in range(2 if polarity else 1):
            _turned(data[v], tries[k], signed)
            begin = start[v]
            if np.isnan(begin):
                begin = rates[_nearest(table, signed)[0]]
            rate, left, curve, done = _refine(law, begin, points, scale[v], signed, work, amplitude)
            if left < least:
                least = left
                out[v, 0], out[v, 1], out[v, 3] = rate, left, curve
                out[v, 4], out[v, 5] = tries[k], 1.0 if done else 0.0
                for p in range(n_parts):
                    out[v, 6 + p], out[v, 6 + n_parts + p] = amplitude[0, p], amplitude[1, p]
