"""Images from samples on any trajectory: density compensation and the adjoint transform.

Stacks of stars and spirals, whose third axis lies on the grid, are planes: gridded each by itself,
then transformed across.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Complex64, Float, Int

from scanroom.core.errors import FormatError
from scanroom.mri.raw.encoding import Encoding
from scanroom.mri.recon.geometry import Axes, Axis
from scanroom.mri.recon.kspace import CoilImages
from scanroom.mri.recon.noise import Measurement
from scanroom.mri.recon.noncartesian import gridded
from scanroom.operators.fourier import resize, to_image
from scanroom.operators.nufft import density

CARTESIAN = ("cartesian", "epi")
MAX_PIXELS = 1 << 26
ON_GRID = 1e-3
"""Samples whose third axis leaves the grid by less, in steps of k-space, make a stack of planes."""


def is_cartesian(encoding: Encoding) -> bool:
    """Whether counters place whole lines; without a trajectory there is nothing else to do."""
    has_places = all(k.shape[1] >= 2 for k in encoding.trajectory)
    return encoding.trajectory_type in CARTESIAN or not has_places


def gridded_images(
    measurement: Measurement, windows: Int[np.ndarray, " line"], axes: Axes
) -> CoilImages:
    """Make the images of one slice (or slab) from all its samples."""
    encoding = measurement.encoding
    if sum(axis.n_grid > 1 for axis in axes) < 2:
        raise FormatError(
            f"{encoding.protocol_name or 'the file'} encodes a matrix of "
            f"{encoding.encoded_matrix}; an image needs two axes with more than one point. "
            "This is a spectrum or a projection."
        )
    used = [_used(encoding, int(window)) for window in windows]
    k = np.concatenate([_places(encoding, int(w))[u] for w, u in zip(windows, used, strict=True)])
    signal = np.concatenate(
        [measurement.signal[w][:, u] for w, u in zip(windows, used, strict=True)], axis=1
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
    levels = _levels(place, shape)
    image, noise = (
        _whole(centred, place, shape) if levels is None else _planes(centred, place, shape, levels)
    )
    for position, axis in zip((-1, -2, -3), axes, strict=True):
        image = resize(image, min(axis.n_pixels, image.shape[position]), position)
    return CoilImages(
        signal=image.astype(np.complex64),
        noise=noise,
        notes=(f"{len(place)} samples gridded with iterative density compensation",),
    )


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
