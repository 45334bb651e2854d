"""Windows between two pulses read as one: their spins are written down once, and summed later.

A shot is what windows of one stretch, with no pulse between them, have in common: the spins that no
constant gradient lays on a line (see `gridding`), because there is none or because they decay too
fast. The kernel writes their magnetisation down at the begin of the first window; all samples
follow from it, by one non-uniform Fourier transform (`nonuniform`) where that pays.
"""

from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex64, Float32, Int
from threadpoolctl import threadpool_limits

from scanroom.physics.spins.gridding import coils_of
from scanroom.physics.spins.nonuniform import (
    PREPARED,
    Course,
    Ensemble,
    Layout,
    cost,
    cost_of_sum,
    layouts,
    samples_of_shot,
)
from scanroom.physics.spins.playing import Runs, Snapshots, Windows
from scanroom.physics.spins.precession import SpinArrays
from scanroom.physics.spins.program import WINDOW, Program
from scanroom.physics.spins.spreading import sum_runs
from scanroom.physics.spins.team import Team

# Bytes of magnetisation written down in a stretch; layouts kept.
_ROOM = 1 << 28
_KEPT = 64
# Courses that differ by less, in cycles and in seconds, are one.
_SAME_TURNS, _SAME_TIME = 1e-8, 1e-11
_LANES = 8

Key = tuple[bytes, ...]
# Magnetisation when a shot begins, real and imaginary part, and the runs that have any.
Noted = tuple[Float32[np.ndarray, " spin"], Float32[np.ndarray, " spin"], Int[np.ndarray, " run"]]


class Shot(NamedTuple):
    """Windows, as events of the programme, and how fast spins must decay to be summed."""

    events: Int[np.ndarray, " window"]
    limit: float
    layouts: tuple[Layout, ...]


