"""Signals that decay: T2* and T2 of echoes, with the noise floor of magnitudes."""

from dataclasses import dataclass
from functools import cache
from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit
from scipy.special import ive

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Second
from scanroom.mri.maps import fitting
from scanroom.mri.maps.fitting import DECAY, DECAY_OFFSET, Law
from scanroom.mri.maps.model import Map
from scanroom.operators.threads import each

LIMITS: tuple[Second, Second] = (0.5e-3, 5.0)
"""Shortest and longest time constant that is looked for [s]."""

FLOORS = ("none", "constant", "rician")
_BLOCK = 8192
_FINEST, _HIGHEST = 0.02, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decay:
    """A decay's time constant, and its inverse."""

    time: Map
    rate: Map


def decay(
    images: np.ndarray,
    echo_times: Float[np.ndarray, " echo"],
    *,
    name: str = "T2*",
    floor: str = "none",
    noise: float | np.ndarray | None = None,
    limits: tuple[Second, Second] = LIMITS,
) -> Decay:
    """Fit an exponential to images, one for each echo time along the first axis.

    For T2* of gradient echoes and for T2 of spin echoes recorded one by one. Magnitudes do not
    decay to zero but to the mean of noise: ``floor`` "none" takes no notice, "constant" fits one
    more amplitude, "rician" takes the most likely decay of a magnitude with known ``noise``, the
    standard deviation of the real part, as in images combined with coil weights. Complex images
    have no floor but may turn between echoes: give magnitudes.

    Raises
    ------
    ProtocolError
        If times and images do not fit together, the floor is none of those, or it needs the noise.

    References
    ----------
    J. Sijbers et al., IEEE Trans. Med. Imaging 17, 357 (1998), doi:10.1109/42.712125.
    """
    if floor not in FLOORS or np.iscomplexobj(images):
        raise ProtocolError(
            f"the floor is {floor!r} and the images are {images.dtype}; the floor is one of "
            f"{', '.join(FLOORS)} and the images are magnitudes (scanroom.mri.maps.decay). "
            "Choose one of them; take the absolute value of complex images."
        )
    times = fitting.series(images, echo_times, 3 if floor == "constant" else 2, "echo times")
    shape = images.shape[1:]
    sigma = fitting.per_voxel(noise, shape, "noise")
    points = np.zeros((len(times), 3))
    points[:, 0] = times
    kind = DECAY_OFFSET if floor == "constant" else DECAY
    law = Law(kind=kind, points=points, low=1 / limits[1], high=1 / limits[0])
    if floor == "rician":
        rate, error, trusted, residual = _likeliest(images, law, sigma)
    else:
        found = fitting.fit(images, law)
        rate, error = found.rate, found.error(sigma)
        trusted, residual = found.trusted(), found.residual()
    return _maps(name, (rate, error, trusted, residual), shape)


def _maps(
    name: str,
    parts: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None],
    shape: tuple[int, ...],
) -> Decay:
    """Both maps of a rate."""
    rate, error, trusted, residual = parts
    good = trusted & (rate > 0)
    time = np.divide(1.0, rate, out=np.zeros_like(rate), where=good)
    spread = np.full(rate.shape, np.inf)
    spread[good] = error[good] * time[good] ** 2
    return Decay(
        time=fitting.as_map(name, "s", (time, spread, good, residual), shape),
        rate=fitting.as_map(f"R{name[1:]}", "1/s", (rate, error, good, residual), shape),
    )


