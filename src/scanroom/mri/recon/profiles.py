"""From the samples of a readout to its profile: the readout axis, transformed and cropped.

Evenly spaced samples go through the FFT; others (ramp sampling) through the exact least-squares
inverse of their own trajectory. Echo shifts, reversed lines and the offset of the field of view
are phases that the trajectory knows.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float, Int

from scanroom.core.errors import FormatError
from scanroom.mri.raw.encoding import Encoding, Flag
from scanroom.mri.recon.apodise import taper
from scanroom.mri.recon.geometry import Axis
from scanroom.mri.recon.noise import Measurement
from scanroom.operators.fourier import resize, to_image
from scanroom.operators.regrid import line_inverse, line_matrix

EVEN = 0.02
"""Samples farther than this many grid points from an even ladder are regridded: the error of
leaving them is below pi * 0.02 of the signal at the edge of the field of view."""
MAX_REGRID = 4096
"""Longest line inverted as a dense matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """Lines of a hybrid space: ``signal`` in image space along the readout.

    ``noise`` is the noise power of a pixel for unit noise in the samples, ``first`` and ``last``
    the ends of what was measured, in points of the measured grid from the centre of k-space.
    """

    signal: Complex64[np.ndarray, "line coil x"]
    noise: float
    first: float
    last: float


def profiles(
    measurement: Measurement,
    windows: Int[np.ndarray, " line"],
    axis: Axis,
    apodisation: str = "none",
) -> Profiles:
    """Transform the readouts of some windows."""
    encoding = measurement.encoding
    result = np.empty((len(windows), measurement.n_coils, axis.n_pixels), dtype=np.complex64)
    noise, ends = 0.0, []
    for rows, place in _alike(encoding, windows, axis):
        signal = np.stack([_kept(measurement, int(w)) for w in windows[rows]])
        signal = signal * _off_centre(encoding, windows[rows])
        result[rows], power = _transform(signal, place, axis, apodisation)
        noise += power * len(rows) / len(windows)
        ends.append((place.min(), place.max()))
    return Profiles(
        signal=result,
        noise=noise,
        first=float(max(low for low, _ in ends)),
        last=float(min(high for _, high in ends)),
    )


def _kept(measurement: Measurement, window: int) -> Complex64[np.ndarray, "coil _"]:
    return measurement.signal[window][:, _used(measurement.encoding, window)]


def _used(encoding: Encoding, window: int) -> slice:
    n_samples = len(encoding.trajectory[window])
    first, cut = int(encoding.discard_pre[window]), int(encoding.discard_post[window])
    if first + cut >= n_samples:
        raise FormatError(
            f"window {window} has {n_samples} samples of which {first} + {cut} are to be discarded"
            " (MRD discard_pre, discard_post). The header is damaged."
        )
    return slice(first, n_samples - cut)


def sample_places(encoding: Encoding, window: int, axis: Axis) -> Float[np.ndarray, " sample"]:
    """Give k along the readout in points of the measured grid, in the order of time."""
    trajectory = encoding.trajectory[window]
    if trajectory.shape[1] and np.ptp(trajectory[:, 0]) > 0:
        place: np.ndarray = trajectory[:, 0].astype(np.float64) * axis.fov
    else:
        n_samples = len(trajectory)
        centre = int(encoding.centre_sample[window])
        centre = centre if 0 < centre < n_samples else n_samples // 2
        place = np.arange(n_samples) - float(centre)
        if int(encoding.flags[window]) & Flag.REVERSE:
            place = -place
    return place[_used(encoding, window)]


def _alike(
    encoding: Encoding, windows: Int[np.ndarray, " line"], axis: Axis
) -> list[tuple[Int[np.ndarray, " _"], Float[np.ndarray, " _"]]]:
    """Group lines whose samples lie at the same places."""
    groups: dict[bytes, tuple[list[int], np.ndarray]] = {}
    for row, window in enumerate(windows):
        place = sample_places(encoding, int(window), axis)
        mark = np.round(place / EVEN * 2).astype(np.int32).tobytes()
        groups.setdefault(mark, ([], place))[0].append(row)
    return [(np.array(rows), place) for rows, place in groups.values()]


