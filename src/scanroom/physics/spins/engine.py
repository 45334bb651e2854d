"""Plays a programme to an ensemble and yields the samples of every window, in order.

Spins are cut into runs of 1024 neighbours; the programme into stretches whose sums fit in memory.
Sixteen lanes take every sixteenth run each and add into sums of their own, added up in a fixed
order: the number of threads changes nothing, not even the last bit.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Complex64, Float, Float32, UInt8
from scipy.ndimage import maximum_filter1d

from scanroom.core.units import Hertz, Metre
from scanroom.physics.spins.ensemble import RUN, Spins, arrays_of, order_of_work
from scanroom.physics.spins.gridding import (
    LARGEST_SHIFT,
    POLYNOMIALS,
    coils_of,
    grid_length,
    samples_of_grid,
)
from scanroom.physics.spins.playing import (
    Events,
    Pulses,
    Runs,
    Stage,
    Windows,
    mark_changes,
    play_lane,
)
from scanroom.physics.spins.precession import SpinArrays
from scanroom.physics.spins.program import PULSE, WINDOW, Program, PulseKind
from scanroom.physics.spins.rotations import PulseTable, pulse_reach, pulse_table, refined
from scanroom.physics.spins.vector import WIDTH

LANES = 16
# Sums of one lane in one stretch, in numbers: 16 lanes of 16 MB.
_STRETCH = 4_000_000
_STRETCH_WINDOWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to compute: threads, and what may be left out.

    A pulse that tilts no spin of a run by more than ``tolerance`` [rad], and shifts the phase of
    what is transverse in it by less than that share of equilibrium, is not played to that run; a
    window is not received from a run whose largest transverse magnetisation is below ``silence``.
    """

    threads: int = 2
    tolerance: float = 1e-3
    silence: float = 1e-4


@dataclass(slots=True)
class Control:
    """A running simulation's stop button and progress, safe from any thread."""

    stop: UInt8[np.ndarray, " 1"] = field(default_factory=lambda: np.zeros(1, np.uint8))
    progress: Callable[[float], None] | None = None

    def report(self, fraction: float) -> None:
        """Tell the listener, if any, how far we are."""
        if self.progress is not None:
            self.progress(fraction)


def simulate(
    program: Program, spins: Spins, settings: Settings = Settings(), control: Control | None = None
) -> Iterator[Complex64[np.ndarray, "coil sample"]]:
    """Yield the samples of every window in order of time; end early when stopped."""
    control = control or Control()
    n_coils = spins.weight.shape[1]
    with ThreadPoolExecutor(settings.threads) as pool:
        arrays = arrays_of(spins, order_of_work(spins, program))
        position = np.stack([arrays.x, arrays.y, arrays.z])
        tables = _tables(program, (position, arrays.offset, arrays.transmit), pool)
        kinds = (_pulses(program, arrays, tables), _windows(program))
        runs = _runs(arrays, program, kinds[0], tables, settings.tolerance)
        work = [
            np.flatnonzero(np.isinf(runs.change).any(axis=1))[lane::LANES] for lane in range(LANES)
        ]
        columns = arrays.weight.shape[1]
        done, total = 0, len(program.event)
        for first, last in _stretches(program, columns):
            events, size = _events(program, first, last, columns, _needs(runs, kinds[1]))
            sums = np.zeros((LANES, size), np.float32)
            stage = Stage(arrays, runs, events, *kinds, settings.tolerance, settings.silence)
            jobs = [
                pool.submit(play_lane, stage, mine, sums[lane], control.stop)
                for lane, mine in enumerate(work)
            ]
            for lane, job in enumerate(jobs):
                job.result()
                control.report((done + (last - first) * (lane + 1) / LANES) / total)
            done += last - first
            if control.stop[0]:
                return
            for signal in _collect(program, events, _added(sums), columns):
                yield signal[:n_coils]


