"""Signals in closed form, the bound of Cramer and Rao for them, and what fits make of their noise.

Written apart from the fits: signals one parameter after the other, slopes by differences.
"""

from collections.abc import Callable

import numpy as np

from scanroom.mri.maps.model import Map

Law = Callable[..., np.ndarray]
"""Signal [sample] of quantities, the last of them the amplitude."""

N_SEEDS = 10
N_VOXELS = 400


def recovery(ti: np.ndarray, t1: float, efficiency: float, amplitude: float) -> np.ndarray:
    """Inversion and recovery to the full."""
    return amplitude * (1 - (1 + efficiency) * np.exp(-ti / t1))


def repeated(
    ti: np.ndarray, tr: float, te: float, t1: float, efficiency: float, amplitude: float
) -> np.ndarray:
    """The same, interval by interval, of a spin echo every repetition: 90, 180, recovery, again."""
    after_echo = 1 - np.exp(-(te / 2) / t1)
    before = 1 - (1 + after_echo) * np.exp(-(tr - ti - te / 2) / t1)
    return amplitude * (1 - (1 + efficiency * before) * np.exp(-ti / t1))


def train_of_pulses(
    n: int, flip: float, interval: float, t1: float, efficiency: float, amplitude: float
) -> np.ndarray:
    """Longitudinal magnetisation met by each of many small pulses after an inversion."""
    z, seen = -efficiency, np.empty(n)
    for i in range(n):
        z = 1 - (1 - z) * np.exp(-interval / t1)
        seen[i] = amplitude * z * np.sin(flip)
        z *= np.cos(flip)
    return seen


def spoiled(flips: np.ndarray, tr: float, t1: float, b1: float, amplitude: float) -> np.ndarray:
    """R. R. Ernst, W. A. Anderson 1966, doi:10.1063/1.1719961."""
    e1 = np.exp(-tr / t1)
    return amplitude * np.sin(b1 * flips) * (1 - e1) / (1 - e1 * np.cos(b1 * flips))


def alternating(flip: float, intervals: tuple[float, float], t1: float) -> tuple[float, float]:
    """Signals after the pulses before the short and before the long interval, played to rest."""
    z, short = 1.0, 0.0
    for _ in range(2000):
        short = z * np.sin(flip)
        z = 1 - (1 - z * np.cos(flip)) * np.exp(-intervals[0] / t1)
        long = z * np.sin(flip)
        z = 1 - (1 - z * np.cos(flip)) * np.exp(-intervals[1] / t1)
    return short, long


def bound(law: Law, values: tuple[float, ...], noise: float, parts: int = 1) -> np.ndarray:
    """Least standard error of each quantity; ``parts`` is 2 for a complex amplitude and signal."""
    slopes = []
    for k, value in enumerate(values):
        step = 1e-5 * abs(value)
        up, down = list(values), list(values)
        up[k], down[k] = value + step, value - step
        slopes.append((law(*up) - law(*down)) / (2 * step))
    columns = [np.concatenate([slope, np.zeros(len(slope))])[: len(slope) * parts]
               for slope in slopes]  # fmt: skip
    jacobian = np.array(columns).T / noise
    return np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))


def spread(
    law: Law,
    values: tuple[float, ...],
    noise: float,
    fit: Callable[[np.ndarray], Map],
) -> tuple[float, float, float]:
    """Over voxels and seeds: bias in standard errors, spread and reported error over the bound."""
    signal = law(*values)
    found, errors = [], []
    for seed in range(N_SEEDS):
        rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
        data = signal[:, None] + noise * rng.normal(size=(len(signal), N_VOXELS))
        made = fit(data)
        if made.valid.mean() < 0.99:
            raise ArithmeticError(f"{int((~made.valid).sum())} voxels are not trusted.")
        found.append(made.array[made.valid])
        errors.append(made.error[made.valid])
    least = bound(law, values, noise)[0]
    every = np.concatenate(found)
    bias = (every.mean() - values[0]) / least
    reported = np.sqrt((np.concatenate(errors) ** 2).mean())
    return float(bias), float(every.std() / least), float(reported / least)
