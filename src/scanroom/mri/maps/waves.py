"""Shear waves in tissue: their complex amplitude from images over one period, and filters of it."""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from jaxtyping import Bool, Complex, Float
from scipy.ndimage import correlate1d

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Metre
from scanroom.mri.maps.echoes import FAINTEST, phase_variance, refuse_unless_finite
from scanroom.mri.maps.unwrapping import unwrap
from scanroom.operators.threads import each

Waves = Complex[np.ndarray, "component z y x"]
Mask = Bool[np.ndarray, "z y x"]
Voxel = tuple[Metre, Metre, Metre]
_AXES = ("z", "y", "x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Amplitude ``u``: displacement is the real part of ``u exp(2 pi i f t)``, in radians of phase.

    ``error`` is the standard error of real and of imaginary part; ``valid`` where every image is
    bright and one region with its neighbours. ``components`` lie along the image axes z, y, x.
    """

    waves: Waves
    error: Float[np.ndarray, "component z y x"]
    valid: Mask


def harmonic(
    images: Complex[np.ndarray, "component time z y x"],
    *,
    mask: Mask | None = None,
    noise: float = 1.0,
) -> Field:
    """Fundamental oscillation of the phase over images at even steps of one period.

    The steps from one image to the next, round the period, are unwrapped in space: the static
    phase drops out, and steps are smaller than the oscillation itself. Their mean over the largest
    region is taken to be within half a turn.

    Raises
    ------
    ProtocolError
        If there are fewer than three images in a period, or a value is not finite.

    References
    ----------
    R. Muthupillai et al., Science 269, 1854 (1995), doi:10.1126/science.7569924.
    """
    n_times = images.shape[1]
    if n_times < 3:
        raise ProtocolError(
            f"{n_times} images are given for one period; an oscillation and what stands still need "
            "three at least (scanroom.mri.maps.waves). Measure 4 or 8."
        )
    refuse_unless_finite("images", images)
    dimmest = np.abs(images).min(axis=(0, 1))
    seen = dimmest > FAINTEST * noise
    inside = seen if mask is None else mask
    step = np.exp(2j * np.pi / n_times)

    def oscillation(component: int) -> tuple[np.ndarray, np.ndarray]:
        series = images[component]
        total = np.zeros(series.shape[1:], np.complex128)
        main = np.ones(series.shape[1:], bool)
        for time in range(n_times):
            product = series[(time + 1) % n_times] * series[time].conj()
            found = unwrap(
                np.angle(product).astype(np.float64),
                mask=inside,
                magnitude=np.sqrt(np.abs(product)),
            )
            total += found.phase * step ** (-time)
            main &= found.region <= 1
        return np.asarray(2 / n_times * total / (step - 1)), main

    done = each(oscillation, len(images))
    main = np.logical_and.reduce([item[1] for item in done])
    variance = phase_variance(images, noise).mean(axis=1)
    return Field(
        waves=np.where(inside, np.stack([item[0] for item in done]), 0.0),
        error=np.where(inside, np.sqrt(2 * variance / n_times), np.inf),
        valid=inside & seen & main,
    )


def kernel(derivative: int, radius: int, degree: int = 3) -> Float[np.ndarray, " tap"]:
    """Taps that fit a polynomial to a row of voxels and take its derivative at the middle.

    References
    ----------
    A. Savitzky, M. J. E. Golay, Anal. Chem. 36, 1627 (1964), doi:10.1021/ac60214a047.
    """
    if radius == 0:
        return np.array([1.0 if derivative == 0 else 0.0])
    place = np.arange(-radius, radius + 1.0)
    rows = np.linalg.pinv(np.vander(place, min(degree, 2 * radius) + 1, increasing=True))
    return np.asarray(rows[derivative] * (1.0, 1.0, 2.0)[derivative])


def filtered(waves: Waves, taps: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Waves:
    """Apply a filter along z, y and x to every component; outside the image the edge goes on."""

    def one(number: int) -> np.ndarray:
        result = waves[number]
        for axis, row in enumerate(taps):
            if len(row) > 1 or row[0] != 1:
                result = correlate1d(result, row, axis=axis, mode="nearest")
        return np.asarray(result)

    return np.stack(each(one, len(waves)))


def curl(field: Field, voxel: Voxel, *, radius: int = 1) -> Field:
    """Rotation [rad/m] of three components along z, y, x: compression has none.

    Voxels within ``radius`` of the edge are not valid.

    Raises
    ------
    ProtocolError
        If there are not three components, or a slice has no neighbours.
    """
    if field.waves.shape[0] != 3 or min(field.waves.shape[1:]) < 2 * radius + 1:
        raise ProtocolError(
            f"the field has {field.waves.shape[0]} components on {field.waves.shape[1:]} voxels; "
            f"a rotation needs three on {2 * radius + 1} voxels or more along each axis "
            "(scanroom.mri.maps.waves). Filter long waves out with `band` instead."
        )
    slope, smooth = kernel(1, radius), kernel(0, radius)
    rows = [
        filtered(
            field.waves,
            tuple(slope / voxel[n] if n == axis else smooth for n in range(3)),  # type: ignore[arg-type]
        )
        for axis in range(3)
    ]
    z, y, x = range(3)
    turned = np.stack([rows[x][y] - rows[y][x], rows[z][x] - rows[x][z], rows[y][z] - rows[z][y]])
    gain = [np.sqrt((slope**2).sum() * (smooth**2).sum() ** 2) / voxel[axis] for axis in range(3)]
    pairs = ((x, y), (z, x), (y, z))
    error = np.stack(
        [np.hypot(gain[a] * field.error[b], gain[b] * field.error[a]) for a, b in pairs]
    )
    return Field(waves=turned, error=error, valid=eroded(field.valid, radius))


def eroded(mask: Mask, radius: int, *, flat: bool = False) -> Mask:
    """Voxels whose neighbours within a box all belong to the mask; ``flat``: within the slice."""
    result = mask
    box = np.ones(2 * radius + 1)
    for axis in range(1 if flat else 0, 3):
        count = correlate1d(result.astype(np.float32), box, axis=axis, mode="constant")
        result = np.asarray(count > 2 * radius + 0.5)
    return result


def band(field: Field, voxel: Voxel, *, lowest: float, highest: float, flat: bool = False) -> Field:
    """Keep spatial frequencies [1/m] between two bounds, with Butterworth's edges of order 4.

    ``flat`` filters slice by slice. What enters from outside the mask is 0.

    Raises
    ------
    ProtocolError
        If the bounds are not in order.
    """
    if not 0 <= lowest < highest:
        raise ProtocolError(
            f"the band is {lowest} to {highest} /m; it goes from 0 or above to more "
            "(scanroom.mri.maps.waves). Take half and thrice the frequency of the waves expected."
        )
    size = _frequency(field.waves.shape[1:], voxel, flat=flat)
    pass_low = 1 / (1 + (size / highest) ** 8)
    with np.errstate(divide="ignore"):
        pass_high = 1 / (1 + (lowest / size) ** 8) if lowest > 0 else 1.0
    return _transferred(field, pass_low * pass_high)


def directed(field: Field, voxel: Voxel, direction: tuple[float, float, float]) -> Field:
    """Keep waves that run along a direction (z y x), weighed by the cosine squared to it.

    The time factor is ``exp(2 pi i f t)``: a wave along n is ``exp(-i k n.r)``.

    References
    ----------
    A. Manduca et al., Med. Image Anal. 7, 465 (2003), doi:10.1016/S1361-8415(03)00038-0.
    """
    return _transferred(field, cone(field.waves.shape[1:], voxel, direction))


def cone(
    shape: tuple[int, ...], voxel: Voxel, direction: tuple[float, float, float]
) -> Float[np.ndarray, "z y x"]:
    """Square of the cosine between running and a direction, 0 backwards and at rest."""
    k = frequencies(shape, voxel)
    length = float(np.linalg.norm(direction))
    along = -sum(part * axis / length for part, axis in zip(k, direction, strict=True))
    size = np.sqrt(k[0] ** 2 + k[1] ** 2 + k[2] ** 2)
    cosine = np.divide(along, size, out=np.zeros(shape), where=size > 0)
    return np.asarray(np.maximum(cosine, 0.0) ** 2)


def frequencies(shape: tuple[int, ...], voxel: Voxel) -> list[np.ndarray]:
    """Spatial frequencies [1/m] along z, y, x, origin first."""
    rows = [scipy.fft.fftfreq(n, size) for n, size in zip(shape, voxel, strict=True)]
    return [np.asarray(part) for part in np.meshgrid(*rows, indexing="ij", sparse=True)]


def _frequency(shape: tuple[int, ...], voxel: Voxel, *, flat: bool) -> Float[np.ndarray, "z y x"]:
    z, y, x = frequencies(shape, voxel)
    return np.asarray(np.sqrt((0 * z if flat else z**2) + y**2 + x**2))


def _transferred(field: Field, transfer: Float[np.ndarray, "..."]) -> Field:
    whole = np.broadcast_to(transfer, field.waves.shape[1:])
    inside = np.where(field.valid, field.waves, 0.0)
    spectrum = scipy.fft.fftn(inside, axes=(1, 2, 3)) * whole
    gain = float(np.sqrt((whole**2).mean()))
    return Field(
        waves=np.where(field.valid, scipy.fft.ifftn(spectrum, axes=(1, 2, 3)), 0.0),
        error=field.error * gain,
        valid=field.valid,
    )
