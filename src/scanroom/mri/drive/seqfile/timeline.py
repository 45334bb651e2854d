"""Blocks to one absolute clock: edges, gradients, pulses and windows."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from scanroom.core.units import Second
from scanroom.mri.drive.model import Gradient, Pulses, Windows
from scanroom.mri.drive.seqfile.extensions import Extension, Labels
from scanroom.mri.drive.seqfile.gradients import SAME_TIME, GradientEvents
from scanroom.mri.drive.seqfile.header import Header
from scanroom.mri.drive.seqfile.pulses import LONGEST_DELAY_US, PulseEvents, WindowEvents
from scanroom.mri.drive.seqfile.sections import (
    LARGEST_ID,
    SPECIFICATION,
    Rows,
    Section,
    Source,
    rows,
)

MOST_BLOCKS = 2_000_000
MOST_KNOTS = 16_000_000
LONGEST_SEQUENCE: Second = 12 * 3600.0
_GX, _GZ = 2, 4
_MICRO = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Identifiers each block names, in columns RF GX GY GZ ADC EXT; 0 for nothing."""

    line: Int[np.ndarray, " block"]
    named: Int[np.ndarray, "block 6"]
    length: Int[np.ndarray, " block"]

    @property
    def gradients(self) -> Int[np.ndarray, "block 3"]:
        """Identifiers on x, y, z."""
        return self.named[:, 1:4]


def read_blocks(sections: dict[str, Section], header: Header, source: Source) -> Blocks:
    """Read [BLOCKS]; ``length`` is in ticks from 1.4 on, before it names a delay.

    Raises
    ------
    FormatError
        If there are none or too many, or they are not numbered one after another.
    """
    section = sections.get("BLOCKS")
    if section is None or not section.text:
        raise source.fault(
            None,
            f"there are no blocks; a sequence has at least one in [BLOCKS] ({SPECIFICATION}). "
            "The file is cut or empty: get it anew.",
        )
    if len(section.text) > MOST_BLOCKS:
        raise source.fault(
            section.line,
            f"there are {len(section.text)} blocks; at most {MOST_BLOCKS} are allowed "
            "(limit of the reader). Split the sequence.",
        )
    columns = 8 if header.since(3) or len(section.text[0].split()) == 8 else 7
    table = rows(section, "BLOCKS", source, columns)
    number = table.unique()
    gap = np.flatnonzero(np.diff(number) != 1)
    if len(gap):
        raise source.fault(
            int(table.number[gap[0] + 1]),
            f"block {number[gap[0] + 1]} follows block {number[gap[0]]}; blocks are numbered one "
            f"after another ({SPECIFICATION}). The file is cut or altered: get it anew.",
        )
    named = np.zeros((len(table), 6), dtype=np.int64)
    for column in range(2, columns):
        named[:, column - 2] = table.integer(column, 0, LARGEST_ID, "an event's identifier")
    length = table.integer(1, 0, LARGEST_ID, "the duration or delay")
    return Blocks(line=table.number, named=named, length=length)


def find(
    key: Int[np.ndarray, " event"],
    wanted: Int[np.ndarray, " block"],
    what: str,
    blocks: Blocks,
    source: Source,
) -> Int[np.ndarray, " block"]:
    """Place of each wanted identifier in a library, -1 where none is wanted.

    Raises
    ------
    FormatError
        If the library lacks one.
    """
    order = np.argsort(key, kind="stable")
    place = np.searchsorted(key[order], wanted)
    place = np.minimum(place, len(key) - 1)
    index = order[place] if len(key) else np.full(len(wanted), -1)
    missing = (wanted > 0) & ((key[index] != wanted) if len(key) else True)
    if missing.any():
        block = int(np.argmax(missing))
        raise source.fault(
            int(blocks.line[block]),
            f"a block plays {what} {wanted[block]}, which the file does not hold "
            f"({SPECIFICATION}). The file is cut or damaged: get it anew.",
        )
    return np.where(wanted > 0, index, -1).astype(np.int64)


