"""The compiled inner loop: one run of spins through one stretch of the programme."""

import math
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from scanroom.physics.spins.direct import sum_samples
from scanroom.physics.spins.gridding import plan_taps, spread
from scanroom.physics.spins.pools import (
    N_COUPLED,
    N_PLAIN,
    TO_BOUND,
    apply_coupled,
    recover_coupled,
)
from scanroom.physics.spins.precession import (
    SpinArrays,
    along,
    apply_maps,
    largest_transverse,
    precess,
    recover,
)
from scanroom.physics.spins.program import PULSE
from scanroom.physics.spins.rotations import (
    N_ENTRIES,
    PulseTable,
    advance,
    affine_map,
    interpolate,
)
from scanroom.physics.spins.saturating import (
    add_part,
    saturate,
    start_products,
    write_products,
)

_SLOTS = 8
_LANE = 64


class Runs(NamedTuple):
    """Where each run of spins begins, how far it has come, what each kind of pulse does to it.

    ``change`` is infinite where a kind of pulse tilts, else its largest shift of phase [rad].
    """

    edge: np.ndarray
    time: np.ndarray
    recovery_time: np.ndarray
    moment: np.ndarray
    amplitude: np.ndarray
    amplitude_time: np.ndarray
    slowest_r2: np.ndarray
    fastest_r2: np.ndarray
    change: np.ndarray


class Events(NamedTuple):
    """A stretch of the programme and where each window's sums go (-1: nowhere)."""

    event: np.ndarray
    kind: np.ndarray
    time: np.ndarray
    moment: np.ndarray
    turns: np.ndarray
    grid_place: np.ndarray
    direct_place: np.ndarray
    dephasing: np.ndarray


class Pulses(NamedTuple):
    """Kinds of pulses, their tables end to end, and steps of those under a varying gradient.

    ``shim`` is the column of the transmit field that a kind is played with.
    """

    gradient: np.ndarray
    frequency: np.ndarray
    strength: np.ndarray
    table: np.ndarray
    table_edge: np.ndarray
    table_shape: np.ndarray
    table_scale: np.ndarray
    entries: np.ndarray
    step_edge: np.ndarray
    step_time: np.ndarray
    step_signal: np.ndarray
    step_moment: np.ndarray
    shim: np.ndarray


class Windows(NamedTuple):
    """Kinds of windows."""

    gradient: np.ndarray
    scale: np.ndarray
    length: np.ndarray
    longest_r2: np.ndarray
    sample_edge: np.ndarray
    times: np.ndarray
    moments: np.ndarray
    polynomials: np.ndarray


class Snapshots(NamedTuple):
    """Spins written down for shots (see `shots`), so that no window of these is summed here.

    ``row`` says which shot, if any, an event belongs to, ``opens`` whether it is its first window;
    ``real`` and ``imag`` take the transverse magnetisation then, ``loud`` the runs that have any.
    """

    row: np.ndarray
    opens: np.ndarray
    real: np.ndarray
    imag: np.ndarray
    loud: np.ndarray


class Stage(NamedTuple):
    """Everything a lane needs for one stretch: who, what, and how faint is silent."""

    spins: SpinArrays
    runs: Runs
    events: Events
    pulses: Pulses
    windows: Windows
    tolerance: float
    silence: float
    snapshots: Snapshots


class Scratch(NamedTuple):
    """Per-run plans, kept as long as the run is at work."""

    map_tag: np.ndarray
    maps: np.ndarray
    tap_tag: np.ndarray
    order: np.ndarray
    start: np.ndarray
    taps: np.ndarray
    weight: np.ndarray
    work: np.ndarray
    entry: np.ndarray
    matrices: np.ndarray
    lagrange: np.ndarray
    lanes: np.ndarray
    angle: np.ndarray


@njit(cache=True, nogil=True)
@no_type_check
def new_scratch(longest, columns, n_taps, coupled):
    """Room for the plans of a run of at most ``longest`` spins, ``coupled`` to a pool or not."""
    return Scratch(
        np.full(_SLOTS, -1, np.int64),
        np.empty((_SLOTS, N_COUPLED if coupled else N_PLAIN, longest), np.float32),
        np.full(_SLOTS, -1, np.int64),
        np.empty((_SLOTS, longest), np.int64),
        np.empty((_SLOTS, longest), np.int64),
        np.empty((_SLOTS, longest, 2 * n_taps), np.float32),
        np.empty((columns, longest), np.float32),
        np.empty((2, longest), np.float32),
        np.empty(N_ENTRIES, np.float32),
        np.empty((4, 3, 3)),
        np.empty((2, 6)),
        np.empty((N_ENTRIES, _LANE)),
        np.empty(_LANE),
    )