def arlo(
    images: np.ndarray,
    echo_times: Float[np.ndarray, " echo"],
    *,
    name: str = "T2*",
    noise: float | np.ndarray | None = None,
) -> Decay:
    """T2* of evenly spaced echoes without a search: auto-regression on linear operations.

    Integrals over pairs of intervals are proportional to differences. Its own bias, by Simpson's
    rule, is (spacing / T2*)^4 / 180 of the time constant, to lowest order.

    Raises
    ------
    ProtocolError
        If there are fewer than three echoes or they are not evenly spaced.

    References
    ----------
    M. Pei et al., Magn. Reson. Med. 73, 843 (2015), doi:10.1002/mrm.25137.
    """
    times = fitting.series(images, echo_times, 3, "echo times")
    steps = np.diff(times)
    if np.ptp(steps) > 1e-3 * abs(steps.mean()) or steps[0] <= 0:
        raise ProtocolError(
            f"echo spacings run from {steps.min() * 1e3:.4g} to {steps.max() * 1e3:.4g} ms; "
            "auto-regression needs even ones (scanroom.mri.maps.decay). Use decay instead."
        )
    third = float(steps.mean()) / 3
    signal = np.abs(images).astype(np.float64).reshape(len(times), -1)
    area = third * (signal[:-2] + 4 * signal[1:-1] + signal[2:])
    fall = signal[:-2] - signal[2:]
    both = (area * fall).sum(axis=0)
    above = (area**2).sum(axis=0) + third * both
    below = third * (fall**2).sum(axis=0) + both
    good = (below > 0) & (above > 0)
    rate = np.divide(below, above, out=np.zeros_like(above), where=good)
    sigma = fitting.per_voxel(noise, images.shape[1:], "noise")
    error = np.full(rate.shape, np.inf)
    if sigma is not None:
        slope = _arlo_slope((area, fall), third, rate)
        error[good] = sigma[good] * np.sqrt((slope[:, good] ** 2).sum(axis=0)) / above[good]
    return _maps(name, (rate, error, good, None), images.shape[1:])


def _arlo_slope(
    parts: tuple[np.ndarray, np.ndarray], third: float, rate: np.ndarray
) -> Float[np.ndarray, "echo voxel"]:
    """Derivative of the rate by each sample, times the denominator."""
    area, fall = parts
    by_area = fall - rate * (2 * area + third * fall)
    by_fall = 2 * third * fall + area - rate * third * area
    slope = np.zeros((len(area) + 2, area.shape[1]))
    slope[:-2] += third * by_area + by_fall
    slope[1:-1] += 4 * third * by_area
    slope[2:] += third * by_area - by_fall
    return slope


# ---------------------------------------------------------------- magnitudes with known noise


