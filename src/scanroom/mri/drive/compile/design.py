"""Pulses, gradient lobes and readouts before they get a place in time. Clock: integer nanoseconds.

Every lobe of a block shares one timing and differs in amplitude along read, phase and slice alone.
It is drawn for the length of its area vector, so that whichever way the geometry turns it no
physical axis exceeds the amplifier and the timing stays the same; a turned lobe stays a trapezoid.
"""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pypulseq

from scanroom.core.errors import ProtocolError
from scanroom.core.units import HertzPerMetre, Metre, Radian, Second
from scanroom.mri.drive.compile.profile import APODISATION
from scanroom.mri.protocol.families import Imaging
from scanroom.mri.system import System

NANO = 1e-9
MICROSECOND = 1000  # delays of pulses and windows are whole microseconds in a Pulseq file
SLEW_MARGIN = 1 - 1e-9


def ns(seconds: float) -> int:
    """Seconds to the nearest nanosecond."""
    return round(seconds / NANO)


def ceil_to(time: float | int, raster: int) -> int:
    """Round a time up to a raster; a rounding error above the raster is not a reason to go on."""
    return math.ceil(time / raster - 1e-9) * raster


@dataclass(frozen=True, slots=True, kw_only=True)
class Amplifier:
    """What the design may use of the gradients, for a vector of any direction."""

    strength: HertzPerMetre
    slew: float
    raster: int

    def rise(self, amplitude: HertzPerMetre) -> int:
        """Shortest ramp to an amplitude."""
        return max(ceil_to(abs(amplitude) / self.slew / NANO, self.raster), self.raster)


def amplifier(protocol: Imaging, system: System) -> Amplifier:
    """Share of the system's gradients that a protocol may use."""
    return Amplifier(
        strength=system.gamma * system.max_gradient * protocol.gradient_share,
        slew=system.gamma * system.max_slew * protocol.slew_share * SLEW_MARGIN,
        raster=math.lcm(ns(system.gradient_raster), ns(system.block_raster)),
    )


@dataclass(frozen=True, slots=True)
class Lobe:
    """Timing of a trapezoid; its amplitude follows from the area."""

    rise: int
    flat: int

    @property
    def duration(self) -> int:
        """From zero to zero."""
        return 2 * self.rise + self.flat

    def amplitude(self, area: float) -> HertzPerMetre:
        """Amplitude that encloses an area [1/m]."""
        return area / ((self.rise + self.flat) * NANO)


def shortest_lobe(area: float, limit: Amplifier) -> Lobe:
    """Draw the shortest trapezoid for an area [1/m] of any direction."""
    rise = max(ceil_to(math.sqrt(area / limit.slew) / NANO, limit.raster), limit.raster)
    if area / (rise * NANO) <= limit.strength:
        return Lobe(rise, 0)
    rise = limit.rise(limit.strength)
    flat = ceil_to(area / limit.strength / NANO - rise, limit.raster)
    return Lobe(rise, max(flat, 0))