def durations(
    blocks: Blocks,
    ends: list[Float[np.ndarray, " block"]],
    delays: Rows,
    header: Header,
    source: Source,
) -> Float[np.ndarray, " block"]:
    """How long each block lasts; ``ends`` tells when each of its events ends.

    Raises
    ------
    FormatError
        If an event outlasts its block.
    """
    latest = np.max(np.stack(ends), axis=0)
    if not header.since(4):
        key = delays.unique()
        wait = delays.real(1, 0.0, LONGEST_DELAY_US, "the delay [us]") * _MICRO
        index = find(key, blocks.length, "delay", blocks, source)
        waits = np.where(index >= 0, wait[index] if len(wait) else 0.0, 0.0)
        return np.asarray(np.maximum(latest, waits))
    last = blocks.length * header.rasters.block
    over = latest > last + SAME_TIME
    if over.any():
        block = int(np.argmax(over))
        raise source.fault(
            int(blocks.line[block]),
            f"an event ends {latest[block] * 1e6:.6g} us after the start of its block; the block "
            f"lasts {last[block] * 1e6:.6g} us ({SPECIFICATION}). Lengthen the block.",
        )
    return np.asarray(last)


def edges(
    blocks: Blocks, duration: Float[np.ndarray, " block"], header: Header, source: Source
) -> Float[np.ndarray, " block_plus_1"]:
    """Start of every block and end of the last, exact multiples of the raster where there is one.

    Raises
    ------
    FormatError
        If the sequence is too long.
    """
    total = float(duration.sum())
    if total > LONGEST_SEQUENCE:
        raise source.fault(
            None,
            f"the sequence lasts {total:.6g} s; at most {LONGEST_SEQUENCE:.0f} s are allowed "
            "(limit of the reader). Split it.",
        )
    if header.since(4):
        ticks = np.concatenate([[0], np.cumsum(blocks.length)])
        return np.asarray(ticks * header.rasters.block)
    return np.concatenate([[0.0], np.cumsum(duration)])


def lay_gradient(
    events: GradientEvents,
    index: Int[np.ndarray, " block"],
    start: Float[np.ndarray, " block"],
    source: Source,
) -> Gradient:
    """One axis: the knots of every event played, at absolute times.

    Raises
    ------
    FormatError
        If there are too many, or events overlap.
    """
    source.tick()
    plays = np.concatenate([_is_felt(events), [False]])[index]
    event, begin = index[plays], start[plays]
    size = np.diff(events.first)[event]
    total = int(size.sum())
    if total > MOST_KNOTS:
        raise source.fault(
            None,
            f"a gradient axis has {total} knots; at most {MOST_KNOTS} are allowed "
            "(limit of the reader). Split the sequence.",
        )
    if total == 0:
        return Gradient(time=np.zeros(0), amplitude=np.zeros(0))
    first = np.cumsum(size) - size
    take = np.arange(total) + np.repeat(events.first[:-1][event] - first, size)
    time = np.repeat(begin, size) + events.time[take]
    amplitude = events.amplitude[take]
    keep = np.ones(total, dtype=bool)
    last = first + size - 1
    joined = np.abs(time[first[1:]] - time[last[:-1]]) < SAME_TIME
    keep[last[:-1][joined & events.trails[event[:-1]]]] = False
    keep[first[1:][joined & events.leads[event[1:]]]] = False
    time, amplitude = _monotonic(time[keep], source), amplitude[keep]
    same = (np.diff(time) == 0) & (np.diff(amplitude) == 0)
    keep = np.concatenate([[True], ~same])
    return Gradient(time=time[keep], amplitude=amplitude[keep])


def _is_felt(events: GradientEvents) -> np.ndarray:
    """Events with any amplitude at all."""
    if not len(events.time):
        return np.zeros(len(events.key), bool)
    return np.asarray(np.maximum.reduceat(np.abs(events.amplitude), events.first[:-1]) > 0)


def _monotonic(time: Float[np.ndarray, " knot"], source: Source) -> Float[np.ndarray, " knot"]:
    """Let knots that differ by rounding alone share one time."""
    gap = np.diff(time)
    if (gap < -SAME_TIME).any():
        at = float(time[int(np.argmin(gap))])
        raise source.fault(
            None,
            f"gradient events overlap at {at:.6g} s; on one axis each begins after the one before "
            f"({SPECIFICATION}). Correct the delays.",
        )
    near = np.abs(gap) < SAME_TIME
    lead = np.maximum.accumulate(np.where(np.concatenate([[True], ~near]), np.arange(len(time)), 0))
    return np.asarray(time[lead])


