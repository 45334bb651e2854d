"""Spoiled gradient echo, 2-D with interleaved slices or 3-D with one slab."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pypulseq

from scanroom.core.units import Radian
from scanroom.mri.drive.compile.composer import Composer, Vector
from scanroom.mri.drive.compile.design import (
    MICROSECOND,
    Lobe,
    PulseOrder,
    ReadoutGradient,
    SlicePulse,
    amplifier,
    lobe_for,
    ns,
    readout,
    slice_pulse,
)
from scanroom.mri.drive.compile.order import slice_order
from scanroom.mri.drive.compile.profile import excitation_width
from scanroom.mri.drive.compile.timing import Slots, need_echo_time, slots
from scanroom.mri.protocol.families import GradientEcho
from scanroom.mri.system import System


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One repetition of one slice, before it is told which line."""

    protocol: GradientEcho
    excitation: SlicePulse
    prephase: Lobe
    prephase_duration: int
    readout: ReadoutGradient
    spoil: Lobe
    duration: int

    def prephase_areas(self, line: int, partition: int) -> Vector:
        """Areas from the pulse to the readout."""
        phase, depth = self.steps(line, partition)
        return (-self.readout.before, phase, depth - self.excitation.after)

    def spoil_areas(self, line: int, partition: int) -> Vector:
        """Areas after the readout: phase encoding undone, read and slice dephased."""
        geometry, cycles = self.protocol.geometry, self.protocol.spoiling_cycles
        pixel = geometry.field_of_view_read / geometry.matrix_read
        phase, depth = self.steps(line, partition)
        return (
            cycles / pixel - self.readout.after,
            -phase,
            cycles / geometry.slice_thickness - depth,
        )

    def steps(self, line: int, partition: int) -> tuple[float, float]:
        """Wave number of one line and partition [1/m]."""
        geometry = self.protocol.geometry
        return (
            (line - geometry.matrix_phase // 2) / geometry.field_of_view_phase,
            (partition - geometry.n_partitions // 2) / geometry.slab,
        )


def kernel(protocol: GradientEcho, system: System) -> Kernel:
    """Design one repetition.

    Raises
    ------
    ProtocolError
        If TE is too short for the system.
    """
    limit = amplifier(protocol, system)
    excitation = slice_pulse(
        PulseOrder(
            angle=protocol.flip_angle,
            duration=protocol.excitation_duration,
            time_bandwidth=protocol.time_bandwidth,
            thickness=protocol.geometry.slab
            / excitation_width(protocol.flip_angle, protocol.time_bandwidth),
            use="excitation",
        ),
        limit,
        system,
    )
    early = readout(protocol, limit, system)
    draft = Kernel(
        protocol=protocol,
        excitation=excitation,
        prephase=Lobe(0, 0),
        prephase_duration=0,
        readout=early,
        spoil=Lobe(0, 0),
        duration=0,
    )
    corners = [
        (line, partition)
        for line in (0, protocol.geometry.matrix_phase - 1)
        for partition in (0, protocol.geometry.n_partitions - 1)
    ]
    # The readout may yet move by less than the gradient raster, which its amplitude bounds.
    slack = early.amplitude * limit.raster * 1e-9
    prephase = lobe_for([widen(draft.prephase_areas(*corner), slack) for corner in corners], limit)
    spoil = lobe_for([widen(draft.spoil_areas(*corner), slack) for corner in corners], limit)
    echo_time = round(ns(protocol.echo_time) / MICROSECOND) * MICROSECOND
    shortest = excitation.duration - excitation.centre + prephase.duration + early.echo
    need_echo_time(echo_time, shortest, system)
    whole, late = divmod(echo_time - shortest, limit.raster)
    final = readout(protocol, limit, system, late=late)
    prephase_duration = prephase.duration + whole * limit.raster
    return replace(
        draft,
        prephase=prephase,
        prephase_duration=prephase_duration,
        readout=final,
        spoil=spoil,
        duration=excitation.duration + prephase_duration + final.duration + spoil.duration,
    )


def widen(areas: Vector, slack: float) -> Vector:
    """Lengthen the read component."""
    return (abs(areas[0]) + slack, areas[1], areas[2])


@dataclass(frozen=True, slots=True)
class Step:
    """What one repetition encodes."""

    line: int
    partition: int
    average: int
    is_dummy: bool


def steps(protocol: GradientEcho) -> Iterator[Step]:
    """Dummies at the centre of k-space, then averages, partitions, lines."""
    geometry = protocol.geometry
    for _ in range(protocol.dummies):
        yield Step(geometry.matrix_phase // 2, geometry.n_partitions // 2, 0, is_dummy=True)
    for average in range(protocol.averages):
        for partition in protocol.partitions.tolist():
            for line in protocol.lines.tolist():
                yield Step(line, partition, average, is_dummy=False)


def compose(protocol: GradientEcho, system: System) -> pypulseq.Sequence:
    """Write out every repetition of every slice."""
    geometry = protocol.geometry
    shot = kernel(protocol, system)
    timing = slots(protocol, shot.duration, system)
    composer = Composer(system, geometry.rotation, geometry.centre)
    for repetition, step in enumerate(steps(protocol)):
        phase = protocol.spoiling_increment * (repetition * (repetition + 1) // 2)
        play(composer, shot, timing, (repetition, step, phase))
    return composer.sequence


def play(composer: Composer, shot: Kernel, timing: Slots, turn: tuple[int, Step, Radian]) -> None:
    """Write out one repetition: every slice once."""
    repetition, step, phase = turn
    geometry = shot.protocol.geometry
    for place, slice_number in enumerate(slice_order(geometry.n_slices)):
        composer.wait_until(timing.start(repetition, place))
        composer.pulse(shot.excitation, phase, float(geometry.slice_offsets[slice_number]))
        composer.lobe(
            shot.prephase, shot.prephase_areas(step.line, step.partition), shot.prephase_duration
        )
        if step.is_dummy:
            composer.silent_readout(shot.readout)
        else:
            labels = {
                "SLC": slice_number,
                "LIN": step.line,
                "PAR": step.partition,
                "AVG": step.average,
                **timing.calibration(step.line),
            }
            composer.readout(shot.readout, phase, labels)
        composer.lobe(shot.spoil, shot.spoil_areas(step.line, step.partition))
    composer.wait_until(timing.start(repetition + 1, 0))
