"""Stiffness from shear waves of one frequency: algebraic inversion, local frequency."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from jaxtyping import Bool, Complex, Float
from scipy.ndimage import gaussian_filter

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Hertz
from scanroom.mri.maps.model import Map
from scanroom.mri.maps.waves import Field, Voxel, cone, eroded, filtered, frequencies, kernel

DENSITY = 1000.0
"""Density of soft tissue [kg/m3] as elastography takes it: that of water.

Y. K. Mariappan, K. J. Glaser, R. L. Ehman, Clin. Anat. 23, 497 (2010), doi:10.1002/ca.21006.
"""
_OCTAVES = 6
_LEAST = 3.0
_GRID = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Stiffness:
    """Phase speed of shear waves [m/s], storage and loss modulus [Pa]."""

    speed: Map
    storage: Map
    loss: Map


def inverted(
    field: Field,
    voxel: Voxel,
    frequency: Hertz,
    *,
    radius: int = 3,
    degree: int = 5,
    blur: float = 1.5,
    flat: bool = False,
) -> Stiffness:
    """Complex modulus by algebraic inversion of Helmholtz's equation in locally uniform tissue.

    The squared wave number is minus the Laplacian over the wave, by least squares over components
    and a Gaussian neighbourhood of ``blur`` voxels. Both come from polynomials of a ``degree``
    over ``radius`` voxels either way (``flat``: in the slice only, for waves that run in it). At
    14 voxels per wavelength the fifth degree over three leaves the modulus 0.2 % too large, the
    third over two 4.5 % with two thirds of the noise. What noise adds on average to the wave that
    is divided by, and to both in common, is taken off. The error is up to a fifth too small within
    three voxels of the edge of what is known. Not valid: within ``radius`` of the edge, and where
    the wave is not thrice its noise.

    Raises
    ------
    ProtocolError
        If frequency or voxels are not above 0, or the image is thinner than the filter.

    References
    ----------
    T. E. Oliphant et al., Magn. Reson. Med. 45, 299 (2001),
    doi:10.1002/1522-2594(200102)45:2<299::AID-MRM1039>3.0.CO;2-O.
    """
    _refuse(field, voxel, frequency)
    if radius < 1 or min(field.waves.shape[2 if flat else 1 :]) < 2 * radius + 1:
        raise ProtocolError(
            f"{field.waves.shape[1:]} voxels are too few for derivatives over {radius} voxels "
            "either way (scanroom.mri.maps.stiffness). Choose a smaller radius, or flat."
        )
    taps = _taps(radius, degree, voxel, flat=flat)
    smooth, bends = taps[0], taps[1:]
    wave = filtered(field.waves, smooth)
    laplace = sum((filtered(field.waves, bend) for bend in bends), np.zeros_like(wave))
    known = eroded(field.valid, radius, flat=flat)
    around = np.array((0.0, blur, blur) if flat else (blur,) * 3)
    mean = _mean_over(known, around)
    noise = np.where(np.isfinite(field.error), field.error, 0.0) ** 2 * 2
    gains = _gains(smooth, bends)
    power = mean((np.abs(wave) ** 2).sum(axis=0))
    own = mean(noise.sum(axis=0)) * gains.wave
    product = mean((wave.conj() * laplace).sum(axis=0)) - mean(noise.sum(axis=0)) * gains.cross
    clean = np.maximum(power - own, 1e-30)
    square = -product / clean
    spread = np.sqrt(
        mean((noise * np.abs(wave) ** 2).sum(axis=0))
        * _noise_gain(taps, square, blur, voxel, flat=flat)
        * _fewer(known, around)
        / clean**2
    )
    valid = known & (power > _LEAST**2 * own) & (square.real > 0)
    return _moduli(square, spread, valid, frequency)


def local_frequency(
    field: Field,
    voxel: Voxel,
    frequency: Hertz,
    *,
    flat: bool = False,
    n_replicas: int = 8,
    seed: int = 0,
) -> Map:
    """Phase speed [m/s] by the local spatial frequency of directed waves.

    Filters an octave apart, log-normal in frequency and cosine squared in direction: the ratio of
    neighbours is the frequency itself; ratios are averaged with the energy they come from. Robust
    and blind to damping. The error is the spread over ``n_replicas`` with fresh noise.

    Raises
    ------
    ProtocolError
        If frequency or voxels are not above 0.

    References
    ----------
    H. Knutsson, C.-F. Westin, G. Granlund, Proc. IEEE ICIP 1, 36 (1994),
    doi:10.1109/ICIP.1994.413270; A. Manduca et al., Med. Image Anal. 5, 237 (2001),
    doi:10.1016/S1361-8415(00)00039-6.
    """
    _refuse(field, voxel, frequency)

    def speed(waves: Complex[np.ndarray, "component z y x"]) -> Float[np.ndarray, "z y x"]:
        found = _octave_ratio(waves, voxel, flat=flat)
        return np.asarray(frequency / np.maximum(found, 1e-9))

    return _replicated("shear wave speed", speed, field, n_replicas, seed)


def phase_gradient(
    field: Field,
    voxel: Voxel,
    frequency: Hertz,
    *,
    flat: bool = False,
    n_replicas: int = 8,
    seed: int = 0,
) -> Map:
    """Phase speed [m/s] by the gradient of the phase of waves sorted by direction.

    Over components and directions the wave number is averaged with the square of the amplitude. The
    error is the spread over ``n_replicas`` with fresh noise.

    Raises
    ------
    ProtocolError
        If frequency or voxels are not above 0.

    References
    ----------
    H. Tzschaetzsch et al., Med. Image Anal. 30, 1 (2016), doi:10.1016/j.media.2016.01.001.
    """
    _refuse(field, voxel, frequency)

    def speed(waves: Complex[np.ndarray, "component z y x"]) -> Float[np.ndarray, "z y x"]:
        found = _phase_slope(waves, voxel, flat=flat)
        return np.asarray(2 * np.pi * frequency / np.maximum(found, 1e-9))

    return _replicated("shear wave speed", speed, field, n_replicas, seed)


def _refuse(field: Field, voxel: Voxel, frequency: Hertz) -> None:
    if not (frequency > 0 and min(voxel) > 0 and field.valid.any()):
        raise ProtocolError(
            f"frequency {frequency} Hz, voxels {voxel} m and {int(field.valid.sum())} valid voxels "
            "are given; all must be above 0 (scanroom.mri.maps.stiffness). Correct the value."
        )


Taps = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class _Gains:
    """Power of white noise in the smoothed wave, and its product with the Laplacian's noise."""

    wave: float
    cross: float


