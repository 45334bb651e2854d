"""Plays a programme to boxes filled with magnetisation, and yields the samples of every window.

As `engine`, but for the continuum: what gradients do within a box is followed exactly, in orders of
dephasing (see `configurations`), so that no count of spins per voxel decides how well they spoil.
"""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Complex64, Float, Float32, Int, UInt64
from numba.typed import List

from scanroom.core.errors import ProtocolError
from scanroom.physics.spins.configurations import CLOCK, RUN
from scanroom.physics.spins.engine import LANES, STANDARD, Control, Settings, added, needs
from scanroom.physics.spins.ensemble import Spins, arrays_of, joined
from scanroom.physics.spins.layout import (
    collect,
    events_of,
    pulses_of,
    stretches,
    tables_of,
    windows_of,
)
from scanroom.physics.spins.parts import saturation_of
from scanroom.physics.spins.playing import Pulses, Windows, mark_changes
from scanroom.physics.spins.playing_boxes import N_SAVED, BoxRuns, BoxStage, Seen, play_boxes
from scanroom.physics.spins.precession import SpinArrays
from scanroom.physics.spins.program import WINDOW, Program
from scanroom.physics.spins.recording import new_book
from scanroom.physics.spins.rotations import PulseTable, at_offsets, pulse_reach, reaches

# Orders closer than this [1/m] are one: a thousandth of a turn over a millimetre.
_NEAR = (1.0, 1.0, 1.0)
# Relaxation rates [1/s] that are worked on apart: what cannot be gridded, and what never fades.
_SHORT_R2, _LONG_R2 = 100.0, 4.0
# Share of a T2' decay by which times of orders may differ that are taken for one.
_SAME_DECAY = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """Parallelepipeds of uniform tissue: their centres as `Spins`, and what is within them.

    ``edges`` [m] are the three edges of all of them, one a row; ``r2_prime`` is 1 / T2'; boxes of
    one ``column`` lie one behind another, their centres along one line. ``diffusion`` [m2/s] is one
    row of coefficients, or six of tensors (xx, yy, zz, xy, xz, yz), or nothing.
    """

    spins: Spins
    edges: Float[np.ndarray, "3 3"]
    r2_prime: Float32[np.ndarray, " spin"]
    column: Int[np.ndarray, " spin"]
    diffusion: Float32[np.ndarray, "term box"] = field(
        default_factory=lambda: np.zeros((0, 0), np.float32)
    )


@dataclass(slots=True)
class Lost:
    """Largest configuration let go for want of room, relative to equilibrium.

    ``shown`` counts only as much of each as a region of 5 cm would have shown, the root of the sum
    of squares over all pulses.
    """

    size: float = 0.0
    shown: float = 0.0

    def note(self, size: float, shown: float) -> None:
        """Take in what one lane let go."""
        self.size, self.shown = max(self.size, size), max(self.shown, shown)


def simulate_boxes(
    program: Program,
    parts: Sequence[Boxes],
    settings: Settings = STANDARD,
    control: Control | None = None,
    lost: Lost | None = None,
) -> Iterator[Complex64[np.ndarray, "coil sample"]]:
    """Yield the samples of every window in order of time; end early when stopped."""
    control, lost = control or Control(), lost or Lost()
    boxes = joined([part.spins for part in parts])
    n_coils = boxes.weight.shape[1]
    with ThreadPoolExecutor(settings.threads) as pool:
        where = (boxes.position.T, boxes.offset, np.abs(boxes.transmit).astype(np.float64))
        tables = tables_of(program, where, pool)
        order, edge, shape = runs_of(program, parts, boxes, tables, settings)
        arrays = arrays_of(boxes, order)
        r2_prime = np.concatenate([part.r2_prime for part in parts])[order]
        column = _columns(parts)[order]
        diffusion = diffusion_of(program, parts)[:, order]
        del boxes, where
        pulses, windows = pulses_of(program, arrays, tables), windows_of(program)
        cut, held = (edge, parts, shape), (arrays, r2_prime, column, diffusion)
        runs = box_runs(held, cut, pulses, tables, settings.tolerance)
        saturation = saturation_of(program, arrays, runs.edge, settings.tolerance, pool)
        stage = stage_of(program, held, runs, (pulses, windows), settings)
        work, saved = work_of(runs)
        work = control.team.share(work)
        columns, closed = arrays.weight.shape[1], new_book(is_open=False)
        done, total = 0, len(program.event)
        for first, last in stretches(program, columns):
            events, size = events_of(program, first, last, columns, needs(runs.fastest_r2, windows))
            sums = np.zeros((LANES, size), np.float32)
            seen = [Seen(np.zeros(last - first), np.zeros((last - first, 3))) for _ in range(LANES)]
            now = stage._replace(events=events)
            jobs = [
                pool.submit(
                    play_boxes, now, saturation, work[k], saved[k], sums[k], found, control.stop
                )
                for k, found in enumerate(zip(seen, [closed] * LANES, strict=True))
            ]
            left = np.zeros((LANES, 2))
            for lane, job in enumerate(jobs):
                left[lane] = job.result()
                control.report((done + (last - first) * (lane + 1) / LANES) / total)
            done += last - first
            control.team.bring(
                [(sums[k], seen[k].score, seen[k].key, left[k]) for k in range(LANES)]
            )
            if control.stop[0]:
                return
            for sizes in left.tolist():
                lost.note(*sizes)
            if not control.team.leads:
                continue
            shown = _shown(program, events, seen, parts[0].edges)
            for signal, factor in zip(
                collect(program, events, added(sums), columns), shown, strict=True
            ):
                yield np.asarray(signal[:n_coils] * factor, np.complex64)