def rotate(
    events: GradientEvents,
    index: Int[np.ndarray, "block 3"],
    extension: Int[np.ndarray, " block"],
    found: dict[int, Extension],
    source: Source,
) -> tuple[GradientEvents, Int[np.ndarray, "block 3"]]:
    """Replace the gradients of rotated blocks by their rotated sums.

    Raises
    ------
    FormatError
        If the rotated gradients have too many knots.
    """
    turned = [key for key, e in found.items() if e.rotation is not None]
    blocks = np.flatnonzero(np.isin(extension, turned) & (index >= 0).any(axis=1))
    if not len(blocks):
        return events, index
    sets = np.column_stack([index[blocks], extension[blocks]])
    unique, which = np.unique(sets, axis=0, return_inverse=True)
    more: list[tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]] = []
    n_knots = 0
    for row in unique.tolist():
        source.tick()
        matrix = found[row[3]].rotation
        if matrix is not None:
            more.extend(_turned(events, row[:3], matrix))
        n_knots += sum(len(time) for time, _ in more[-3:])
        if n_knots > MOST_KNOTS:
            raise source.fault(
                None,
                f"rotated gradients have more than {MOST_KNOTS} knots (limit of the reader). "
                "Split the sequence.",
            )
    index = index.copy()
    index[blocks] = len(events.key) + 3 * which.reshape(-1, 1) + np.arange(3)
    return events.extended(more), index


def _turned(
    events: GradientEvents, index: list[int], matrix: Float[np.ndarray, "3 3"]
) -> list[tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]]:
    """Sum three gradients on the knots of all, with the values before and after each."""
    parts = [events.knots(i) if i >= 0 else (np.zeros(0), np.zeros(0)) for i in index]
    time = np.unique(np.round(np.concatenate([t for t, _ in parts]), 10))
    sides = np.array(
        [[_limit(np.round(t, 10), a, time, side) for t, a in parts] for side in ("left", "right")]
    )
    both = np.einsum("ij,sjk->iks", matrix, sides).reshape(3, -1)
    twice = np.repeat(time, 2)
    out = []
    for amplitude in both:
        keep = np.concatenate([[True], (np.diff(twice) > 0) | (np.diff(amplitude) != 0)])
        out.append((twice[keep], amplitude[keep]))
    return out


def _limit(
    time: Float[np.ndarray, " knot"],
    amplitude: Float[np.ndarray, " knot"],
    at: Float[np.ndarray, " time"],
    side: str,
) -> Float[np.ndarray, " time"]:
    """Value just before (``left``) or after (``right``) each time; zero outside the knots."""
    if len(time) < 2:
        return np.zeros(len(at))
    upper = np.searchsorted(time, at, side="left" if side == "left" else "right")
    inside = (upper > 0) & (upper < len(time))
    upper = np.clip(upper, 1, len(time) - 1)
    length = time[upper] - time[upper - 1]
    part = (at - time[upper - 1]) / np.where(length > 0, length, 1.0)
    value = amplitude[upper - 1] + part * (amplitude[upper] - amplitude[upper - 1])
    return np.where(inside, value, 0.0)


def lay_pulses(
    events: PulseEvents, index: Int[np.ndarray, " block"], start: Float[np.ndarray, " block"]
) -> Pulses:
    """Place every pulse on the absolute clock."""
    event = index[index >= 0]
    return Pulses(
        start=start[index >= 0] + events.delay[event],
        shape=events.shape[event],
        frequency=events.frequency[event],
        phase=events.phase[event],
        use=tuple(events.use[i] for i in event.tolist()),
    )


def lay_windows(
    events: WindowEvents,
    index: Int[np.ndarray, " block"],
    start: Float[np.ndarray, " block"],
    labels: Labels,
) -> Windows:
    """Place every receiver window on the absolute clock, with the labels in force."""
    opens = index >= 0
    event = index[opens]
    return Windows(
        start=start[opens] + events.delay[event],
        dwell=events.dwell[event],
        n_samples=events.n_samples[event],
        frequency=events.frequency[event],
        phase=events.phase[event],
        modulation=events.modulation,
        modulation_index=events.modulation_index[event],
        label_name=labels[0],
        label=labels[1][opens],
    )