@njit(cache=True, nogil=True)
@no_type_check
def _table(pulses, kind):
    """The table of one kind of pulse."""
    table = pulses.table[kind]
    n_strengths, n_offsets = pulses.table_shape[table]
    scale = pulses.table_scale[table]
    entries = pulses.entries[pulses.table_edge[table] : pulses.table_edge[table + 1]]
    return PulseTable(
        entries.reshape((n_strengths, n_offsets, N_ENTRIES)),
        scale[0],
        scale[1],
        scale[2],
        scale[3],
        scale[4],
    )


@njit(cache=True, nogil=True)
@no_type_check
def plan_tabulated(spins, first, last, pulses, kind, scratch, maps):
    """Affine maps of a pulse under a constant gradient."""
    table = _table(pulses, kind)
    gradient, shim = pulses.gradient[kind], pulses.shim[kind]
    out = np.empty(12)
    for i in range(last - first):
        j = first + i
        offset = along(spins, gradient, j) + spins.offset[j] - pulses.frequency[kind]
        strength = pulses.strength[kind] * spins.transmit[j, shim]
        interpolate(table, offset, strength, scratch.lagrange, scratch.entry)
        spin = (spins.r1[j], spins.r2[j], spins.transmit_turn[j, shim])
        affine_map(scratch.entry, spin, table.duration, scratch.matrices, out)
        for entry in range(12):
            maps[entry, i] = out[entry]


@njit(cache=True, nogil=True)
@no_type_check
def plan_stepped(spins, first, last, pulses, kind, scratch, maps):
    """Affine maps of a pulse under a varying gradient, step by step, 64 spins at a time."""
    duration = pulses.step_time[pulses.step_edge[kind] : pulses.step_edge[kind + 1]].sum()
    shim = pulses.shim[kind]
    out = np.empty(12)
    strength = np.ones(_LANE)
    for begin in range(first, last, _LANE):
        count = min(_LANE, last - begin)
        _step_lanes(spins, (begin, count), pulses, kind, scratch, strength)
        for i in range(count):
            j = begin + i
            spin = (spins.r1[j], spins.r2[j], spins.transmit_turn[j, shim])
            affine_map(scratch.lanes[:, i], spin, duration, scratch.matrices, out)
            for entry in range(12):
                maps[entry, j - first] = out[entry]


@njit(cache=True, nogil=True)
@no_type_check
def _step_lanes(spins, some, pulses, kind, scratch, strength):
    """Turn up to 64 spins, from a first one on, by all steps of a pulse."""
    begin, count = some
    low, high = pulses.step_edge[kind], pulses.step_edge[kind + 1]
    time, signal = pulses.step_time[low:high], pulses.step_signal[low:high]
    duration = time.sum()
    lanes, angle, shim = scratch.lanes, scratch.angle, pulses.shim[kind]
    lanes[:] = 0.0
    lanes[0] = 1.0
    lanes[11] = 0.5 * time[0] / duration
    for i in range(count):
        strength[i] = pulses.strength[kind] * spins.transmit[begin + i, shim]
    for step in range(time.size):
        moment = pulses.step_moment[low + step]
        for i in range(count):
            j = begin + i
            own = time[step] * (spins.offset[j] - pulses.frequency[kind])
            angle[i] = math.pi * (along(spins, moment, j) + own)
        following = time[step + 1] if step + 1 < time.size else 0.0
        pulse = math.pi * time[step] * signal[step]
        advance(lanes, angle, strength, pulse, 0.5 * (time[step] + following) / duration)


@njit(cache=True, nogil=True)
@no_type_check
def plan_pulse(spins, run, pulses, saturation, kind, scratch, maps):
    """Affine maps of a pulse for spins between two edges; of two pools if there is `Saturation`."""
    first, last = run
    if pulses.table[kind] < 0:
        plan_stepped(spins, first, last, pulses, kind, scratch, maps)
    else:
        plan_tabulated(spins, first, last, pulses, kind, scratch, maps)
    if saturation is None:
        return
    products = np.empty((last - first, 4, 5))
    start_products(products)
    for part in range(saturation.parts.edge[kind], saturation.parts.edge[kind + 1]):
        if saturation.pulses.table[part] < 0:
            _add_stepped(spins, run, saturation, part, scratch, products)
        else:
            _add_tabulated(spins, run, saturation, part, scratch, products)
    write_products(spins, run, pulses.shim[kind], products, maps)


