"""Lines into k-space: averages added, gaps left zero, then the image of every coil."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex64, Float, Int

from scanroom.core.errors import FormatError
from scanroom.mri.raw.encoding import Encoding, Flag
from scanroom.mri.recon.apodise import taper
from scanroom.mri.recon.geometry import Axes, Axis
from scanroom.mri.recon.ghost import align, ghost_phase, odd_even_phase
from scanroom.mri.recon.noise import Measurement
from scanroom.mri.recon.options import Options
from scanroom.mri.recon.parallel import can_unfold
from scanroom.mri.recon.partial_fourier import (
    Coverage,
    complete,
    homodyne_axis,
    noise_gain,
    scaled,
)
from scanroom.mri.recon.profiles import Profiles, profiles, sample_places
from scanroom.operators.fourier import resize, to_image

MAX_GROWTH = 64
"""A grid this many times larger than the data, and above `FREE_BYTES`, is a damaged header."""
FREE_BYTES = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True)
class CoilImages:
    """One slice or slab as every coil sees it.

    ``noise`` is the noise power of a pixel, in phase with the image, for unit noise in the
    samples; ``notes`` say what was done and what was missing. ``placed`` is the k-space behind
    the images where lines between those measured are missing and the coils can tell them.
    """

    signal: Complex64[np.ndarray, "coil z y x"]
    noise: float
    notes: tuple[str, ...]
    placed: "Placed | None" = None


def coil_images(
    measurement: Measurement,
    windows: Int[np.ndarray, " line"],
    echo_train: Int[np.ndarray, " navigator"],
    axes: Axes,
    options: Options,
) -> CoilImages:
    """Make the images of one slice (or slab) from its Cartesian lines."""
    read, phase, partition = axes
    _check_size(measurement, len(windows), axes)
    lines = profiles(measurement, windows, read, options.apodisation)
    signal, notes = _aligned(measurement, lines, windows, echo_train, axes)
    placed = place(signal, measurement.encoding, windows, axes, options.apodisation)
    if placed.has_gaps:
        return _with_gaps(placed, lines.noise, axes, notes)
    whole = tuple(axis for axis, grid in ((-3, partition), (-2, phase)) if grid.n_grid > 1)
    image = to_image(placed.kspace, whole)
    coverage = {
        -3: placed.coverage[0],
        -2: placed.coverage[1],
        -1: scaled(lines.first, lines.last, read.n_pixels * read.pixel / read.fov),
    }
    partial = {axis: seen for axis, seen in coverage.items() if seen.is_partial}
    image = complete(image, partial, options.partial_fourier)
    return CoilImages(
        signal=cropped(image, axes),
        noise=lines.noise * placed.noise * _gain(partial, options.partial_fourier),
        notes=(*notes, *placed.notes, *_said(partial, options.partial_fourier)),
    )


def cropped(image: Complex64[np.ndarray, "..."], axes: Axes) -> Complex64[np.ndarray, "..."]:
    """Cut the field of view wanted out of the one encoded, along phase and slice."""
    return resize(resize(image, axes[1].n_pixels, -2), axes[2].n_pixels, -3)


def _with_gaps(
    placed: "Placed", readout_noise: float, axes: Axes, notes: tuple[str, ...]
) -> CoilImages:
    """Zero-filled images, and the k-space from which the coils may unfold them."""
    can_be = can_unfold(placed.sampled, len(placed.kspace))
    said = () if can_be else ("the missing lines stay zero: the image is aliased",)
    return CoilImages(
        signal=cropped(to_image(placed.kspace, (-3, -2)), axes),
        noise=readout_noise * placed.noise,
        notes=(*notes, *placed.notes, *said),
        placed=placed if can_be else None,
    )


def _check_size(measurement: Measurement, n_lines: int, axes: Axes) -> None:
    read, phase, partition = axes
    across = phase.n_grid * partition.n_grid * max(read.n_pixels, 1)
    along = n_lines * read.n_grid
    wanted = 8 * measurement.n_coils * max(across, along)
    given = sum(samples.nbytes for samples in measurement.signal)
    if wanted > max(FREE_BYTES, MAX_GROWTH * given):
        raise FormatError(
            f"the header asks for a k-space of {wanted / 2**20:.0f} MiB and the file holds "
            f"{given / 2**20:.1f} MiB of samples; up to {MAX_GROWTH} times are filled in "
            "(scanroom.mri.recon.kspace). The matrix in the header is damaged."
        )


def _aligned(
    measurement: Measurement,
    lines: Profiles,
    windows: Int[np.ndarray, " line"],
    echo_train: Int[np.ndarray, " navigator"],
    axes: Axes,
) -> tuple[Complex64[np.ndarray, "line coil x"], tuple[str, ...]]:
    """Align lines of opposite direction, shot by shot where shots have their own navigators."""
    encoding = measurement.encoding
    falling = _falling(encoding, windows, axes[0])
    if not falling.any() or falling.all():
        return lines.signal, ()
    signal = lines.signal
    if len(echo_train) < 2:
        return _self_aligned(signal, falling, encoding, windows, axes)
    known = set(encoding.segment[echo_train].tolist())
    for shot in np.unique(encoding.segment[windows]):
        mine = echo_train
        if int(shot) in known:
            mine = echo_train[encoding.segment[echo_train] == shot]
        reference = profiles(measurement, mine, axes[0]).signal
        fitted = odd_even_phase(reference, _falling(encoding, mine, axes[0]))
        rows = encoding.segment[windows] == shot
        signal[rows] = align(signal[rows], falling[rows], fitted)
    return signal, (f"odd and even echoes aligned with {len(echo_train)} navigators",)


def _self_aligned(
    signal: Complex64[np.ndarray, "line coil x"],
    falling: Bool[np.ndarray, " line"],
    encoding: Encoding,
    windows: Int[np.ndarray, " line"],
    axes: Axes,
) -> tuple[Complex64[np.ndarray, "line coil x"], tuple[str, ...]]:
    """Without navigators, take the alignment that leaves the least ghost in a plane."""
    if axes[2].n_grid > 1:
        return signal, ("lines of both directions, no navigators: ghosts stay",)
    planes = [
        to_image(place(signal * chosen[:, None, None], encoding, windows, axes).kspace, (-2,))
        for chosen in (~falling, falling)
    ]
    phase = ghost_phase(planes[0][:, 0], planes[1][:, 0])
    return align(signal, falling, phase), ("odd and even echoes aligned for the least ghost",)


def _falling(
    encoding: Encoding, windows: Int[np.ndarray, " line"], read: Axis
) -> Bool[np.ndarray, " line"]:
    """Lines whose k_read falls."""
    marked: np.ndarray = encoding.has(Flag.REVERSE)[windows]
    for row, window in enumerate(windows):
        if encoding.trajectory[window].shape[1]:
            places = sample_places(encoding, int(window), read)
            marked[row] = places[-1] < places[0]
    return marked


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Hybrid space of one slice: k-space in z and y, image in x; which lines were measured."""

    kspace: Complex64[np.ndarray, "coil z y x"]
    noise: float
    sampled: Bool[np.ndarray, "z y"]
    coverage: tuple[Coverage, Coverage]
    notes: tuple[str, ...]

    @property
    def has_gaps(self) -> bool:
        """Whether lines are missing between those measured."""
        inner = np.argwhere(self.sampled)
        return len(inner) < int(np.prod(np.ptp(inner, axis=0) + 1))


