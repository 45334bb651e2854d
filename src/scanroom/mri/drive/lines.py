"""How receiver windows lie in k-space: straight or bent, on which grid of lines."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

SHORTEST_LINE = 5.0
"""A window that covers less k than this [1/m] resolves nothing below 0.2 m: no encoding."""
SAME_LINE = 0.1
"""Lines nearer than this [1/m] are one line: no field of view exceeds 10 m."""
_BENT = 0.05
"""Largest sagitta of a straight window, of its length."""
_PARALLEL = 0.999
"""Cosine of the largest angle between two windows of one direction, 2.6 degrees."""
_MANY = 300
_LOPSIDED = 3
"""Lines by which one side may exceed the other before it counts as partial Fourier."""
_WIDEST = 10.0
"""A straight window sampled for more metres than this resolves nothing useful."""

Trajectories = tuple[Float[np.ndarray, "_ _"], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """Per window: its length in k [1/m], whether it is straight, and where it points."""

    length: Float[np.ndarray, " window"]
    straight: Bool[np.ndarray, " window"]
    direction: Float[np.ndarray, "window 3"]

    @property
    def encoded(self) -> Bool[np.ndarray, " window"]:
        """Windows that resolve anything along their way."""
        return np.asarray(self.length > SHORTEST_LINE)


def shapes(k: Trajectories) -> Shapes:
    """Measure every window's way through k-space."""
    length, straight = np.zeros(len(k)), np.ones(len(k), dtype=bool)
    direction = np.zeros((len(k), 3))
    for i, way in enumerate(k):
        if len(way) < 2:
            continue
        chord = way[-1] - way[0]
        extent = np.linalg.norm(np.ptp(way, axis=0))
        length[i] = extent
        if extent <= SHORTEST_LINE:
            continue
        reach = np.linalg.norm(chord)
        if reach < 0.5 * extent:
            straight[i] = False
            continue
        direction[i] = chord / reach
        along = (way - way[0]) @ direction[i]
        bend = way - way[0] - along[:, None] * direction[i]
        straight[i] = np.abs(bend).max() < _BENT * extent
        if straight[i] and (len(way) - 1) / reach > _WIDEST:
            length[i] = 0.0
    return Shapes(length=length, straight=straight, direction=direction)


def common_direction(found: Shapes) -> tuple[Float[np.ndarray, " 3"], Bool[np.ndarray, " window"]]:
    """Return the direction most windows follow, either way, and which windows do."""
    ways = found.direction[found.encoded & found.straight]
    if not len(ways):
        return np.eye(3)[0], np.zeros(len(found.length), dtype=bool)
    axis = snapped(np.linalg.eigh(ways.T @ ways)[1][:, -1])
    return axis, found.encoded & found.straight & (np.abs(found.direction @ axis) > _PARALLEL)


def snapped(axis: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    """Point to the subject's left, posterior or inferior, as DICOM viewers draw rows and columns.

    An axis of the scanner is taken exactly when the direction is nearly that.
    """
    strongest = int(np.argmax(np.abs(axis)))
    axis = -axis * np.sign(axis[strongest])
    return -np.eye(3)[strongest] if axis[strongest] < 1e-6 - 1 else np.asarray(axis)


def lattice(
    points: Float[np.ndarray, "point 3"], normal: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "axis 3"]:
    """Directions, none to two, along which points perpendicular to ``normal`` are arranged.

    The first is that of the nearest neighbours around the centre of k-space; where both are
    equally near, the one along which the points reach further.
    """
    near = points[np.argsort(np.linalg.norm(points, axis=1), kind="stable")]
    near = _distinct(near)[:_MANY]
    steps = (near[:, None] - near[None]).reshape(-1, 3)
    size = np.linalg.norm(steps, axis=1)
    steps, size = steps[size > SAME_LINE], size[size > SAME_LINE]
    if not len(size):
        return np.zeros((0, 3))
    first = steps[np.argmin(size)] / size.min()
    across = np.cross(normal, first)
    if float(np.abs(steps @ across).max()) <= max(SAME_LINE, 0.25 * size.min()):
        return snapped(_long_way(points, first))[None]
    pair = np.array([snapped(first), snapped(across)])
    reach = np.ptp(points @ pair.T, axis=0)
    return pair if reach[0] >= 0.999 * reach[1] else pair[::-1]


def _distinct(points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "kept 3"]:
    """One point of each line, in the order given."""
    _, first = np.unique(np.round(points / SAME_LINE), axis=0, return_index=True)
    return points[np.sort(first)]


def _long_way(
    points: Float[np.ndarray, "point 3"], first: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, " 3"]:
    """Refine a direction by the points farthest apart along it."""
    along = points @ first
    chord = points[np.argmax(along)] - points[np.argmin(along)]
    return np.asarray(chord / np.linalg.norm(chord))


def spacing(coordinate: Float[np.ndarray, " line"]) -> float:
    """Distance between neighbouring lines, 0 for a single line; gaps between them may be there."""
    ordered = np.sort(coordinate)
    gaps = np.diff(ordered)
    gaps = gaps[gaps > SAME_LINE]
    if not len(gaps):
        return 0.0
    step = float(np.median(gaps[gaps < 1.3 * gaps.min()]))
    for reach in (8, 64, 1 << 20):
        # Longer and longer baselines pin the step down without ever miscounting lines.
        counts = np.round((ordered - ordered[0]) / step)
        use = counts <= reach
        slope = np.polyfit(counts[use], ordered[use], 1)[0] if counts[use].max() else step
        step = float(slope)
    return step


def numbered(coordinate: Float[np.ndarray, " line"], step: float) -> Int[np.ndarray, " line"]:
    """Number lines from the centre of k-space; all may lie off the grid by one common fraction."""
    if step <= 0:
        return np.zeros(len(coordinate), dtype=np.int64)
    place = coordinate / step
    fraction = float(np.angle(np.exp(2j * np.pi * place).mean()) / (2 * np.pi))
    choices = [fraction]
    if abs(fraction) > 0.4:
        choices.append(fraction - float(np.sign(fraction)))
    numbers = [np.round(place - choice).astype(np.int64) for choice in choices]
    # Half a line off centre has two numberings; prefer -n/2 to n/2 - 1.
    best = numbers[0]
    for number in numbers[1:]:
        if abs(number.min() + number.max() + 1) < abs(best.min() + best.max() + 1):
            best = number
    return best


def extent(number: Int[np.ndarray, " line"]) -> tuple[int, int, bool]:
    """Return matrix, its centre, and whether the axis had better be reversed.

    A grid of even size runs from -n/2 to n/2 - 1; lines on one side only are the rest of a
    partial Fourier grid.
    """
    low, high = -int(number.min()), int(number.max())
    if low == high:
        return 2 * low + 1, low, False
    if 0 < high - low <= _LOPSIDED:
        return 2 * high, high, True
    half = max(low, high + 1, 1)
    return 2 * half, half, False


def ranks(keys: Int[np.ndarray, "row key"]) -> Int[np.ndarray, " row"]:
    """How many earlier rows carry the same keys."""
    if not len(keys):
        return np.zeros(0, dtype=np.int64)
    group = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(group, kind="stable")
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    size = np.diff(first, append=len(group))
    rank = np.empty(len(group), dtype=np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(first, size)
    return rank