def _off_centre(
    encoding: Encoding, windows: Int[np.ndarray, " line"]
) -> Complex64[np.ndarray, "line 1 _"]:
    """exp(+2 pi i k.r0): brings the centre of the field of view to the centre of the image."""
    n_axes = 3 if encoding.encoded_matrix[2] > 1 else 2
    if encoding.centred:
        n_axes = 0
    phases = []
    for window in windows:
        used = _used(encoding, int(window))
        trajectory = encoding.trajectory[window][used].astype(np.float64)
        directions = (
            encoding.read_direction[window],
            encoding.phase_direction[window],
            encoding.slice_direction[window],
        )
        turns = np.zeros(len(trajectory))
        for column in range(min(n_axes, trajectory.shape[1])):
            offset = float(encoding.position[window] @ directions[column])
            turns += trajectory[:, column] * offset
        phases.append(turns)
    turn = np.stack(phases)
    phase: np.ndarray = np.exp(2j * np.pi * (turn - np.round(turn))).astype(np.complex64)
    return phase[:, None, :]


def _transform(
    signal: Complex64[np.ndarray, "line coil sample"],
    place: Float[np.ndarray, " sample"],
    axis: Axis,
    apodisation: str,
) -> tuple[Complex64[np.ndarray, "line coil x"], float]:
    """Samples to pixels, and the noise power of a pixel."""
    weight = taper(place, axis.n_measured, apodisation)
    even = _even(place)
    if even is None:
        return _regrid(signal, place, axis, weight)
    shift, order = even
    grid = np.zeros((*signal.shape[:2], axis.n_grid), dtype=np.complex64)
    target = np.arange(len(place)) + shift.start + axis.n_grid // 2
    inside = (target >= 0) & (target < axis.n_grid)
    ordered = (signal * weight.astype(np.float32))[..., ::order]
    grid[..., target[inside]] = ordered[..., inside]
    image = resize(to_image(grid, (-1,)), axis.n_pixels, -1)
    if shift.fraction:
        pixel = np.arange(axis.n_pixels) - axis.n_pixels // 2
        ramp = np.exp(2j * np.pi * shift.fraction * pixel / axis.n_grid)
        image = image * ramp.astype(np.complex64)
    return image, float((weight[::order][inside] ** 2).sum() / axis.n_grid)


@dataclass(frozen=True, slots=True)
class _Shift:
    """Where an even ladder starts: the nearest grid point and the rest."""

    start: int
    fraction: float


def _even(place: Float[np.ndarray, " sample"]) -> tuple[_Shift, int] | None:
    """Recognise an even ladder of grid points, rising (order 1) or falling (-1)."""
    order = 1 if place[-1] >= place[0] else -1
    rising = place[::order]
    offset = float(np.mean(rising - np.arange(len(rising))))
    if np.abs(rising - np.arange(len(rising)) - offset).max() > EVEN:
        return None
    start = round(offset)
    fraction = offset - start
    return _Shift(start, fraction if abs(fraction) > EVEN / 10 else 0.0), order


def _regrid(
    signal: Complex64[np.ndarray, "line coil sample"],
    place: Float[np.ndarray, " sample"],
    axis: Axis,
    weight: Float[np.ndarray, " sample"],
) -> tuple[Complex64[np.ndarray, "line coil x"], float]:
    if max(len(place), axis.n_grid) > MAX_REGRID:
        raise FormatError(
            f"an uneven readout has {len(place)} samples on a grid of {axis.n_grid}; up to "
            f"{MAX_REGRID} are regridded (scanroom.mri.recon.profiles). Check the header."
        )
    inverse = line_inverse(place, axis.n_grid)
    if (weight != 1).any():
        points = np.arange(axis.n_grid) - float(axis.n_grid // 2)
        forward = line_matrix(points, axis.n_grid)
        inverse = forward.conj().T @ (
            np.interp(points, *_sorted(place, weight))[:, None] * (forward @ inverse)
        )
    start = axis.n_grid // 2 - axis.n_pixels // 2
    rows = inverse[start : start + axis.n_pixels]
    image = signal @ rows.T.astype(np.complex64)
    return image, float((np.abs(rows) ** 2).sum() / len(rows))


def _sorted(
    place: Float[np.ndarray, " sample"], weight: Float[np.ndarray, " sample"]
) -> tuple[Float[np.ndarray, " sample"], Float[np.ndarray, " sample"]]:
    order = np.argsort(place)
    return place[order], weight[order]