Held = tuple[
    SpinArrays,
    Float32[np.ndarray, " spin"],
    Int[np.ndarray, " spin"],
    Float32[np.ndarray, "term spin"],
]


def diffusion_of(program: Program, parts: Sequence[Boxes]) -> Float32[np.ndarray, "term spin"]:
    """Coefficients or tensors of all boxes; no rows where nothing diffuses.

    Raises
    ------
    ProtocolError
        If boxes diffuse and the programme does not tell what dims them.
    """
    n_terms = max(len(part.diffusion) for part in parts)
    if n_terms and not len(program.dephasing):
        raise ProtocolError(
            "boxes diffuse, and the programme holds no integrals of its moments; it needs them to "
            "dim orders (scanroom.physics.spins). Compile it with diffusing=True."
        )
    out = np.zeros((n_terms, sum(len(part.spins) for part in parts)), np.float32)
    first = 0
    for part in parts:
        last = first + len(part.spins)
        if len(part.diffusion) == 1:
            out[:3, first:last] = part.diffusion
        elif len(part.diffusion):
            out[:, first:last] = part.diffusion
        first = last
    return out


def stage_of(
    program: Program,
    boxes: Held,
    runs: BoxRuns,
    course: tuple[Pulses, Windows],
    settings: Settings,
    near: tuple[float, float, float] = _NEAR,
) -> BoxStage:
    """Set a stage on which nothing happens yet; ``boxes`` is all that is known of them."""
    pulses, windows = course
    nothing, _ = events_of(program, 0, 0, 2, needs(runs.fastest_r2, windows))
    return BoxStage(
        *boxes,
        runs,
        nothing,
        pulses,
        windows,
        centres(program),
        settings.tolerance,
        settings.faintest,
        near,
    )


def _columns(parts: Sequence[Boxes]) -> Int[np.ndarray, " spin"]:
    """Columns of all parts, counted on."""
    out, next_column = [], 0
    for part in parts:
        out.append(part.column + next_column)
        next_column += int(part.column.max(initial=-1)) + 1
    return np.concatenate([*out, np.zeros(0, np.int64)])


def runs_of(
    program: Program,
    parts: Sequence[Boxes],
    boxes: Spins,
    tables: dict[int, PulseTable],
    settings: Settings,
) -> tuple[Int[np.ndarray, " spin"], Int[np.ndarray, " run_plus_1"], Int[np.ndarray, " run"]]:
    """Order of the boxes, where runs begin, and the part of each run.

    A run holds what the same pulses tilt, of one part and of similar decay, column by column.
    """
    part = np.repeat(np.arange(len(parts)), [len(p.spins) for p in parts])
    slow = np.digitize(boxes.r2, [_LONG_R2, _SHORT_R2])
    mark = _marks(program, boxes, tables, settings.tolerance)
    order = np.lexsort((_columns(parts), mark, slow, part))
    key = np.stack([part, slow, mark.astype(np.int64)])[:, order]
    breaks = np.flatnonzero((np.diff(key, axis=1) != 0).any(axis=0)) + 1
    starts = np.concatenate([[0], breaks, [len(order)]]).astype(np.int64)
    edge = [
        at for low, high in itertools.pairwise(starts) for at in range(int(low), int(high), RUN)
    ]
    return order, np.array([*edge, len(order)], np.int64), part[order][np.array(edge, np.int64)]


def _marks(
    program: Program, boxes: Spins, tables: dict[int, PulseTable], tolerance: float
) -> UInt64[np.ndarray, " spin"]:
    """A number for each box, equal when the same kinds of pulses tilt it."""
    random = np.random.Generator(np.random.Philox(key=[len(program.pulses), 0]))
    number = random.integers(1, 2**63, len(program.pulses), dtype=np.uint64)
    mark = np.zeros(len(boxes), np.uint64)
    reach = {envelope: pulse_reach(table)[0] for envelope, table in tables.items()}
    for at, kind in enumerate(program.pulses):
        if kind.moment is not None:
            continue
        table = tables[kind.envelope]
        total = boxes.position @ kind.gradient + boxes.offset - kind.frequency
        mark[at_offsets(table, reach[kind.envelope], total) > tolerance] ^= number[at]
    return mark