@njit(cache=True, nogil=True)
@no_type_check
def _add_tabulated(spins, run, saturation, part, scratch, products):
    """Multiply the products of a run by a part of a pulse under a constant gradient."""
    pulses, first, last, generator = saturation.pulses, run[0], run[1], np.empty((4, 6))
    table, gradient, shim = _table(pulses, part), pulses.gradient[part], pulses.shim[part]
    for i in range(last - first):
        j = first + i
        if spins.bound[TO_BOUND, j] > 0.0:
            offset = along(spins, gradient, j) + spins.offset[j] - pulses.frequency[part]
            strength = pulses.strength[part] * spins.transmit[j, shim]
            interpolate(table, offset, strength, scratch.lagrange, scratch.entry)
            room = (products[i], generator, scratch.matrices[0])
            add_part(spins, j, saturation, part, scratch.entry, room)


@njit(cache=True, nogil=True)
@no_type_check
def _add_stepped(spins, run, saturation, part, scratch, products):
    """Multiply the products of a run by a part of a pulse under a varying gradient."""
    first, last, generator, strength = run[0], run[1], np.empty((4, 6)), np.ones(_LANE)
    for begin in range(first, last, _LANE):
        count = min(_LANE, last - begin)
        _step_lanes(spins, (begin, count), saturation.pulses, part, scratch, strength)
        for i in range(count):
            j = begin + i
            if spins.bound[TO_BOUND, j] > 0.0:
                entry = scratch.lanes[:, i]
                room = (products[j - first], generator, scratch.matrices[0])
                add_part(spins, j, saturation, part, entry, room)


@njit(cache=True, nogil=True)
@no_type_check
def _catch_up(spins, runs, run, time, moment):
    """Let the transverse magnetisation of a run evolve freely from its last event to now."""
    elapsed = time - runs.time[run]
    if elapsed == 0.0:
        return
    if runs.amplitude[run] == 0.0:
        runs.time[run] = time
        runs.moment[run] = moment
        return
    first, last = runs.edge[run], runs.edge[run + 1]
    precess(spins, first, last, moment - runs.moment[run], elapsed)
    runs.time[run] = time
    runs.moment[run] = moment


@njit(cache=True, nogil=True)
@no_type_check
def _pulse(stage, saturation, run, at, scratch):
    """Play one pulse to a run."""
    spins, runs, events, pulses = stage.spins, stage.runs, stage.events, stage.pulses
    kind = events.kind[at]
    first, last = runs.edge[run], runs.edge[run + 1]
    _catch_up(spins, runs, run, events.time[at, 0], events.moment[at, 0])
    since = events.time[at, 0] - runs.recovery_time[run]
    if saturation is None:
        recover(spins, first, last, since)
    else:
        recover_coupled(spins, first, last, since)
    runs.recovery_time[run] = events.time[at, 1]
    slot = kind % _SLOTS
    if scratch.map_tag[slot] != kind:
        scratch.map_tag[slot] = kind
        edges = (first, last)
        plan_pulse(spins, edges, pulses, saturation, kind, scratch, scratch.maps[slot])
    if saturation is None:
        apply_maps(spins, first, last, scratch.maps[slot], events.turns[at])
    else:
        apply_coupled(spins, first, last, scratch.maps[slot], events.turns[at])
    runs.time[run] = events.time[at, 1]
    runs.moment[run] = events.moment[at, 1]
    runs.amplitude[run] = largest_transverse(spins, first, last)
    runs.amplitude_time[run] = events.time[at, 1]


@njit(cache=True, nogil=True)
@no_type_check
def _saturate(stage, saturation, run, at):
    """Let a pulse that turns nobody of a run saturate it, if there is anything to saturate."""
    if saturation is None:
        return
    spins, runs, kind = stage.spins, stage.runs, stage.events.kind[at]
    if saturation.acts[run, kind] != 0:
        first, last = runs.edge[run], runs.edge[run + 1]
        times = (stage.events.time[at, 0], runs.recovery_time[run])
        runs.recovery_time[run] = saturate(spins, first, last, saturation, kind, times)