def largest_tilt(
    program: Program,
    points: tuple[
        Float[np.ndarray, "point axis"], Float[np.ndarray, " point"], Float[np.ndarray, " point"]
    ],
    margin: tuple[Metre, Hertz],
    threads: int = 2,
) -> Float[np.ndarray, " point"]:
    """Largest tilt [rad] by any pulse of each point, or any place and offset within ``margin``.

    ``points`` are places [m], offsets [Hz] and magnitudes of the relative transmit field.
    """
    position, offset, transmit = points
    found = np.zeros(len(offset))
    if any(kind.moment is not None for kind in program.pulses) or not found.size:
        return np.full(len(offset), np.pi)
    with ThreadPoolExecutor(threads) as pool:
        tables = _tables(program, (position.T, offset, transmit), pool)
    done: set[tuple[object, ...]] = set()
    for kind in program.pulses:
        key = (kind.envelope, kind.gradient.tobytes(), kind.frequency)
        if key in done:
            continue
        done.add(key)
        table = tables[kind.envelope]
        wide = float(np.linalg.norm(kind.gradient)) * margin[0] + margin[1]
        size = 2 * int(np.ceil(wide / table.offset_step)) + 3
        reach = maximum_filter1d(pulse_reach(table)[0], size, mode="nearest")
        total = position @ kind.gradient + offset - kind.frequency
        place = np.rint((total - table.offset_first) / table.offset_step).astype(np.int64)
        np.maximum(found, reach[np.clip(place, 0, len(reach) - 1)], out=found)
    return found


def _tables(
    program: Program,
    spins: tuple[np.ndarray, np.ndarray, np.ndarray],
    pool: Executor,
) -> dict[int, PulseTable]:
    """Tabulate every envelope over the offsets and strengths that the spins will meet."""
    position, offset, transmit = spins
    bounds: dict[int, list[tuple[float, float, float, float]]] = {}
    weakest, strongest = _bounds(transmit)
    seen: dict[bytes, tuple[float, float]] = {}
    for kind in program.pulses:
        if kind.moment is not None:
            continue
        key = kind.gradient.tobytes()
        if key not in seen:
            seen[key] = _bounds(kind.gradient @ position + offset)
        low, high = (bound - kind.frequency for bound in seen[key])
        strengths = (kind.strength * weakest, kind.strength * strongest)
        bounds.setdefault(kind.envelope, []).append((low, high, *strengths))
    tables = {}
    for envelope, all_bounds in bounds.items():
        low, high, weak, strong = np.array(all_bounds).T
        tables[envelope] = pulse_table(
            program.envelopes[envelope],
            (float(low.min()), float(high.max())),
            (float(weak.min()), float(strong.max())),
            pool,
        )
    return tables


def _bounds(values: np.ndarray) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _pulses(program: Program, arrays: SpinArrays, tables: dict[int, PulseTable]) -> Pulses:
    """Lay kinds of pulses and their tables out for the kernels."""
    place = {envelope: row for row, envelope in enumerate(tables)}
    entries = [table.entries.ravel() for table in tables.values()]
    steps = [_steps(program, kind, arrays) for kind in program.pulses]
    return Pulses(
        np.array([kind.gradient for kind in program.pulses], np.float64).reshape(-1, 3),
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
        np.concatenate([*(step[2] for step in steps), np.zeros((0, 3))]),
    )


