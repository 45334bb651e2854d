"""What gradient coils really make: fields that bend, fields that come along, fields that lag."""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Complex, Float
from numba import njit
from scipy import fft

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Hertz, Metre, Ratio, Second

MAX_EDDY_SHARE = 0.2
REFERENCE_RADIUS: Metre = 0.25
"""Radius at which the coefficients of `Nonlinearity` are shares of the linear field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonlinearity:
    """Solid harmonics of order 3 and 5 in the field of each gradient coil (x, y, z).

    A coefficient is the share of the linear field that its term adds on the coil's own axis at
    `REFERENCE_RADIUS`. By symmetry a coil has no harmonics of even order.

    References
    ----------
    A. Janke et al., Magn. Reson. Med. 52, 115 (2004), doi:10.1002/mrm.20122.
    """

    third: tuple[Ratio, Ratio, Ratio] = (0.0, 0.0, 0.0)
    fifth: tuple[Ratio, Ratio, Ratio] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not all(abs(c) <= 0.5 for c in (*self.third, *self.fifth)):
            raise ProtocolError(
                f"nonlinearity is {self}; each coefficient may be at most 0.5 of the linear field "
                f"at {REFERENCE_RADIUS} m (scanroom.physics.gradient_fields). Give smaller ones."
            )


def bent(
    position: Float[np.ndarray, "point 3"], coils: Nonlinearity
) -> Float[np.ndarray, "point 3"]:
    """Where a point seems to lie: the field [m] that each coil makes of a unit gradient."""
    x, y, z = (position / REFERENCE_RADIUS).T
    rho = x**2 + y**2
    third = (
        x * (x**2 + y**2 - 4 * z**2),
        y * (x**2 + y**2 - 4 * z**2),
        z * (z**2 - 1.5 * rho),
    )
    fifth = (
        x * (8 * z**4 - 12 * z**2 * rho + rho**2),
        y * (8 * z**4 - 12 * z**2 * rho + rho**2),
        z * (z**4 - 5 * z**2 * rho + 15 / 8 * rho**2),
    )
    extra = [
        REFERENCE_RADIUS * (c3 * t3 + c5 * t5)
        for c3, t3, c5, t5 in zip(coils.third, third, coils.fifth, fifth, strict=True)
    ]
    return np.asarray(position + np.stack(extra, axis=1))


def concomitant_drive(
    gradient: Float[np.ndarray, "time axis"], larmor: Hertz
) -> Float[np.ndarray, "time 4"]:
    """How gradients [Hz/m] drive the four fields of `concomitant_place` [Hz/m2].

    Maxwell's equations bend the field of any gradient; to lowest order in 1/B0 it adds
    ``[(Gx^2 + Gy^2) z^2 + Gz^2 (x^2 + y^2) / 4 - Gx Gz x z - Gy Gz y z] / (2 B0)``.

    References
    ----------
    M. A. Bernstein et al., Magn. Reson. Med. 39, 300 (1998), doi:10.1002/mrm.1910390218.
    """
    x, y, z = gradient[:, :3].T
    return np.stack([x**2 + y**2, z**2, -x * z, -y * z], axis=1) / (2 * larmor)


def concomitant_place(position: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "point 4"]:
    """The four fields that come along with gradients, in space [m2]."""
    x, y, z = position.T
    return np.stack([z**2, (x**2 + y**2) / 4, x * z, y * z], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Eddy:
    """One eddy current: a change of the gradient on ``axis`` sets up a field that opposes it.

    ``share`` is that of the change, on the same axis; ``field`` [m] is the uniform field per
    change of gradient. Both die away with ``time``.

    References
    ----------
    P. Jehenson, M. Westphal, N. Schuff, J. Magn. Reson. 90, 264 (1990),
    doi:10.1016/0022-2364(90)90133-T.
    """

    axis: int
    time: Second
    share: Ratio = 0.0
    field: Metre = 0.0

    def __post_init__(self) -> None:
        if self.axis not in {0, 1, 2}:
            raise ProtocolError(
                f"axis of an eddy current is {self.axis}; it may be 0, 1 or 2 for x, y or z "
                "(scanroom.physics.gradient_fields). Choose one of them."
            )
        if not (1e-5 <= self.time <= 10.0 and abs(self.share) <= MAX_EDDY_SHARE):
            raise ProtocolError(
                f"eddy current has a time constant of {self.time} s and a share of {self.share}; "
                f"there may be 10 us to 10 s and at most {MAX_EDDY_SHARE} "
                "(scanroom.physics.gradient_fields). Correct the value."
            )


@njit(cache=True, nogil=True)
@no_type_check
def _lag(time, amplitude, constant, out):
    """Convolve the slope of a line through knots with a decaying exponential, exactly."""
    out[0] = amplitude[0]
    for i in range(1, time.size):
        step = time[i] - time[i - 1]
        rise = amplitude[i] - amplitude[i - 1]
        if step <= 0.0:
            out[i] = out[i - 1] + rise
            continue
        kept = np.exp(-step / constant)
        out[i] = out[i - 1] * kept + rise / step * constant * (1.0 - kept)


def lagging(
    time: Float[np.ndarray, " knot"], amplitude: Float[np.ndarray, " knot"], constant: Second
) -> Float[np.ndarray, " knot"]:
    """What an eddy current of unit share makes at the knots of a waveform that starts from zero."""
    out = np.zeros(len(time))
    if len(time):
        _lag(np.asarray(time, np.float64), np.asarray(amplitude, np.float64), constant, out)
    return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Response:
    """Measured response of the gradients to what is asked of them (GIRF).

    ``gain[asked, made, frequency]``: from x, y, z to uniform field [m], x, y, z; frequencies are
    ``spacing`` [Hz] apart and centred, ``source`` says where it was measured.

    References
    ----------
    S. J. Vannesjo et al., Magn. Reson. Med. 69, 583 (2013), doi:10.1002/mrm.24263.
    """

    gain: Complex[np.ndarray, "3 4 frequency"]
    spacing: Hertz
    source: str


def respond(
    asked: Float[np.ndarray, "axis sample"], raster: Second, response: Response
) -> Float[np.ndarray, "4 sample"]:
    """Pass waveforms through a measured response: uniform field and the three gradients.

    Waveforms are periodic over their length: leave room for what dies away. Frequencies that were
    not measured do not pass.
    """
    n = asked.shape[1]
    measured = (np.arange(response.gain.shape[2]) - response.gain.shape[2] // 2) * response.spacing
    frequency = fft.rfftfreq(n, raster)
    spectrum = fft.rfft(asked, axis=1)
    made = np.zeros((4, len(frequency)), np.complex128)
    for axis in range(3):
        if not asked[axis].any():
            continue
        for out in range(4):
            gain = response.gain[axis, out]
            smooth = np.interp(frequency, measured, gain.real, left=0, right=0) + 1j * np.interp(
                frequency, measured, gain.imag, left=0, right=0
            )
            made[out] += smooth * spectrum[axis]
    return np.asarray(fft.irfft(made, n, axis=1))
