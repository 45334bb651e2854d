"""The compiled inner loop for boxes: one run through one stretch of the programme."""

import math
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from scanroom.physics.spins.bound_orders import saturate_orders
from scanroom.physics.spins.configurations import (
    CLOCK,
    DEPHASING,
    EXCHANGED,
    HEARD,
    LOST,
    LOUD,
    SHOWN,
    add_seen,
    begin,
    catch_up,
    list_seen,
    mix,
    new_work,
    restore,
    rotate,
    save,
    set_clock,
    shift,
    turn_and_decay,
)
from scanroom.physics.spins.diffusing import (
    add_diffused,
    diffuse_along,
    diffuse_until,
    since_clock,
)
from scanroom.physics.spins.direct import sum_samples
from scanroom.physics.spins.playing import (
    Events,
    Pulses,
    Windows,
    new_scratch,
    plan_pulse,
)
from scanroom.physics.spins.precession import SpinArrays
from scanroom.physics.spins.program import PULSE
from scanroom.physics.spins.recording import write_seen
from scanroom.physics.spins.vector import COILS, add_columns

_SLOTS = 8
# Boxes of one column share their place in the spectrum when they are closer than this, in bins of
# the fine grid, and when their widths differ by less: a phase of 0.005 turns at the window's ends.
_CLOSE = 0.02
# Phase [rad] by which a pulse that tilts nothing may turn what is left once a window has been open.
_AFTERWARDS = 0.2
N_SAVED = 6


class BoxRuns(NamedTuple):
    """Where each run of boxes begins, and what its boxes have in common.

    ``edges`` are the three edges [m] of its boxes; ``fastest_r2_star`` counts T2' in; ``change`` is
    as in `Runs`; orders whose times differ by less than ``longest`` [s] are one;
    ``most_diffusion`` [m2/s] is the largest term of any tensor.
    """

    edge: np.ndarray
    edges: np.ndarray
    slowest_r2: np.ndarray
    fastest_r2: np.ndarray
    fastest_r2_star: np.ndarray
    longest: np.ndarray
    most_diffusion: np.ndarray
    change: np.ndarray


class BoxStage(NamedTuple):
    """Everything a lane needs for one stretch.

    Orders closer than ``near`` [1/m], by axis, are one. ``centre`` is, for each kind of pulse, the
    moment [1/m] and time [s] from its first edge to the instant at which it acts. ``diffusion``
    [m2/s] has a row for every term of its tensor, one for a coefficient, none if nothing diffuses.
    """

    spins: SpinArrays
    r2_prime: np.ndarray
    column: np.ndarray
    diffusion: np.ndarray
    runs: BoxRuns
    events: Events
    pulses: Pulses
    windows: Windows
    centre: np.ndarray
    tolerance: float
    faintest: float
    near: tuple[float, float, float]


class Seen(NamedTuple):
    """The order that each window saw most of, and how much."""

    score: np.ndarray
    key: np.ndarray


class Columns(NamedTuple):
    """Plans of the windows for a run: columns of boxes that share a place in the spectrum."""

    tag: np.ndarray
    groups: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    order: np.ndarray
    start: np.ndarray
    taps: np.ndarray


@njit(cache=True, nogil=True)
@no_type_check
def _new_columns(longest, n_taps):
    return Columns(
        np.full(_SLOTS, -1, np.int64),
        np.zeros(_SLOTS, np.int64),
        np.zeros((_SLOTS, longest), np.int64),
        np.zeros((_SLOTS, longest), np.int64),
        np.zeros((_SLOTS, longest), np.int64),
        np.zeros((_SLOTS, longest), np.int64),
        np.zeros((_SLOTS, longest, 2 * n_taps), np.float32),
    )


@njit(cache=True, nogil=True)
@no_type_check
def _taps(place, shifted, polynomials, out):
    """Weights of the grid nodes around a place, in fine bins, of a line shifted off the axis."""
    n_taps, degree = polynomials.shape[1], polynomials.shape[0] - 1
    fraction = np.float32(place - np.floor(place) - 0.5)
    for tap in range(n_taps):
        real, imag = polynomials[degree, tap], np.float32(0.0)
        for power in range(degree - 1, -1, -1):
            real, imag = (
                real * fraction - imag * shifted + polynomials[power, tap],
                real * shifted + imag * fraction,
            )
        out[tap] = real
        out[n_taps + tap] = imag