def lobe_for(vectors: list[tuple[float, float, float]], limit: Amplifier) -> Lobe:
    """Draw one timing for several area vectors (read, phase, slice) [1/m]."""
    longest = max(math.sqrt(sum(area**2 for area in vector)) for vector in vectors)
    return shortest_lobe(longest, limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePulse:
    """A pulse with its slice gradient, alone in a block.

    ``centre`` counts from the start of the block; ``before`` and ``after`` are the gradient's areas
    [1/m] on each side of it.
    """

    event: SimpleNamespace
    amplitude: HertzPerMetre
    delay: int
    rise: int
    flat: int
    centre: int
    duration: int

    @property
    def before(self) -> float:
        """Area from the start of the block to the centre of the pulse."""
        return self.amplitude * (self.rise / 2 + self.centre - self.delay - self.rise) * NANO

    @property
    def after(self) -> float:
        """Area from the centre of the pulse to the end of the block."""
        return self.amplitude * (self.rise + self.flat) * NANO - self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseOrder:
    """What a slice-selective pulse has to do."""

    angle: Radian
    duration: Second
    time_bandwidth: float
    thickness: Metre
    use: str


def slice_pulse(order: PulseOrder, limit: Amplifier, system: System) -> SlicePulse:
    """Draw an apodised sinc and the gradient that makes it select a slice.

    Raises
    ------
    ProtocolError
        If B1 or the slice gradient would exceed the system.
    """
    flat = ceil_to(ns(order.duration), 2 * limit.raster)
    event = pypulseq.make_sinc_pulse(
        flip_angle=order.angle,
        apodization=APODISATION,
        duration=flat * NANO,
        dwell=system.pulse_raster,
        time_bw_product=order.time_bandwidth,
        delay=system.pulse_dead_time,
        system=options(system),
        use=order.use,
    )
    peak, ceiling = float(np.abs(event.signal).max()) / system.gamma, system.max_b1
    if peak > ceiling:
        shortest = flat * NANO * peak / ceiling
        raise ProtocolError(
            f"the {order.use} pulse needs {peak * 1e6:.4g} uT; the ceiling is {ceiling * 1e6:.4g} "
            f"uT (system {system.name}). Make it at least {shortest * 1e3:.3g} ms long, "
            "or lower its angle or time_bandwidth."
        )
    amplitude = order.time_bandwidth / (flat * NANO) / order.thickness
    if amplitude > limit.strength:
        thinnest = order.thickness * amplitude / limit.strength
        raise ProtocolError(
            f"the slice gradient of the {order.use} pulse is "
            f"{amplitude / system.gamma * 1e3:.4g} mT/m; the ceiling is "
            f"{limit.strength / system.gamma * 1e3:.4g} mT/m (gradient_share of system "
            f"{system.name}). Choose slices above {thinnest * 1e3:.3g} mm or a longer pulse."
        )
    rise = limit.rise(amplitude)
    start = max(ceil_to(ns(system.pulse_dead_time), limit.raster), rise)
    event.delay = start * NANO
    end = max(start + flat + ns(system.pulse_ringdown), start + flat + rise)
    return SlicePulse(
        event=event,
        amplitude=amplitude,
        delay=start - rise,
        rise=rise,
        flat=flat,
        centre=start + flat // 2,
        duration=ceil_to(end, limit.raster),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutGradient:
    """A readout lobe with its window; sample ``n_samples / 2`` is the echo.

    ``echo`` is where the echo is wanted and ``sample`` where the k = 0 sample lies, at most half a
    microsecond away, both from the start of the block. ``before`` and ``after`` are the areas [1/m]
    on each side of that sample.
    """

    n_samples: int
    dwell: int
    amplitude: HertzPerMetre
    rise: int
    flat: int
    window: int
    echo: int
    duration: int

    @property
    def sample(self) -> float:
        """Time of the k = 0 sample [ns]."""
        return self.window + (self.n_samples + 1) / 2 * self.dwell

    @property
    def before(self) -> float:
        """Area from the start of the block to the k = 0 sample."""
        return self.amplitude * (self.sample - self.rise / 2) * NANO

    @property
    def after(self) -> float:
        """Area from the k = 0 sample to the end of the block."""
        return self.amplitude * (self.rise + self.flat) * NANO - self.before


def dwell_time(protocol: Imaging, system: System) -> int:
    """Time between samples on the receiver's raster [ns].

    Raises
    ------
    ProtocolError
        If the receiver cannot sample so fast, or so long.
    """
    n_samples = protocol.geometry.matrix_read * protocol.oversampling
    if n_samples > system.max_window_samples:
        raise ProtocolError(
            f"a readout has {n_samples} samples; the ceiling is {system.max_window_samples} "
            f"(system {system.name}). Lower matrix_read or oversampling."
        )
    raster = ns(system.window_raster)
    dwell = round(1 / (protocol.bandwidth * n_samples) / NANO / raster) * raster
    if dwell < raster:
        highest = 1 / (n_samples * system.window_raster)
        raise ProtocolError(
            f"bandwidth is {protocol.bandwidth:.6g} Hz per pixel; the ceiling is {highest:.6g} Hz "
            f"at {n_samples} samples (window raster of system {system.name}). Lower it."
        )
    return dwell


def readout(
    protocol: Imaging, limit: Amplifier, system: System, *, late: int = 0
) -> ReadoutGradient:
    """Draw the readout; the echo comes as early as it can on the gradient raster, plus ``late``.

    Raises
    ------
    ProtocolError
        If the gradient would exceed the system.
    """
    n_samples = protocol.geometry.matrix_read * protocol.oversampling
    dwell = dwell_time(protocol, system)
    step = 1 / (protocol.geometry.field_of_view_read * protocol.oversampling)
    amplitude = step / (dwell * NANO)
    if amplitude > limit.strength:
        highest = protocol.bandwidth * limit.strength / amplitude
        raise ProtocolError(
            f"the readout gradient is {amplitude / system.gamma * 1e3:.4g} mT/m; the ceiling is "
            f"{limit.strength / system.gamma * 1e3:.4g} mT/m (gradient_share of system "
            f"{system.name}). Lower bandwidth to {highest:.4g} Hz or widen the field of view."
        )
    ramp = max(limit.rise(amplitude), ceil_to(ns(system.window_dead_time), limit.raster))
    lead = (n_samples + 1) * dwell / 2
    half = ceil_to(lead, limit.raster)
    echo = ramp + half + late
    window = round((echo - lead) / MICROSECOND) * MICROSECOND
    last = window + n_samples * dwell
    flat = max(2 * half, ceil_to(last - ramp, limit.raster))
    return ReadoutGradient(
        n_samples=n_samples,
        dwell=dwell,
        amplitude=amplitude,
        rise=ramp,
        flat=flat,
        window=window,
        echo=echo,
        duration=2 * ramp + flat,
    )


def options(system: System) -> pypulseq.Opts:
    """Return the system in the words of pypulseq."""
    return pypulseq.Opts(
        max_grad=system.gamma * system.max_gradient,
        max_slew=system.gamma * system.max_slew,
        grad_unit="Hz/m",
        slew_unit="Hz/m/s",
        rf_dead_time=system.pulse_dead_time,
        rf_ringdown_time=system.pulse_ringdown,
        adc_dead_time=system.window_dead_time,
        adc_raster_time=system.window_raster,
        rf_raster_time=system.pulse_raster,
        grad_raster_time=system.gradient_raster,
        block_duration_raster=system.block_raster,
        adc_samples_limit=system.max_window_samples,
        gamma=system.gamma,
        B0=system.field,
    )
