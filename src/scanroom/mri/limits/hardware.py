"""What amplifiers and clocks can follow: amplitude, slew, steps, rasters, dead times, duty."""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float

from scanroom.core.gate import Limit
from scanroom.core.units import Ratio, Second
from scanroom.mri.drive.model import Drive
from scanroom.mri.limits.channels import channel_limit, loudest, per_pulse
from scanroom.mri.limits.energy import busiest, pulse_edges
from scanroom.mri.limits.sound import sound
from scanroom.mri.system import System

Measure = Callable[[Drive], float]
WRITTEN: Ratio = 1e-5
"""Pulseq writers keep six digits; a value at the ceiling may come back this much above it."""
SAME_TIME: Second = 1e-9
LONGEST_ON: Ratio = 0.5
MEAN_POWER: Ratio = 0.1
DUTY_TIME: Second = 10.0
_AXES = "xyz"
_PULSEQ = "Pulseq specification 1.5, timing rules"


def hardware_limits(system: System) -> tuple[Limit, ...]:
    """Ceilings of one scanner's amplifiers and clocks."""
    sheet = f"system {system.name}: {system.source}" if system.source else f"system {system.name}"
    return (
        *_gradients(system, sheet),
        Limit(
            name="gradient step without a ramp",
            ceiling=system.max_slew * system.gradient_raster * (1 + WRITTEN),
            unit="T/m",
            source=f"{_PULSEQ}: one gradient raster at full slew rate of {sheet}",
            measure=sound(lambda drive: largest_step(drive) / system.gamma),
            remedy="Let gradients meet at equal amplitudes, also across blocks.",
        ),
        *_rasters(system),
        *_timing(system, sheet),
        *_transmitter(system, sheet),
        channel_limit(system),
    )


def _gradients(system: System, sheet: str) -> tuple[Limit, ...]:
    def amplitude(drive: Drive, axis: int) -> float:
        return float(np.abs(drive.gradients[axis].amplitude).max(initial=0.0)) / system.gamma

    def slew(drive: Drive, axis: int) -> float:
        return slew_rate(drive, axis, system.max_slew * system.gamma) / system.gamma

    checks = (
        ("gradient amplitude", amplitude, system.max_gradient, "T/m",
         "Lower the bandwidth, enlarge the field of view or thicken the slice."),
        ("slew rate", slew, system.max_slew, "T/m/s", "Lengthen the ramps or lower the gradient."),
    )  # fmt: skip
    return tuple(
        Limit(
            name=f"{what} on {name}",
            ceiling=ceiling * (1 + WRITTEN),
            unit=unit,
            source=sheet,
            measure=sound(partial(measure, axis=axis)),
            remedy=remedy,
        )
        for what, measure, ceiling, unit, remedy in checks
        for axis, name in enumerate(_AXES)
    )


def slew_rate(drive: Drive, axis: int, ceiling: float) -> float:
    """Steepest slope between knots [Hz/m/s].

    A step counts as taken within one gradient raster when that respects the ceiling, else it is
    infinitely steep.
    """
    gradient, raster = drive.gradients[axis], drive.rasters.gradient
    length, rise = np.diff(gradient.time), np.abs(np.diff(gradient.amplitude))
    ramp = length > 0
    steep = float((rise[ramp] / length[ramp]).max(initial=0.0))
    step = float(rise[~ramp].max(initial=0.0))
    if step > ceiling * raster * (1 + WRITTEN):
        return float("inf")
    return max(steep, step / raster)


def largest_step(drive: Drive) -> float:
    """Largest change of a gradient in no time [Hz/m], at its ends too."""
    largest = 0.0
    for gradient in drive.gradients:
        amplitude = np.concatenate([[0.0], gradient.amplitude, [0.0]])
        still = np.concatenate([[True], np.diff(gradient.time) <= 0, [True]])
        if len(gradient.time):
            largest = max(largest, float(np.abs(np.diff(amplitude))[still].max(initial=0.0)))
    return largest


# ---------------------------------------------------------------- rasters


def _off(time: Float[np.ndarray, " time"], raster: Second) -> float:
    """Largest distance from the ticks of a raster."""
    return float(np.abs(time - np.round(time / raster) * raster).max(initial=0.0))


