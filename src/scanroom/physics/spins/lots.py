"""Orders that windows saw, sorted into lots that one set of images serves, and their factors."""

import math
from collections.abc import Iterable
from concurrent.futures import Executor
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Complex64, Complex128, Float, Float32, Int
from numba import njit
from scipy.linalg.blas import cherk

from scanroom.physics.spins.classes import Classes, Voxels, masses
from scanroom.physics.spins.images import (
    Courses,
    Factors,
    Ground,
    Lot,
    Rows,
    courses,
    loudness_of,
    times_of,
)
from scanroom.physics.spins.program import Program
from scanroom.physics.spins.recording import Notes, energies

# Moments [1/m] and times [s] that are told apart: as keys of orders, and as what a lot has in
# common.
_KEY = np.array([1e-3, 1e-3, 1e-3, 1e-7])
_COMMON = (10.0, 5e-5)
# Windows whose magnetisation lies farther apart than this [m] along the slice are worked on apart.
_APART = 1e-3
# Of the error allowed: what tables, factors, courses within windows and pairs may each leave out.
_TABLE, _FACTORS, _COURSES, _PAIRS = 0.3, 0.6, 0.3, 0.6
_MOST_LEFT_OUT = 0.1
# Columns, for each row, that factors are looked for in, and factors tried beyond those they need;
# the part of all squares that single precision can tell.
_SAMPLED, _SPARE, _ROUNDING = 32, 8, 1e-6


class Told(NamedTuple):
    """What a stretch told: kinds of events, notes, edges of the runs, order of the nodes."""

    kind: Int[np.ndarray, " event"]
    notes: Notes
    edge: Int[np.ndarray, " run_plus_1"]
    order: Int[np.ndarray, " node"]


class Table(NamedTuple):
    """Amplitudes of a lot by row and by column, and the nodes of the columns."""

    rows: Rows
    amplitude: Complex64[np.ndarray, "row column"]
    node: Int[np.ndarray, " column"]


class Share(NamedTuple):
    """The part of the notes that makes a lot: an entry of each row, all entries, and their rows."""

    first: Int[np.ndarray, " row"]
    entry: Int[np.ndarray, " entry"]
    row: Int[np.ndarray, " entry"]


def lots_of(
    program: Program,
    who: tuple[Voxels, Classes, Ground],
    told: Told,
    error: float,
    pool: Executor,
    most: float = math.inf,
) -> list[Lot] | None:
    """Factors and courses of every lot, and the pairs of them that matter.

    All that is left out together has less than ``error`` squared of the loudest lot's energy. None
    if there are more than ``most``, as soon as that is plain.
    """
    voxels, classes, ground = who
    mass = masses(classes, voxels, np.abs(ground.loudness))
    strongest = float(energies(told.notes, mass[told.order], told.edge).max(initial=0.0))
    least = (_TABLE * error) ** 2 * strongest

    def separated(share: Share) -> tuple[Rows, Factors | None]:
        table = table_of(told, classes, share)
        return table.rows, factors_of(table, mass, least)

    shares = shares_of_lots(program, told, classes)
    order = _strongest_first(told, shares)
    each: dict[int, tuple[Rows, Factors, Float[np.ndarray, " factor"]]] = {}
    tables = pool.map(separated, [shares[number] for number in order])
    for number, (rows, factors) in zip(order, tables, strict=True):
        if factors is not None:
            loudness = loudness_of(program, voxels, classes, ground, (rows, factors))
            each[number] = (rows, factors, loudness)
            if len(each) > most and _certain(each.values(), error) > most:
                return None
    found = [each[number] for number in sorted(each)]
    if not found:
        return []
    loudest = max(float(loudness.sum()) for *_, loudness in found)
    allowed = (_FACTORS * error) ** 2 * loudest
    least = _threshold(np.concatenate([loudness for *_, loudness in found]), allowed)
    kept = [one for one in found if (one[2] >= least).any()]
    shown = []
    for rows, factors, loudness in kept:
        share = min(_COURSES * error * float(np.sqrt(loudest / loudness.sum())), _MOST_LEFT_OUT)
        when = (float(rows.key[0, 3]), times_of(program, rows))
        loud = np.abs(ground.loudness).astype(np.float64)
        within = courses(voxels, classes, loud, when, share)
        strength = np.outer(loudness, np.square(within.size) / np.square(within.size).sum())
        strength[loudness < least] = 0.0
        shown.append((rows, factors, within, strength))
    allowed = (_PAIRS * error) ** 2 * loudest
    least = _threshold(np.concatenate([strength.ravel() for *_, strength in shown]), allowed)
    lots = [lot for lot in (_lot(*one, least) for one in shown) if len(lot.pairs)]
    return lots if len(lots) <= most else None


