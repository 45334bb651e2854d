"""Pulses cut in parts, laid out for the kernels that saturate bound protons."""

import itertools
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Complex, Float, Int

from scanroom.core.units import Hertz, Second
from scanroom.physics.lineshape import line_table
from scanroom.physics.spins.layout import pulses_of, tables_of
from scanroom.physics.spins.pools import TO_BOUND, TO_FREE
from scanroom.physics.spins.precession import SpinArrays
from scanroom.physics.spins.program import Program, PulseKind
from scanroom.physics.spins.rotations import Envelope
from scanroom.physics.spins.saturating import Pieces, Saturation, mark_saturated

# A pulse is cut in so many parts at least, and in more if they would be longer than this [s]; one
# in which the fastest exchange gets nowhere is not cut.
_FEWEST, _LONGEST_PART = 8, 5e-4
_NOWHERE = 1e-3
# Pieces of a pulse that turns nobody [s].
_LONGEST_PIECE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """One piece of a pulse: its kind, with an envelope of its own, and its `Pieces` entries."""

    envelope: Envelope
    kind: PulseKind
    power: float
    gradient: Float[np.ndarray, " axis"]
    frequency: Hertz


def saturation_of(
    program: Program,
    arrays: SpinArrays,
    runs: Int[np.ndarray, " run_plus_1"],
    tolerance: float,
    pool: Executor,
) -> Saturation | None:
    """Cut all pulses for spins with bound partners; None for others.

    A run is saturated by what saturates anybody of it by more than the square of the ``tolerance``,
    as it is turned by what takes as much off its longitudinal magnetisation.
    """
    if not arrays.bound.size:
        return None
    kinds = program.pulses
    fastest = float((arrays.bound[TO_BOUND] + arrays.bound[TO_FREE]).max())
    durations = [program.envelopes[kind.envelope].duration for kind in kinds]
    fine = [
        1 if fastest * time < _NOWHERE else max(_FEWEST, int(np.ceil(time / _LONGEST_PART)))
        for time in durations
    ]
    coarse = [int(np.ceil(time / _LONGEST_PIECE)) for time in durations]
    parts = [_cut(program, kind, n) for kind, n in zip(kinds, fine, strict=True)]
    pieces = [_cut(program, kind, n) for kind, n in zip(kinds, coarse, strict=True)]
    shapes: dict[tuple[int, int], tuple[int, Envelope]] = {}
    played = []
    for row in parts:
        for at, part in enumerate(row):
            place, _ = shapes.setdefault((part.kind.envelope, at), (len(shapes), part.envelope))
            played.append(replace(part.kind, envelope=place))
    shorter = replace(
        program,
        envelopes=tuple(envelope for _, envelope in shapes.values()),
        pulses=tuple(played),
    )
    position = np.stack([arrays.x, arrays.y, arrays.z, *arrays.further])
    tables = tables_of(shorter, (position, arrays.offset, arrays.transmit), pool)
    acts = np.zeros((len(runs) - 1, len(kinds)), np.uint8)
    saturation = Saturation(
        _pieces(parts, program.n_axes),
        pulses_of(shorter, arrays, tables),
        _pieces(pieces, program.n_axes),
        acts,
        line_table(),
    )
    mark_saturated(arrays, runs, saturation, tolerance**2)
    return saturation


def _pieces(cuts: list[list[_Cut]], n_axes: int) -> Pieces:
    """Lay pieces out for the kernels."""
    flat = [cut for row in cuts for cut in row]
    return Pieces(
        np.cumsum([0, *(len(row) for row in cuts)]),
        np.array([cut.envelope.duration for cut in flat], np.float64),
        np.array([cut.power for cut in flat], np.float64),
        np.array([cut.gradient for cut in flat], np.float64).reshape(-1, n_axes),
        np.array([cut.frequency for cut in flat], np.float64),
        np.array([cut.kind.shim for cut in flat], np.int64),
    )


def _cut(program: Program, kind: PulseKind, n_parts: int) -> list[_Cut]:
    """Cut a pulse in parts of equal duration."""
    envelope = program.envelopes[kind.envelope]
    ends = np.linspace(envelope.edge[0], envelope.edge[-1], n_parts + 1)
    edge = np.union1d(envelope.edge, ends)
    edge = edge[np.concatenate([[True], np.diff(edge) > 1e-12 * envelope.duration])]
    place = np.searchsorted(envelope.edge, (edge[1:] + edge[:-1]) / 2) - 1
    step = envelope.step[place]
    parts = []
    for begin, end in itertools.pairwise(ends.tolist()):
        middle = (edge[1:] + edge[:-1]) / 2
        mine = np.flatnonzero((middle > begin) & (middle < end))
        own = np.append(edge[mine], edge[mine[-1] + 1])
        part = Envelope(edge=own - own[0], step=step[mine])
        gradient, moment = kind.gradient, None
        if kind.moment is not None:
            course = [np.interp(own, envelope.edge, axis) for axis in kind.moment.T]
            moment = np.stack(course, axis=1)
            moment = moment - moment[0]
            gradient = moment[-1] / part.duration
        energy = float(np.square(np.abs(part.step)) @ np.diff(part.edge)) * kind.strength**2
        parts.append(
            _Cut(
                envelope=part,
                kind=replace(kind, moment=moment),
                power=np.pi * (2 * np.pi) ** 2 * energy,
                gradient=np.asarray(gradient, np.float64),
                frequency=kind.frequency + _sweep(part.step, np.diff(part.edge)),
            )
        )
    return parts


def _sweep(step: Complex[np.ndarray, " step"], length: Float[np.ndarray, " step"]) -> Hertz:
    """Mean frequency that a shape adds to its own, by power: that of its turning phase."""
    pairs = step[:-1] * np.conj(step[1:])
    power: Second = float(np.abs(pairs) @ (length[:-1] + length[1:])) / 2
    return float(pairs.imag.sum()) / (2 * np.pi * power) if power > 0 else 0.0