def place(
    signal: Complex64[np.ndarray, "line coil x"],
    encoding: Encoding,
    windows: Int[np.ndarray, " line"],
    axes: Axes,
    apodisation: str = "none",
) -> Placed:
    """Put lines where their counters say; lines measured again are averaged with equal weight.

    Raises
    ------
    FormatError
        If fewer than two different lines lie in the grid.
    """
    _, phase, partition = axes
    y = encoding.kspace_encode_step_1[windows] - encoding.centre_step_1 + phase.n_grid // 2
    z = np.zeros_like(y)
    if partition.n_grid > 1:
        z = encoding.kspace_encode_step_2[windows] - encoding.centre_step_2
        z = z + partition.n_grid // 2
    inside = (y >= 0) & (y < phase.n_grid) & (z >= 0) & (z < partition.n_grid)
    where, rows, count = np.unique(
        (z * phase.n_grid + y)[inside], return_inverse=True, return_counts=True
    )
    if len(where) < 2:
        raise FormatError(
            f"{encoding.protocol_name or 'the file'} measures {len(where)} line of k-space on a "
            f"grid of {phase.n_grid} x {partition.n_grid}; an image needs two or more. "
            "This is no imaging scan, or its counters are missing."
        )
    mean = _mean_of_equals(signal[inside], rows, count)
    iz, iy = np.divmod(where, phase.n_grid)
    weight = taper(iy - phase.n_grid // 2, phase.n_measured, apodisation)
    weight = weight * taper(iz - partition.n_grid // 2, partition.n_measured, apodisation)
    kspace = np.zeros(
        (signal.shape[1], partition.n_grid, phase.n_grid, signal.shape[2]), dtype=np.complex64
    )
    sampled = np.zeros((partition.n_grid, phase.n_grid), dtype=bool)
    sampled[iz, iy] = True
    kspace[:, iz, iy] = (mean * weight.astype(np.float32)[:, None, None]).swapaxes(0, 1)
    return Placed(
        kspace=kspace,
        sampled=sampled,
        noise=float((weight**2 / count).sum() / (phase.n_grid * partition.n_grid)),
        coverage=(_coverage(iz, partition), _coverage(iy, phase)),
        notes=_gaps(iy, iz, count, windows[~inside]),
    )


def _mean_of_equals(
    signal: Complex64[np.ndarray, "line coil x"],
    rows: Int[np.ndarray, " line"],
    count: Int[np.ndarray, " place"],
) -> Complex64[np.ndarray, "place coil x"]:
    order = np.argsort(rows, kind="stable")
    if (count == 1).all():
        return signal[order]
    starts = np.concatenate([[0], np.cumsum(count)[:-1]])
    total = np.add.reduceat(signal[order], starts, axis=0)
    mean: np.ndarray = total / count.astype(np.float32)[:, None, None]
    return mean


def _coverage(index: Int[np.ndarray, " place"], axis: Axis) -> Coverage:
    centre = axis.n_grid // 2
    return Coverage(int(index.min()) - centre, int(index.max()) - centre)


def _gaps(
    iy: Int[np.ndarray, " place"],
    iz: Int[np.ndarray, " place"],
    count: Int[np.ndarray, " place"],
    outside: Int[np.ndarray, " _"],
) -> tuple[str, ...]:
    notes = []
    full = int(np.ptp(iy) + 1) * int(np.ptp(iz) + 1)
    if len(iy) < full:
        notes.append(f"undersampled: {len(iy)} of {full} lines measured")
    if count.max() > 1:
        notes.append(f"{count.max()} averages")
    if len(outside):
        notes.append(f"{len(outside)} lines outside the encoded matrix left out")
    return tuple(notes)


def _gain(partial: dict[int, Coverage], method: str) -> float:
    if method == "homodyne" and partial:
        return noise_gain(partial[homodyne_axis(partial)], method)
    gains: Float[np.ndarray, " axis"] = np.array(
        [noise_gain(seen, method) for seen in partial.values()], dtype=float
    )
    return float(gains.prod())


def _said(partial: dict[int, Coverage], method: str) -> tuple[str, ...]:
    names = {-3: "slice", -2: "phase", -1: "readout"}
    return tuple(
        f"partial Fourier along {names[axis]}: points {seen.first} to {seen.last}, {method}"
        for axis, seen in partial.items()
    )
