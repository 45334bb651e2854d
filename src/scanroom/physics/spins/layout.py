"""A programme and its pulse tables laid out in arrays for the kernels."""

from collections.abc import Iterator
from concurrent.futures import Executor

import numpy as np
from jaxtyping import Bool, Complex64, Float32

from scanroom.physics.spins.gridding import (
    LARGEST_SHIFT,
    POLYNOMIALS,
    coils_of,
    grid_length,
    samples_of_grid,
)
from scanroom.physics.spins.playing import Events, Pulses, Windows
from scanroom.physics.spins.precession import SpinArrays
from scanroom.physics.spins.program import PULSE, WINDOW, Program, PulseKind
from scanroom.physics.spins.rotations import PulseTable, pulse_table, refined
from scanroom.physics.spins.vector import WIDTH

# Sums of one lane in one stretch, in numbers: 8 lanes of 40 MB.
STRETCH = 10_000_000
STRETCH_WINDOWS = 1024


def tables_of(
    program: Program,
    spins: tuple[np.ndarray, np.ndarray, np.ndarray],
    pool: Executor,
) -> dict[int, PulseTable]:
    """Tabulate every envelope over the offsets and strengths that the spins will meet."""
    position, offset, transmit = spins
    asked: dict[int, list[tuple[float, float, float, float]]] = {}
    weakest, strongest = bounds(transmit)
    seen: dict[bytes, tuple[float, float]] = {}
    for kind in program.pulses:
        if kind.moment is not None:
            continue
        key = kind.gradient.tobytes()
        if key not in seen:
            seen[key] = bounds(kind.gradient @ position + offset)
        low, high = (bound - kind.frequency for bound in seen[key])
        strengths = (kind.strength * weakest, kind.strength * strongest)
        asked.setdefault(kind.envelope, []).append((low, high, *strengths))
    tables = {}
    for envelope, all_bounds in asked.items():
        low, high, weak, strong = np.array(all_bounds).T
        tables[envelope] = pulse_table(
            program.envelopes[envelope],
            (float(low.min()), float(high.max())),
            (float(weak.min()), float(strong.max())),
            pool,
        )
    return tables


def bounds(values: np.ndarray) -> tuple[float, float]:
    """Least and largest; zeros of nothing."""
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def pulses_of(program: Program, arrays: SpinArrays, tables: dict[int, PulseTable]) -> Pulses:
    """Lay kinds of pulses and their tables out for the kernels."""
    place = {envelope: row for row, envelope in enumerate(tables)}
    entries = [table.entries.ravel() for table in tables.values()]
    steps = [_steps(program, kind, arrays) for kind in program.pulses]
    return Pulses(
        np.array([kind.gradient for kind in program.pulses]).reshape(-1, program.n_axes),
        np.array([kind.frequency for kind in program.pulses], np.float64),
        np.array([kind.strength for kind in program.pulses], np.float64),
        np.array(
            [-1 if kind.moment is not None else place[kind.envelope] for kind in program.pulses],
            np.int64,
        ),
        np.cumsum([0, *(len(entry) for entry in entries)]),
        np.array([table.entries.shape[:2] for table in tables.values()], np.int64).reshape(-1, 2),
        np.array([table[1:] for table in tables.values()], np.float64).reshape(-1, 5),
        np.concatenate([*entries, np.zeros(0, np.float32)]),
        np.cumsum([0, *(len(step[0]) for step in steps)]),
        np.concatenate([*(step[0] for step in steps), np.zeros(0)]),
        np.concatenate([*(step[1] for step in steps), np.zeros(0, np.complex128)]),
        np.concatenate([*(step[2] for step in steps), np.zeros((0, program.n_axes))]),
        np.array([kind.shim for kind in program.pulses], np.int64),
    )


