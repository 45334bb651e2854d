"""What RF shims ask of transmit channels, each relative to the scanner's own mode.

In that mode every channel has the weight 1 / sqrt(n), unit power in all. Phases are never trusted:
whatever depends on how fields add up is bounded for the worst of them.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Complex, Float

from scanroom.core.gate import Limit
from scanroom.core.units import Ratio
from scanroom.mri.drive.model import Drive
from scanroom.mri.limits.sound import sound
from scanroom.mri.system import System
from scanroom.physics.transmit_array import TransmitArray, worst_absorption

OfSets = Callable[[Complex[np.ndarray, "set channel"]], Float[np.ndarray, " set"]]


def loudest(weight: Complex[np.ndarray, "set channel"]) -> Float[np.ndarray, " set"]:
    """Amplitude of the channel that is driven hardest.

    The field where all channels happen to add up, sum of |w| / sqrt(n), is no larger.
    """
    return np.asarray(np.abs(weight).max(axis=1) * np.sqrt(weight.shape[1]))


def all_power(weight: Complex[np.ndarray, "set channel"]) -> Float[np.ndarray, " set"]:
    """Power of all channels together."""
    return np.asarray((np.abs(weight) ** 2).sum(axis=1))


def per_pulse(drive: Drive, value: OfSets) -> Float[np.ndarray, " pulse"]:
    """``value`` of the set of every pulse: 1 in the scanner's own mode, NaN of sets not sound."""
    n_pulses, shims = len(drive.pulses.start), drive.shims
    if shims is None:
        return np.ones(n_pulses)
    place, n_sets = shims.of_pulse, len(shims.weight)
    if place.shape != (n_pulses,) or not ((place >= -1) & (place < n_sets)).all():
        return np.full(n_pulses, np.nan)
    return np.asarray(np.append(value(shims.weight), 1.0)[place])


def worst_mode(system: System) -> Ratio:
    """How much more than the scanner's own mode any weights of the same power can deposit."""
    if system.n_transmit == 1:
        return 1.0
    return worst_absorption(TransmitArray(n_channels=system.n_transmit), system.larmor)


def channel_limit(system: System) -> Limit:
    """RF shims must be for the channels there are."""

    def measure(drive: Drive) -> float:
        if drive.shims is None:
            return 0.0
        if np.isnan(per_pulse(drive, loudest)).any():
            return float("nan")
        return float(abs(drive.shims.weight.shape[1] - system.n_transmit))

    return Limit(
        name=f"transmit channels of the RF shims more or less than {system.n_transmit}",
        ceiling=0.0,
        unit="1",
        source=f"system {system.name}",
        measure=sound(measure),
        remedy="Give one weight for each channel of the system.",
    )