def _likeliest(
    images: np.ndarray, law: Law, sigma: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rate, error, trusted and residual of the most likely decay under Rice's distribution."""
    if sigma is None or not (sigma > 0).all():
        raise ProtocolError(
            "the Rician floor needs the noise, above zero everywhere (scanroom.mri.maps.decay). "
            "Give the standard deviation of the real part: 1 for images in units of their noise."
        )
    n_echoes = len(images)
    flat = images.reshape(n_echoes, -1).astype(np.float64)
    above = np.sqrt(np.maximum(flat**2 - 2 * sigma**2, 0))
    first = fitting.fit(above, law)
    out = np.zeros((flat.shape[1], 4))
    weights = rician_information()
    times = np.ascontiguousarray(law.points[:, 0])

    def block(number: int) -> None:
        some = slice(number * _BLOCK, (number + 1) * _BLOCK)
        start = np.stack([first.amplitude[0, 0, some], first.rate[some]], axis=-1)
        data = np.ascontiguousarray(flat[:, some].T)
        _climb(data, times, sigma[some], start, (law.low, law.high), weights, out[some])

    each(block, -(-flat.shape[1] // _BLOCK))
    found = out[:, 3] > 0
    error = np.where(found, np.sqrt(out[:, 1]), np.inf)
    held = out[:, 2] <= fitting.LARGEST_MISFIT**2 * (flat**2).sum(axis=0)
    return out[:, 0], error, found & held, np.sqrt(out[:, 2] / n_echoes)


@cache
def rician_information() -> Float[np.ndarray, " level"]:
    """Fisher's information of a Rician sample on its level, over that of a Gaussian one.

    At levels of 0 to 20 standard deviations, 0.02 apart.
    """
    level = np.arange(0.0, _HIGHEST + _FINEST / 2, _FINEST)[:, None]
    reach = np.linspace(-9.0, 9.0, 721)[None, :]
    size = np.maximum(level + reach, 0.0)
    density = size * np.exp(-((size - level) ** 2) / 2) * ive(0, size * level)
    ratio = np.divide(ive(1, size * level), ive(0, size * level))
    score = size * ratio - level
    width = reach[0, 1] - reach[0, 0]
    return np.asarray((density * score**2).sum(axis=1) * width)


@njit(cache=True, nogil=True)
@no_type_check
def _bessel(z: float) -> tuple[float, float]:
    """Ratio I1 / I0, and log(I0) - z; M. Abramowitz, I. A. Stegun 1964, 9.8.1 to 9.8.4."""
    if z < 3.75:
        t = (z / 3.75) ** 2
        i0 = 1 + t * (3.5156229 + t * (3.0899424 + t * (1.2067492 + t * (
            0.2659732 + t * (0.0360768 + t * 0.0045813)))))  # fmt: skip
        i1 = z * (0.5 + t * (0.87890594 + t * (0.51498869 + t * (0.15084934 + t * (
            0.02658733 + t * (0.00301532 + t * 0.00032411))))))  # fmt: skip
        return i1 / i0, np.log(i0) - z
    t = 3.75 / z
    i0 = 0.39894228 + t * (0.01328592 + t * (0.00225319 + t * (-0.00157565 + t * (
        0.00916281 + t * (-0.02057706 + t * (0.02635537 + t * (
            -0.01647633 + t * 0.00392377)))))))  # fmt: skip
    i1 = 0.39894228 + t * (-0.03988024 + t * (-0.00362018 + t * (0.00163801 + t * (
        -0.01031555 + t * (0.02282967 + t * (-0.02895312 + t * (
            0.01787654 - t * 0.00420059)))))))  # fmt: skip
    return i1 / i0, np.log(i0) - 0.5 * np.log(z)


@njit(cache=True, nogil=True)
@no_type_check
def _likelihood(
    data: np.ndarray, times: np.ndarray, amplitude: float, rate: float, sigma: float
) -> float:
    """Logarithm of the likelihood, less what does not hang on the parameters."""
    total = 0.0
    for i in range(len(times)):
        level = amplitude * np.exp(-times[i] * rate)
        z = data[i] * level / sigma**2
        total += _bessel(z)[1] + z - level**2 / (2 * sigma**2)
    return total


@njit(cache=True, nogil=True)
@no_type_check
def _scores(
    data: np.ndarray,
    times: np.ndarray,
    at: tuple[float, float, float],
    weights: np.ndarray,
) -> tuple[float, float, float, float, float, float]:
    """Slopes by amplitude and rate, Fisher's information (three numbers), and the squares left."""
    amplitude, rate, sigma = at
    s1, s2, f11, f12, f22, left = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(len(times)):
        kept = np.exp(-times[i] * rate)
        level = amplitude * kept
        place = level / sigma / _FINEST
        low = min(int(place), len(weights) - 2)
        share = min(place - low, 1.0)
        weight = (weights[low] * (1 - share) + weights[low + 1] * share) / sigma**2
        weight = max(weight, 1e-6 / sigma**2)
        pull = (data[i] * _bessel(data[i] * level / sigma**2)[0] - level) / sigma**2
        slope = -times[i] * level
        s1 += pull * kept
        s2 += pull * slope
        f11 += weight * kept * kept
        f12 += weight * kept * slope
        f22 += weight * slope * slope
        # Against the root of the mean square, which is near the mean of a magnitude.
        left += (data[i] - np.sqrt(level**2 + 1.5 * sigma**2)) ** 2
    return s1, s2, f11, f12, f22, left


@njit(cache=True, nogil=True)
@no_type_check
def _climb(
    data: np.ndarray,
    times: np.ndarray,
    sigma: np.ndarray,
    start: np.ndarray,
    ends: tuple[float, float],
    weights: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fisher's scoring for every voxel: rate, its variance, squares left, found."""
    low, high = ends
    for v in range(len(data)):
        amplitude, rate, noise = start[v, 0], start[v, 1], sigma[v]
        if amplitude <= 0.0:
            continue
        height = _likelihood(data[v], times, amplitude, rate, noise)
        for _ in range(60):
            s1, s2, f11, f12, f22, left = _scores(data[v], times, (amplitude, rate, noise), weights)
            size = f11 * f22 - f12 * f12
            if not size > 1e-14 * f11 * f22:
                break
            one, two = (f22 * s1 - f12 * s2) / size, (f11 * s2 - f12 * s1) / size
            out[v, 0], out[v, 1], out[v, 2] = rate, f11 / size, left
            # What is left to gain: a thousandth of a standard error, squared.
            if one * s1 + two * s2 < 1e-6:
                out[v, 3] = 1.0 if low < rate < high else 0.0
                break
            for _ in range(30):
                new = (max(amplitude + one, 0.1 * amplitude), min(max(rate + two, low), high))
                tried = _likelihood(data[v], times, new[0], new[1], noise)
                if tried >= height:
                    break
                one, two = one / 2, two / 2
            else:
                out[v, 3] = 1.0 if low < rate < high else 0.0
                break
            amplitude, rate, height = new[0], new[1], tried