def _taps(radius: int, degree: int, voxel: Voxel, *, flat: bool) -> list[Taps]:
    """Filters along z, y, x: the smoothing one, then one for each second derivative."""
    smooth, bend = kernel(0, radius, degree), kernel(2, radius, degree)
    plain = np.ones(1)
    along = [plain if flat and axis == 0 else smooth for axis in range(3)]
    taps = [(along[0], along[1], along[2])]
    for axis in range(1 if flat else 0, 3):
        rows = list(along)
        rows[axis] = bend / voxel[axis] ** 2
        taps.append((rows[0], rows[1], rows[2]))
    return taps


def _gains(smooth: Taps, bends: list[Taps]) -> _Gains:
    def product(a: Taps, b: Taps) -> float:
        return float(np.prod([np.vdot(p, q).real for p, q in zip(a, b, strict=True)]))

    return _Gains(product(smooth, smooth), sum(product(smooth, bend) for bend in bends))


def _noise_gain(
    taps: list[Taps],
    square: Complex[np.ndarray, "z y x"],
    blur: float,
    voxel: Voxel,
    *,
    flat: bool,
) -> Float[np.ndarray, "z y x"]:
    """Noise power of the neighbourhood's mean of (Laplacian + squared wave number x wave) / wave.

    White noise, filtered, turned back by a wave that runs along x, averaged by the Gaussian: a sum
    of squares over frequencies, tabulated over wave numbers.
    """
    line = np.arange(_GRID) - _GRID // 2
    window = np.exp(-(line**2) / (2 * blur**2))
    window /= window.sum()
    rows = [[_transfer(row) for row in part] for part in taps]
    kept = [np.ones(_GRID) if flat else np.abs(_spectrum(window)) ** 2]
    kept.append(np.abs(_spectrum(window)) ** 2)
    numbers = np.linspace(0, np.pi / 2, 33) / voxel[2]
    gains = []
    for number in numbers:
        turned = np.abs(_spectrum(window * np.exp(1j * number * voxel[2] * line))) ** 2
        table = np.ones((len(rows), len(rows)))
        for axis, reach in enumerate((*kept, turned)):
            table *= np.array([[np.mean(a[axis] * b[axis] * reach) for a in rows] for b in rows])
        weight = np.array([number**2, *np.ones(len(rows) - 1)])
        gains.append(float(weight @ table @ weight))
    found = np.sqrt(np.maximum(square.real, 0.0))
    return np.asarray(np.interp(found, numbers, gains)).clip(min=0)


