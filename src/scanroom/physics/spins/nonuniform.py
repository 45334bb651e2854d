"""Readout under any waveform, many spins: one non-uniform Fourier transform per shot.

A shot is a course of moments: of the field coordinates, and of the offset, whose moment is the
time. One to three of them, those that turn the spins furthest, are transformed: the spins are
spread onto a grid of these (`spreading`), from which finufft takes the samples. What the others
turn, and decay, is a sum of few products (`skeletons`): each of its terms shows the spins as they
are at one chosen sample. Where another coordinate's moment runs along with those transformed, it
is sheared into them first.

A. H. Barnett, J. Magland, L. af Klinteberg, SIAM J. Sci. Comput. 41, C479 (2019),
doi:10.1137/18M120885X. Time segmentation: B. P. Sutton, D. C. Noll, J. A. Fessler, IEEE Trans. Med.
Imaging 22, 178 (2003), doi:10.1109/TMI.2002.808360.
"""

import math
from concurrent.futures import Executor
from typing import NamedTuple

import finufft
import numpy as np
from jaxtyping import Complex64, Complex128, Float, Float32, Int

from scanroom.physics.spins.skeletons import Skeleton, examples, skeleton
from scanroom.physics.spins.spreading import (
    DIMENSIONS,
    Spread,
    kernel_at,
    spread_of,
    spread_plane,
)
from scanroom.physics.spins.vector import COILS, LANES
from scanroom.physics.spins.vector_rows import ROW

LEAST_ERROR = 5e-6
"""What seven nodes and single precision reach, of the signal's root-mean-square."""
_FINUFFT = 1e-6
_OVERSAMPLED = 2.0
# Share of the allowed error that goes to the skeleton; its weights add up the grids' own errors.
_SKELETON = 0.3
# A grid of more nodes than this is not made; turns of the rest that no skeleton is tried for.
_MOST_NODES = 1 << 21
_MOST_TURNS = 24.0
_MOST_TERMS = 96
# Terms, by dimensions, for which one more dimension costs more than it saves.
_ENOUGH = (0, 6, 24, _MOST_TERMS)
# Spins spread at once.
_BATCH = 1 << 20
# Measured by `python -m scripts.readout_costs`, in seconds: a spin, sample and 8 coils of the plain
# sum; a spin of a plan; a row of nodes of a spin, and of a cell that holds any, per term and 8
# coils; a node of a grid and a sample, per term and coil.
DIRECT = 4.4e-9
PLANNED = 1e-7
IN_ROW, IN_CELL = 3.2e-9, 1.3e-8
NODE, SAMPLE = 2.8e-8, 2e-7
PREPARED = 0.3
"""Seconds that finding the layouts of a course may take."""


class Ensemble(NamedTuple):
    """Spins as the transform sees them: field coordinates and offset, relaxation, weights.

    ``low`` and ``high`` bound the rows of ``place``.
    """

    place: Float[np.ndarray, "row spin"]
    r2: Float32[np.ndarray, " spin"]
    weight: Float32[np.ndarray, "spin number"]
    low: Float[np.ndarray, " row"]
    high: Float[np.ndarray, " row"]


class Course(NamedTuple):
    """Moments of every row since the shot's begin, the last one of which is the time."""

    moment: Float[np.ndarray, "sample row"]

    @property
    def time(self) -> Float[np.ndarray, " sample"]:
        """Since the shot's begin [s]."""
        return self.moment[:, -1]


class Layout(NamedTuple):
    """How a shot is transformed.

    Node number of a spin along each dimension is ``scale`` times (1, its rows); ``middle`` are the
    turns per node that all samples share; ``angle`` are those of each sample beyond, in radians;
    ``factor`` undoes the kernel and shifts the origin. ``used`` are the rows of what is not
    transformed, ``rest`` and ``time`` their moments, and the time, at the terms' samples.
    """

    shape: Int[np.ndarray, " dimension"]
    scale: Float[np.ndarray, "dimension number"]
    middle: Float[np.ndarray, " dimension"]
    angle: Float[np.ndarray, "dimension sample"]
    factor: Complex128[np.ndarray, " sample"]
    used: Int[np.ndarray, " used"]
    rest: Float[np.ndarray, "term used"]
    time: Float[np.ndarray, " term"]
    mixed: Complex128[np.ndarray, "sample term"]


