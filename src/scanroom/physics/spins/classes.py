"""Classes of voxels that a programme treats alike, so that each is computed once.

What a programme makes of a point depends on its tissue (T1, T2), on its place along the one
direction in which pulses select, on its offset and on its transmit field - and on nothing else,
once the phases that place and offset give to an order of dephasing are taken off (`recording`). So
nodes are laid over those four coordinates, no denser than the answer bends, and only where there
are voxels. A voxel is the integral of a cubic along the slice, of a straight line in offset and a
parabola in transmit field.
"""

from dataclasses import dataclass, field
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Complex64, Float, Float32, Int, Int32
from numba import njit
from scipy.optimize import nnls

from scanroom.core.units import Hertz, Metre, Ratio
from scanroom.physics.spins.continuum import Boxes
from scanroom.physics.spins.ensemble import Spins
from scanroom.physics.spins.layout import bounds
from scanroom.physics.spins.pools import N_RATES
from scanroom.physics.spins.program import Program

# Phase [rad] from one offset at which courses within a window are tabulated to the next, and how
# many offsets there may be.
FINE = 0.03
MOST_OFFSETS = 8192
# What nodes may cost, of the signal, where they stand as far apart as follows.
ROUGH = 7e-3
# Turns of a pulse's phase from one node along the slice to the next.
_TURNS = 0.35
_OFFSET_STEP: Hertz = 160.0
_TRANSMIT_STEP = 0.07
# Tissues whose logarithms of T1, T2 and diffusion differ by less than this are mixed from others;
# slower diffusion [m2/s] than this is none.
_NEARBY = 0.1
_LEAST_DIFFUSION = 1e-12
# As much exchange [1/s], as many bound protons for each free one, and as large a logarithm of their
# T2 or R1, make as much of a difference as a logarithm of T1 that is one larger.
_EXCHANGE, _FRACTION, _WIDTH = 5.0, 0.5, 2.0
# Weight of the sum of shares in a fit, and how near a mixture must come to a logarithm.
_SUM, _MET = 1e3, 1e-3
# Cells of the table of nodes, nodes, pairs of T1 and T2, and numbers that describe all courses
# within a window: beyond them voxels have too little in common.
_MOST_CELLS, _MOST_NODES, _MOST_PAIRS, _MOST_COURSES = 50_000_000, 500_000, 4096, 40_000_000
# A direction counts as that of an axis, and a moment as constant, to this part.
_STRAIGHT = 1e-6
_STEADY_TURNS = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Voxels:
    """Uniform tissue in cells of one lattice: see `Spins` for the properties.

    ``affine`` [m] takes ``index`` to the centres; ``slope`` [Hz] is by how much the offset grows
    from one face of a voxel to the other; what is ``faint`` needs no interpolation. ``diffusion``
    [m2/s] is a row of coefficients, or nothing; ``bound`` is as in `Spins`.
    """

    index: Int[np.ndarray, "voxel 3"]
    affine: Float[np.ndarray, "4 4"]
    offset: Float[np.ndarray, " voxel"]
    slope: Float32[np.ndarray, "voxel 3"]
    r1: Float32[np.ndarray, " voxel"]
    r2: Float32[np.ndarray, " voxel"]
    r2_prime: Float32[np.ndarray, " voxel"]
    transmit: Complex64[np.ndarray, " voxel"]
    weight: Complex64[np.ndarray, "voxel coil"]
    faint: Bool[np.ndarray, " voxel"]
    diffusion: Float32[np.ndarray, "term voxel_or_none"] = field(
        default_factory=lambda: np.zeros((0, 0), np.float32)
    )
    bound: Float32[np.ndarray, "_ rate"] = field(
        default_factory=lambda: np.zeros((0, 0), np.float32)
    )

    def __post_init__(self) -> None:
        if not self.bound.shape[1]:
            object.__setattr__(self, "bound", np.zeros((len(self.index), 0), np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """Nodes, and how voxels are made of them.

    ``nodes`` are boxes without receive weights; ``number`` gives their place, or -1, by tissue,
    place along the slice, offset and transmit field, each counted in ``step`` from ``first``.
    ``tissue`` and ``share`` tell what each ``kind`` of voxel is mixed of, ``rates`` its R2 and R2';
    ``low`` and ``high`` are its
    faces along the slice [m], moved by its offset as the pulses see it (``shift`` [m/Hz]).
    """

    axis: int
    nodes: Boxes
    number: Int32[np.ndarray, "tissue place offset transmit"]
    first: Float[np.ndarray, " 3"]
    step: Float[np.ndarray, " 3"]
    shift: float
    kind: Int32[np.ndarray, " voxel"]
    tissue: Int[np.ndarray, "kind mixed"]
    share: Float32[np.ndarray, "kind mixed"]
    rates: Float[np.ndarray, "kind 2"]
    low: Float[np.ndarray, " voxel"]
    high: Float[np.ndarray, " voxel"]
    edge: Float[np.ndarray, " 3"]

    @property
    def thickness(self) -> Metre:
        """Height of a voxel along the slice."""
        return float(np.linalg.norm(self.edge))

    @property
    def along(self) -> Float[np.ndarray, " 3"]:
        """Direction across the slice."""
        return self.edge / self.thickness

    @property
    def plane(self) -> tuple[int, ...]:
        """The other two axes of the lattice."""
        return tuple(axis for axis in range(3) if axis != self.axis)

    def reach_of(self, heard: Bool[np.ndarray, " node"]) -> tuple[float, float]:
        """Places along the slice, as pulses see them, between which these nodes serve voxels."""
        place = self.nodes.column[heard]
        low, high = (int(place.min()), int(place.max())) if place.size else (0, -5)
        first, step = float(self.first[0]), float(self.step[0])
        return first + (low - 2) * step, first + (high + 2) * step

    def height_of_nodes(self) -> Float[np.ndarray, " node"]:
        """Place of every node along the slice [m]."""
        return np.asarray(self.nodes.spins.position @ self.along)


def slice_axis(program: Program, affine: Float[np.ndarray, "4 4"], size: Metre) -> int | None:
    """Axis of the lattice along which all pulses select and no window encodes; None without.

    ``size`` [m] is the extent of the subject: a moment that changes less over it than a thousandth
    of a turn is constant.
    """
    edges = affine[:3, :3].T
    lengths = np.linalg.norm(edges, axis=1)
    straight = np.abs(edges @ edges.T / np.outer(lengths, lengths) - np.eye(3)).max()
    if straight > _STRAIGHT or any(kind.moment is not None for kind in program.pulses):
        return None
    gradients = np.abs(np.array([k.gradient for k in program.pulses]).reshape(-1, 3) @ edges.T)
    courses = [np.ptp(kind.moment @ (edges.T / lengths), axis=0) * size for kind in program.windows]
    course = np.max([*courses, np.zeros(3)], axis=0)
    for axis in (2, 1, 0):
        others = np.delete(gradients, axis, axis=1)
        if course[axis] < _STEADY_TURNS and np.all(
            others <= _STRAIGHT * gradients.max(initial=0.0) + 1e-12
        ):
            return axis
    return None


def steps_for(error: Ratio) -> tuple[float, Hertz, Ratio, float]:
    """How far nodes may stand apart for an error [of the signal].

    Turns along the slice, offset, transmit field, logarithms of tissue. Interpolation errs with the
    fourth power of the first, with the third of the transmit field, else with the square: cubics,
    parabolas, straight lines.
    """
    share = float(np.clip(error / ROUGH, 1e-4, 1.0))
    root = share ** (1 / 2)
    turns, transmit = _TURNS * share ** (1 / 4), _TRANSMIT_STEP * share ** (1 / 3)
    return turns, _OFFSET_STEP * root, transmit, _NEARBY * root


def classes_of(program: Program, voxels: Voxels, axis: int, error: Ratio = ROUGH) -> Classes | None:
    """Lay nodes over what the voxels cover; None if they would be too many to be worth it.

    They stand as close as the ``error`` asked for needs, see `steps_for`.
    """
    edge = voxels.affine[:3, axis]
    length = float(np.linalg.norm(edge))
    along = edge / length
    slopes = np.array([kind.gradient @ along for kind in program.pulses])
    longest = [program.envelopes[kind.envelope].duration for kind in program.pulses]
    widest = float(np.max(np.abs(slopes) * longest, initial=0.0))
    turns, offset_step, transmit_step, nearby = steps_for(error)
    height = turns / widest if widest > 0 else 1e3
    shift = _shift(program, slopes)
    centre = voxels.index @ (voxels.affine[:3, :3].T @ along) + voxels.affine[:3, 3] @ along
    half = 0.5 * (length + shift * voxels.slope[:, axis].astype(np.float64))
    moved = centre + shift * voxels.offset
    low, high = moved - np.abs(half), moved + np.abs(half)
    strength = np.abs(voxels.transmit).astype(np.float64)
    step = np.array([height, offset_step, transmit_step])
    least = np.array([bounds(v)[0] for v in (low, voxels.offset, strength)])
    most = np.array([bounds(v)[1] for v in (high, voxels.offset, strength)])
    first = (np.floor(least / step) - 2) * step
    cells = np.ceil((most - first) / step) + 3
    if not np.prod(cells) <= _MOST_CELLS:
        return None
    counts = cells.astype(int)
    if len(voxels.diffusion) > 1:
        return None
    found = tissues(
        voxels.r1, voxels.r2, voxels.r2_prime, *voxels.diffusion, bound=voxels.bound, nearby=nearby
    )
    if found is None or _courses(program, voxels, len(found[-1])) > _MOST_COURSES:
        return None
    pairs, kinds, tissue, share, rates = found
    shape = (len(pairs), *counts.tolist())
    if np.prod(np.array(shape, np.float64)) > _MOST_CELLS:
        return None
    number = np.full(shape, -1, np.int32)
    place = np.stack([(low - first[0]) / step[0], (high - first[0]) / step[0]], axis=1)
    fields = np.stack(
        [(voxels.offset - first[1]) / step[1], (strength - first[2]) / step[2]], axis=1
    )
    _occupy(number, place, fields, voxels.faint, (kinds, tissue, share))
    where = np.argwhere(number == 0)
    if len(where) > _MOST_NODES:
        return None
    number[number == 0] = np.arange(len(where), dtype=np.int32)
    kind, s, f, b = where.T
    offset = first[1] + step[1] * f
    edges = np.ascontiguousarray(voxels.affine[:3, :3].T)
    position = (first[0] + step[0] * s - shift * offset) if widest > 0 else np.zeros(len(where))
    nodes = Boxes(
        spins=Spins(
            position=position[:, None] * along,
            offset=offset.astype(np.float64),
            r1=pairs[kind, 0],
            r2=pairs[kind, 1],
            transmit=(first[2] + step[2] * b).astype(np.complex64),
            weight=np.zeros((len(where), 1), np.complex64),
            bound=pairs[kind, 2 + len(voxels.diffusion) :],
        ),
        edges=edges,
        r2_prime=np.zeros(len(where), np.float32),
        column=s,
        diffusion=np.ascontiguousarray(pairs[kind, 2 : 2 + len(voxels.diffusion)].T),
    )
    return Classes(
        axis=axis,
        nodes=nodes,
        number=number,
        first=first,
        step=step,
        shift=shift,
        kind=kinds,
        tissue=tissue,
        share=share,
        rates=rates,
        edge=edge,
        low=low,
        high=high,
    )


def _shift(program: Program, slopes: Float[np.ndarray, " kind"]) -> float:
    """Place [m] by which one hertz moves what the most used gradient [Hz/m] selects."""
    uses = np.bincount(program.kind[program.event == 0], minlength=len(slopes))
    uses = np.where(np.abs(slopes) > _STRAIGHT * np.abs(slopes).max(initial=0.0), uses, 0)
    if not uses.any():
        return 0.0
    return 1.0 / float(slopes[int(np.argmax(uses))])


def _courses(program: Program, voxels: Voxels, n_kinds: int) -> float:
    """About how many numbers describe what offsets do within the longest window (`images`)."""
    longest = max((kind.n_samples * kind.dwell for kind in program.windows), default=0.0)
    turns = float(np.ptp(voxels.offset)) * longest
    return n_kinds * min(MOST_OFFSETS, 2 * np.pi * turns / FINE + 2) * (turns + 4)


def tissues(
    r1: Float32[np.ndarray, " voxel"],
    r2: Float32[np.ndarray, " voxel"],
    r2_prime: Float32[np.ndarray, " voxel"],
    diffusion: Float32[np.ndarray, " voxel"] | None = None,
    *,
    bound: Float32[np.ndarray, "voxel rate"] | None = None,
    nearby: float = _NEARBY,
) -> (
    tuple[
        Float32[np.ndarray, "tissue property"],
        Int32[np.ndarray, " voxel"],
        Int[np.ndarray, "kind mixed"],
        Float32[np.ndarray, "kind mixed"],
        Float[np.ndarray, "kind 2"],
    ]
    | None
):
    """Rates of few tissues [1/s], the kind of each voxel, and what three each kind is mixed of.

    Last answer: R2 and R2' of each kind. None if there are too many pairs of R1 and R2.

    Voxels of a kind have all three rates in common, tissues are told apart by R1 and R2 and, if
    they are given, by diffusion [m2/s] and ``bound`` protons. The most frequent pairs come first; a
    pair near one of them is mixed from those about it, as many as it takes to meet every property.
    """
    both = np.ascontiguousarray(np.stack([r1, r2], axis=1)).view(np.uint64).ravel()
    words, index, counts = np.unique(both, return_inverse=True, return_counts=True)
    if len(words) > _MOST_PAIRS:
        return None
    pairs = words.view(np.float32).reshape(-1, 2)
    coupled = bound is not None and bound.shape[1] > 0
    more = [] if diffusion is None else [diffusion]
    more += [] if bound is None else list(bound.T)
    for values in more:
        levels, level = np.unique(values, return_inverse=True)
        joint, index, counts = np.unique(
            index * len(levels) + level, return_inverse=True, return_counts=True
        )
        if len(joint) > _MOST_PAIRS:
            return None
        pairs = np.column_stack([pairs[joint // len(levels)], levels[joint % len(levels)]])
    logs = _coordinates(pairs.astype(np.float64), coupled=coupled)
    n_mixed = logs.shape[1] + 1
    chosen: list[int] = []
    for pair in np.argsort(-counts, kind="stable").tolist():
        gap = np.abs(logs[chosen] - logs[pair]).max(axis=1) if chosen else np.array([np.inf])
        if gap.min() > nearby:
            chosen.append(pair)
    mixed = np.zeros((len(pairs), n_mixed), np.int64)
    share = np.zeros((len(pairs), n_mixed), np.float32)
    mixed[chosen, 0], share[chosen, 0] = np.arange(len(chosen)), 1.0
    for pair in np.setdiff1d(np.arange(len(pairs)), chosen).tolist():
        near = np.argsort(np.abs(logs[chosen] - logs[pair]).max(axis=1), kind="stable")
        near = near[: 2 * n_mixed]
        ends = logs[[chosen[k] for k in near]]
        # The nearest few that surround it, so that no mean is taken over more than it must.
        for few in range(1, len(near) + 1):
            system = np.vstack([ends[:few].T, np.full(few, _SUM)])
            weights, away = nnls(system, np.append(logs[pair], _SUM))
            if away < _MET:
                break
        best = np.argsort(-weights, kind="stable")[:n_mixed]
        mixed[pair, : len(best)] = near[best]
        share[pair, : len(best)] = weights[best] / weights[best].sum()
    widths, width = np.unique(r2_prime, return_inverse=True)
    both_kinds, kind = np.unique(index * len(widths) + width, return_inverse=True)
    pair_of = both_kinds // len(widths)
    rates = np.column_stack([pairs[pair_of, 1], widths[both_kinds % len(widths)]])
    return (
        pairs[chosen],
        kind.astype(np.int32),
        mixed[pair_of],
        share[pair_of],
        rates.astype(np.float64),
    )


def _coordinates(
    pairs: Float[np.ndarray, "tissue property"], *, coupled: bool
) -> Float[np.ndarray, "tissue coordinate"]:
    """Where tissues lie, so that those a tenth apart differ by as much as if it were in T1."""
    plain = pairs[:, :-N_RATES] if coupled else pairs
    least = np.array([1e-6, 1e-6, _LEAST_DIFFUSION])[: plain.shape[1]]
    logs = np.log(np.maximum(plain, least))
    if not coupled:
        return np.asarray(logs)
    to_bound, to_free, r1, t2 = pairs[:, -N_RATES:].T
    fraction = np.where(to_free > 0, to_bound / np.where(to_free > 0, to_free, 1.0), 0.0)
    width = np.log(np.maximum(t2, 1e-9)) / _WIDTH
    slow = np.log(np.maximum(r1, 1e-6)) / _WIDTH
    # By convention all have one R1: no coordinate then, which would ask for more to be mixed.
    rest = [slow] if np.ptp(slow) > _MET else []
    return np.column_stack([logs, to_bound / _EXCHANGE, fraction / _FRACTION, width, *rest])


@njit(cache=True)
@no_type_check
def _occupy(number, place, fields, faint, mixture):
    """Mark with 0 what the voxels need."""
    kinds, tissue, share = mixture
    for voxel in range(len(place)):
        kind = kinds[voxel]
        low, high = int(np.floor(place[voxel, 0])) - 1, int(np.floor(place[voxel, 1])) + 2
        around = 0 if faint[voxel] else 1
        f = int(np.floor(fields[voxel, 0] + 0.5 - 0.5 * around))
        b = int(np.floor(fields[voxel, 1] + 0.5))
        for k in range(tissue.shape[1]):
            if share[kind, k] == 0.0:
                continue
            t = tissue[kind, k]
            for s in range(low, high + 1):
                for i in range(f, f + around + 1):
                    for j in range(b - around, b + around + 1):
                        number[t, s, i, j] = 0


def masses(
    classes: Classes, voxels: Voxels, loudness: Float32[np.ndarray, " voxel"]
) -> Float32[np.ndarray, " node"]:
    """How much energy hangs on each node; one on the average, none below a thousandth."""
    fields = np.stack([voxels.offset, np.abs(voxels.transmit), classes.low, classes.high], axis=1)
    out = np.zeros(len(classes.nodes.spins))
    table = (classes.number, classes.first, classes.step, classes.tissue, classes.share)
    energy = np.square(loudness, dtype=np.float64)
    _weigh(fields, energy, voxels.faint, classes.kind, table, out)
    return np.maximum(out / max(float(out.mean()), 1e-300), 1e-3).astype(np.float32)


@njit(cache=True)
@no_type_check
def _weigh(fields, energy, faint, kinds, table, out):
    """Give every voxel's energy to the nearest nodes, by the part of its height."""
    number, first, step, tissue, share = table
    for voxel in range(len(fields)):
        offset, strength, low, high = fields[voxel]
        f = int(np.floor((offset - first[1]) / step[1] + (0.5 if faint[voxel] else 0.0)))
        b = int(np.floor((strength - first[2]) / step[2] + 0.5))
        begin = int(np.floor((low - first[0]) / step[0]))
        end = int(np.floor((high - first[0]) / step[0]))
        for s in range(begin, end + 1):
            left = max(low, first[0] + s * step[0])
            stop = min(high, first[0] + (s + 1) * step[0])
            part = max(0.0, (stop - left) / (high - low))
            above = (0.5 * (left + stop) - first[0]) / step[0] - s
            for k in range(tissue.shape[1]):
                much = share[kinds[voxel], k] * part * energy[voxel]
                if much > 0.0:
                    out[number[tissue[kinds[voxel], k], s, f, b]] += (1.0 - above) * much
                    out[number[tissue[kinds[voxel], k], s + 1, f, b]] += above * much