def _steps(
    program: Program, kind: PulseKind, arrays: SpinArrays
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fine steps of a pulse under a varying gradient: lengths, values, moments of each step."""
    if kind.moment is None:
        return np.zeros(0), np.zeros(0, np.complex128), np.zeros((0, program.n_axes))
    envelope = program.envelopes[kind.envelope]
    lengths = np.diff(envelope.edge)
    slopes = np.abs(np.diff(kind.moment, axis=0) / lengths[:, None]).max(axis=0)
    axes = (arrays.x, arrays.y, arrays.z, *arrays.further)
    reach = [np.abs(axis).max(initial=0.0) for axis in axes]
    fastest = slopes @ np.array(reach) + np.abs(arrays.offset).max(initial=0.0)
    fastest += abs(kind.frequency) + kind.strength * arrays.transmit.max(initial=0.0)
    time, signal = refined(envelope, float(fastest))
    edge = envelope.edge[0] + np.concatenate([[0.0], np.cumsum(time)])
    moment = np.stack([np.interp(edge, envelope.edge, axis) for axis in kind.moment.T], axis=1)
    return time, signal, np.diff(moment, axis=0)


def windows_of(program: Program) -> Windows:
    """Lay kinds of windows out for the kernels."""
    kinds = program.windows
    lengths = np.array([grid_length(kind.n_samples) for kind in kinds], np.int64)
    scale = lengths * np.array([kind.dwell for kind in kinds], np.float64)
    times = [(np.arange(kind.n_samples) + 0.5) * kind.dwell for kind in kinds]
    return Windows(
        np.array([kind.gradient for kind in kinds]).reshape(-1, program.n_axes),
        scale,
        lengths,
        2 * np.pi * LARGEST_SHIFT / scale,
        np.cumsum([0, *(kind.n_samples for kind in kinds)]),
        np.concatenate([*times, np.zeros(0)]),
        np.concatenate([*(kind.moment for kind in kinds), np.zeros((0, program.n_axes))]),
        POLYNOMIALS,
    )


def stretches(
    program: Program, columns: int, most: int | None = None, shots: int | None = None
) -> Iterator[tuple[int, int]]:
    """Cut the programme so that the sums of a stretch stay bounded, and its windows, ``most``.

    ``shots`` bounds how many pulses or groups of them part its windows.
    """
    first = held = windows = parted = 0
    ends = np.append(program.event[1:] == PULSE, False)
    for at, (event, kind) in enumerate(zip(program.event, program.kind, strict=True)):
        if event != WINDOW:
            continue
        n_samples = program.windows[kind].n_samples
        held += (grid_length(n_samples) + WIDTH + n_samples) * columns
        windows += 1
        parted += int(ends[at])
        full = shots is not None and parted >= shots
        if held > STRETCH or windows >= (most or STRETCH_WINDOWS) or full:
            yield first, at + 1
            first, held, windows, parted = at + 1, 0, 0, 0
    if windows:
        yield first, len(program.event)


def events_of(
    program: Program,
    first: int,
    last: int,
    columns: int,
    needs: tuple[np.ndarray, np.ndarray],
    in_shots: Bool[np.ndarray, " event"] | None = None,
) -> tuple[Events, int]:
    """Lay a stretch out for the kernels and give each window a place for its sums.

    What belongs to a shot (see `shots`) is not summed here.
    """
    grid_place = np.full(last - first, -1, np.int64)
    direct_place = np.full(last - first, -1, np.int64)
    size = 0
    for at in range(first, last):
        if program.event[at] == PULSE:
            continue
        kind = program.kind[at]
        window = program.windows[kind]
        if window.steady and needs[0][kind]:
            grid_place[at - first] = size
            size += (grid_length(window.n_samples) + WIDTH) * columns
        if in_shots is not None and in_shots[at - first]:
            continue
        if not window.steady or needs[1][kind]:
            direct_place[at - first] = size
            size += window.n_samples * columns
    part = slice(first, last)
    events = Events(
        program.event[part],
        program.kind[part],
        program.time[part],
        program.moment[part],
        program.turns[part],
        grid_place,
        direct_place,
        program.dephasing[part],
    )
    return events, size


def collect(
    program: Program, events: Events, sums: Float32[np.ndarray, " number"], columns: int
) -> Iterator[Complex64[np.ndarray, "coil sample"]]:
    """Turn the sums of a stretch into samples."""
    for at in np.flatnonzero(events.event == WINDOW):
        n_samples = program.windows[events.kind[at]].n_samples
        signal = np.zeros((columns // 2, n_samples), np.complex64)
        if (begin := events.grid_place[at]) >= 0:
            rows = grid_length(n_samples) + WIDTH
            grid = sums[begin : begin + rows * columns]
            signal += samples_of_grid(grid.reshape(rows, columns), n_samples)
        if (begin := events.direct_place[at]) >= 0:
            samples = sums[begin : begin + n_samples * columns]
            signal += coils_of(samples.reshape(n_samples, columns))
        yield signal
