"""Windows that are parallel straight lines: their grid, their counters, their navigators."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from scanroom.mri.drive import lines
from scanroom.mri.drive.excitations import Excitations
from scanroom.mri.raw.encoding import NOT_IMAGE, Flag

Axes = Float[np.ndarray, "3 3"]
Lengths = tuple[float, float, float]

_UNEVEN = 1.02
"""Largest ratio of sample distances in an evenly sampled window."""
_NAVIGATOR_JUMP = 1.5
"""A train that starts at the centre and jumps by more of its own steps began with navigators."""
_SHORTEST_TRAIN = 3
_INTEGER = 0.03
"""How far from a whole number a ratio of fields of view may be to count as acceleration."""
_SAMPLED_LINES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Directions in rows (read, phase, slice), matrices, fields of view, centre lines."""

    axes: Axes
    encoded_matrix: tuple[int, int, int]
    encoded_fov: Lengths
    recon_matrix: tuple[int, int, int]
    recon_fov: Lengths
    centre: tuple[int, int] = (0, 0)
    acceleration: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What the file itself says of its grid; zeros and None where it is silent.

    ``fov`` is along x y z of the scanner, or along (read, phase, slice) where ``axes`` are given.
    """

    fov: Lengths
    matrix: tuple[int, int, int] | None
    oversampling: tuple[float, float, float]
    acceleration: int
    axes: Axes | None

    def fov_along(self, axes: Axes) -> Lengths:
        """Field of view along (read, phase, slice)."""
        if self.axes is not None:
            return self.fov
        found = [self.fov[int(np.argmax(np.abs(axis)))] for axis in axes]
        return found[0], found[1], found[2]


def image_lines(flags: UInt64[np.ndarray, " window"]) -> Bool[np.ndarray, " window"]:
    """Windows no flag excludes from the image."""
    return np.asarray((flags & np.uint64(NOT_IMAGE)) == 0)


# ---------------------------------------------------------------- navigators


def mark_navigators(
    point: Float[np.ndarray, "window 3"],
    along: Bool[np.ndarray, " window"],
    rows: dict[str, np.ndarray],
    found: Excitations,
) -> None:
    """Flag readouts without phase encoding that precede a train, or make a train of their own."""
    trains = [
        windows
        for windows in np.split(
            np.flatnonzero(along), np.flatnonzero(np.diff(found.of_window[along])) + 1
        )
        if len(windows) >= _SHORTEST_TRAIN
    ]
    spread = [bool(_leading(point[windows]) < len(windows)) for windows in trains]
    if not any(spread):
        return
    for windows, encodes in zip(trains, spread, strict=True):
        count = _leading(point[windows])
        if not encodes:
            if np.linalg.norm(point[windows[0]]) < 1.0:
                rows["flags"][windows] |= np.uint64(Flag.PHASE_CORRECTION)
            continue
        steps = np.linalg.norm(np.diff(point[windows[count:]], axis=0), axis=1)
        jump = float(np.linalg.norm(point[windows[count]] - point[windows[0]]))
        usual = float(np.median(steps[steps > lines.SAME_LINE])) if steps.any() else jump
        central = np.linalg.norm(point[windows[0]]) < 0.3 * usual
        if central and (count > 1 or jump > _NAVIGATOR_JUMP * usual):
            rows["flags"][windows[:count]] |= np.uint64(Flag.PHASE_CORRECTION)


def _leading(point: Float[np.ndarray, "window 3"]) -> int:
    """How many windows from the first on lie on one line."""
    away = np.linalg.norm(point - point[0], axis=1) > lines.SAME_LINE
    return int(np.argmax(away)) if away.any() else len(point)


# ---------------------------------------------------------------- axes and grid


def find_axes(
    axis: Float[np.ndarray, " 3"],
    point: Float[np.ndarray, "line 3"],
    normal: Float[np.ndarray, " 3"] | None,
) -> tuple[Axes, bool]:
    """Right-handed (read, phase, slice) from the lines themselves, and whether they are 3-D."""
    read = lines.snapped(axis)
    found = lines.lattice(point, read)
    if len(found) == 2:
        phase, cut = (_side(found[i], point) for i in (0, 1))
        return np.array([np.cross(phase, cut), phase, cut]), True
    if len(found) == 1:
        phase = _side(found[0], point)
    elif normal is not None and abs(normal @ read) < 0.1:
        phase = lines.snapped(np.cross(normal, read))
    else:
        least = np.eye(3)[int(np.argmin(np.abs(read)))]
        phase = lines.snapped(np.cross(read, least) / np.linalg.norm(np.cross(read, least)))
    phase = phase - (phase @ read) * read
    phase /= np.linalg.norm(phase)
    return np.array([read, phase, np.cross(read, phase)]), False


def _side(
    axis: Float[np.ndarray, " 3"], point: Float[np.ndarray, "line 3"]
) -> Float[np.ndarray, " 3"]:
    """Reverse an axis when its lines run from -n/2 + 1 to n/2."""
    along = point @ axis
    reverse = lines.extent(lines.numbered(along, lines.spacing(along)))[2]
    return -axis if reverse else axis


def find_grid(
    ways: list[Float[np.ndarray, "_ _"]],
    point: Float[np.ndarray, "line 3"],
    stated: Stated,
    axes: Axes,
    depth: tuple[bool, float],
) -> tuple[Grid, tuple[float, float]]:
    """Grid of the image lines, and the distance of neighbouring lines along phase and slice.

    ``depth`` says whether the scan is 3-D and, where it is not, the slice thickness.
    """
    is_3d, thickness = depth
    if stated.axes is not None and stated.matrix is not None and min(stated.fov) > 0:
        return _stated_grid(stated, axes, depth)
    fov = stated.fov_along(axes)
    read = _read_axis(ways, axes[0], fov[0])
    axis_1 = _line_axis(point @ axes[1], fov[1])
    axis_2 = _line_axis(point @ axes[2], fov[2] if is_3d else 0.0)
    if axis_1.step and not fov[0] and abs(read.encoded_fov / axis_1.encoded_fov - 2) < 0.3:
        # Twice the field of view along read and nothing stated: the usual oversampling.
        read = replace(read, recon_fov=axis_1.encoded_fov)
    cut = (1, thickness, 1, thickness) if not is_3d else None
    all_axes = [_four(read), _four(axis_1), cut or _four(axis_2)]
    grid = Grid(
        axes=axes,
        encoded_matrix=_triple([a[0] for a in all_axes]),
        encoded_fov=_lengths([a[1] for a in all_axes]),
        recon_matrix=_triple([a[2] for a in all_axes]),
        recon_fov=_lengths([a[3] for a in all_axes]),
        centre=(axis_1.centre, axis_2.centre if is_3d else 0),
        acceleration=(axis_1.acceleration, axis_2.acceleration if is_3d else 1),
    )
    return grid, (axis_1.step, axis_2.step if is_3d else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    matrix: int
    encoded_fov: float
    recon_fov: float
    centre: int
    step: float
    acceleration: int = 1


def _four(axis: _Axis) -> tuple[int, float, int, float]:
    ratio = axis.recon_fov / axis.encoded_fov if axis.encoded_fov > 0 else 1.0
    return axis.matrix, axis.encoded_fov, max(1, round(axis.matrix * ratio)), axis.recon_fov


def _triple(values: list[int]) -> tuple[int, int, int]:
    return values[0], values[1], values[2]


def _lengths(values: list[float]) -> Lengths:
    return values[0], values[1], values[2]


def _stated_grid(
    stated: Stated, axes: Axes, depth: tuple[bool, float]
) -> tuple[Grid, tuple[float, float]]:
    matrix, fov = stated.matrix or (1, 1, 1), stated.fov
    is_3d, thickness = depth
    if not is_3d:
        matrix, fov = (*matrix[:2], 1), (*fov[:2], thickness)
    factor = (*stated.oversampling[:2], stated.oversampling[2] if is_3d else 1.0)
    encoded = [round(n * f) for n, f in zip(matrix, factor, strict=True)]
    lengths = [n * length / m for n, length, m in zip(encoded, fov, matrix, strict=True)]
    grid = Grid(
        axes=axes,
        encoded_matrix=_triple(encoded),
        encoded_fov=_lengths(lengths),
        recon_matrix=matrix,
        recon_fov=fov,
        centre=(encoded[1] // 2, encoded[2] // 2),
        acceleration=(stated.acceleration, 1),
    )
    return grid, (1 / lengths[1], 1 / lengths[2] if is_3d else 0.0)


def is_uneven(ways: list[Float[np.ndarray, "_ _"]], axis: Float[np.ndarray, " 3"]) -> bool:
    """Whether samples are taken while the readout gradient still changes."""
    for way in ways[:: max(1, len(ways) // _SAMPLED_LINES)]:
        steps = np.abs(np.diff(way @ axis))
        if steps.max() > _UNEVEN * max(float(steps.min()), 1e-12):
            return True
    return False


def _read_axis(
    ways: list[Float[np.ndarray, "_ _"]], axis: Float[np.ndarray, " 3"], stated: float
) -> _Axis:
    """Readout grid: that of the samples, or one of twice the field of view if they are uneven."""
    some = [way @ axis for way in ways[:: max(1, len(ways) // _SAMPLED_LINES)]]
    step = float(np.median(np.concatenate([np.abs(np.diff(k)) for k in some])))
    low, high = -min(float(k.min()) for k in some), max(float(k.max()) for k in some)
    if is_uneven(ways, axis):
        widest = max(float(np.abs(np.diff(k)).max()) for k in some)
        recon = stated if stated > 0 else 0.5 / widest
        pixels = max(2, 2 * round(max(low, high) * recon))
        factor = 2 if 2 * recon * widest < _NAVIGATOR_JUMP else 1
        return _Axis(
            matrix=factor * pixels,
            encoded_fov=factor * recon,
            recon_fov=recon,
            centre=factor * pixels // 2,
            step=step,
        )
    number = lines.numbered(np.concatenate(some), step)
    low_n, high_n = -int(number.min()), int(number.max())
    matrix = 2 * max(low_n, high_n + 1)
    if abs(low_n - high_n) <= 1 and low_n + high_n <= len(some[0]):
        # A whole echo; forward and reverse lines may differ by one sample at their ends.
        matrix = len(some[0])
    fov = 1 / step
    recon = stated if 0.2 * fov < stated < 1.02 * fov else fov
    return _Axis(matrix=matrix, encoded_fov=fov, recon_fov=recon, centre=matrix // 2, step=step)


def _line_axis(coordinate: Float[np.ndarray, " line"], stated: float) -> _Axis:
    """Phase encoding grid; a stated field of view reveals lines left out everywhere."""
    step = lines.spacing(coordinate)
    if step <= 0:
        length = stated
        return _Axis(matrix=1, encoded_fov=length, recon_fov=length, centre=0, step=0.0)
    factor = stated * step
    acceleration = round(factor)
    if acceleration > 1 and abs(factor / acceleration - 1) < _INTEGER:
        step /= acceleration
    else:
        acceleration = 1
    matrix, centre, _ = lines.extent(lines.numbered(coordinate, step))
    fov = 1 / step
    recon = stated if 0.2 * fov < stated < 0.98 * fov else fov
    return _Axis(
        matrix=matrix,
        encoded_fov=fov,
        recon_fov=recon,
        centre=centre,
        step=step,
        acceleration=acceleration,
    )


# ---------------------------------------------------------------- counters


def count(
    rows: dict[str, np.ndarray], found: Excitations, image: Bool[np.ndarray, " window"]
) -> None:
    """Tell echoes, shots, averages and repetitions apart."""
    line = (rows["kspace_encode_step_1"], rows["kspace_encode_step_2"])
    if not rows["contrast"].any():
        rank = lines.ranks(np.stack([found.of_window, *line], axis=1)[image])
        rows["contrast"][image] = rank
    told = [rows[name] for name in ("slice", "contrast", "set", "phase", "average", "repetition")]
    again = lines.ranks(np.stack([*told, *line], axis=1)[image])
    if again.any():
        name = "repetition" if _one_after_another(rows, image, again) else "average"
        rows[name][image] += again
    _shots(rows, found, image)


def _one_after_another(
    rows: dict[str, np.ndarray], image: Bool[np.ndarray, " window"], again: Int[np.ndarray, " line"]
) -> bool:
    """Whether every repeated measurement began only when the one before was through."""
    group = rows["slice"][image] * (int(rows["contrast"].max()) + 1) + rows["contrast"][image]
    for number in np.unique(group):
        order = again[group == number]
        if (np.diff(order) < 0).any():
            return False
    return True


def _shots(
    rows: dict[str, np.ndarray], found: Excitations, image: Bool[np.ndarray, " window"]
) -> None:
    """Number the shots of each image; readouts beside the image follow the lines of their shot."""
    windows = np.flatnonzero(image)
    shot, first = np.unique(found.of_window[windows], return_index=True)
    lead = windows[first]
    is_train = len(windows) > len(shot) * (int(rows["contrast"][image].max(initial=0)) + 1)
    told = [rows[name][lead] for name in ("slice", "average", "repetition", "set", "phase")]
    number = lines.ranks(np.stack(told, axis=1)) if is_train else np.zeros(len(shot), np.int64)
    beside = np.flatnonzero(~image & np.isin(found.of_window, shot))
    of_shot = np.searchsorted(shot, found.of_window)
    rows["segment"][image] = number[of_shot[image]]
    rows["segment"][beside] = number[of_shot[beside]]
    for name in ("average", "repetition", "set", "phase"):
        rows[name][beside] = rows[name][lead][of_shot[beside]]


def alternates(
    rows: dict[str, np.ndarray], found: Excitations, image: Bool[np.ndarray, " window"]
) -> bool:
    """Whether lines of one echo run both ways after one excitation, as in EPI."""
    reverse = ((rows["flags"] & np.uint64(Flag.REVERSE)) != 0)[image]
    key = found.of_window[image] * (int(rows["contrast"].max()) + 1) + rows["contrast"][image]
    forward_shots, reverse_shots = np.unique(key[~reverse]), np.unique(key[reverse])
    return bool(np.isin(forward_shots, reverse_shots).any())
