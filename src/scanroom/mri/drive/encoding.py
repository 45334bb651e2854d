"""From a drive alone to everything a raw file says about its windows.

Nothing but the waveforms is needed. Where the file states its field of view, matrix or labels,
they settle what the waveforms leave open: oversampling, acceleration, kinds of readouts.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Tesla
from scanroom.mri.drive import cartesian, lines
from scanroom.mri.drive.cartesian import Axes, Grid, Stated
from scanroom.mri.drive.excitations import Excitations, excitations, slice_numbers
from scanroom.mri.drive.kspace import trajectory
from scanroom.mri.drive.model import Drive
from scanroom.mri.raw.encoding import Encoding, Flag, blank
from scanroom.mri.system import PULSEQ_GAMMA

_PARALLEL_SHARE = 0.9
"""Share of encoding windows that must be parallel for a scan to be Cartesian."""


def encode(drive: Drive, *, field: Tesla, subject_position: str = "HFS") -> Encoding:
    """Derive the MRD encoding of any drive.

    Straight parallel windows become ``"cartesian"`` or ``"epi"``, straight ones of many
    directions ``"radial"``, windows that wind outwards ``"spiral"``, all else ``"other"``. The
    user text ``kind`` says ``image``, ``projection`` (no phase encoding) or ``spectroscopy`` (no
    encoding at all). Windows before the first pulse are noise.

    Raises
    ------
    ProtocolError
        If the drive opens no receiver window.
    """
    if not len(drive.windows.start):
        raise ProtocolError(
            f"{drive.name!r} has no receiver window; raw data need at least one ADC event "
            "(Pulseq [ADC]). Add one to the sequence."
        )
    k = tuple(np.asarray(way, dtype=np.float64) for way in trajectory(drive))
    found = excitations(drive)
    shape = lines.shapes(k)
    rows = blank(len(k))
    rows["dwell"] = drive.windows.dwell.astype(np.float64)
    _labels(drive, rows, found)
    _, along = lines.common_direction(shape)
    encoded = shape.encoded & (found.of_window >= 0)
    if not encoded.any():
        grid, kind, form = _unencoded(drive, rows, found), "spectroscopy", "other"
    elif np.count_nonzero(along & encoded) >= _PARALLEL_SHARE * np.count_nonzero(encoded):
        grid, kind, form = _cartesian(drive, k, rows, shape, found)
    else:
        grid, kind, form = _winding(drive, k, rows, shape, found)
    _close(rows)
    fields: dict[str, Any] = dict(rows)
    user = tuple((key, text) for key, text in drive.definitions if key.startswith("scanroom_"))
    return Encoding(
        protocol_name=drive.definition("Name") or drive.name,
        trajectory_type=form,
        field=field,
        frequency=PULSEQ_GAMMA * field,
        subject_position=subject_position,
        encoded_matrix=grid.encoded_matrix,
        encoded_fov=grid.encoded_fov,
        recon_matrix=grid.recon_matrix,
        recon_fov=grid.recon_fov,
        centre_step_1=grid.centre[0],
        centre_step_2=grid.centre[1],
        acceleration=grid.acceleration,
        user=(("kind", kind), *user),
        trajectory=tuple((way @ grid.axes.T).astype(np.float32) for way in k),
        **_timing(drive, rows, found, grid),
        **fields,
    )


# ---------------------------------------------------------------- labels and definitions


def _labels(drive: Drive, rows: dict[str, np.ndarray], found: Excitations) -> None:
    """Take over what the file says about kinds of readouts; windows before any pulse are noise."""
    label = dict(zip(drive.windows.label_name, drive.windows.label.T, strict=True))
    for name, flag in (
        ("NOISE", Flag.NOISE),
        ("NAV", Flag.PHASE_CORRECTION),
        ("REF", Flag.PARALLEL_CALIBRATION),
    ):
        if name in label:
            rows["flags"][label[name] != 0] |= np.uint64(flag)
    if "REF" in label and "IMA" in label:
        both = (label["REF"] != 0) & (label["IMA"] != 0)
        rows["flags"][both] ^= np.uint64(
            Flag.PARALLEL_CALIBRATION | Flag.PARALLEL_CALIBRATION_AND_IMAGING
        )
    for name, counter in (
        ("AVG", "average"),
        ("REP", "repetition"),
        ("SET", "set"),
        ("PHS", "phase"),
        ("ECO", "contrast"),
    ):
        if name in label and label[name].min() >= 0:
            rows[counter] = label[name].astype(np.int64)
    rows["flags"][found.of_window < 0] |= np.uint64(Flag.NOISE)


def _numbers(drive: Drive, key: str, n: int) -> tuple[float, ...] | None:
    """Numbers of a definition, or None where they are absent or not that many finite ones."""
    try:
        values = tuple(float(word) for word in (drive.definition(key) or "").split())
    except ValueError:
        return None
    return values if len(values) == n and bool(np.isfinite(values).all()) else None


def _stated(drive: Drive) -> Stated:
    """Grid as the definitions have it; nonsense counts as silence."""
    fov = _numbers(drive, "FOV", 3) or (0.0, 0.0, 0.0)
    if max(fov) > 5:
        # Files of the time before Pulseq 1.4, and of JEMRIS, have millimetres.
        fov = (fov[0] * 1e-3, fov[1] * 1e-3, fov[2] * 1e-3)
    matrix = _numbers(drive, "scanroom_matrix", 3)
    factor = _numbers(drive, "scanroom_oversampling", 3)
    if factor is None:
        along_read = _numbers(drive, "scanroom_oversampling", 1)
        factor = (along_read[0] if along_read else 1.0, 1.0, 1.0)
    turned = _numbers(drive, "scanroom_rotation", 9)
    axes = None if turned is None else np.array(turned).reshape(3, 3).T
    if axes is not None and np.abs(axes @ axes.T - np.eye(3)).max() > 1e-4:
        axes = None
    return Stated(
        fov=(fov[0], fov[1], fov[2]) if all(0 <= x < 10 for x in fov) else (0.0, 0.0, 0.0),
        matrix=None if matrix is None else (int(matrix[0]), int(matrix[1]), int(matrix[2])),
        oversampling=(factor[0], factor[1], factor[2]),
        acceleration=max(1, int((_numbers(drive, "scanroom_acceleration", 1) or (1.0,))[0])),
        axes=axes,
    )


# ---------------------------------------------------------------- slices


def _normal(found: Excitations) -> Float[np.ndarray, " 3"] | None:
    """The direction along which most excitations select."""
    chosen = found.normal[np.linalg.norm(found.normal, axis=1) > 0.5]
    return lines.snapped(np.linalg.eigh(chosen.T @ chosen)[1][:, -1]) if len(chosen) else None


def _slices(drive: Drive, rows: dict[str, np.ndarray], found: Excitations, axes: Axes) -> float:
    """Number and place the slices, set the directions; return the slice thickness."""
    centre = np.array(_numbers(drive, "scanroom_position", 3) or (0.0, 0.0, 0.0))
    rows["position"][:] = centre
    thickness = np.zeros(0)
    if len(found.time):
        along = found.normal @ axes[2]
        selective = np.abs(along) > 0.9
        offset = np.where(selective, found.offset * np.sign(along), centre @ axes[2])
        number, _ = slice_numbers(offset)
        heard = np.maximum(found.of_window, 0)
        rows["slice"] = np.where(found.of_window >= 0, number[heard], 0)
        in_plane = centre - (centre @ axes[2]) * axes[2]
        rows["position"] = in_plane + offset[heard][:, None] * axes[2]
        thickness = found.thickness[selective]
    for name, axis in zip(("read", "phase", "slice"), axes, strict=True):
        rows[f"{name}_direction"][:] = axis
    stated = _numbers(drive, "scanroom_slice_thickness", 1)
    if stated is not None:
        return stated[0]
    return float(np.median(thickness)) if len(thickness) else 0.0


# ---------------------------------------------------------------- the three kinds


def _cartesian(
    drive: Drive,
    k: lines.Trajectories,
    rows: dict[str, np.ndarray],
    shape: lines.Shapes,
    found: Excitations,
) -> tuple[Grid, str, str]:
    axis, along = lines.common_direction(shape)
    along &= found.of_window >= 0
    rows["flags"][~along & (found.of_window >= 0)] |= np.uint64(Flag.NAVIGATION)
    rows["centre_sample"] = np.array([int(np.argmin(np.abs(way @ axis))) for way in k])
    point = np.array([way[i] for way, i in zip(k, rows["centre_sample"], strict=True)])
    point -= np.outer(point @ axis, axis)
    if not (rows["flags"] & np.uint64(Flag.PHASE_CORRECTION)).any():
        cartesian.mark_navigators(point, along, rows, found)
    image = along & cartesian.image_lines(rows["flags"])
    if not image.any():
        image = along
    stated = _stated(drive)
    axes, is_3d = cartesian.find_axes(axis, point[image], _normal(found))
    if stated.axes is not None:
        axes = stated.axes
        is_3d = bool(np.ptp(point[image] @ axes[2]) > lines.SAME_LINE)
    rows["flags"][along & (shape.direction @ axes[0] < 0)] |= np.uint64(Flag.REVERSE)
    thickness = _slices(drive, rows, found, axes)
    ways = [k[i] for i in np.flatnonzero(image)]
    grid, steps = cartesian.find_grid(ways, point[image], stated, axes, (is_3d, thickness))
    for counter, i in (("kspace_encode_step_1", 1), ("kspace_encode_step_2", 2)):
        step = steps[i - 1]
        number = np.full(len(k), grid.centre[i - 1], dtype=np.int64)
        if step > 0:
            number[image] += lines.numbered(point[image] @ axes[i], step)
            beside = along & ~image
            number[beside] += np.round(point[beside] @ axes[i] / step).astype(np.int64)
        rows[counter] = np.clip(number, 0, grid.encoded_matrix[i] - 1)
    cartesian.count(rows, found, image)
    uneven = cartesian.is_uneven(ways, axes[0])
    form = "epi" if uneven or cartesian.alternates(rows, found, image) else "cartesian"
    return grid, "image" if grid.encoded_matrix[1] > 1 else "projection", form


def _unencoded(drive: Drive, rows: dict[str, np.ndarray], found: Excitations) -> Grid:
    """Free induction decays and echoes of a whole volume: only averages to count."""
    thickness = _slices(drive, rows, found, np.eye(3))
    n = int(drive.windows.n_samples.max())
    order = lines.ranks(found.of_window[:, None])
    rows["contrast"] = np.where(found.of_window >= 0, order, 0)
    rows["repetition"] = np.maximum(found.of_window, 0)
    fov = (0.0, 0.0, thickness)
    return Grid(
        axes=np.eye(3),
        encoded_matrix=(n, 1, 1),
        encoded_fov=fov,
        recon_matrix=(n, 1, 1),
        recon_fov=fov,
    )


def _winding(
    drive: Drive,
    k: lines.Trajectories,
    rows: dict[str, np.ndarray],
    shape: lines.Shapes,
    found: Excitations,
) -> tuple[Grid, str, str]:
    """Radial, spiral and any other way through k-space; the trajectory says all."""
    encoded = shape.encoded & (found.of_window >= 0)
    rows["flags"][~encoded & (found.of_window >= 0)] |= np.uint64(Flag.NAVIGATION)
    stated = _stated(drive)
    axes = stated.axes if stated.axes is not None else _plane(_normal(found))
    thickness = _slices(drive, rows, found, axes)
    rows["centre_sample"] = np.array([int(np.argmin(np.linalg.norm(w, axis=1))) for w in k])
    form = _form(k, shape, encoded)
    told = np.stack([found.of_window, np.where(form == "radial", shape.straight, 0)], axis=1)
    part = lines.ranks(told)
    rows["segment" if form != "radial" else "contrast"][encoded] = part[encoded]
    ends = np.array([np.concatenate([w[len(w) // 2], w[-1]]) for w in k])
    same = np.round(ends / lines.SAME_LINE).astype(np.int64)
    _, first, way = np.unique(same[encoded], axis=0, return_index=True, return_inverse=True)
    by_time = np.empty(len(first), dtype=np.int64)
    by_time[np.argsort(first)] = np.arange(len(first))
    parts_of_way = int(rows["segment"][encoded].max(initial=0)) + 1
    rows["kspace_encode_step_1"][encoded] = by_time[way.reshape(-1)] // parts_of_way
    keys = [rows[n] for n in ("slice", "contrast", "segment", "average", "repetition", "set")]
    again = lines.ranks(np.concatenate([np.stack(keys, axis=1), same], axis=1)[encoded])
    rows["repetition"][encoded] += again
    return _round_grid(k, encoded, stated, axes, thickness), "image", form


def _plane(normal: Float[np.ndarray, " 3"] | None) -> Axes:
    """Axes with the slice along ``normal`` and the read direction as viewers draw columns."""
    cut = np.array([0.0, 0.0, 1.0]) if normal is None else np.abs(np.eye(3) @ normal) * 1.0
    if normal is not None and cut.max() < 1 - 1e-6:
        cut = normal
    across = np.eye(3)[int(np.argmin(np.abs(cut)))]
    read = lines.snapped(across - (across @ cut) * cut)
    read /= np.linalg.norm(read)
    return np.array([read, np.cross(cut, read), cut])


def _form(k: lines.Trajectories, shape: lines.Shapes, encoded: Bool[np.ndarray, " window"]) -> str:
    chosen = np.flatnonzero(encoded)
    if np.count_nonzero(shape.straight[chosen]) > 0.5 * len(chosen):
        nearest = [np.linalg.norm(k[i], axis=1).min() / shape.length[i] for i in chosen]
        return "radial" if np.median(nearest) < 0.1 else "other"
    outward = []
    for i in chosen:
        radius = np.linalg.norm(k[i], axis=1)
        grows = np.diff(radius[:: max(1, len(radius) // 256)])
        outward.append(max((grows >= 0).mean(), (grows <= 0).mean()))
    return "spiral" if np.median(outward) > 0.9 else "other"


def _round_grid(
    k: lines.Trajectories,
    encoded: Bool[np.ndarray, " window"],
    stated: Stated,
    axes: Axes,
    thickness: float,
) -> Grid:
    """Matrix from the reach of k-space and the field of view; without one, from the sampling."""
    chosen = [k[i] @ axes.T for i in np.flatnonzero(encoded)]
    reach = np.max([np.abs(way).max(axis=0) for way in chosen], axis=0)
    is_3d = bool(reach[2] > max(0.1 * float(reach.max()), lines.SHORTEST_LINE))
    step = np.median([np.linalg.norm(np.diff(way, axis=0), axis=1).max() for way in chosen])
    fov = list(stated.fov_along(axes))
    for i in range(3 if is_3d else 2):
        fov[i] = fov[i] or 1 / float(step)
    if not is_3d:
        fov[2] = thickness
    n = [max(1, 2 * round(float(r) * length)) for r, length in zip(reach, fov, strict=True)]
    matrix = (n[0], n[1], n[2] if is_3d else 1)
    lengths = (fov[0], fov[1], fov[2])
    return Grid(
        axes=axes, encoded_matrix=matrix, encoded_fov=lengths, recon_matrix=matrix,
        recon_fov=lengths,
    )  # fmt: skip


# ---------------------------------------------------------------- times and ends


def _timing(
    drive: Drive, rows: dict[str, np.ndarray], found: Excitations, grid: Grid
) -> dict[str, Any]:
    """Sequence parameters as the waveforms have them."""
    image = cartesian.image_lines(rows["flags"]) & (found.of_window >= 0)
    if not image.any() or not len(found.time):
        return {}
    echo = drive.windows.start + (rows["centre_sample"] + 0.5) * rows["dwell"]
    delay = echo - found.time[np.maximum(found.of_window, 0)]
    off_1 = np.abs(rows["kspace_encode_step_1"] - grid.centre[0])
    off = off_1 + np.abs(rows["kspace_encode_step_2"] - grid.centre[1])
    echo_times = []
    for contrast in np.unique(rows["contrast"][image])[:256]:
        chosen = np.flatnonzero(image & (rows["contrast"] == contrast))
        nearest = chosen[off[chosen] == off[chosen].min()]
        echo_times.append(float(np.median(delay[nearest])))
    shots = np.unique(found.of_window[image])
    number = np.zeros(len(found.time), dtype=np.int64)
    number[found.of_window[image]] = rows["slice"][image]
    gaps = np.concatenate(
        [np.diff(found.time[shots[number[shots] == s]]) for s in np.unique(number[shots])]
    )
    together = np.diff(found.of_window[image]) == 0
    spacing = np.diff(echo[image])[together]
    inversion = found.since_inversion[np.isfinite(found.since_inversion)]
    return {
        "repetition_times": (float(np.median(gaps)),) if len(gaps) else (),
        "echo_times": tuple(echo_times),
        "inversion_times": tuple(float(t) for t in np.unique(np.round(inversion, 6))[:64]),
        "flip_angles": (float(np.median(found.flip)),),
        "echo_spacings": (float(np.median(spacing)),) if len(spacing) else (),
    }


def _close(rows: dict[str, np.ndarray]) -> None:
    """Mark the last readout of every slice and of the measurement."""
    key = rows["slice"] + (int(rows["slice"].max()) + 1) * rows["repetition"]
    last = len(key) - 1 - np.unique(key[::-1], return_index=True)[1]
    rows["flags"][last] |= np.uint64(Flag.LAST_IN_SLICE)
    rows["flags"][-1] |= np.uint64(Flag.LAST_IN_MEASUREMENT)
