"""Align odd and even echoes of a train with lines measured without phase encoding.

A delay between gradient and receiver, and eddy currents, give lines of opposite direction a
phase difference that is constant plus linear in the pixel. The slope comes from the lag-one
autocorrelation of the profiles (Ahn and Cho, IEEE Trans. Med. Imaging 6, 32 (1987),
doi:10.1109/TMI.1987.4307795), refined by a weighted line through the residual phase. Without
such lines the phase is that which leaves the least ghost in the image itself.
"""

import numpy as np
from jaxtyping import Bool, Complex64, Float

from scanroom.core.units import Radian

MAX_SHIFT = 3.0
"""Largest shift between odd and even echoes searched for, in points of k-space."""
_STEPS = ((12, 16), (6, 6), (6, 6))
"""Slopes and constants tried to either side, at each level of the search."""
_N_COLUMNS, _N_COILS = 48, 4

Lines = Complex64[np.ndarray, "line coil x"]


def odd_even_phase(lines: Lines, reverse: Bool[np.ndarray, " line"]) -> Float[np.ndarray, " x"]:
    """Fit the phase of reversed lines relative to forward lines, along the readout.

    Of an even number of alternating lines the last is left out, so that both directions have the
    same mean time and the drift between echoes cancels.
    """
    if len(lines) > 2 and len(lines) % 2 == 0:
        lines, reverse = lines[:-1], reverse[:-1]
    n = lines.shape[-1]
    pixel = np.arange(n) - n // 2
    if reverse.all() or not reverse.any():
        return np.zeros(n)
    forward = lines[~reverse].mean(axis=0).astype(np.complex128)
    backward = lines[reverse].mean(axis=0).astype(np.complex128)
    product = (backward * forward.conj()).sum(axis=0)
    slope = float(np.angle((product[1:] * product[:-1].conj()).sum()))
    constant = _mean_phase(product * np.exp(-1j * slope * pixel))
    for _ in range(2):
        residual = np.angle(product * np.exp(-1j * (constant + slope * pixel)))
        weight = np.abs(product)
        more_slope, more_constant = _weighted_line(pixel, residual, weight)
        slope, constant = slope + more_slope, constant + more_constant
    phase: np.ndarray = constant + slope * pixel
    return phase


def align(
    lines: Lines, reverse: Bool[np.ndarray, " line"], phase: Float[np.ndarray, " x"]
) -> Lines:
    """Give half of the correction to each direction, so that the image keeps its place."""
    sign = np.where(reverse, -0.5, 0.5)
    turn = np.exp(1j * sign[:, None] * phase).astype(np.complex64)
    aligned: np.ndarray = lines * turn[:, None, :]
    return aligned


def ghost_phase(
    forward: Complex64[np.ndarray, "coil y x"], backward: Complex64[np.ndarray, "coil y x"]
) -> Float[np.ndarray, " x"]:
    """Find the phase of reversed lines from images that either direction makes alone.

    Of all constants and slopes that is taken whose image has the least sum of magnitudes: a ghost
    spreads energy over more pixels. Half a turn more moves the image by half the field of view;
    the one with more of its energy in the middle is taken.
    """
    n = forward.shape[-1]
    pixel = np.arange(n) - n // 2
    columns, coils = _strongest(forward)
    even, odd = (image[coils][:, :, columns] for image in (forward, backward))
    constant, turns = 0.0, 0.0
    reach = np.array([MAX_SHIFT, np.pi / 2])
    for n_slopes, n_constants in _STEPS:
        trials = [
            (turns + reach[0] * i / n_slopes, constant + reach[1] * j / n_constants)
            for i in range(-n_slopes, n_slopes + 1)
            for j in range(-n_constants, n_constants + 1)
        ]
        costs = [_spread(even, odd, pixel[columns] / n, trial) for trial in trials]
        turns, constant = trials[int(np.argmin(costs))]
        reach = 1.5 * reach / [n_slopes, n_constants]
    if _off_middle(even, odd, pixel[columns] / n, (turns, constant)):
        constant += np.pi
    phase: np.ndarray = constant + 2 * np.pi * turns * pixel / n
    return phase


def _strongest(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and coils that hold most of the energy."""
    power = np.abs(image) ** 2
    columns = np.sort(np.argsort(power.sum(axis=(0, 1)))[-_N_COLUMNS:])
    coils = np.sort(np.argsort(power.sum(axis=(1, 2)))[-_N_COILS:])
    return columns, coils


def _joined(
    even: np.ndarray, odd: np.ndarray, place: np.ndarray, trial: tuple[float, float]
) -> np.ndarray:
    """Image of both directions, the reversed lines turned back by one trial."""
    turn = np.exp(-1j * (trial[1] + 2 * np.pi * trial[0] * place)).astype(np.complex64)
    magnitude: np.ndarray = np.abs(even + odd * turn)
    return magnitude


def _spread(
    even: np.ndarray, odd: np.ndarray, place: np.ndarray, trial: tuple[float, float]
) -> float:
    return float(_joined(even, odd, place, trial).sum())


def _off_middle(
    even: np.ndarray, odd: np.ndarray, place: np.ndarray, trial: tuple[float, float]
) -> bool:
    """Whether most energy lies nearer to the edge of the field of view than to its middle."""
    power = (_joined(even, odd, place, trial) ** 2).sum(axis=(0, 2))
    angle = 2 * np.pi * (np.arange(len(power)) - len(power) // 2) / len(power)
    return bool((power * np.cos(angle)).sum() < 0)


def _mean_phase(values: np.ndarray) -> Radian:
    return float(np.angle(values.sum()))


def _weighted_line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the weighted least-squares line."""
    total = max(float(weight.sum()), np.finfo(float).tiny)
    mean_x, mean_y = float(weight @ x) / total, float(weight @ y) / total
    spread = float(weight @ (x - mean_x) ** 2)
    slope = float(weight @ ((x - mean_x) * (y - mean_y))) / spread if spread > 0 else 0.0
    return slope, mean_y - slope * mean_x
