"""Plays a programme to an ensemble and yields the samples of every window, in order.

Spins are cut into runs of 1024 neighbours; the programme into stretches whose sums fit in memory.
Eight lanes take every eighth run each and add into sums of their own, added up in a fixed
order: the number of threads changes nothing, not even the last bit.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Complex64, Float, Float32, UInt8
from scipy.ndimage import maximum_filter1d

from scanroom.core.units import Hertz, Metre, Second
from scanroom.physics.spins.ensemble import RUN, Spins, arrays_of, order_of_work
from scanroom.physics.spins.gridding import columns_of
from scanroom.physics.spins.layout import (
    bounds,
    collect,
    events_of,
    pulses_of,
    stretches,
    tables_of,
    windows_of,
)
from scanroom.physics.spins.parts import saturation_of
from scanroom.physics.spins.playing import (
    Pulses,
    Runs,
    Stage,
    Windows,
    mark_changes,
    play_lane,
)
from scanroom.physics.spins.precession import SpinArrays
from scanroom.physics.spins.program import WINDOW, Program
from scanroom.physics.spins.rotations import PulseTable, at_offsets, pulse_reach, reaches
from scanroom.physics.spins.shots import bring, prepared, read, reader_of
from scanroom.physics.spins.team import Team

LANES = 8
MOVING_WINDOWS = 8
NOTHING = np.complex64(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to compute: threads, and what may be left out.

    A pulse that tilts no spin of a run by more than ``tolerance`` [rad], and shifts the phase of
    what is transverse in it by less than that share of equilibrium, is not played to that run; a
    window is not received from a run whose largest transverse magnetisation is below ``silence``.
    An order of dephasing below ``faintest`` in all of a run is let go (`continuum`). Factors of
    classes may leave out ``error`` of the signal (`classwise`). Windows that are not gridded may
    miss ``readout`` of their signal where one transform reads many of them (`shots`); 0 sums all of
    them sample by sample.
    """

    threads: int = 2
    tolerance: float = 1e-3
    silence: float = 1e-4
    faintest: float = 1e-3
    error: float = 5e-3
    readout: float = 1e-5


STANDARD = Settings()


@dataclass(slots=True)
class Control:
    """A running simulation's stop button and progress, safe from any thread; who plays what."""

    stop: UInt8[np.ndarray, " 1"] = field(default_factory=lambda: np.zeros(1, np.uint8))
    progress: Callable[[float], None] | None = None
    team: Team = field(default_factory=Team)

    def report(self, fraction: float) -> None:
        """Tell the listener, if any, how far we are."""
        if self.progress is not None:
            self.progress(fraction)


def simulate(
    program: Program,
    spins: Spins,
    settings: Settings = STANDARD,
    control: Control | None = None,
    weigh: Callable[[Second], Complex64[np.ndarray, "spin coil"]] | None = None,
) -> Iterator[Complex64[np.ndarray, "coil sample"]]:
    """Yield the samples of every window in order of time; end early when stopped.

    Spins that move past the coils are weighed anew, by ``weigh`` at the middle of a stretch of
    `MOVING_WINDOWS`.
    """
    control = control or Control()
    n_coils = spins.weight.shape[1]
    with ThreadPoolExecutor(settings.threads) as pool:
        order = order_of_work(spins, program)
        arrays = arrays_of(spins, order)
        position = np.stack([arrays.x, arrays.y, arrays.z, *arrays.further])
        tables = tables_of(program, (position, arrays.offset, arrays.transmit), pool)
        kinds = (pulses_of(program, arrays, tables), windows_of(program))
        runs = _runs(arrays, program, kinds[0], tables, settings.tolerance)
        saturation = saturation_of(program, arrays, runs.edge, settings.tolerance, pool)
        touched = np.flatnonzero(np.isinf(runs.change).any(axis=1))
        work = [np.ascontiguousarray(touched[lane::LANES]) for lane in range(LANES)]
        mine = control.team.share(work)
        reader = reader_of(program, kinds[1], runs, touched, arrays, (n_coils, settings.readout))
        columns, most = arrays.weight.shape[1], None if weigh is None else MOVING_WINDOWS
        done, total = 0, len(program.event)
        for first, last in stretches(program, columns, most, reader.at_once):
            if weigh is not None:
                middle = (program.time[first, 0] + program.time[last - 1, 1]) / 2
                arrays = arrays._replace(weight=columns_of(weigh(float(middle))[order]))
            read_later, asked = prepared(reader, first, last), needs(runs.fastest_r2, kinds[1])
            events, size = events_of(program, first, last, columns, asked, read_later.taken)
            sums = np.zeros((LANES, size), np.float32)
            quiet = (settings.tolerance, settings.silence)
            stage = Stage(arrays, runs, events, *kinds, *quiet, read_later.snapshots)
            jobs = [
                pool.submit(play_lane, stage, saturation, mine[lane], sums[lane], control.stop)
                for lane in range(LANES)
            ]
            for lane, job in enumerate(jobs):
                job.result()
                control.report((done + (last - first) * (lane + 1) / LANES) / total)
            done += last - first
            control.team.bring([(row,) for row in sums])
            bring(read_later.snapshots, runs.edge, work, control.team)
            if control.stop[0]:
                return
            if not control.team.leads:
                continue
            more = read(reader, read_later, arrays, pool)
            signals = collect(program, events, added(sums), columns)
            for at, signal in zip(np.flatnonzero(events.event == WINDOW), signals, strict=True):
                yield (signal + more.get(first + int(at), NOTHING))[:n_coils]


def largest_tilt(
    program: Program,
    points: tuple[
        Float[np.ndarray, "point axis"],
        Float[np.ndarray, " point"],
        Float[np.ndarray, "point ..."],
    ],
    margin: tuple[Metre, Hertz],
    threads: int = 2,
) -> Float[np.ndarray, " point"]:
    """Largest tilt [rad] by any pulse of each point, or any place and offset within ``margin``.

    ``points`` are places [m], offsets [Hz] and magnitudes of the relative transmit field,
    in a column per set of channel weights if there are several.
    """
    position, offset, transmit = points
    found = np.zeros(len(offset))
    if any(kind.moment is not None for kind in program.pulses) or not found.size:
        return np.full(len(offset), np.pi)
    with ThreadPoolExecutor(threads) as pool:
        tables = tables_of(program, (position.T, offset, transmit), pool)
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
        np.maximum(found, at_offsets(table, reach, total), out=found)
    return found


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
        np.zeros((n_runs, program.n_axes)),
        np.zeros(n_runs),
        np.zeros(n_runs),
        np.minimum.reduceat(arrays.r2, starts) if n_runs else np.zeros(0, np.float32),
        np.maximum.reduceat(arrays.r2, starts) if n_runs else np.zeros(0, np.float32),
        np.zeros((n_runs, len(program.pulses))),
    )
    mark_changes(arrays, runs, pulses, reaches(tables.values()), tolerance)
    return runs


def needs(
    fastest_r2: Float32[np.ndarray, " run"], windows: Windows
) -> tuple[np.ndarray, np.ndarray]:
    """Which kinds of windows have spins to be gridded, and which spins decaying too fast."""
    slowest, fastest = bounds(fastest_r2)
    return slowest <= windows.longest_r2, fastest > windows.longest_r2


def added(sums: Float32[np.ndarray, "lane number"]) -> Float32[np.ndarray, " number"]:
    """Add the lanes in their order."""
    total: np.ndarray = sums[0].copy()
    for lane in sums[1:]:
        total += lane
    return total