@dataclass(frozen=True, slots=True)
class Reader:
    """What reading shots needs, and the layouts it has found so far."""

    program: Program
    windows: Windows
    runs: Runs
    touched: Int[np.ndarray, " run"]
    ensemble: Ensemble
    n_coils: int
    error: float
    known: dict[Key, tuple[Layout, ...]] = field(default_factory=dict)

    @property
    def at_once(self) -> int | None:
        """Shots of a stretch that there is room for; None if there will be none."""
        kinds = zip(self.program.windows, self.windows.longest_r2, strict=True)
        limits = [float(longest) if kind.steady else -1.0 for kind, longest in kinds]
        if self.error <= 0.0 or not len(self.heard(min(limits, default=np.inf))):
            return None
        return max(1, _ROOM // max(1, 8 * len(self.ensemble.r2)))

    def heard(self, limit: float) -> Int[np.ndarray, " run"]:
        """Runs that are not gridded in windows with this limit."""
        return np.asarray(self.touched[self.runs.fastest_r2[self.touched] > limit])


class Stretch(NamedTuple):
    """Shots of a stretch, which of its events they read, and room for what is written down."""

    shots: tuple[Shot, ...]
    taken: Bool[np.ndarray, " event"]
    snapshots: Snapshots


def reader_of(
    program: Program,
    windows: Windows,
    runs: Runs,
    touched: Int[np.ndarray, " run"],
    arrays: SpinArrays,
    how: tuple[int, float],
) -> Reader:
    """Set up for a programme and its spins; ``how`` are the count of coils and the error."""
    nobody = np.zeros((program.n_axes + 1, 0))
    nowhere = np.zeros(len(nobody))
    ensemble = Ensemble(nobody, arrays.r2, arrays.weight, nowhere, nowhere)
    reader = Reader(program, windows, runs, touched, ensemble, *how)
    if reader.at_once is None:
        return reader
    place = np.stack([arrays.x, arrays.y, arrays.z, *arrays.further, arrays.offset])
    ends = (place.min(axis=1), place.max(axis=1))
    return replace(reader, ensemble=Ensemble(place, arrays.r2, arrays.weight, *ends))


def prepared(reader: Reader, first: int, last: int) -> Stretch:
    """Find the shots of a stretch; windows of no shot are summed as they come."""
    shots = tuple(shots_of(reader, first, last))
    row, opens = np.full(last - first, -1, np.int64), np.zeros(last - first, np.bool_)
    for number, shot in enumerate(shots):
        row[shot.events - first] = number
        opens[shot.events[0] - first] = True
    sizes = (len(shots), len(reader.ensemble.r2))
    loud = np.zeros((len(shots), len(reader.runs.edge) - 1), np.bool_)
    noted = Snapshots(row, opens, np.zeros(sizes, np.float32), np.zeros(sizes, np.float32), loud)
    return Stretch(shots, row >= 0, noted)


def shots_of(reader: Reader, first: int, last: int) -> list[Shot]:
    """Shots of a stretch that are worth it."""
    if not reader.ensemble.place.size:
        return []
    groups = [
        (events, limit, _key(reader, events)) for events, limit in _groups(reader, first, last)
    ]
    times: dict[Key, int] = {}
    for *_, key in groups:
        times[key] = times.get(key, 0) + 1
    shots = []
    for events, limit, key in groups:
        count = _count(reader, reader.heard(limit))
        course = course_of(reader.program, events)
        plain = cost_of_sum(count, len(course.moment), reader.n_coils)
        if key not in reader.known and times[key] * plain < PREPARED:
            continue
        found = _known(reader, key, course)
        if min((cost(layout, count, reader.n_coils) for layout in found), default=np.inf) < plain:
            shots.append(Shot(events, limit, found))
    return shots


def bring(
    snapshots: Snapshots,
    edge: Int[np.ndarray, " run_plus_1"],
    work: list[Int[np.ndarray, " _"]],
    team: Team,
) -> None:
    """Bring what the members wrote down, each of its lanes' runs, to the one that leads."""
    if team.alone or not len(snapshots.loud):
        return
    for lane, runs in enumerate(work):
        spins = np.flatnonzero(np.repeat(np.isin(np.arange(len(edge) - 1), runs), np.diff(edge)))
        rows = ((snapshots.real, spins), (snapshots.imag, spins), (snapshots.loud, runs))
        taken = [np.ascontiguousarray(kept[:, where]) for kept, where in rows]
        team.bring([taken], lane)
        if team.leads and not team.plays(lane):
            for (kept, where), new in zip(rows, taken, strict=True):
                kept[:, where] = new


def read(
    reader: Reader, stretch: Stretch, spins: SpinArrays, pool: Executor
) -> dict[int, Complex64[np.ndarray, "coil sample"]]:
    """Samples of every window of the shots of a stretch, by event of the programme."""
    program = reader.program
    signals: dict[int, np.ndarray] = {}
    for number, shot in enumerate(stretch.shots):
        signal = _samples(reader, shot, _noted(stretch.snapshots, number), spins, pool)
        n_samples = [program.windows[kind].n_samples for kind in program.kind[shot.events]]
        parts = np.split(signal, np.cumsum(n_samples)[:-1], axis=1)
        signals |= dict(zip(shot.events.tolist(), parts, strict=True))
    return signals


def _noted(snapshots: Snapshots, number: int) -> Noted:
    loud = np.flatnonzero(snapshots.loud[number])
    return snapshots.real[number], snapshots.imag[number], loud


def _samples(
    reader: Reader, shot: Shot, noted: Noted, spins: SpinArrays, pool: Executor
) -> Complex64[np.ndarray, "coil sample"]:
    """All samples of a shot, in the way that costs least for the spins that turned out loud."""
    real, imag, loud = noted
    course, n_coils = course_of(reader.program, shot.events), reader.n_coils
    count = _count(reader, loud)
    if not count:
        return np.zeros((spins.weight.shape[1] // 2, len(course.moment)), np.complex64)
    prices = [cost(layout, count, n_coils) for layout in shot.layouts]
    if min(prices) >= cost_of_sum(count, len(course.moment), n_coils):
        return _summed(reader, loud, spins._replace(mx=real, my=imag), course, pool)
    edge = reader.runs.edge
    chosen = np.concatenate([np.arange(edge[run], edge[run + 1]) for run in loud.tolist()])
    ensemble = reader.ensemble._replace(weight=spins.weight)
    layout = shot.layouts[int(np.argmin(prices))]
    return samples_of_shot(layout, ensemble, (real, imag), chosen, n_coils, pool)


def course_of(program: Program, events: Int[np.ndarray, " window"]) -> Course:
    """Moments and times of all samples of these windows, since the first of them opens."""
    first, parts = int(events[0]), []
    for at in events.tolist():
        kind = program.windows[program.kind[at]]
        moment = program.moment[at, 0] - program.moment[first, 0] + kind.moment
        opening = program.time[at, 0] - program.time[first, 0]
        time = opening + (np.arange(kind.n_samples) + 0.5) * kind.dwell
        parts.append(np.column_stack([moment, time]))
    return Course(np.concatenate(parts))


def _groups(
    reader: Reader, first: int, last: int
) -> list[tuple[Int[np.ndarray, " window"], float]]:
    """Windows with no pulse between them that the same spins are summed for."""
    program, windows = reader.program, reader.windows
    found: list[tuple[list[int], float]] = []
    here: dict[float, list[int]] = {}
    for at in range(first, last):
        if program.event[at] != WINDOW:
            here = {}
            continue
        kind = program.kind[at]
        steady = program.windows[kind].steady
        limit = float(windows.longest_r2[kind]) if steady else -1.0
        if not len(reader.heard(limit)):
            continue
        if limit not in here:
            here[limit] = []
            found.append((here[limit], limit))
        here[limit].append(at)
    return [(np.array(events, np.int64), limit) for events, limit in found]


def _key(reader: Reader, events: Int[np.ndarray, " window"]) -> Key:
    """Equal for shots whose courses are the same."""
    program, ensemble = reader.program, reader.ensemble
    reach = np.maximum(np.abs(ensemble.low), np.abs(ensemble.high))[:-1]
    moment = (program.moment[events, 0] - program.moment[events[0], 0]) * reach
    time = program.time[events, 0] - program.time[events[0], 0]
    return (
        program.kind[events].tobytes(),
        (np.round(moment / _SAME_TURNS) + 0.0).tobytes(),
        (np.round(time / _SAME_TIME) + 0.0).tobytes(),
    )


def _known(reader: Reader, key: Key, course: Course) -> tuple[Layout, ...]:
    """Layouts of a course, found once."""
    known = reader.known
    if key not in known:
        if len(known) >= _KEPT:
            known.pop(next(iter(known)))
        with threadpool_limits(limits=1, user_api="blas"):  # the same bytes on any machine's cores
            known[key] = tuple(layouts(course, reader.ensemble, reader.error))
    return known[key]


def _count(reader: Reader, runs: Int[np.ndarray, " run"]) -> int:
    return int((reader.runs.edge[runs + 1] - reader.runs.edge[runs]).sum())


def _summed(
    reader: Reader,
    loud: Int[np.ndarray, " run"],
    spins: SpinArrays,
    course: Course,
    pool: Executor,
) -> Complex64[np.ndarray, "coil sample"]:
    """Sum sample by sample after all, in lanes added up in their order."""
    moments = np.ascontiguousarray(course.moment[:, :-1])
    sums = np.zeros((_LANES, len(moments), spins.weight.shape[1]), np.float32)
    when = (moments, np.ascontiguousarray(course.time))

    def lane(number: int) -> None:
        mine = np.ascontiguousarray(loud[number::_LANES])
        sum_runs(spins, reader.runs.edge, mine, when, sums[number])

    list(pool.map(lane, range(_LANES)))
    total: Float32[np.ndarray, "sample column"] = sums[0]
    for part in sums[1:]:
        total += part
    return coils_of(total)
