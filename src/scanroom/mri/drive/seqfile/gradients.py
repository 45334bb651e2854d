"""[TRAP] and [GRADIENTS]: every gradient event as straight lines between knots."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from scanroom.core.units import HertzPerMetre, Second
from scanroom.mri.drive.seqfile.header import Header
from scanroom.mri.drive.seqfile.pulses import LONGEST_DELAY_US, check_times, shape_of
from scanroom.mri.drive.seqfile.sections import (
    LARGEST_ID,
    SPECIFICATION,
    Rows,
    Section,
    Source,
    rows,
)
from scanroom.mri.drive.seqfile.shapes import Shapes

LARGEST_AMPLITUDE: HertzPerMetre = 1e10
MOST_EVENT_KNOTS = 16_000_000
_MICRO = 1e-6
_LONGEST_US = 4_000_000_000
SAME_TIME: Second = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientEvents:
    """The library of gradients, knots of all events end to end, timed from the block's start.

    Event ``i`` owns the knots from ``first[i]`` to ``first[i + 1]``. Where it begins or ends away
    from zero, a knot at zero stands before (``leads``) or after (``trails``).
    """

    key: Int[np.ndarray, " event"]
    first: Int[np.ndarray, " event_plus_1"]
    time: Float[np.ndarray, " knot"]
    amplitude: Float[np.ndarray, " knot"]
    leads: Bool[np.ndarray, " event"]
    trails: Bool[np.ndarray, " event"]
    end: Float[np.ndarray, " event"]

    def knots(self, event: int) -> tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]:
        """Times and amplitudes of one event."""
        part = slice(self.first[event], self.first[event + 1])
        return self.time[part], self.amplitude[part]

    def extended(
        self, more: list[tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]]
    ) -> "GradientEvents":
        """Append events without a key of their own, such as rotated ones."""
        if not more:
            return self
        size = np.array([len(time) for time, _ in more])
        jump = [_jumps(time, amplitude) for time, amplitude in more]
        return replace(
            self,
            key=np.concatenate([self.key, np.full(len(more), -1)]),
            first=np.concatenate([self.first, self.first[-1] + np.cumsum(size)]),
            time=np.concatenate([self.time, *(time for time, _ in more)]),
            amplitude=np.concatenate([self.amplitude, *(amplitude for _, amplitude in more)]),
            leads=np.concatenate([self.leads, [lead for lead, _ in jump]]),
            trails=np.concatenate([self.trails, [trail for _, trail in jump]]),
            end=np.concatenate([self.end, [float(time[-1]) for time, _ in more]]),
        )


def _jumps(
    time: Float[np.ndarray, " knot"], amplitude: Float[np.ndarray, " knot"]
) -> tuple[bool, bool]:
    """Whether knots begin and end with a step from and to zero."""
    lead = len(time) > 1 and time[0] == time[1] and amplitude[0] == 0 != amplitude[1]
    trail = len(time) > 1 and time[-1] == time[-2] and amplitude[-1] == 0 != amplitude[-2]
    return bool(lead), bool(trail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaped:
    """One arbitrary gradient before its ends are known; NaN where the file does not state them."""

    time: Float[np.ndarray, " sample"]
    amplitude: Float[np.ndarray, " sample"]
    delay: Second
    length: Second
    first: HertzPerMetre
    last: HertzPerMetre


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """Gradients as read: trapezoids are complete, arbitrary ones may lack their ends."""

    traps: Rows
    key: Int[np.ndarray, " event"]
    end: Float[np.ndarray, " event"]
    arbitrary: list[Shaped]


def read_gradients(
    sections: dict[str, Section], header: Header, shapes: Shapes, source: Source
) -> Parsed:
    """Read trapezoids and arbitrary gradients.

    Raises
    ------
    FormatError
        If a value is out of bounds, or a shape is missing or does not fit.
    """
    traps = rows(sections.get("TRAP"), "TRAP", source, 6)
    v14, v15 = header.since(4), header.since(5)
    shaped = rows(sections.get("GRADIENTS"), "GRADIENTS", source, 7 if v15 else 5 if v14 else 4)
    both = np.intersect1d(traps.unique(), shaped.unique())
    if len(both):
        raise source.fault(
            sections["GRADIENTS"].line,
            f"identifier {both[0]} names both a trapezoid and an arbitrary gradient; "
            f"one number names one gradient ({SPECIFICATION}). Number the events anew.",
        )
    time, _ = _trapezoids(traps)
    arbitrary = []
    n_knots = 0
    for row in range(len(shaped)):
        arbitrary.append(_shaped(shaped, row, header, shapes))
        n_knots += len(arbitrary[-1].time)
        if n_knots > MOST_EVENT_KNOTS:
            raise source.fault(
                int(shaped.number[row]),
                f"gradients hold more than {MOST_EVENT_KNOTS} samples (limit of the reader). "
                "Use coarser or fewer gradient shapes.",
            )
    return Parsed(
        traps=traps,
        key=np.concatenate([traps.unique(), shaped.unique()]),
        end=np.concatenate([time[:, -1], [event.delay + event.length for event in arbitrary]]),
        arbitrary=arbitrary,
    )


def complete(
    parsed: Parsed,
    blocks: Int[np.ndarray, "block 3"],
    duration: Float[np.ndarray, " block"],
) -> GradientEvents:
    """Settle the ends of arbitrary gradients and lay out all knots.

    ``blocks`` names the event each block plays on x, y, z, and ``duration`` how long it lasts:
    files before 1.5 do not state the ends of uniformly sampled gradients, they follow from what
    was played before.
    """
    n_traps = len(parsed.traps)
    arbitrary = _restore_ends(parsed.arbitrary, parsed.key[n_traps:], blocks, duration)
    time, amplitude = _trapezoids(parsed.traps)
    library = GradientEvents(
        key=parsed.key[:n_traps],
        first=4 * np.arange(n_traps + 1),
        time=time.reshape(-1),
        amplitude=amplitude.reshape(-1),
        leads=np.zeros(n_traps, bool),
        trails=np.zeros(n_traps, bool),
        end=time[:, -1],
    )
    return replace(library.extended([_knots(event) for event in arbitrary]), key=parsed.key)


def _trapezoids(
    table: Rows,
) -> tuple[Float[np.ndarray, "event 4"], Float[np.ndarray, "event 4"]]:
    """Four knots each; an event without amplitude is kept, it plays nothing."""
    peak = table.real(1, -LARGEST_AMPLITUDE, LARGEST_AMPLITUDE, "the amplitude [Hz/m]")
    rise, flat, fall = (
        table.integer(column, 0, _LONGEST_US, f"the {what} time [us]") * _MICRO
        for column, what in ((2, "rise"), (3, "flat"), (4, "fall"))
    )
    delay = table.integer(5, 0, int(LONGEST_DELAY_US), "the delay [us]") * _MICRO
    time = np.stack([delay, delay + rise, delay + rise + flat, delay + rise + flat + fall], axis=1)
    return time, np.stack([0 * peak, peak, peak, 0 * peak], axis=1)


def _shaped(table: Rows, row: int, header: Header, shapes: Shapes) -> Shaped:
    """One row of [GRADIENTS]."""
    source, line = table.source, int(table.number[row])
    if row == 0:
        _check_columns(table, header)
    source.tick()
    values = table.value[row]
    v14, v15 = header.since(4), header.since(5)
    first, last = (float(values[2]), float(values[3])) if v15 else (np.nan, np.nan)
    at = 4 if v15 else 2
    samples = values[1] * shape_of(shapes, int(values[at]), line, "a gradient", source)
    clock = int(values[at + 1]) if v14 else 0
    raster = header.rasters.gradient
    if clock == 0:
        time, length = (np.arange(len(samples)) + 0.5) * raster, len(samples) * raster
    elif clock == -1:
        if len(samples) % 2 == 0:
            raise source.fault(
                line,
                f"a gradient on half the raster has {len(samples)} samples; their number must be "
                f"odd ({SPECIFICATION} 1.5). Correct the shape.",
            )
        time = (np.arange(len(samples)) + 1) * raster / 2
        length = (len(samples) + 1) * raster / 2
    else:
        time = raster * shape_of(shapes, clock, line, "the time of a gradient", source)
        check_times(time, len(samples), line, "a gradient", source)
        length = float(time[-1])
        first = float(samples[0]) if time[0] == 0 else 0.0 if np.isnan(first) else first
        last = float(samples[-1])
    return Shaped(
        time=time,
        amplitude=samples,
        delay=float(values[-1]) * _MICRO,
        length=length,
        first=first,
        last=last,
    )


def _check_columns(table: Rows, header: Header) -> None:
    """Bounds of a whole table at once."""
    at = 4 if header.since(5) else 2
    table.real(1, -LARGEST_AMPLITUDE, LARGEST_AMPLITUDE, "the amplitude [Hz/m]")
    if header.since(5):
        table.real(2, -LARGEST_AMPLITUDE, LARGEST_AMPLITUDE, "the first amplitude [Hz/m]")
        table.real(3, -LARGEST_AMPLITUDE, LARGEST_AMPLITUDE, "the last amplitude [Hz/m]")
    table.integer(at, 1, LARGEST_ID, "the amplitude shape")
    if header.since(4):
        low = -1 if header.since(5) else 0
        table.integer(at + 1, low, LARGEST_ID, "the time shape")
    table.integer(table.value.shape[1] - 1, 0, int(LONGEST_DELAY_US), "the delay [us]")


def _restore_ends(
    arbitrary: list[Shaped],
    keys: Int[np.ndarray, " event"],
    blocks: Int[np.ndarray, "block 3"],
    duration: Float[np.ndarray, " block"],
) -> list[Shaped]:
    """Find the ends of uniform gradients where each is first played, as Pulseq does.

    A gradient without delay begins where the one before it on the same axis ended, if that
    reached the end of its block. From there the values half-way between the samples follow one by
    one; where the last of them leaves the samples by more than they change, the last two samples
    are extended instead.
    """
    done = dict(zip(keys.tolist(), arbitrary, strict=True))
    open_ends = [key for key, event in done.items() if np.isnan(event.first + event.last)]
    places = np.flatnonzero(np.isin(blocks, open_ends) & (blocks > 0))
    _, at = np.unique(blocks.reshape(-1)[places], return_index=True)
    for place in np.sort(places[at]).tolist():
        block, axis = divmod(place, 3)
        event = done[int(blocks[block, axis])]
        before = done.get(int(blocks[block - 1, axis])) if block else None
        first = 0.0
        if before is not None and event.delay == 0 and not np.isnan(before.last):
            reaches = before.delay + before.length > duration[block - 1] - SAME_TIME
            first = before.last if reaches else 0.0
        last = _last(event.amplitude, first)
        done[int(blocks[block, axis])] = replace(event, first=first, last=last)
    return [
        event if not np.isnan(event.last) else replace(event, first=0.0, last=0.0)
        for event in done.values()
    ]


def _last(samples: Float[np.ndarray, " sample"], first: float) -> float:
    """Value at the end of the last raster interval."""
    sign = np.where(np.arange(len(samples)) % 2 == 0, 1.0, -1.0)
    flip = sign[-1]
    between = float(flip * (2 * np.sum(sign * samples)) - flip * first)
    if len(samples) < 2:
        return between
    if abs(between - samples[-1]) <= np.abs(np.diff(samples)).max():
        return between
    return float(1.5 * samples[-1] - 0.5 * samples[-2])


def _knots(event: Shaped) -> tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]:
    """Knots of an arbitrary gradient with steps to zero where its ends are not."""
    time, amplitude = event.time, event.amplitude
    if time[0] > 0:
        time, amplitude = np.append(0.0, time), np.append(event.first, amplitude)
    if time[-1] < event.length:
        time, amplitude = np.append(time, event.length), np.append(amplitude, event.last)
    if amplitude[0] != 0:
        time, amplitude = np.append(time[0], time), np.append(0.0, amplitude)
    if amplitude[-1] != 0:
        time, amplitude = np.append(time, time[-1]), np.append(amplitude, 0.0)
    return time + event.delay, amplitude