def _strongest_first(told: Told, shares: list[Share]) -> list[int]:
    """Numbers of the shares, those of most energy first."""
    size = energies(told.notes)
    return [int(n) for n in np.argsort([-size[share.entry].sum() for share in shares])]


def _certain(
    found: Iterable[tuple[Rows, Factors, Float[np.ndarray, " factor"]]], error: float
) -> int:
    """Of how many lots a factor is too loud to be left out, whatever the others are.

    Twice too loud, since the half of it may lie in its other courses.
    """
    loud = [loudness for *_, loudness in found]
    allowed = (_FACTORS * error) ** 2 * max(float(one.sum()) for one in loud)
    return sum(bool(one.max(initial=0.0) > 2 * allowed) for one in loud)


def _lot(
    rows: Rows,
    factors: Factors,
    within: Courses,
    strength: Float[np.ndarray, "factor course"],
    least: float,
) -> Lot:
    """Keep the pairs that are as strong as the least."""
    pairs = np.argwhere(strength >= max(least, 1e-300))
    used = np.unique(pairs[:, 0])
    pairs[:, 0] = np.searchsorted(used, pairs[:, 0])
    right = np.ascontiguousarray(factors.right[:, used])
    return Lot(rows, Factors(factors.left[:, used], right, factors.node), within, pairs)


def _threshold(parts: Float[np.ndarray, " part"], allowed: float) -> float:
    """Size below which parts may be left out, so that together they stay within ``allowed``."""
    ranked = np.sort(parts)
    count = int(np.count_nonzero(np.cumsum(ranked) <= allowed))
    return float(ranked[count]) if count < len(ranked) else np.inf


def shares_of_lots(program: Program, told: Told, classes: Classes) -> list[Share]:
    """Sort orders that share their place, their moment across the slice and their time."""
    notes = told.notes
    if not len(notes.run):
        return []
    keys = np.column_stack([notes.at, np.round(notes.key / _KEY).astype(np.int64)])
    _, first, row = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    row = row.ravel()
    lot = _numbers(program, told, classes, first)
    shares = []
    for number in range(int(lot.max()) + 1):
        mine = np.flatnonzero(lot == number)
        entries = np.flatnonzero(lot[row] == number)
        shares.append(Share(first[mine], entries, np.searchsorted(mine, row[entries])))
    return shares


def table_of(told: Told, classes: Classes, share: Share) -> Table:
    """Lay out the amplitudes of a lot, all rows at one moment across the slice and one time."""
    kinds, notes, edge, order = told
    runs = np.unique(notes.run[share.entry])
    start = np.concatenate([[0], np.cumsum(np.diff(edge)[runs])])
    table = np.zeros((len(share.first), int(start[-1])), np.complex64)
    begin = start[np.searchsorted(runs, notes.run[share.entry])]
    _lay(table, (share.entry, share.row, begin), notes.edge, notes.amplitude)
    nodes = np.concatenate([order[edge[run] : edge[run + 1]] for run in runs.tolist()])
    at, key = notes.at[share.first], notes.key[share.first]
    return _brought_together(Table(Rows(at, kinds[at], key), table, nodes), classes)


@njit(cache=True, nogil=True)
@no_type_check
def _lay(table, places, edge, amplitude):
    """Add every entry's amplitudes in its row from its first column on."""
    entries, rows, begins = places
    for at in range(entries.size):
        low, high = edge[entries[at]], edge[entries[at] + 1]
        row, begin = rows[at], begins[at]
        for k in range(high - low):
            table[row, begin + k] += amplitude[low + k]