def box_runs(
    held: Held,
    cut: tuple[Int[np.ndarray, " run_plus_1"], Sequence[Boxes], Int[np.ndarray, " run"]],
    pulses: Pulses,
    tables: dict[int, PulseTable],
    tolerance: float,
) -> BoxRuns:
    """What the boxes of each run have in common, and which pulses touch which run."""
    arrays, r2_prime, _, diffusion = held
    edge, parts, shape = cut
    starts, n_runs = edge[:-1], len(edge) - 1

    def over(reduce: np.ufunc, values: np.ndarray) -> np.ndarray:
        return np.asarray(reduce.reduceat(values, starts)) if n_runs else np.zeros(0, np.float32)

    edges = np.stack([part.edges for part in parts])
    largest = diffusion.max(axis=0) if len(diffusion) else np.zeros(len(r2_prime), np.float32)
    shortest = over(np.maximum, r2_prime)
    with np.errstate(divide="ignore"):
        longest = np.where(shortest > 0, _SAME_DECAY / shortest, np.inf)
    runs = BoxRuns(
        edge,
        np.ascontiguousarray(edges[shape]),
        over(np.minimum, arrays.r2),
        over(np.maximum, arrays.r2),
        over(np.maximum, arrays.r2 + r2_prime),
        np.asarray(longest, np.float64),
        np.asarray(over(np.maximum, largest), np.float64),
        np.zeros((n_runs, len(pulses.table))),
    )
    mark_changes(arrays, runs, pulses, reaches(tables.values()), tolerance)
    return runs


def work_of(
    runs: BoxRuns,
) -> tuple[list[Int[np.ndarray, " run"]], list[tuple[List, List, np.ndarray]]]:
    """Share the runs out to the lanes, with places for what is kept between stretches."""
    touched = np.flatnonzero(np.isinf(runs.change).any(axis=1))
    work = [np.ascontiguousarray(touched[lane::LANES]) for lane in range(LANES)]
    saved = []
    for mine in work:
        banks, tables = List(), List()
        for _ in mine:
            banks.append(np.zeros((0, 0), np.float32))
            tables.append(np.zeros((0, N_SAVED)))
        if not len(mine):  # a list must know what it holds
            banks.append(np.zeros((0, 0), np.float32))
            tables.append(np.zeros((0, N_SAVED)))
        saved.append((banks, tables, np.zeros((len(mine), CLOCK + 1))))
    return work, saved


def centres(program: Program) -> Float[np.ndarray, "pulse 4"]:
    """Moment [1/m] and time [s] of each kind of pulse up to the instant at which it acts.

    That is the centre of gravity of its envelope: left and right of it the magnetisation dephases
    as if it were transverse before, or after, a sudden pulse.
    """
    rows = np.zeros((len(program.pulses), 4))
    for row, kind in zip(rows, program.pulses, strict=True):
        envelope = program.envelopes[kind.envelope]
        middle = (envelope.edge[1:] + envelope.edge[:-1]) / 2
        weight = envelope.step * np.diff(envelope.edge)
        total = weight.sum()
        if abs(total) < 0.1 * np.abs(weight).sum():
            weight, total = np.abs(weight), np.abs(weight).sum()
        at = float(np.clip((weight @ middle / total).real, envelope.edge[0], envelope.edge[-1]))
        row[3] = at - envelope.edge[0]
        row[:3] = kind.gradient * row[3]
        if kind.moment is not None:
            row[:3] = [np.interp(at, envelope.edge, axis) for axis in kind.moment.T]
    return rows


def _shown(
    program: Program, events: object, seen: list[Seen], edges: Float[np.ndarray, "3 3"]
) -> Iterator[Float[np.ndarray, " sample"]]:
    """How a box dims every sample of a window, relative to the middle one."""
    score = np.stack([lane.score for lane in seen])
    best = score.argmax(axis=0)
    for at in np.flatnonzero(events.event == WINDOW):  # type: ignore[attr-defined]
        kind = program.windows[events.kind[at]]  # type: ignore[attr-defined]
        course = kind.moment - kind.moment[kind.n_samples // 2]
        turns = (seen[best[at]].key[at] + course) @ edges.T
        share = np.sinc(turns)
        middle = share[kind.n_samples // 2]
        still = (np.abs(turns - turns[kind.n_samples // 2]) < 1e-9) | (np.abs(middle) < 1e-3)
        yield np.where(still, 1.0, share / np.where(np.abs(middle) < 1e-3, 1.0, middle)).prod(
            axis=1
        )


def boxes_across(
    program: Program, edges: Float[np.ndarray, "3 3"], step: float
) -> tuple[int, int, int]:
    """Into how many boxes a voxel of these edges [m] must be cut along each of them.

    A pulse must act alike on the whole of a box: its phase varies by less than ``step`` turns
    across.
    """
    most = np.zeros(3)
    for kind in program.pulses:
        moment = kind.gradient * program.envelopes[kind.envelope].duration
        if kind.moment is not None:
            moment = np.ptp(kind.moment, axis=0)
        most = np.maximum(most, np.abs(edges @ moment))
    x, y, z = np.maximum(np.ceil(most / step - 1e-9), 1).astype(int).tolist()
    return x, y, z
