"""The transmitter's power amplifier: it saturates, turns the phase, and sags in long pulses."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Hertz, Radian, Ratio, Second


@dataclass(frozen=True, slots=True, kw_only=True)
class Amplifier:
    """Gain ``1 / (1 + (u / saturation)^(2 knee))^(1 / (2 knee))`` of an amplitude u [Hz].

    ``turn`` is the phase that it adds at saturation, growing as the square of the amplitude.
    ``droop`` is the share of gain lost per second of full output; it grows with power, and the
    supply has recovered before the next pulse.

    References
    ----------
    C. Rapp, Proc. 2nd European Conference on Satellite Communications, 179 (1991): the gain.
    """

    saturation: Hertz
    knee: float = 2.0
    turn: Radian = 0.0
    droop: float = 0.0

    def __post_init__(self) -> None:
        sound = self.saturation > 0 and self.knee > 0 and 0 <= self.droop <= 100
        if not sound or not abs(self.turn) <= np.pi:
            raise ProtocolError(
                f"amplifier is {self}; saturation and knee may be above 0, droop 0 to 100 per "
                "second and the turn within pi (scanroom.physics.amplifier). Correct the value."
            )


def amplify(
    amplifier: Amplifier,
    edge: Float[np.ndarray, " edge"],
    step: Complex[np.ndarray, " step"],
) -> Complex[np.ndarray, " step"]:
    """What leaves the amplifier of a pulse that goes in as steps between edges [s]."""
    size = np.abs(step) / amplifier.saturation
    gain: Ratio | np.ndarray = (1 + size ** (2 * amplifier.knee)) ** (-1 / (2 * amplifier.knee))
    power = np.minimum(size, 1.0) ** 2 * np.diff(edge)
    spent: Second | np.ndarray = np.cumsum(power) - power / 2
    sag = np.exp(-amplifier.droop * spent)
    return np.asarray(step * gain * sag * np.exp(1j * amplifier.turn * size**2))
