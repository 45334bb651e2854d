"""How thick a slice really is: profiles of the apodised sinc beyond small flip angles.

A slice's thickness is the full width at half maximum of the signal it gives. A sinc selects wider
than its nominal width at 90 degrees, and refocuses only two thirds of it at 180 degrees, so the
slice gradients are scaled by the widths computed here.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Complex, Float

from scanroom.core.units import Radian, Ratio

# Hamming's window: 0.54 + 0.46 cos.
APODISATION = 0.46
_STEPS = 500
_OFFSETS = np.linspace(0.0, 2.5, 1001)


@lru_cache(maxsize=64)
def excitation_width(angle: Radian, time_bandwidth: Ratio) -> Ratio:
    """Width of the excited signal at half maximum, in nominal slice thicknesses."""
    return _full_width(np.abs(_excited(angle, time_bandwidth, _OFFSETS)))


@lru_cache(maxsize=64)
def echo_width(angle: Radian, refocusing: Radian, time_bandwidth: Ratio, ratio: Ratio) -> Ratio:
    """Width of a crushed spin echo, in nominal thicknesses of the excitation.

    The refocusing pulse is drawn ``ratio`` times as wide.
    """
    excited = _excited(angle, time_bandwidth, _OFFSETS)
    _, beta = cayley_klein(refocusing, time_bandwidth, _OFFSETS / ratio)
    return _full_width(np.abs(excited) * np.abs(beta) ** 2)


def _excited(
    angle: Radian, time_bandwidth: Ratio, offset: Float[np.ndarray, " offset"]
) -> Complex[np.ndarray, " offset"]:
    """Transverse magnetisation after a pulse from equilibrium."""
    alpha, beta = cayley_klein(angle, time_bandwidth, offset)
    excited: np.ndarray = 2 * alpha.conj() * beta
    return excited


def cayley_klein(
    angle: Radian, time_bandwidth: Ratio, offset: Float[np.ndarray, " offset"]
) -> tuple[Complex[np.ndarray, " offset"], Complex[np.ndarray, " offset"]]:
    """Rotation by an apodised sinc at offsets in nominal thicknesses from the slice centre.

    References
    ----------
    J. Pauly et al., IEEE Trans. Med. Imaging 10, 53 (1991), doi:10.1109/42.75611.
    """
    time = (np.arange(_STEPS) + 0.5) / _STEPS - 0.5
    shape = (1 - APODISATION + APODISATION * np.cos(2 * np.pi * time)) * np.sinc(
        time_bandwidth * time
    )
    turns = angle * shape / shape.sum()
    tilt = 2 * np.pi * time_bandwidth * offset / _STEPS
    alpha, beta = np.ones(offset.size, complex), np.zeros(offset.size, complex)
    for turn in turns:
        total = np.sqrt(turn**2 + tilt**2) + np.finfo(float).tiny
        step_alpha = np.cos(total / 2) - 1j * tilt / total * np.sin(total / 2)
        step_beta = -1j * turn / total * np.sin(total / 2)
        alpha, beta = (
            step_alpha * alpha - step_beta.conj() * beta,
            step_beta * alpha + step_alpha.conj() * beta,
        )
    return alpha, beta


def _full_width(signal: Float[np.ndarray, " offset"]) -> Ratio:
    """Twice the offset where a profile falls below half of its value in the middle."""
    half = signal[0] / 2
    below = int(np.argmax(signal < half))
    high, low = signal[below - 1], signal[below]
    inside = float(_OFFSETS[below - 1])
    return 2 * (inside + float((high - half) / (high - low)) * float(_OFFSETS[1]))
