"""Images from samples on any trajectory: density compensation and the adjoint transform.

Stacks of stars and spirals, whose third axis lies on the grid, are planes: gridded each by itself,
then transformed across.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Complex64, Float, Int

from scanroom.core.errors import FormatError
from scanroom.mri.raw.encoding import Encoding
from scanroom.mri.recon.focus import BY_ITSELF, REACH, field_of, focused
from scanroom.mri.recon.geometry import Axes, Axis
from scanroom.mri.recon.kspace import CoilImages
from scanroom.mri.recon.noise import Measurement
from scanroom.mri.recon.noncartesian import centre_maps, gridded, sense
from scanroom.mri.recon.options import Options
from scanroom.mri.recon.trajectory import Lines, read_response, responded, undelayed
from scanroom.operators.fourier import resize, to_image
from scanroom.operators.nufft import density

CARTESIAN = ("cartesian", "epi")
MAX_PIXELS = 1 << 26
MIN_COILS = 4
COVERED = 0.9
"""Share of the cells within reach below which a trajectory has gaps."""
SOLVED = (
    "undersampled trajectory solved by SENSE with maps of its own centre; not in units of noise"
)
ON_GRID = 1e-3
"""Samples whose third axis leaves the grid by less, in steps of k-space, make a stack of planes."""


def is_cartesian(encoding: Encoding) -> bool:
    """Whether counters place whole lines; without a trajectory there is nothing else to do."""
    has_places = all(k.shape[1] >= 2 for k in encoding.trajectory)
    return encoding.trajectory_type in CARTESIAN or not has_places


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """All samples of one slice or slab, the field of view's centre in the middle of the image.

    ``place`` is in cycles per pixel of an image of ``shape``, axes as in the image; ``time`` [s]
    counts from the begin of each readout. ``notes`` say what was corrected.
    """

    signal: Complex64[np.ndarray, "coil sample"]
    place: Float[np.ndarray, "sample axis"]
    time: Float[np.ndarray, " sample"]
    shape: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def has_gaps(self) -> bool:
        """Whether samples leave gaps within their reach, and there are coils to fill them.

        Weights of the density are shares of the grid's cells, one at most: where samples are
        closer than the grid's they add up to all cells within reach.
        """
        if len(self.signal) < MIN_COILS:
            return False
        if _levels(self.place, self.shape) is not None:
            return False
        weight = _density(self.place.tobytes(), self.place.shape, self.shape)
        reach = np.abs(self.place).max(axis=0)
        ball = {2: np.pi, 3: 4 * np.pi / 3}[len(self.shape)]
        cells = ball * float(np.prod(reach * self.shape))
        return float(weight.sum()) < COVERED * cells


def samples_of(
    measurement: Measurement, windows: Int[np.ndarray, " line"], axes: Axes, options: Options
) -> Samples:
    """Gather what one slice (or slab) has on its trajectory, put where ``options`` find it to be.

    Raises
    ------
    FormatError
        If the trajectory makes no image.
    """
    encoding = measurement.encoding
    if sum(axis.n_grid > 1 for axis in axes) < 2:
        raise FormatError(
            f"{encoding.protocol_name or 'the file'} encodes a matrix of "
            f"{encoding.encoded_matrix}; an image needs two axes with more than one point. "
            "This is a spectrum or a projection."
        )
    lines, received, notes = _corrected(measurement, windows, options)
    used = [_used(encoding, int(window)) for window in windows]
    k = np.concatenate([line[u] for line, u in zip(lines, used, strict=True)])
    signal = np.concatenate([line[:, u] for line, u in zip(received, used, strict=True)], axis=1)
    time = np.concatenate(
        [
            encoding.dwell[w] * np.arange(len(line))[u]
            for w, line, u in zip(windows, lines, used, strict=True)
        ]
    )
    image_axes = _image_axes(axes, k.shape[1])
    shape = tuple(axis.n_grid for axis in image_axes)
    if np.prod(shape, dtype=float) > MAX_PIXELS:
        raise FormatError(
            f"the header asks for an image of {shape}; up to {MAX_PIXELS} pixels are gridded "
            "(scanroom.mri.recon.gridding). Lower the matrix or cut the field of view."
        )
    place = k[:, ::-1] * [axis.pixel for axis in image_axes]
    inside = (np.abs(place) <= 0.5).all(axis=1)
    if not inside.any():
        raise FormatError(
            f"none of the {len(k)} samples of {encoding.protocol_name or 'the file'} lies within "
            f"the k-space of an image of {shape} (scanroom.mri.recon.gridding). Check the units "
            "of the trajectory, 1/m, and the field of view."
        )
    place, signal, k = place[inside], signal[:, inside], k[inside]
    centred = signal * _off_centre(encoding, int(windows[0]), k).astype(np.complex64)
    place = np.ascontiguousarray(place)
    return Samples(signal=centred, place=place, time=time[inside], shape=shape, notes=notes)


def _corrected(
    measurement: Measurement, windows: Int[np.ndarray, " line"], options: Options
) -> tuple[Lines, list[Complex64[np.ndarray, "coil _"]], tuple[str, ...]]:
    """Places [cycles/m] of whole windows, their samples, and what was done to both."""
    encoding = measurement.encoding
    places = [_places(encoding, int(window)) for window in windows]
    signal = [measurement.signal[window] for window in windows]
    notes: list[str] = []
    if options.girf:
        response = read_response(options.girf)
        places, turns = responded(encoding, windows, places, response)
        signal = [
            (line * np.exp(2j * np.pi * turn)).astype(np.complex64)
            for line, turn in zip(signal, turns, strict=True)
        ]
        notes.append(f"samples placed by the gradient response {response.source}")
    if options.delays == "auto" and not options.girf:
        places, note = undelayed(encoding, windows, places, signal)
        notes += [note] if note else []
    return places, signal, tuple(notes)


def gridded_images(samples: Samples, axes: Axes) -> CoilImages:
    """Make the images of one slice (or slab) by density compensation and adjoint transform."""
    levels = _levels(samples.place, samples.shape)
    parts = (samples.signal, samples.place, samples.shape)
    image, noise = _whole(*parts) if levels is None else _planes(*parts, levels)
    return CoilImages(
        signal=_cropped(image, axes),
        noise=noise,
        notes=(
            *samples.notes,
            f"{len(samples.place)} samples gridded with iterative density compensation",
        ),
    )


def solved(samples: Samples, axes: Axes) -> Complex64[np.ndarray, "z y x"]:
    """Solve for the image that explains the samples, by coil maps from their own centre.

    White noise of one in the samples stays about one in the image, but for the geometry.
    """
    shape = ((1,) * (3 - len(samples.shape)) + samples.shape)[-3:]
    planar = len(samples.shape) == 2
    signal = samples.signal[:, None] if planar else samples.signal
    maps = centre_maps(signal, samples.place, shape)
    image = sense(signal, samples.place, maps)
    volume: np.ndarray = _cropped(image[None].astype(np.complex64), axes)[0]
    return volume


def sharpened(
    samples: Samples, encoding: Encoding, window: int, axes: Axes, source: str
) -> tuple[Complex64[np.ndarray, "z y x"], str]:
    """Solve for the image in a field that is not even: that of a file, or what autofocus finds."""
    by_itself = source == BY_ITSELF
    field: Float[np.ndarray, "z y x"] | float = (
        REACH * encoding.frequency
        if by_itself
        else field_of(source, encoding, window, axes, samples.shape)
    )
    parts = (samples.signal, samples.place, samples.time, samples.shape)
    image, note = focused(*parts, field)
    volume: np.ndarray = _cropped(image[None], axes)[0]
    return volume, note


def _cropped(
    image: Complex64[np.ndarray, "coil z y x"], axes: Axes
) -> Complex64[np.ndarray, "coil _ _ _"]:
    for position, axis in zip((-1, -2, -3), axes, strict=True):
        image = resize(image, min(axis.n_pixels, image.shape[position]), position)
    return image.astype(np.complex64)


def _whole(
    signal: Complex64[np.ndarray, "coil sample"],
    place: Float[np.ndarray, "sample axis"],
    shape: tuple[int, ...],
) -> tuple[Complex64[np.ndarray, "coil z y x"], float]:
    weight = _density(place.tobytes(), place.shape, shape)
    return gridded(signal, place, ((1,) * (3 - len(shape)) + shape)[-3:], weight)


def _levels(
    place: Float[np.ndarray, "sample axis"], shape: tuple[int, ...]
) -> Int[np.ndarray, " sample"] | None:
    """Level of each sample along z, where all lie on the grid."""
    if len(shape) < 3:
        return None
    at = place[:, 0] * shape[0]
    nearest = np.round(at)
    if np.abs(at - nearest).max() > ON_GRID:
        return None
    return nearest.astype(np.int64) % shape[0]


def _planes(
    signal: Complex64[np.ndarray, "coil sample"],
    place: Float[np.ndarray, "sample axis"],
    shape: tuple[int, ...],
    levels: Int[np.ndarray, " sample"],
) -> tuple[Complex64[np.ndarray, "coil z y x"], float]:
    """Grid level by level; the noise of a voxel is the mean of that of all levels."""
    space = np.zeros((len(signal), *shape), np.complex64)
    total = 0.0
    for level in np.unique(levels):
        here = levels == level
        plane = np.ascontiguousarray(place[here, 1:])
        row = (level + shape[0] // 2) % shape[0]
        images, noise = _whole(signal[:, here], plane, shape[1:])
        space[:, row] = images[:, 0]
        total += noise
    return to_image(space, (1,)), total / shape[0]


def _used(encoding: Encoding, window: int) -> slice:
    n_samples = len(encoding.trajectory[window])
    return slice(int(encoding.discard_pre[window]), n_samples - int(encoding.discard_post[window]))


def _places(encoding: Encoding, window: int) -> Float[np.ndarray, "sample axis"]:
    """Return k in 1/m; a stack of planar trajectories gets its third axis from its counter."""
    k = encoding.trajectory[window].astype(np.float64)
    n_axes = 3 if encoding.encoded_matrix[2] > 1 else 2
    if k.shape[1] >= n_axes:
        return k[:, :n_axes]
    step = int(encoding.kspace_encode_step_2[window]) - encoding.centre_step_2
    level = np.full((len(k), 1), step / max(encoding.encoded_fov[2], 1e-6))
    return np.hstack([k, level])


def _image_axes(axes: Axes, n_axes: int) -> tuple[Axis, ...]:
    """Axes of the image, slowest first."""
    return tuple(reversed(axes[:n_axes]))


def _off_centre(encoding: Encoding, window: int, k: Float[np.ndarray, "sample axis"]) -> np.ndarray:
    directions = np.stack(
        [
            encoding.read_direction[window],
            encoding.phase_direction[window],
            encoding.slice_direction[window],
        ]
    )[: k.shape[1]]
    turns = k @ (directions @ encoding.position[window]) * (not encoding.centred)
    phase: np.ndarray = np.exp(2j * np.pi * turns)
    return phase


@lru_cache(maxsize=16)
def _density(
    place: bytes, place_shape: tuple[int, ...], shape: tuple[int, ...]
) -> Float[np.ndarray, " sample"]:
    """Slices and frames of one trajectory share its density."""
    return density(np.frombuffer(place).reshape(place_shape), shape)
