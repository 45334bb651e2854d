"""From volts to numbers: decimation filter, demodulation, analogue-to-digital converter."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Complex64, Float
from scipy import fft

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Hertz, Radian, Ratio, Second


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """One receiver channel, after the preamplifier.

    ``full_scale`` is the largest real or imaginary part it can tell [V]. ``n_bits`` counts the
    sign; it belongs to the converter, which runs at ``converter_rate``: averaging down to the
    dwell time adds half a bit per octave. The filter is flat up to ``flat`` times half the
    bandwidth and falls, as a half cosine, to ``edge_gain`` at the edge of the band.
    """

    full_scale: float
    n_bits: int = 16
    converter_rate: Hertz = 10e6
    flat: Ratio = 0.8
    edge_gain: Ratio = 0.5

    def __post_init__(self) -> None:
        sound = (
            self.full_scale > 0
            and 2 <= self.n_bits <= 32
            and self.converter_rate > 0
            and 0 <= self.flat < 1
            and 0 <= self.edge_gain <= 1
        )
        if not sound:
            raise ProtocolError(
                f"receiver is {self}; it may have a full scale and rate above 0, 2 to 32 bits, "
                "flat in [0, 1) and an edge gain in [0, 1] (scanroom.physics.receiver). "
                "Correct the value."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Slow change of the receiver: gain [1/s, relative] and phase [rad/s]."""

    gain: float = 0.0
    phase: float = 0.0


def drifted(drift: Drift, time: Second) -> complex:
    """Factor of what is received at a time since the start of the scan."""
    return complex((1 + drift.gain * time) * np.exp(1j * drift.phase * time))


def spike(
    signal: Complex[np.ndarray, "coil sample"], *, chance: Ratio, size: float, seed: int, index: int
) -> Complex64[np.ndarray, "coil sample"]:
    """Add, with a given chance, one sample of ``size`` [V], alike in every coil: a spark.

    The window's number and the seed decide whether, where and with what phase.
    """
    key = np.array([seed & 0xFFFF_FFFF_FFFF_FFFF, index], np.uint64)
    draw = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, 1]))  # not the noise
    hit, place, turn = draw.random(3)
    out = np.array(signal, np.complex64)
    if hit < chance:
        out[:, int(place * out.shape[1])] += size * np.exp(2j * np.pi * turn)
    return out


def filter_gain(
    receiver: Receiver, frequency: Float[np.ndarray, " sample"]
) -> Float[np.ndarray, " sample"]:
    """Gain at ``frequency``, in units of the bandwidth (-1/2 to 1/2). Linear phase, taken out."""
    beyond = np.clip((2 * np.abs(frequency) - receiver.flat) / (1 - receiver.flat), 0, 1)
    fall = (1 - np.cos(np.pi * beyond)) / 2
    return np.asarray(1 - (1 - receiver.edge_gain) * fall)


def noise_bandwidth(receiver: Receiver) -> Ratio:
    """Mean square of the filter's gain: white noise keeps this part of its power.

    The ``relativeReceiverNoiseBandwidth`` of an MRD header.
    """
    x = (np.arange(20_000) + 0.5) / 20_000 - 0.5
    return float(np.mean(filter_gain(receiver, x) ** 2))


def droop(
    receiver: Receiver, signal: Complex[np.ndarray, "coil sample"]
) -> Complex64[np.ndarray, "coil sample"]:
    """Pass a window through the decimation filter.

    Periodic over the window, so that an image's edge fades exactly as `filter_gain` says and no
    sample of the window is lost to the filter's own start.
    """
    gain = filter_gain(receiver, fft.fftfreq(signal.shape[-1])).astype(np.float32)
    return np.asarray(fft.ifft(fft.fft(signal.astype(np.complex64)) * gain), np.complex64)


def demodulation(
    n_samples: int,
    dwell: Second,
    *,
    frequency: Hertz = 0.0,
    phase: Radian = 0.0,
    modulation: Float[np.ndarray, " sample"] | None = None,
) -> Complex64[np.ndarray, " sample"]:
    """Phasor a window is multiplied by: ``exp(i (phase + 2 pi frequency t + modulation))``.

    ``t`` is the middle of each sample from the start of the window; signs as in
    docs/nomenclature.md.
    """
    angle = phase + 2 * np.pi * frequency * dwell * (np.arange(n_samples) + 0.5)
    if modulation is not None:
        angle = angle + modulation
    return np.asarray(np.exp(1j * angle), np.complex64)


def quantise(
    receiver: Receiver, signal: Complex[np.ndarray, "coil sample"], dwell: Second
) -> tuple[Complex64[np.ndarray, "coil sample"], int]:
    """Round real and imaginary parts to the converter's steps; also how many parts were clipped.

    The step is that of an ideal converter whose samples are averaged over ``dwell``: error is white
    and ``step^2 / 12`` in power while noise exceeds the step.

    References
    ----------
    W. R. Bennett, Bell Syst. Tech. J. 27, 446 (1948), doi:10.1002/j.1538-7305.1948.tb01340.x.
    """
    step = quantisation_step(receiver, dwell)
    parts = np.stack([signal.real, signal.imag]).astype(np.float64)
    n_clipped = int((np.abs(parts) > receiver.full_scale).sum())
    highest = np.floor(receiver.full_scale / step)
    parts = np.clip(np.round(parts / step), -highest, highest) * step
    return np.asarray(parts[0] + 1j * parts[1], np.complex64), n_clipped


def quantisation_step(receiver: Receiver, dwell: Second) -> float:
    """Volts between neighbouring numbers after averaging over ``dwell``."""
    n_averaged = max(receiver.converter_rate * dwell, 1.0)
    return float(2 * receiver.full_scale / 2**receiver.n_bits / np.sqrt(n_averaged))


def full_scale_for(peak: float, *, headroom: Ratio = 2.0) -> float:
    """Full scale that keeps the largest expected part clear of clipping by ``headroom``."""
    if not peak > 0:
        raise ProtocolError(
            f"the largest signal expected is {peak:.3g} V; it must exceed 0 for the receiver gain "
            "to be set (scanroom.physics.receiver). Give the noise level if there is no signal."
        )
    return peak * headroom
