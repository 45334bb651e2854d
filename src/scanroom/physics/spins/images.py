"""From factors of magnetisation to samples: images of the voxels, and their Fourier transform."""

import math
from concurrent.futures import Executor
from typing import NamedTuple

import finufft
import numpy as np
from jaxtyping import Complex64, Complex128, Float, Float32, Int

from scanroom.core.units import Second
from scanroom.physics.spins.classes import FINE, MOST_OFFSETS, Classes, Voxels
from scanroom.physics.spins.program import Program
from scanroom.physics.spins.projecting import accumulate, project

_NUFFT = 1e-4
# Voxels that courses are made for, and columns on which is tried how much a factor matters.
_EXAMPLES = 3000
_LOOKED_AT = 600
# Numbers of a vector: tables of factors are padded to whole ones.
_VECTOR = 8


class Rows(NamedTuple):
    """Orders in windows: the event and kind of the window, the key of the order at its opening."""

    at: Int[np.ndarray, " row"]
    kind: Int[np.ndarray, " row"]
    key: Float[np.ndarray, "row 4"]


class Factors(NamedTuple):
    """A table of amplitudes as ``left @ right.T``; ``node`` are the nodes of the right."""

    left: Complex128[np.ndarray, "row factor"]
    right: Complex64[np.ndarray, "column factor"]
    node: Int[np.ndarray, " column"]


class Courses(NamedTuple):
    """What offset and relaxation do within a window: ``late`` by kind and offset, ``along`` time.

    ``late`` is tabulated over offsets ``first + step * n``, without the phase that an offset has
    gained when the window opens, ``opening`` [s]; ``size`` tells how much each course matters.
    """

    late: Complex64[np.ndarray, "kind offset course"]
    along: Complex128[np.ndarray, "course sample"]
    opening: float
    first: float
    step: float
    size: Float[np.ndarray, " course"]


class Lot(NamedTuple):
    """Rows that share images: factors, courses, and the pairs of them that matter."""

    rows: Rows
    factors: Factors
    within: Courses
    pairs: Int[np.ndarray, "pair 2"]

    @property
    def n_samples(self) -> int:
        """Samples of each of the windows."""
        return int(self.within.along.shape[1])


class Ground(NamedTuple):
    """The voxels in columns along the slice: ``order`` and ``edge``, and where columns stand.

    ``fields`` are offset, transmit field, faces along the slice and slopes of the offset, along the
    slice first; the phase of the transmit field is in ``weight`` (real parts, then imaginary ones,
    of all coils), and in ``loudness``, one coil for all.
    """

    order: Int[np.ndarray, " voxel"]
    edge: Int[np.ndarray, " column_plus_1"]
    place: Int[np.ndarray, " column"]
    low: Int[np.ndarray, " 2"]
    shape: tuple[int, int]
    fields: Float[np.ndarray, "voxel 7"]
    weight: Float32[np.ndarray, "voxel number"]
    loudness: Complex64[np.ndarray, " voxel"]


def ground_of(voxels: Voxels, classes: Classes) -> Ground:
    """Sort the voxels into columns, once per scan."""
    index = voxels.index[:, classes.plane]
    low = index.min(axis=0)
    rows, columns = (np.ptp(index, axis=0) + 1).tolist()
    column = np.ravel_multi_index(tuple((index - low).T), (rows, columns))
    order = np.argsort(column, kind="stable")
    starts = np.flatnonzero(np.diff(column[order], prepend=-1))
    strength = np.abs(voxels.transmit)
    phase = voxels.transmit / np.maximum(strength, 1e-30)
    loudness = np.linalg.norm(voxels.weight, axis=1)
    slopes = voxels.slope[:, [classes.axis, *classes.plane]].astype(np.float64)
    return Ground(
        order,
        np.append(starts, len(order)),
        column[order[starts]],
        low,
        (rows, columns),
        np.column_stack([voxels.offset, strength, classes.low, classes.high, slopes]),
        _planes(voxels.weight * phase[:, None]),
        (loudness * phase).astype(np.complex64),
    )


def times_of(program: Program, rows: Rows) -> Float[np.ndarray, " sample"]:
    """Times [s] of the samples of these rows' windows, all alike, since their opening."""
    kind = program.windows[int(rows.kind[0])]
    return (np.arange(kind.n_samples) + 0.5) * kind.dwell