def layouts(course: Course, spins: Ensemble, error: float) -> list[Layout]:
    """Ways to transform a shot within ``error`` of the signal: in one, two or three dimensions.

    A further dimension is tried only where it can pay.
    """
    if error < LEAST_ERROR or not spins.place.shape[1]:
        return []
    half = 0.5 * (spins.high - spins.low)
    order = _by_turns(course, half)
    found = []
    for dimensions in range(1, min(DIMENSIONS, len(order)) + 1):
        layout = _layout(course, spins, order[:dimensions], error)
        if layout is not None:
            found.append(layout)
            if len(layout.time) <= _ENOUGH[dimensions]:
                break
    return found


def cost(layout: Layout, n_spins: int, n_coils: int) -> float:
    """Expected seconds of one thread."""
    n_samples, n_terms = layout.mixed.shape
    nodes, batches = math.prod(layout.shape.tolist()), max(1, -(-n_spins // _BATCH))
    cells = batches * nodes * -math.expm1(-n_spins / batches / nodes)
    rows = -(-n_coils // COILS) * n_terms * ROW ** (len(layout.shape) - 1)
    spread = n_spins * PLANNED + rows * (n_spins * IN_ROW + cells * IN_CELL)
    return float(spread + batches * n_coils * n_terms * (NODE * nodes + SAMPLE * n_samples))


def cost_of_sum(n_spins: int, n_samples: int, n_coils: int) -> float:
    """Expected seconds of one thread that sums sample by sample."""
    return DIRECT * n_spins * n_samples * -(-n_coils // COILS)


def samples_of_shot(
    layout: Layout,
    spins: Ensemble,
    transverse: tuple[Float32[np.ndarray, " spin"], Float32[np.ndarray, " spin"]],
    chosen: Int[np.ndarray, " chosen"],
    n_coils: int,
    pool: Executor,
) -> Complex64[np.ndarray, "coil sample"]:
    """What the chosen spins, with their transverse magnetisation at the begin, add to a shot.

    Coils beyond ``n_coils``, which fill the last block of weights, stay zero.
    """
    total = np.zeros((spins.weight.shape[1] // 2, len(layout.factor)), np.complex128)
    blocks = [slice(low, min(low + COILS, n_coils)) for low in range(0, n_coils, COILS)]
    for low in range(0, len(chosen), _BATCH):
        part = chosen[low : low + _BATCH]
        grid = (layout.shape, layout.scale, layout.middle)
        who = (*transverse, spins.r2, spins.place, spins.weight)
        spread = spread_of(who, part, layout.used, grid, pool)
        jobs = [
            (coils, term, pool.submit(term_of, layout, spread, coils, term))
            for coils in blocks
            for term in range(len(layout.time))
        ]
        for coils, term, job in jobs:
            total[coils] += layout.mixed[:, term] * job.result()
    return np.asarray(total * layout.factor, np.complex64)


def _by_turns(course: Course, half: Float[np.ndarray, " row"]) -> list[int]:
    """Rows that turn the spins, the furthest first, each beyond what those before it explain."""
    left = (course.moment - course.moment.mean(axis=0)) * half
    order: list[int] = []
    for _ in range(DIMENSIONS):
        size = np.sqrt(np.square(left).mean(axis=0))
        best = int(size.argmax())
        if size[best] < 1e-9:
            break
        order.append(best)
        along = left[:, best] / np.linalg.norm(left[:, best])
        left = left - np.outer(along, along @ left)
    return order


def _sheared(
    course: Course, half: Float[np.ndarray, " row"], axes: list[int]
) -> tuple[Float[np.ndarray, "dimension row"], Float[np.ndarray, "sample row"]]:
    """Share of every row that is transformed, and the moments that are left.

    A row is sheared where that at least halves the turns it makes.
    """
    moment, rows = course.moment, course.moment.shape[1]
    share = np.zeros((len(axes), rows))
    share[np.arange(len(axes)), axes] = 1.0
    left = moment.copy()
    left[:, axes] = 0.0
    ahead = moment[:, axes] - moment[:, axes].mean(axis=0)
    for row in set(range(rows)) - set(axes):
        if half[row] == 0.0 or not moment[:, row].any():
            continue
        slope, *_ = np.linalg.lstsq(ahead, moment[:, row], rcond=None)
        less = moment[:, row] - moment[:, axes] @ slope
        if np.ptp(less) < 0.5 * np.ptp(moment[:, row]):
            share[:, row], left[:, row] = slope, less
    return share, left


def _layout(course: Course, spins: Ensemble, axes: list[int], error: float) -> Layout | None:
    """Transform these axes; None if the rest or the grid is too large."""
    half = 0.5 * (spins.high - spins.low)
    share, left = _sheared(course, half, axes)
    if (0.5 * np.ptp(left, axis=0) * half).sum() > 0.5 * _MOST_TURNS:
        return None
    moment = course.moment[:, axes]
    middle = 0.5 * (moment.max(axis=0) + moment.min(axis=0))
    low, high = _bounds(spins, share)
    wide = np.maximum(np.ptp(moment, axis=0), 1e-12)
    edge = np.minimum(1.0 / (_OVERSAMPLED * wide), np.maximum(high - low, 1e-12))
    shape = np.array([_even(n) for n in np.ceil((high - low) / edge) + 1 + ROW], np.int64)
    if math.prod(shape.tolist()) > _MOST_NODES:
        return None
    used = np.flatnonzero(left.any(axis=0) & (half > 0.0))
    found = _rest(course, spins, left, used, error)
    if found is None:
        return None
    zero = low - (ROW // 2 + 0.5) * edge
    origin = zero + (shape // 2) * edge
    beyond = (moment - middle) * edge
    alike = half == 0.0
    turns = moment @ origin + left[:, alike] @ spins.low[alike]
    factor = np.exp(-2j * np.pi * turns) / kernel_at(beyond).prod(axis=1)
    scale = np.column_stack([-zero / edge, share / edge[:, None]])
    # Turns that the middle moment makes are counted from the origin, which `factor` holds.
    return Layout(
        shape,
        scale,
        middle * edge,
        np.ascontiguousarray(2 * np.pi * beyond.T),
        factor * np.exp(2j * np.pi * ((shape // 2) @ (middle * edge))),
        used,
        np.ascontiguousarray(left[np.ix_(found.chosen, used)]),
        course.time[found.chosen],
        found.mixed,
    )


def _rest(
    course: Course,
    spins: Ensemble,
    left: Float[np.ndarray, "sample row"],
    used: Int[np.ndarray, " used"],
    error: float,
) -> Skeleton | None:
    """Terms for what is not transformed."""
    who = examples(spins.place[used], spins.r2)
    return skeleton((left[:, used], course.time), who, _SKELETON * error, _MOST_TERMS)


def _bounds(
    spins: Ensemble, share: Float[np.ndarray, "dimension row"]
) -> tuple[Float[np.ndarray, " dimension"], Float[np.ndarray, " dimension"]]:
    """Least and largest of every sheared coordinate."""
    low, high = np.empty(len(share)), np.empty(len(share))
    for d, row in enumerate(share):
        used = np.flatnonzero(row)
        values = row[used] @ spins.place[used] if len(used) > 1 else None
        if values is None:
            ends = row[used[0]] * spins.low[used[0]], row[used[0]] * spins.high[used[0]]
        else:
            ends = float(values.min()), float(values.max())
        low[d], high[d] = min(ends), max(ends)
    return low, high


def _even(count: float) -> int:
    """Round up to an even number."""
    return 2 * math.ceil(count / 2)


def term_of(
    layout: Layout, spread: Spread, coils: slice, term: int
) -> Complex128[np.ndarray, "coil sample"]:
    """One term at every sample, for a block of coils."""
    grid = np.zeros((int(layout.shape.prod()), LANES), np.float32)
    when = (layout.rest[term], layout.time[term])
    spread_plane(spread, *when, 2 * coils.start, layout.shape, grid)
    plan = finufft.Plan(
        2, tuple(layout.shape.tolist()), eps=_FINUFFT, isign=-1, nthreads=1, upsampfac=1.25
    )
    plan.setpts(*layout.angle)
    found = np.empty((coils.stop - coils.start, len(layout.factor)), np.complex128)
    for coil in range(len(found)):
        values = grid[:, coil] + 1j * grid[:, COILS + coil].astype(np.float64)
        plan.execute(values.reshape(layout.shape), found[coil])
    return found