def _steps(
    program: Program, kind: PulseKind, arrays: SpinArrays
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fine steps of a pulse under a varying gradient: lengths, values, moments of each step."""
    if kind.moment is None:
        return np.zeros(0), np.zeros(0, np.complex128), np.zeros((0, 3))
    envelope = program.envelopes[kind.envelope]
    lengths = np.diff(envelope.edge)
    slopes = np.abs(np.diff(kind.moment, axis=0) / lengths[:, None]).max(axis=0)
    reach = [np.abs(axis).max(initial=0.0) for axis in (arrays.x, arrays.y, arrays.z)]
    fastest = slopes @ np.array(reach) + np.abs(arrays.offset).max(initial=0.0)
    fastest += abs(kind.frequency) + kind.strength * arrays.transmit.max(initial=0.0)
    time, signal = refined(envelope, float(fastest))
    edge = envelope.edge[0] + np.concatenate([[0.0], np.cumsum(time)])
    moment = np.stack([np.interp(edge, envelope.edge, axis) for axis in kind.moment.T], axis=1)
    return time, signal, np.diff(moment, axis=0)


def _windows(program: Program) -> Windows:
    """Lay kinds of windows out for the kernels."""
    kinds = program.windows
    lengths = np.array([grid_length(kind.n_samples) for kind in kinds], np.int64)
    scale = lengths * np.array([kind.dwell for kind in kinds], np.float64)
    times = [(np.arange(kind.n_samples) + 0.5) * kind.dwell for kind in kinds]
    return Windows(
        np.array([kind.gradient for kind in kinds], np.float64).reshape(-1, 3),
        scale,
        lengths,
        2 * np.pi * LARGEST_SHIFT / scale,
        np.cumsum([0, *(kind.n_samples for kind in kinds)]),
        np.concatenate([*times, np.zeros(0)]),
        np.concatenate([*(kind.moment for kind in kinds), np.zeros((0, 3))]),
        POLYNOMIALS,
    )


def _runs(
    arrays: SpinArrays,
    program: Program,
    pulses: Pulses,
    tables: dict[int, PulseTable],
    tolerance: float,
) -> Runs:
    """Cut the spins into runs and find which pulses touch which."""
    n_spins = len(arrays.x)
    edge = np.append(np.arange(0, n_spins, RUN), n_spins)
    starts = edge[:-1]
    n_runs = len(starts)
    runs = Runs(
        edge,
        np.zeros(n_runs),
        np.zeros(n_runs),
        np.zeros((n_runs, 3)),
        np.zeros(n_runs),
        np.zeros(n_runs),
        np.minimum.reduceat(arrays.r2, starts) if n_runs else np.zeros(0, np.float32),
        np.maximum.reduceat(arrays.r2, starts) if n_runs else np.zeros(0, np.float32),
        np.zeros((n_runs, len(program.pulses))),
    )
    reach = [pulse_reach(table) for table in tables.values()]
    tilts, shifts = (np.concatenate([*(r[i] for r in reach), np.zeros(0)]) for i in (0, 1))
    edge_of_table = np.cumsum([0, *(len(tilt) for tilt, _ in reach)])
    mark_changes(arrays, runs, pulses, (tilts, shifts, edge_of_table), tolerance)
    return runs


def _stretches(program: Program, columns: int) -> Iterator[tuple[int, int]]:
    """Cut the programme so that the sums of a stretch stay bounded."""
    first = held = windows = 0
    for at, (event, kind) in enumerate(zip(program.event, program.kind, strict=True)):
        if event != WINDOW:
            continue
        n_samples = program.windows[kind].n_samples
        held += (grid_length(n_samples) + WIDTH + n_samples) * columns
        windows += 1
        if held > _STRETCH or windows >= _STRETCH_WINDOWS:
            yield first, at + 1
            first, held, windows = at + 1, 0, 0
    if windows:
        yield first, len(program.event)


def _needs(runs: Runs, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Which kinds of windows have spins to be gridded, and which spins decaying too fast."""
    slowest, fastest = _bounds(runs.fastest_r2)
    return slowest <= windows.longest_r2, fastest > windows.longest_r2


def _events(
    program: Program,
    first: int,
    last: int,
    columns: int,
    needs: tuple[np.ndarray, np.ndarray],
) -> tuple[Events, int]:
    """Lay a stretch out for the kernels and give each window a place for its sums."""
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
    )
    return events, size


def _added(sums: Float32[np.ndarray, "lane number"]) -> Float32[np.ndarray, " number"]:
    """Add the lanes in their order."""
    total: np.ndarray = sums[0].copy()
    for lane in sums[1:]:
        total += lane
    return total


def _collect(
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