def courses(
    voxels: Voxels,
    classes: Classes,
    loudness: Float[np.ndarray, " voxel"],
    when: tuple[Second, Float[np.ndarray, " sample"]],
    left_out: float,
) -> Courses:
    """Separate exp(-i 2 pi df t - R2' |opening + t| - R2 t) into few products.

    ``when`` are the opening and the times since; of voxels as loud as these, ``left_out`` is the
    share (of the root of the energy) that may be missing.
    """
    opening, times = when
    length = float(times[0] + times[-1])
    low, high = float(voxels.offset.min()), float(voxels.offset.max())
    nodes, weights = np.polynomial.legendre.leggauss(32 + 4 * math.ceil((high - low) * length))
    t, root = 0.5 * length * (nodes + 1.0), np.sqrt(weights / 2)
    r2, r2_prime = classes.rates.T

    def decay(at: Float[np.ndarray, " time"]) -> Float[np.ndarray, "kind time"]:
        return np.asarray(np.exp(-np.outer(r2, at) - np.outer(r2_prime, np.abs(opening + at))))

    def turn(
        offset: Float[np.ndarray, " offset"], at: Float[np.ndarray, " time"]
    ) -> Complex128[np.ndarray, "offset time"]:
        return np.asarray(np.exp(-2j * np.pi * np.outer(offset, at)))

    some = slice(0, None, max(1, len(voxels.offset) // _EXAMPLES))
    kind, offset, loud = classes.kind[some], voxels.offset[some], loudness[some, None]
    examples = loud * decay(t)[kind] * turn(offset, t) * root
    values, vectors = np.linalg.eigh(examples.conj().T @ examples)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    tails = np.cumsum(values[::-1])[::-1]
    keep = max(1, int(np.count_nonzero(tails > left_out**2 * values.sum())))
    basis = vectors[:, :keep]
    offsets, step = _offsets(voxels, length)
    fine = turn(offsets, t).astype(np.complex64)
    weighed = (root[:, None] * basis).astype(np.complex64)
    late = np.empty((len(r2), len(offsets), keep), np.complex64)
    for row, kept in enumerate(decay(t).astype(np.float32)):
        np.matmul(fine * kept, weighed, out=late[row])
    # The course at any time follows from the examples' values there.
    there = loud * decay(times)[kind] * turn(offset, times)
    along = ((examples @ basis).conj() / values[:keep]).T @ there
    return Courses(late, along, opening, low, step, np.sqrt(values[:keep]))


def at_once(voxels: Voxels, classes: Classes, opening: Second, time: Second) -> Courses:
    """`courses` of a window of one sample, ``time`` after its opening."""
    offsets, step = _offsets(voxels, time)
    r2, r2_prime = classes.rates.T
    decay = np.exp(-r2 * time - r2_prime * abs(opening + time))
    late = np.outer(decay, np.exp(-2j * np.pi * offsets * time)).astype(np.complex64)
    one = np.ones((1, 1), np.complex128)
    return Courses(late[..., None], one, opening, float(offsets[0]), step, np.ones(1))


def _offsets(voxels: Voxels, time: Second) -> tuple[Float[np.ndarray, " offset"], float]:
    """Offsets [Hz] from which all voxels' courses over a time can be interpolated."""
    low, high = float(voxels.offset.min()), float(voxels.offset.max())
    step = max(FINE / (2 * np.pi * time), (high - low) / MOST_OFFSETS, 1e-9)
    return low + step * np.arange(math.ceil((high - low) / step) + 2), step


def samples_of(
    program: Program, voxels: Voxels, classes: Classes, ground: Ground, lot: Lot, pool: Executor
) -> Complex64[np.ndarray, "row coil sample"]:
    """What all voxels add to the windows of a lot."""
    rows, factors, within, pairs = lot
    sums = _sums(program, classes, (voxels, ground), lot, every=1)
    moments = rows.key[:, None, :3] + np.stack(
        [program.windows[k].moment for k in rows.kind.tolist()]
    )
    affine, plane = voxels.affine, list(classes.plane)
    turns = moments @ affine[:3, plane]
    middle = affine[:3, plane] @ (ground.low + np.array(ground.shape) // 2) + affine[:3, 3]
    middle = middle - classes.along * (middle @ classes.along)
    phase = np.exp(-2j * np.pi * (moments @ middle)) * np.sinc(turns).prod(axis=-1)
    angle = (2 * np.pi * (turns - np.round(turns))).astype(np.float32)
    targets = [np.ascontiguousarray(angle[..., i]).ravel() for i in range(2)]
    n_coils, n_samples = sums.shape[2], moments.shape[1]

    def transform(pair: int) -> Complex64[np.ndarray, "coil number"]:
        image = np.zeros((n_coils, math.prod(ground.shape)), np.complex64)
        image[:, ground.place] = sums[:, pair].T
        laid = image.reshape(n_coils, *ground.shape)
        return np.asarray(finufft.nufft2d2(*targets, laid, eps=_NUFFT, isign=-1, nthreads=1))

    total = np.zeros((len(rows.at), n_coils, n_samples), np.complex64)
    transforms = pool.map(transform, range(len(pairs)))
    for (factor, course), found in zip(pairs.tolist(), transforms, strict=True):
        values = found.reshape(n_coils, len(rows.at), n_samples)
        weights = (factors.left[:, factor], within.along[course])
        accumulate(total, values, *(w.astype(np.complex64) for w in weights))
    return np.asarray(total * phase.astype(np.complex64)[:, None])


def loudness_of(
    program: Program,
    voxels: Voxels,
    classes: Classes,
    ground: Ground,
    what: tuple[Rows, Factors],
) -> Float[np.ndarray, " factor"]:
    """Mean square of what every factor adds to a sample of all coils, from some of the columns."""
    rows, factors = what
    times = times_of(program, rows)
    within = at_once(voxels, classes, float(rows.key[0, 3]), 0.5 * float(times[0] + times[-1]))
    n_factors = factors.right.shape[1]
    pairs = np.column_stack([np.arange(n_factors), np.zeros(n_factors, np.int64)])
    one_coil = ground._replace(weight=_planes(ground.loudness[:, None]))
    every = max(1, len(ground.place) // _LOOKED_AT) | 1
    lot = Lot(rows, factors, within, pairs)
    sums = _sums(program, classes, (voxels, one_coil), lot, every=every)
    energy = every * np.square(np.abs(sums)).sum(axis=(0, 2), dtype=np.float64)
    some = rows.key[:: max(1, len(rows.at) // 16), None, :3]
    course = program.windows[int(rows.kind[0])].moment[::8]
    turns = (some + course) @ voxels.affine[:3, list(classes.plane)]
    share = float(np.square(np.sinc(turns)).prod(axis=-1).mean())
    return np.asarray(share * energy * np.square(np.abs(factors.left)).mean(axis=0))


def _sums(
    program: Program, classes: Classes, who: tuple[Voxels, Ground], lot: Lot, *, every: int
) -> Complex64[np.ndarray, "column pair coil"]:
    """Weigh the voxels by every pair, and add up along the slice one of so many columns."""
    (voxels, ground), (rows, factors, within, pairs) = who, lot
    size = -(-factors.right.shape[1] // _VECTOR) * _VECTOR
    right = np.zeros((len(classes.nodes.spins), 2, size), np.float32)
    right[factors.node, 0, : factors.right.shape[1]] = factors.right.real
    right[factors.node, 1, : factors.right.shape[1]] = factors.right.imag
    heard = np.zeros(len(right), np.bool_)
    heard[factors.node] = factors.right.any(axis=1)
    reach = classes.reach_of(heard)
    times = times_of(program, rows)
    middle = within.opening + 0.5 * float(times[0] + times[-1])
    n_coils = ground.weight.shape[1] // 2
    sums = np.zeros((len(ground.place[::every]), len(pairs), n_coils), np.complex64)
    project(
        (ground.order, ground.edge, every),
        (ground.fields, ground.weight, voxels.faint, classes.kind),
        (classes.number, classes.first, classes.step, classes.shift, classes.tissue, classes.share),
        (right.reshape(len(right), -1), heard, *reach),
        (within.late, within.opening, within.first, within.step),
        (pairs, float(rows.key[0, :3] @ classes.along), classes.thickness, middle),
        sums,
    )
    return sums


def _planes(values: Complex64[np.ndarray, "voxel coil"]) -> Float32[np.ndarray, "voxel number"]:
    """All real parts, then all imaginary ones."""
    return np.ascontiguousarray(np.concatenate([values.real, values.imag], axis=1))