@njit(cache=True, nogil=True)
@no_type_check
def _receive(stage, run, at, scratch, out):
    """Add a run's signal to one window."""
    spins, runs, events, windows = stage.spins, stage.runs, stage.events, stage.windows
    kind = events.kind[at]
    first, last = runs.edge[run], runs.edge[run + 1]
    columns = spins.weight.shape[1]
    if events.grid_place[at] >= 0 and runs.fastest_r2[run] <= windows.longest_r2[kind]:
        _catch_up(spins, runs, run, events.time[at, 2], events.moment[at, 2])
        slot = kind % _SLOTS
        length, n_taps = windows.length[kind], windows.polynomials.shape[1]
        plan = (scratch.order[slot], scratch.start[slot], scratch.taps[slot])
        if scratch.tap_tag[slot] != kind:
            scratch.tap_tag[slot] = kind
            line = (windows.gradient[kind], windows.scale[kind], length, windows.polynomials)
            plan_taps(spins, first, last, line, plan)
        begin = events.grid_place[at]
        grid = out[begin : begin + (length + n_taps) * columns].reshape((-1, columns))
        spread(spins, last - first, plan, grid)
        return
    shots = stage.snapshots
    row = shots.row[at]
    if row >= 0:
        if shots.opens[at]:
            _catch_up(spins, runs, run, events.time[at, 0], events.moment[at, 0])
            shots.real[row, first:last] = spins.mx[first:last]
            shots.imag[row, first:last] = spins.my[first:last]
            shots.loud[row, run] = True
        return
    _catch_up(spins, runs, run, events.time[at, 0], events.moment[at, 0])
    low, high = windows.sample_edge[kind], windows.sample_edge[kind + 1]
    begin = events.direct_place[at]
    samples = out[begin : begin + (high - low) * columns].reshape((-1, columns))
    course = (windows.moments[low:high], windows.times[low:high])
    sum_samples(spins, first, last, course, scratch.weight, scratch.work, samples)


@njit(cache=True, nogil=True)
@no_type_check
def _play_run(stage, saturation, run, scratch, out):
    """Play a stretch of the programme to one run."""
    spins, runs, events = stage.spins, stage.runs, stage.events
    scratch.map_tag[:] = -1
    scratch.tap_tag[:] = -1
    first, last = runs.edge[run], runs.edge[run + 1]
    scratch.weight[:, : last - first] = spins.weight[first:last].T
    for at in range(events.event.size):
        faded = runs.slowest_r2[run] * (events.time[at, 0] - runs.amplitude_time[run])
        amplitude = runs.amplitude[run] * math.exp(-faded)
        if events.event[at] == PULSE:
            change = runs.change[run, events.kind[at]]
            if change == np.inf or change * amplitude > stage.tolerance:
                _pulse(stage, saturation, run, at, scratch)
            else:
                _saturate(stage, saturation, run, at)
        elif amplitude > stage.silence:
            _receive(stage, run, at, scratch, out)


@njit(cache=True, nogil=True)
@no_type_check
def play_lane(stage, saturation, mine, out, stop):
    """Play a stretch of the programme to the runs ``mine``; leave when ``stop[0]`` is set.

    ``saturation`` is what pulses do to bound partners, None if there are none: code without them is
    compiled then.
    """
    edge = stage.runs.edge
    longest = 1
    for run in mine:
        longest = max(longest, edge[run + 1] - edge[run])
    columns, n_taps = stage.spins.weight.shape[1], stage.windows.polynomials.shape[1]
    scratch = new_scratch(longest, columns, n_taps, saturation is not None)
    for run in mine:
        if stop[0] != 0:
            return
        _play_run(stage, saturation, run, scratch, out)


@njit(cache=True, nogil=True)
@no_type_check
def mark_changes(spins, runs, pulses, reach, tolerance):
    """Note for every run what each kind of pulse does to any of its spins.

    ``reach`` is the largest tilt and shift of phase at every node of all tables, and where each
    table begins.
    """
    tilts, shifts, edge = reach
    for run in range(runs.edge.size - 1):
        for kind in range(pulses.table.size):
            table = pulses.table[kind]
            if table < 0:
                runs.change[run, kind] = np.inf
                continue
            gradient = pulses.gradient[kind]
            low, high = np.inf, -np.inf
            for j in range(runs.edge[run], runs.edge[run + 1]):
                offset = along(spins, gradient, j) + spins.offset[j]
                low, high = min(low, offset), max(high, offset)
            scale = pulses.table_scale[table]
            begin = int((low - pulses.frequency[kind] - scale[0]) / scale[1]) - 1
            end = int((high - pulses.frequency[kind] - scale[0]) / scale[1]) + 3
            begin, end = edge[table] + max(begin, 0), min(edge[table] + end, edge[table + 1])
            tilted = tilts[begin:end].max() > tolerance
            runs.change[run, kind] = np.inf if tilted else shifts[begin:end].max()