@njit(cache=True, nogil=True)
@no_type_check
def _plan_columns(mine, column, line, plans, slot):
    """Group the boxes of a run for one kind of window.

    ``line`` is the gradient, fine bins per hertz, length of the grid and polynomials of the taps;
    ``mine.r2`` is the decay within the window.
    """
    gradient, scale, length, polynomials = line
    count, n_taps = mine.x.size, polynomials.shape[1]
    first, last = plans.begin[slot], plans.end[slot]
    groups = 0
    places = np.empty(count)
    here, width, low = 0.0, 0.0, 0
    for i in range(count + 1):
        if i < count:
            along = gradient[0] * mine.x[i] + gradient[1] * mine.y[i] + gradient[2] * mine.z[i]
            place = (along + mine.offset[i]) * scale
            shifted = -mine.r2[i] * scale / (2.0 * math.pi)
            if (
                i > low
                and column[i] == column[low]
                and abs(place - here) < _CLOSE
                and abs(shifted - width) < _CLOSE
            ):
                continue
        if i > low:
            first[groups], last[groups], places[groups] = low, i, here
            _taps(here, np.float32(width), polynomials, plans.taps[slot, groups])
            groups += 1
        if i < count:
            low, here, width = i, place, shifted
    order = np.argsort(np.floor(places[:groups]), kind="mergesort")
    for at in range(groups):
        plans.order[slot, at] = order[at]
        below = int(np.floor(places[order[at]]))
        plans.start[slot, at] = (below - (n_taps // 2 - 1)) % length
    plans.groups[slot] = groups


@njit(cache=True, nogil=True)
@no_type_check
def _spread(mine, signal, plans, slot, grid):
    """Add every column of a plan, weighed by each coil, to ``grid[node, block of coils]``."""
    row = grid.shape[1]
    flat_grid, weight = grid.reshape(-1), mine.weight.reshape(-1)
    flat_taps = plans.taps[slot].reshape(-1)
    first, last, order, start = (
        plans.begin[slot],
        plans.end[slot],
        plans.order[slot],
        plans.start[slot],
    )
    count = plans.groups[slot]
    low = 0
    while low < count:
        high = low + 1
        while high < count and start[high] == start[low]:
            high += 1
        for block in range(0, row, 2 * COILS):
            add_columns(
                (flat_grid, start[low] * row + block, row),
                (signal[0], signal[1], weight, row, block),
                (first, last, order, flat_taps),
                (low, high),
            )
        low = high


@njit(cache=True, nogil=True)
@no_type_check
def _view(stage, run, signal, r2):
    """The boxes of one run, with ``signal`` in the place of their magnetisation."""
    spins = stage.spins
    part = slice(stage.runs.edge[run], stage.runs.edge[run + 1])
    count = stage.runs.edge[run + 1] - stage.runs.edge[run]
    return SpinArrays(
        spins.x[part],
        spins.y[part],
        spins.z[part],
        spins.further,
        spins.turns[part],
        spins.offset[part],
        spins.r1[part],
        r2[:count],
        spins.transmit[part],
        spins.transmit_turn[part],
        spins.weight[part],
        signal[0, :count],
        signal[1, :count],
        spins.mz,
        np.ascontiguousarray(spins.bound[:, part]),
    )


@njit(cache=True, nogil=True)
@no_type_check
def _diffused(stage, run):
    """Coefficients or tensors of the boxes of a run, and the largest term of them."""
    part = stage.diffusion[:, stage.runs.edge[run] : stage.runs.edge[run + 1]]
    return part, stage.runs.most_diffusion[run]


@njit(cache=True, nogil=True)
@no_type_check
def _pulse(stage, saturation, run, at, mine, room):
    """Play one pulse to a run."""
    work, scratch = room
    events, length = stage.events, work.cosine.size
    kind, slot = events.kind[at], events.kind[at] % _SLOTS
    centre = stage.centre[kind]
    half = (centre[0], centre[1], centre[2])
    diffused = _diffused(stage, run)
    if diffused[1] > 0.0:
        diffuse_until(work, length, diffused, (events.time[at, 0], events.dephasing[at, 0]))
    catch_up(mine, work, length, events.time[at, 0], events.moment[at, 0], events.turns[at, 0])
    if scratch.map_tag[slot] != kind:
        scratch.map_tag[slot] = kind
        edges, maps = (0, mine.x.size), scratch.maps[slot]
        plan_pulse(mine, edges, stage.pulses, saturation, kind, scratch, maps)
    if diffused[1] > 0.0:
        diffuse_along(work, length, diffused, half, centre[3])
    shift(work, half, centre[3])
    same = (stage.near, stage.runs.longest[run])
    limits = (same, stage.faintest, stage.runs.slowest_r2[run])
    mix(work, scratch.maps[slot].reshape(-1), length, limits)
    before, end = events.moment[at, 0], events.moment[at, 1]
    after = (
        end[0] - before[0] - centre[0],
        end[1] - before[1] - centre[1],
        end[2] - before[2] - centre[2],
    )
    rest = events.time[at, 1] - events.time[at, 0] - centre[3]
    if diffused[1] > 0.0:
        diffuse_along(work, length, diffused, after, rest)
        work.clock[DEPHASING:] = events.dephasing[at, 1]
    shift(work, after, rest)
    set_clock(work, events.time[at, 1], end, events.turns[at, 1])


@njit(cache=True, nogil=True)
@no_type_check
def _saturate(stage, saturation, run, at, mine, work):
    """Let a pulse that turns nobody of a run saturate it, if there is anything to saturate."""
    if saturation is None:
        return
    kind, clock = stage.events.kind[at], work.clock
    if saturation.acts[run, kind] != 0:
        times, held = (stage.events.time[at, 0], clock[EXCHANGED]), (work, work.cosine.size)
        clock[EXCHANGED] = saturate_orders(mine, held, saturation, kind, times)


@njit(cache=True, nogil=True)
@no_type_check
def _add_seen(stage, run, at, work, late, signal):
    """Transverse magnetisation of the boxes of a run at their clock, diffused as at the window."""
    events, runs = stage.events, stage.runs
    r2_prime = stage.r2_prime[runs.edge[run] : runs.edge[run + 1]]
    diffusion, most = _diffused(stage, run)
    if most > 0.0:
        course = np.empty(10)
        since_clock(work.clock, events.time[at, 2], events.dephasing[at, 2], course)
        add_diffused((work, work.cosine.size), (diffusion, course), r2_prime, late, signal)
    else:
        add_seen(work, work.cosine.size, r2_prime, late, signal)


@njit(cache=True, nogil=True)
@no_type_check
def _receive(stage, run, at, found, views, room, out):
    """Add a run's signal to one window; ``found`` is the answer of `list_seen`."""
    mine, changed = views
    work, plans, signal = room[0], room[2], room[3]
    events, windows = stage.events, stage.windows
    kind = events.kind[at]
    first, last = stage.runs.edge[run], stage.runs.edge[run + 1]
    gridded = events.grid_place[at] >= 0
    gridded = gridded and stage.runs.fastest_r2[run] <= windows.longest_r2[kind]
    instant = 2 if gridded else 0
    # A line too wide for the kernel keeps the decay by T2' that it has at the middle sample.
    wide = gridded and stage.runs.fastest_r2_star[run] > windows.longest_r2[kind]
    side = 0 if wide else found[2]
    late = events.time[at, instant if side != 0 else 2] - work.clock[0]
    r2_prime = stage.r2_prime[first:last]
    _add_seen(stage, run, at, work, late, signal)
    turn_and_decay(mine, work, events.moment[at, instant], events.time[at, instant])
    r2, r2_within = mine.r2, changed.r2
    rotate(mine.mx, mine.my, work.cosine, work.sine)
    for i in range(last - first):
        r2_within[i] = r2[i] + np.float32(side) * r2_prime[i]
    columns = mine.weight.shape[1]
    if gridded:
        slot, tag = kind % _SLOTS, 3 * kind + side + 1
        length, n_taps = windows.length[kind], windows.polynomials.shape[1]
        if plans.tag[slot] != tag:
            plans.tag[slot] = tag
            line = (windows.gradient[kind], windows.scale[kind], length, windows.polynomials)
            _plan_columns(changed, stage.column[first:last], line, plans, slot)
        low = events.grid_place[at]
        grid = out[low : low + (length + n_taps) * columns].reshape((-1, columns))
        _spread(mine, signal, plans, slot, grid)
        return
    scratch = room[1]
    begin_at, end_at = windows.sample_edge[kind], windows.sample_edge[kind + 1]
    low = events.direct_place[at]
    samples = out[low : low + (end_at - begin_at) * columns].reshape((-1, columns))
    course = (windows.moments[begin_at:end_at], windows.times[begin_at:end_at])
    sum_samples(changed, 0, last - first, course, scratch.weight, scratch.work, samples)


@njit(cache=True, nogil=True)
@no_type_check
def _note(seen, at, score, key, moment):
    """Remember the order that a window saw most of."""
    seen.score[at] = score
    for i in range(3):
        seen.key[at, i] = key[i] + moment[i]


@njit(cache=True, nogil=True)
@no_type_check
def _write(stage, run, at, mine, work, book):
    """Write down what one window would see of a run."""
    events, middle = stage.events, np.zeros(10)
    diffusion, most = _diffused(stage, run)
    if most > 0.0:
        since_clock(work.clock, events.time[at, 2], events.dephasing[at, 2], middle)
    opening = (events.time[at, 0], events.moment[at, 0])
    write_seen(book, mine, work, (run, at), opening, (diffusion, most, middle))


@njit(cache=True, nogil=True)
@no_type_check
def _look(found, events, at, edges, how):
    """`list_seen` at one window; ``how`` are the faintest size and whether shares are bounds."""
    key, kind, sizes, shares, tally, clock = found
    time, moment = events
    elapsed = (
        moment[at, 2, 0] - clock[1],
        moment[at, 2, 1] - clock[2],
        moment[at, 2, 2] - clock[3],
    )
    times = (time[at, 2] - clock[0], 0.5 * (time[at, 1] - time[at, 0]))
    return list_seen((key, kind, sizes, shares), tally[0], (elapsed, edges, times, how[0], how[1]))


@njit(cache=True, nogil=True)
@no_type_check
def _play_run(stage, saturation, run, room, out, seen, book):
    """Play a stretch of the programme to one run; a ``book`` that is open keeps what it shows.

    Most events do nothing to most runs: they are passed over before anything is called or cut.
    """
    work, scratch, plans, signal, r2 = room
    runs, events = stage.runs, stage.events
    scratch.map_tag[:] = -1
    plans.tag[:] = -1
    first, last = runs.edge[run], runs.edge[run + 1]
    scratch.maps[:, :, :] = np.float32(0.0)
    scratch.weight[:, : last - first] = stage.spins.weight[first:last].T
    views = (_view(stage, run, signal, stage.spins.r2[first:last]), _view(stage, run, signal, r2))
    states = (work.key, work.kind, work.size, work.share, work.tally, work.clock)
    event, kinds, time, clock = events.event, events.kind, events.time, work.clock
    changes, edges, slowest = runs.change[run], runs.edges[run], runs.slowest_r2[run]
    course = (time, events.moment)
    for at in range(event.size):
        change = changes[kinds[at]] if event[at] == PULSE else 0.0
        if change == np.inf:
            clock[HEARD] = 0.0
            _pulse(stage, saturation, run, at, views[0], room[:2])
            continue
        amplitude = clock[LOUD] * math.exp(-slowest * (time[at, 0] - clock[0]))
        if event[at] == PULSE:
            least = _AFTERWARDS if clock[HEARD] > 0.0 else stage.tolerance
            if change * amplitude > least:
                _pulse(stage, saturation, run, at, views[0], room[:2])
            else:
                _saturate(stage, saturation, run, at, views[0], work)
            continue
        clock[HEARD] = 1.0
        if amplitude > stage.faintest:
            found = _look(states, course, at, edges, (stage.faintest, book[2][0] >= 0))
            if found[0] < 0:
                continue
            if book[2][0] >= 0:
                _write(stage, run, at, views[0], work, book)
                continue
            _receive(stage, run, at, found, views, room[:4], out)
            if found[1] * (last - first) > seen.score[at]:
                moment = events.moment[at, 2] - clock[1:4]
                _note(seen, at, found[1] * (last - first), work.key[found[0]], moment)


@njit(cache=True, nogil=True)
@no_type_check
def play_boxes(stage, saturation, mine, saved, out, found, stop):
    """Play a stretch of the programme to the runs ``mine``; leave when ``stop[0]`` is set.

    ``saved`` holds, for each of them, its magnetisation, its table of configurations and its clock
    between stretches; return the largest configuration let go for want of room, and the largest of
    those as a region would have shown them. ``found`` are what windows saw, and a book: with an
    open one (see `recording`) windows are not received, what they would see is written down.
    ``saturation`` is as in `play_lane`.
    """
    edge, (seen, book) = stage.runs.edge, found
    longest = 16
    for run in mine:
        longest = max(longest, (edge[run + 1] - edge[run] + 15) // 16 * 16)
    columns, n_taps = stage.spins.weight.shape[1], stage.windows.polynomials.shape[1]
    coupled = saturation is not None
    room = (
        new_work(longest, coupled),
        new_scratch(longest, columns, n_taps, coupled),
        _new_columns(longest, n_taps),
        np.zeros((2, longest), np.float32),
        np.zeros(longest, np.float32),
    )
    work = room[0]
    banks, tables, clocks = saved
    lost, shown = 0.0, 0.0
    for at in range(len(mine)):
        if stop[0] != 0:
            return lost, shown
        if clocks[at, CLOCK] == 0.0:
            begin(work, longest)
        else:
            restore(work, longest, banks[at], tables[at])
            work.clock[:] = clocks[at, :CLOCK]
        _play_run(stage, saturation, mine[at], room, out, seen, book)
        banks[at] = np.empty((work.tally[0], (4 if coupled else 2) * longest), np.float32)
        tables[at] = np.empty((work.tally[0], N_SAVED))
        save(work, longest, banks[at], tables[at])
        clocks[at, :CLOCK] = work.clock
        clocks[at, CLOCK] = 1.0
        lost, shown = max(lost, work.clock[LOST]), max(shown, math.sqrt(work.clock[SHOWN]))
    return lost, shown
