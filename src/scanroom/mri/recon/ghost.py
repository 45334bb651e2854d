"""Align odd and even echoes of a train with lines measured without phase encoding.

A delay between gradient and receiver, and eddy currents, give lines of opposite direction a
phase difference that is constant plus linear in the pixel. The slope comes from the lag-one
autocorrelation of the profiles (Ahn and Cho, IEEE Trans. Med. Imaging 6, 32 (1987),
doi:10.1109/TMI.1987.4307795), refined by a weighted line through the residual phase.
"""

import numpy as np
from jaxtyping import Bool, Complex64, Float

from scanroom.core.units import Radian

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


def _mean_phase(values: np.ndarray) -> Radian:
    return float(np.angle(values.sum()))


def _weighted_line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the weighted least-squares line."""
    total = max(float(weight.sum()), np.finfo(float).tiny)
    mean_x, mean_y = float(weight @ x) / total, float(weight @ y) / total
    spread = float(weight @ (x - mean_x) ** 2)
    slope = float(weight @ ((x - mean_x) * (y - mean_y))) / spread if spread > 0 else 0.0
    return slope, mean_y - slope * mean_x