def _transfer(row: Float[np.ndarray, " tap"]) -> Float[np.ndarray, " frequency"]:
    """Real transfer function of taps that are even about their middle."""
    whole = np.zeros(_GRID)
    half = len(row) // 2
    whole[_GRID // 2 - half : _GRID // 2 + half + 1] = row
    return _spectrum(whole).real


def _spectrum(centred: np.ndarray) -> np.ndarray:
    return np.asarray(scipy.fft.fft(np.fft.ifftshift(centred)))


def _fewer(
    known: Bool[np.ndarray, "z y x"], blur: Float[np.ndarray, " axis"]
) -> Float[np.ndarray, "z y x"]:
    """How much more noise a mean has where neighbours are missing."""
    inside = known.astype(np.float64)
    share = np.maximum(gaussian_filter(inside, blur), 1e-6)
    return np.asarray(gaussian_filter(inside, blur / np.sqrt(2)) / share**2)


def _mean_over(
    known: Bool[np.ndarray, "z y x"], blur: Float[np.ndarray, " axis"]
) -> Callable[[np.ndarray], np.ndarray]:
    """Gaussian mean over those neighbours that are known."""
    share = np.maximum(gaussian_filter(known.astype(np.float64), blur), 1e-6)

    def mean(values: np.ndarray) -> np.ndarray:
        inside = np.where(known, values, 0.0)
        if np.iscomplexobj(values):
            return np.asarray(
                (gaussian_filter(inside.real, blur) + 1j * gaussian_filter(inside.imag, blur))
                / share
            )
        return np.asarray(gaussian_filter(inside, blur) / share)

    return mean


def _moduli(
    square: Complex[np.ndarray, "z y x"],
    spread: Float[np.ndarray, "z y x"],
    valid: Bool[np.ndarray, "z y x"],
    frequency: Hertz,
) -> Stiffness:
    """Maps of speed and modulus from the squared wave number [1/m2] and its standard error."""
    omega = 2 * np.pi * frequency
    safe = np.where(valid, square, 1.0)
    modulus = DENSITY * omega**2 / safe
    number = np.sqrt(safe)
    speed = omega / np.maximum(np.abs(number.real), 1e-12)
    each_part = spread / np.sqrt(2)
    modulus_error = np.abs(modulus / safe) * each_part
    speed_error = speed / np.maximum(np.abs(number.real), 1e-12) * each_part / (2 * np.abs(number))

    def on(name: str, unit: str, values: np.ndarray, error: np.ndarray) -> Map:
        return Map(
            name=name,
            array=np.where(valid, values, 0.0).astype(np.float32),
            unit=unit,
            valid=valid,
            error=np.where(valid, error, np.inf).astype(np.float32),
        )

    return Stiffness(
        speed=on("shear wave speed", "m/s", speed, speed_error),
        storage=on("storage modulus", "Pa", modulus.real, modulus_error),
        loss=on("loss modulus", "Pa", modulus.imag, modulus_error),
    )


def _directions(*, flat: bool) -> list[tuple[float, float, float]]:
    """Directions whose squared cosines add up evenly: eight in a slice, 14 in space."""
    if flat:
        angle = 2 * np.pi * np.arange(8) / 8
        return [(0.0, float(np.sin(a)), float(np.cos(a))) for a in angle]
    faces = [tuple(s * row) for row in np.eye(3) for s in (-1.0, 1.0)]
    corners = [(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]
    unit = 1 / np.sqrt(3)
    return [(float(z), float(y), float(x)) for z, y, x in faces] + [
        (a * unit, b * unit, c * unit) for a, b, c in corners
    ]


def _octave_ratio(
    waves: Complex[np.ndarray, "component z y x"], voxel: Voxel, *, flat: bool
) -> Float[np.ndarray, "z y x"]:
    """Local frequency [1/m]: ratio of log-normal filters one octave apart, by their energy."""
    shape = waves.shape[1:]
    k = frequencies(shape, voxel)
    size = np.sqrt((0 if flat else k[0] ** 2) + k[1] ** 2 + k[2] ** 2) + np.zeros(shape)
    coarse = max(n * edge for n, edge in zip(shape[1:], voxel[1:], strict=True))
    centres = 2 / coarse * 2.0 ** np.arange(_OCTAVES)
    centres = centres[centres < 0.5 / max(voxel[1:])]
    spectrum = scipy.fft.fftn(waves, axes=(1, 2, 3))
    octave = np.log(np.where(size > 0, size, 1.0)[None] / centres[:, None, None, None])
    radial = np.where(size > 0, np.exp(-(octave**2) / (2 * np.log(2))), 0.0)
    energy = np.zeros((len(centres), *shape))
    for direction in _directions(flat=flat):
        part = spectrum * cone(shape, voxel, direction)
        for number, row in enumerate(radial):
            answer = scipy.fft.ifftn(part * row, axes=(1, 2, 3))
            energy[number] += (np.abs(answer) ** 2).sum(axis=0)
    strength = np.sqrt(energy)
    middle = np.sqrt(centres[:-1] * centres[1:])[:, None, None, None]
    ratio = middle * strength[1:] / np.maximum(strength[:-1], 1e-30)
    weight = strength[:-1] * strength[1:]
    return np.asarray((weight * ratio).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-30))


def _phase_slope(
    waves: Complex[np.ndarray, "component z y x"], voxel: Voxel, *, flat: bool
) -> Float[np.ndarray, "z y x"]:
    """Wave number [rad/m] of directed waves, averaged with their squared amplitude."""
    shape = waves.shape[1:]
    spectrum = scipy.fft.fftn(waves, axes=(1, 2, 3))
    slopes = [2j * np.pi * part for part in frequencies(shape, voxel)]
    total, weight = np.zeros(shape), np.full(shape, 1e-30)
    for direction in _directions(flat=flat):
        part = spectrum * cone(shape, voxel, direction)
        wave = scipy.fft.ifftn(part, axes=(1, 2, 3))
        power = np.abs(wave) ** 2
        steep = np.zeros_like(power)
        for axis in range(1 if flat else 0, 3):
            bend = scipy.fft.ifftn(part * slopes[axis], axes=(1, 2, 3))
            steep += ((wave.conj() * bend).imag / np.maximum(power, 1e-30)) ** 2
        total += (power * np.sqrt(steep)).sum(axis=0)
        weight += power.sum(axis=0)
    return np.asarray(total / weight)


def _replicated(
    name: str,
    estimate: Callable[[np.ndarray], np.ndarray],
    field: Field,
    n_replicas: int,
    seed: int,
) -> Map:
    """An estimate and its spread under fresh noise of the field's own size."""
    if n_replicas < 2:
        raise ProtocolError(
            f"{n_replicas} replicas are asked for; a spread needs two at least "
            "(scanroom.mri.maps.stiffness). Ask for 4 to 16."
        )
    usable = replace(field, waves=np.where(field.valid, field.waves, 0.0))
    sigma = np.where(field.valid & np.isfinite(field.error), field.error, 0.0)
    found = estimate(usable.waves)
    again = []
    for number in range(n_replicas):
        random = np.random.Generator(np.random.Philox(key=[seed, number]))
        noise = random.standard_normal((2, *sigma.shape))
        again.append(estimate(usable.waves + sigma * (noise[0] + 1j * noise[1])))
    spread = np.std(again, axis=0, ddof=1)
    power = (np.abs(usable.waves) ** 2).sum(axis=0)
    valid = field.valid & (power > _LEAST**2 * 2 * (sigma**2).sum(axis=0))
    return Map(
        name=name,
        array=np.where(valid, found, 0.0).astype(np.float32),
        unit="m/s",
        valid=valid,
        error=np.where(valid, spread, np.inf).astype(np.float32),
    )