def _rasters(system: System) -> tuple[Limit, ...]:
    def knots(drive: Drive) -> float:
        return max(_off(axis.time, system.gradient_raster / 2) for axis in drive.gradients)

    def pulses(drive: Drive) -> float:
        start, end = pulse_edges(drive)
        return max(_off(start, system.pulse_raster), _off(end, system.pulse_raster))

    def windows(drive: Drive) -> float:
        start = drive.windows.start
        return max(
            _off(start, system.window_raster), _off(drive.windows.dwell, system.window_raster)
        )

    checks: tuple[tuple[str, Measure, Second, str], ...] = (
        ("block edges", lambda drive: _off(drive.block_edge, system.block_raster),
         system.block_raster, "block durations"),
        ("gradient knots", knots, system.gradient_raster / 2, "gradient delays, ramps and shapes"),
        ("pulse edges", pulses, system.pulse_raster, "pulse delays and lengths"),
        ("receiver starts and dwell times", windows, system.window_raster, "delays and dwell"),
    )  # fmt: skip
    return tuple(
        Limit(
            name=f"distance of {what} from the raster of {raster * 1e6:g} us",
            ceiling=SAME_TIME,
            unit="s",
            source=f"{_PULSEQ}; clocks of system {system.name}",
            measure=sound(measure),
            remedy=f"Round {which} to the raster.",
        )
        for what, measure, raster, which in checks
    )


# ---------------------------------------------------------------- timing


def _timing(system: System, sheet: str) -> tuple[Limit, ...]:
    return (
        Limit(
            name="missing time between pulses and receiver windows",
            ceiling=SAME_TIME,
            unit="s",
            source=f"dead times and ring-down of {sheet}",
            measure=sound(lambda drive: missing_gap(drive, system)),
            remedy="Move pulses and windows apart.",
        ),
        Limit(
            name="time events reach beyond the last block",
            ceiling=SAME_TIME,
            unit="s",
            source=_PULSEQ,
            measure=sound(_beyond),
            remedy="Lengthen the last block.",
        ),
    )


def missing_gap(drive: Drive, system: System) -> float:
    """How much longer the shortest gap between neighbouring events would have to be.

    After a pulse the ring-down, before a pulse the transmitter's dead time, on both sides of a
    window the receiver's dead time must pass; where two meet, the longer.
    """
    start, end = pulse_edges(drive)
    windows = drive.windows
    begin = np.concatenate([start, windows.start])
    finish = np.concatenate([end, windows.start + windows.n_samples * windows.dwell])
    is_pulse = np.arange(len(begin)) < len(start)
    order = np.argsort(begin, kind="stable")
    begin, finish, is_pulse = begin[order], finish[order], is_pulse[order]
    before = np.where(is_pulse, system.pulse_dead_time, system.window_dead_time)[1:]
    after = np.where(is_pulse, system.pulse_ringdown, system.window_dead_time)[:-1]
    gap = begin[1:] - np.maximum.accumulate(finish)[:-1]
    return float((np.maximum(before, after) - gap).max(initial=0.0))


def _beyond(drive: Drive) -> float:
    _, end = pulse_edges(drive)
    windows = drive.windows
    ends = [axis.time[-1:] for axis in drive.gradients]
    ends += [end, windows.start + windows.n_samples * windows.dwell]
    return float((np.concatenate(ends) - drive.block_edge[-1]).max(initial=0.0))


# ---------------------------------------------------------------- transmitter


def _transmitter(system: System, sheet: str) -> tuple[Limit, ...]:
    def peak(drive: Drive) -> float:
        peaks = np.array([np.abs(shape.step).max(initial=0.0) for shape in drive.shapes])
        if not len(drive.pulses.shape):
            return 0.0
        return float((peaks[drive.pulses.shape] * per_pulse(drive, loudest)).max())

    def on_time(drive: Drive) -> float:
        return busiest(drive, np.array([s.edge[-1] - s.edge[0] for s in drive.shapes]), DUTY_TIME)

    def power(drive: Drive) -> float:
        squares = np.array([np.sum(np.abs(s.step) ** 2 * np.diff(s.edge)) for s in drive.shapes])
        factor = per_pulse(drive, loudest) ** 2
        mean = busiest(drive, squares, DUTY_TIME, factor=factor)
        return mean / (system.max_b1 * system.gamma) ** 2

    assumed = "assumed rating of the reference transmitter; replace it by the amplifier's own"
    return (
        Limit(
            name="peak B1",
            ceiling=system.max_b1 * (1 + WRITTEN),
            unit="T",
            source=sheet,
            measure=sound(lambda drive: peak(drive) / system.gamma),
            remedy="Lengthen the pulses or lower the flip angle.",
        ),
        Limit(
            name=f"share of any {DUTY_TIME:g} s in which the transmitter is on",
            ceiling=LONGEST_ON,
            unit="1",
            source=assumed,
            measure=sound(on_time),
            remedy="Lengthen the repetition time or shorten the pulses.",
        ),
        Limit(
            name=f"mean transmitter power in any {DUTY_TIME:g} s relative to peak power",
            ceiling=MEAN_POWER,
            unit="1",
            source=assumed,
            measure=sound(power),
            remedy="Lengthen the repetition time or lower the flip angle.",
        ),
    )
