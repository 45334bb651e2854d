"""What is played to the spins: pulses and receiver windows on one clock, gradients as moments."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from scanroom.core.units import Hertz, Second
from scanroom.physics.spins.rotations import Envelope

PULSE, WINDOW = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseKind:
    """An envelope at one peak strength and frequency, under one gradient.

    ``moment`` [1/m], from the first edge of the envelope to each edge, replaces ``gradient`` [Hz/m]
    when the gradient changes during the pulse. ``shim`` is the column of the spins' transmit field
    that the pulse is played with.
    """

    envelope: int
    strength: Hertz
    frequency: Hertz
    gradient: Float[np.ndarray, " axis"]
    moment: Float[np.ndarray, "edge axis"] | None = None
    shim: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowKind:
    """Samples at the middle of each dwell, under one gradient [Hz/m] or one course of moments.

    ``moment`` [1/m] counts from the opening of the window to each sample; ``steady`` says that the
    gradient is constant.
    """

    n_samples: int
    dwell: Second
    gradient: Float[np.ndarray, " axis"]
    moment: Float[np.ndarray, "sample axis"]
    steady: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Events in order of time; between them spins evolve freely.

    ``event`` is PULSE or WINDOW, ``kind`` counts into ``pulses`` or ``windows``. ``time`` [s] and
    ``moment`` [1/m] hold, for each event, its begin, its end and (windows) its middle sample, since
    the start of the drive. Axes of moments and gradients are x, y, z; what follows them are moments
    of further field coordinates, each in the inverse of its coordinate's unit: the field at a
    spin is the sum of gradients times coordinates. ``turns`` [cycles] is the phase of a pulse at
    its begin and, carried on at its own frequency, at its end. ``dephasing``, for what
    diffuses, holds the integrals over time of the moment [s/m] and of its products xx, yy, zz, xy,
    xz, yz [s/m2] at the times of every event; it is empty where nobody asked.
    """

    envelopes: tuple[Envelope, ...]
    pulses: tuple[PulseKind, ...]
    windows: tuple[WindowKind, ...]
    event: Int[np.ndarray, " event"]
    kind: Int[np.ndarray, " event"]
    time: Float[np.ndarray, "event 3"]
    moment: Float[np.ndarray, "event 3 axis"]
    turns: Float[np.ndarray, "event 2"]
    dephasing: Float[np.ndarray, "known 3 9"] = field(default_factory=lambda: np.zeros((0, 3, 9)))

    @property
    def n_axes(self) -> int:
        """Three, and the further field coordinates."""
        return int(self.moment.shape[2])
