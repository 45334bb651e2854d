"""Spin echo and turbo spin echo: one excitation, a train of refocusing pulses, crushers.

The conditions of Carr, Purcell, Meiboom and Gill hold: excitation is a quarter turn of phase from
refocusing, pulses are an echo spacing apart with the excitation half of one before the first, and
every gradient's area from a refocusing pulse to the echo equals that from the echo to the next
(doi:10.1063/1.1716296).

Refocusing profiles have edges of less than half a turn, which store magnetisation that the crushers
of the next repetition bring back: a stimulated echo, twice the signal of water with a long T1. A
single spin echo therefore turns its refocusing pulse by a quarter from one repetition to the next:
the wanted echo then turns by a half, and the receiver with it, while what the repetition before
left turns by a quarter less and lies across it instead of along. It adds to the magnitude by its
square alone, and every line has the same share of it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pypulseq
from jaxtyping import Int

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Radian
from scanroom.mri.drive.compile.composer import Composer, Vector
from scanroom.mri.drive.compile.design import (
    Amplifier,
    Lobe,
    PulseOrder,
    ReadoutGradient,
    SlicePulse,
    amplifier,
    ceil_to,
    lobe_for,
    ns,
    readout,
    slice_pulse,
)
from scanroom.mri.drive.compile.order import NO_LINE, slice_order, train_table
from scanroom.mri.drive.compile.profile import echo_width
from scanroom.mri.drive.compile.timing import Slots, need_echo_time, slots
from scanroom.mri.protocol.families import SpinEcho, TurboSpinEcho
from scanroom.mri.system import System

EXCITATION_PHASE = math.pi / 2
REFOCUSING_PHASE = 0.0
REFOCUSING_STEP = math.pi / 2  # each repetition of a single spin echo
SPOILER = 2.0  # times the crusher, so that no later pair of crushers undoes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """One excitation and its echoes, before they are told which lines.

    ``gap_*`` are how long the lobe between two events takes, with the waiting it needs.
    """

    protocol: SpinEcho
    spacing: int
    n_echoes: int
    excitation: SlicePulse
    refocusing: SlicePulse
    readout: ReadoutGradient
    prephase: Lobe
    crush: Lobe
    spoil: Lobe
    gap_prephase: int
    gap_encode: int
    gap_rewind: int
    duration: int

    @property
    def crusher(self) -> float:
        """Area of one crusher [1/m]."""
        return self.protocol.crusher_cycles / self.protocol.geometry.slice_thickness

    def step(self, line: int) -> float:
        """Wave number of one line [1/m]; none for an echo that is not recorded."""
        geometry = self.protocol.geometry
        if line == NO_LINE:
            return 0.0
        return (line - geometry.matrix_phase // 2) / geometry.field_of_view_phase

    def prephase_areas(self) -> Vector:
        """Excitation to first refocusing; the refocusing turns the sign."""
        return (self.readout.before, 0.0, self.crusher - self.excitation.after)

    def encode_areas(self, line: int) -> Vector:
        """Refocusing to readout."""
        return (0.0, self.step(line), self.crusher)

    def rewind_areas(self, line: int) -> Vector:
        """Readout to next refocusing: as much after the echo as before it."""
        return (self.readout.before - self.readout.after, -self.step(line), self.crusher)

    def spoil_areas(self) -> Vector:
        """After the last echo."""
        return (SPOILER * self.readout.before, 0.0, SPOILER * self.crusher)


def train(protocol: SpinEcho, system: System) -> Train:
    """Design one excitation with its echoes.

    Raises
    ------
    ProtocolError
        If the echo time, or spacing, is too short for the system.
    """
    limit = amplifier(protocol, system)
    excitation, refocusing = pulses(protocol, limit, system)
    window = readout(protocol, limit, system)
    turbo = isinstance(protocol, TurboSpinEcho)
    interval = protocol.echo_spacing if isinstance(protocol, TurboSpinEcho) else protocol.echo_time
    draft = Train(
        protocol=protocol,
        spacing=round(ns(interval) / (2 * limit.raster)) * 2 * limit.raster,
        n_echoes=protocol.echo_train_length if isinstance(protocol, TurboSpinEcho) else 1,
        excitation=excitation,
        refocusing=refocusing,
        readout=window,
        prephase=Lobe(0, 0),
        crush=Lobe(0, 0),
        spoil=Lobe(0, 0),
        gap_prephase=0,
        gap_encode=0,
        gap_rewind=0,
        duration=0,
    )
    ends = (0, protocol.geometry.matrix_phase - 1)
    crush = lobe_for(
        [areas(line) for line in ends for areas in (draft.encode_areas, draft.rewind_areas)], limit
    )
    prephase = lobe_for([draft.prephase_areas()], limit)
    busy = (
        excitation.duration - excitation.centre + refocusing.centre,
        refocusing.duration - refocusing.centre + window.echo,
        window.duration - window.echo + refocusing.centre,
    )
    needs = (prephase.duration, crush.duration, crush.duration)
    halves = [ceil_to(b + n, limit.raster) for b, n in zip(busy, needs, strict=True)]
    need_spacing(draft.spacing, 2 * max(halves if turbo else halves[:2]), system, turbo=turbo)
    gaps = [draft.spacing // 2 - part for part in busy]
    return finish(draft, (prephase, crush), gaps, limit)


def finish(draft: Train, lobes: tuple[Lobe, Lobe], gaps: list[int], limit: Amplifier) -> Train:
    """Put timings into a draft."""
    prephase, crush = lobes
    spoil = lobe_for([draft.spoil_areas()], limit)
    last = max(gaps[2], crush.duration) if draft.n_echoes > 1 else crush.duration
    before_train = draft.excitation.duration + gaps[0]
    each = draft.refocusing.duration + gaps[1] + draft.readout.duration + last
    return replace(
        draft,
        prephase=prephase,
        crush=crush,
        spoil=spoil,
        gap_prephase=gaps[0],
        gap_encode=gaps[1],
        gap_rewind=last,
        duration=before_train + draft.n_echoes * each + spoil.duration,
    )


def pulses(protocol: SpinEcho, limit: Amplifier, system: System) -> tuple[SlicePulse, SlicePulse]:
    """Excitation and refocusing of one slice."""
    width = echo_width(
        protocol.flip_angle,
        protocol.refocusing_angle,
        protocol.time_bandwidth,
        protocol.refocusing_ratio,
    )
    thickness = protocol.geometry.slice_thickness / width
    excitation = PulseOrder(
        angle=protocol.flip_angle,
        duration=protocol.excitation_duration,
        time_bandwidth=protocol.time_bandwidth,
        thickness=thickness,
        use="excitation",
    )
    refocusing = PulseOrder(
        angle=protocol.refocusing_angle,
        duration=protocol.refocusing_duration,
        time_bandwidth=protocol.time_bandwidth,
        thickness=thickness * protocol.refocusing_ratio,
        use="refocusing",
    )
    return slice_pulse(excitation, limit, system), slice_pulse(refocusing, limit, system)


def need_spacing(spacing: int, shortest: int, system: System, *, turbo: bool) -> None:
    """Refuse an echo spacing, or the echo time of a single echo, that leaves no room.

    Raises
    ------
    ProtocolError
        With the shortest one.
    """
    if not turbo:
        need_echo_time(spacing, shortest, system)
    elif spacing < shortest:
        raise ProtocolError(
            f"echo_spacing is {spacing * 1e-6:.6g} ms; the minimum is {shortest * 1e-6:.6g} ms "
            f"(pulses, crushers and readout on system {system.name}). Lengthen it, raise bandwidth "
            "or shorten the pulses."
        )


@dataclass(frozen=True, slots=True)
class Shot:
    """Which lines the echoes of one excitation encode, and how far its refocusing is turned."""

    lines: tuple[int, ...]
    average: int
    turn: Radian

    @property
    def refocusing_phase(self) -> Radian:
        """Phase of the transmitter."""
        return REFOCUSING_PHASE + self.turn

    @property
    def echo_phase(self) -> Radian:
        """Phase of the receiver: refocusing turns an echo twice as far as itself."""
        return EXCITATION_PHASE + 2 * self.turn


def shots(protocol: SpinEcho) -> Iterator[Shot]:
    """Dummies, then averages, trains."""
    table: Int[np.ndarray, "train echo"] = protocol.lines[:, np.newaxis]
    step = REFOCUSING_STEP
    if isinstance(protocol, TurboSpinEcho):
        table, step = train_table(protocol), 0.0
    silent = [[NO_LINE] * table.shape[1]] * protocol.dummies
    wanted = [(lines, 0) for lines in silent]
    wanted += [(lines, number) for number in range(protocol.averages) for lines in table.tolist()]
    for repetition, (lines, average) in enumerate(wanted):
        yield Shot(tuple(lines), average, step * (repetition % 4))


def compose(protocol: SpinEcho, system: System) -> pypulseq.Sequence:
    """Write out every excitation of every slice."""
    geometry = protocol.geometry
    pattern = train(protocol, system)
    timing = slots(protocol, pattern.duration, system)
    composer = Composer(system, geometry.rotation, geometry.centre)
    order = slice_order(geometry.n_slices)
    for repetition, shot in enumerate(shots(protocol)):
        for place, slice_number in enumerate(order):
            composer.wait_until(timing.start(repetition, place))
            play(composer, pattern, timing, (shot, slice_number))
        composer.wait_until(timing.start(repetition + 1, 0))
    return composer.sequence


def play(composer: Composer, pattern: Train, timing: Slots, turn: tuple[Shot, int]) -> None:
    """Write out one excitation of one slice."""
    shot, slice_number = turn
    offset = float(pattern.protocol.geometry.slice_offsets[slice_number])
    composer.pulse(pattern.excitation, EXCITATION_PHASE, offset)
    composer.lobe(pattern.prephase, pattern.prephase_areas(), pattern.gap_prephase)
    for echo, line in enumerate(shot.lines):
        composer.pulse(pattern.refocusing, shot.refocusing_phase, offset)
        composer.lobe(pattern.crush, pattern.encode_areas(line), pattern.gap_encode)
        if line == NO_LINE:
            composer.silent_readout(pattern.readout)
        else:
            labels = {
                "SLC": slice_number,
                "LIN": line,
                "AVG": shot.average,
                "SEG": echo,
                **timing.calibration(line),
            }
            composer.readout(pattern.readout, shot.echo_phase, labels)
        composer.lobe(pattern.crush, pattern.rewind_areas(line), pattern.gap_rewind)
    composer.lobe(pattern.spoil, pattern.spoil_areas())