def _brought_together(table: Table, classes: Classes) -> Table:
    """Refer all rows to the first one's moment across the slice, and time, at every node.

    Orders of one window that differ in nothing else become one row.
    """
    rows, amplitude, nodes = table
    apart = (rows.key[:, :3] - rows.key[0, :3]) @ classes.along
    late = rows.key[:, 3] - rows.key[0, 3]
    if not apart.any() and not late.any():
        return table
    height, offset = classes.height_of_nodes()[nodes], classes.nodes.spins.offset[nodes]
    moved = np.round(np.column_stack([apart, late]) / _KEY[2:]) * _KEY[2:]
    distances, which = np.unique(moved, axis=0, return_inverse=True)
    for number, (along, later) in enumerate(distances.tolist()):
        if along != 0.0 or later != 0.0:
            turned = np.exp(-2j * np.pi * (along * height + later * offset)).astype(np.complex64)
            amplitude[which.ravel() == number] *= turned
    key = rows.key.copy()
    key[:, :3] -= np.outer(apart, classes.along)
    key[:, 3] = key[0, 3]
    same = np.column_stack([rows.at, np.round(key[:, :3] / _KEY[:3]).astype(np.int64)])
    _, first, which = np.unique(same, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    starts = np.flatnonzero(np.diff(which.ravel()[order], prepend=-1))
    total = np.add.reduceat(amplitude[order], starts, axis=0)
    return Table(Rows(rows.at[first], rows.kind[first], key[first]), total, nodes)


def _numbers(
    program: Program, told: Told, classes: Classes, first: Int[np.ndarray, " row"]
) -> Int[np.ndarray, " row"]:
    """Number of the lot of each row; ``first`` are entries, one of each row."""
    kinds, notes, edge, order = told
    energy = energies(notes)
    height = classes.height_of_nodes()[order]
    middle = np.add.reduceat(height, edge[:-1]) / np.diff(edge)
    total = np.bincount(notes.at, energy, len(kinds))
    home = np.bincount(notes.at, energy * middle[notes.run], len(kinds)) / np.maximum(total, 1e-30)
    heard = np.flatnonzero(total > 0)
    ranked = heard[np.argsort(home[heard], kind="stable")]
    group = np.zeros(len(kinds), np.int64)
    group[ranked[1:]] = np.cumsum(np.diff(home[ranked]) > _APART)
    at, key = notes.at[first], notes.key[first]
    shapes = np.array([(kind.n_samples, kind.dwell) for kind in program.windows])
    _, shape = np.unique(shapes[kinds[at]], axis=0, return_inverse=True)
    across = np.round(key[:, :3] @ classes.along / _COMMON[0]).astype(np.int64)
    late = np.round(key[:, 3] / _COMMON[1]).astype(np.int64)
    _, lot = np.unique(
        np.column_stack([group[at], shape.ravel(), across, late]), axis=0, return_inverse=True
    )
    return np.asarray(lot.ravel())


def factors_of(table: Table, mass: Float32[np.ndarray, " node"], allowed: float) -> Factors | None:
    """Few factors of a table, exact but for ``allowed`` squares of amplitude per row.

    Nodes count by how much hangs on them, their ``mass``; None if nothing is left.
    """
    heavy = np.sqrt(mass[table.node])
    weighed = table.amplitude * heavy
    n_rows, n_columns = weighed.shape
    least, total = allowed * n_rows, _energy(weighed)
    if total <= least:
        return None
    every = max(1, n_columns // (_SAMPLED * n_rows)) if least > _ROUNDING * total else 1
    left, keep = _directions(weighed[:, ::every], least / every)
    if every > 1:
        # What the columns left out add is told exactly, and makes up for it if it can.
        keep = min(keep + _SPARE, n_rows)
        energy = np.array([_energy(row) for row in _along(left[:, :keep], weighed)])
        short = total - np.cumsum(energy) > least
        if short[-1]:
            left, keep = _directions(weighed, least)
        else:
            keep = int(np.count_nonzero(short)) + 1
    left = left[:, :keep]
    right = _along(left, weighed) / heavy
    return Factors(left, np.ascontiguousarray(right.T), table.node)


def _energy(values: Complex64[np.ndarray, "..."]) -> float:
    """Sum of squares, in double precision."""
    rows = np.ascontiguousarray(values).view(np.float32).reshape(-1, 2 * values.shape[-1])
    return float(sum(np.square(row).sum(dtype=np.float64) for row in rows))


def _along(
    left: Complex128[np.ndarray, "row factor"], weighed: Complex64[np.ndarray, "row column"]
) -> Complex64[np.ndarray, "factor column"]:
    return np.asarray(left.conj().T.astype(np.complex64) @ weighed)


def _directions(
    weighed: Complex64[np.ndarray, "row column"], least: float
) -> tuple[Complex128[np.ndarray, "row row"], int]:
    """Directions of columns, strongest first, and how many leave out no more than ``least``."""
    lower = cherk(1.0, np.ascontiguousarray(weighed).T, trans=2, lower=1)
    values, vectors = np.linalg.eigh(lower.astype(np.complex128), UPLO="L")
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1].conj()
    tails = np.cumsum(values[::-1])[::-1]
    return vectors, max(1, int(np.count_nonzero(tails > least)))
