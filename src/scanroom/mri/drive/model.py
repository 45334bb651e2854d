"""The drive: what would leave the amplifiers and open the receiver, on one absolute clock."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Int

from scanroom.core.units import Second


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """One axis as straight lines between knots [Hz/m]; zero before the first and after the last.

    ``time`` [s] never decreases; two knots at one time are a step.
    """

    time: Float[np.ndarray, " knot"]
    amplitude: Float[np.ndarray, " knot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseShape:
    """One radio-frequency envelope, gamma B1 in Hz, as the file states it and as it is played.

    ``time`` [s] and ``signal`` [Hz] are the file's own samples, counted from the start of the
    pulse. ``edge`` [s] and ``step`` [Hz] are what leaves the amplifier: ``step[i]`` held from
    ``edge[i]`` to ``edge[i + 1]``. ``centre`` [s] is the moment of effective excitation.
    """

    time: Float[np.ndarray, " sample"]
    signal: Complex[np.ndarray, " sample"]
    edge: Float[np.ndarray, " step_plus_1"]
    step: Complex[np.ndarray, " step"]
    centre: Second


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulses:
    """Every radio-frequency pulse in order of time.

    The transmitter plays ``shape.signal(t) * exp(i (phase + 2 pi frequency t))``, ``t`` from
    ``start``.
    ``use`` is ``"e"`` excitation, ``"r"`` refocusing, ``"i"`` inversion, ``"s"`` saturation,
    ``"p"`` preparation, ``"o"`` other, ``"u"`` unknown, as in Pulseq 1.5; older files are guessed.
    """

    start: Float[np.ndarray, " pulse"]
    shape: Int[np.ndarray, " pulse"]
    frequency: Float[np.ndarray, " pulse"]
    phase: Float[np.ndarray, " pulse"]
    use: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shims:
    """Weights of the transmit channels (RF shims), and the set that each pulse is played with.

    Channel c plays a pulse times ``weight[set, c]``; -1 of ``of_pulse`` is the scanner's own mode.
    """

    weight: Complex[np.ndarray, "set channel"]
    of_pulse: Int[np.ndarray, " pulse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Every receiver window (ADC event) in order of time.

    Sample ``i`` is taken at ``start + (i + 1/2) dwell`` and demodulated by
    ``exp(-i (phase + 2 pi frequency (i + 1/2) dwell + modulation[i]))``. ``modulation`` holds the
    phase shapes of Pulseq 1.5 [rad]; ``modulation_index`` is -1 for none. ``label`` gives the value
    of every Pulseq label (LIN, SLC, NAV, ...) at each window, columns named by ``label_name``.
    """

    start: Float[np.ndarray, " window"]
    dwell: Float[np.ndarray, " window"]
    n_samples: Int[np.ndarray, " window"]
    frequency: Float[np.ndarray, " window"]
    phase: Float[np.ndarray, " window"]
    modulation: tuple[Float[np.ndarray, " _"], ...]
    modulation_index: Int[np.ndarray, " window"]
    label_name: tuple[str, ...]
    label: Int[np.ndarray, "window label"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rasters:
    """The clock ticks the file was written for."""

    gradient: Second
    pulse: Second
    window: Second
    block: Second


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A decoded sequence: three gradients, pulses, receiver windows, definitions.

    Gradient axes are the scanner's own x, y, z, which we take as RAS+ (x grows towards the
    subject's right, y towards anterior, z towards superior). Amplitudes stay in Hz/m and
    Hz (gamma G / 2 pi), as in Pulseq, so
    that a drive does not depend on the nucleus; limits and hardware convert. Without ``shims``
    every pulse is played in the scanner's own mode.
    """

    name: str
    gradients: tuple[Gradient, Gradient, Gradient]
    shapes: tuple[PulseShape, ...]
    pulses: Pulses
    windows: Windows
    block_edge: Float[np.ndarray, " block_plus_1"]
    rasters: Rasters
    definitions: tuple[tuple[str, str], ...]
    version: tuple[int, int, int]
    shims: Shims | None = None

    @property
    def duration(self) -> Second:
        """From the first block to the end of the last."""
        return float(self.block_edge[-1])

    def definition(self, key: str) -> str | None:
        """Return one entry of [DEFINITIONS], or None."""
        return dict(self.definitions).get(key)
