"""T1 from spoiled gradient echoes of several flip angles, and maps of the flip angle itself."""

import numpy as np
from jaxtyping import Float

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Radian, Second
from scanroom.mri.maps import fitting
from scanroom.mri.maps.fitting import SPOILED, Law
from scanroom.mri.maps.inversion import LIMITS, Limits
from scanroom.mri.maps.model import Map


def variable_flip_angle(
    images: np.ndarray,
    flip_angles: Float[np.ndarray, " image"],
    repetition_time: Second,
    *,
    b1: Float[np.ndarray, "..."] | None = None,
    noise: float | np.ndarray | None = None,
    limits: Limits = LIMITS,
) -> Map:
    """Fit T1 to perfectly spoiled steady states, one image for each flip angle.

    ``b1`` is the flip angle over the nominal one, voxel by voxel. The search begins at the straight
    line of DESPOT1 and ends at the least squares of the signal itself, which noise does not bias to
    first order. Flip angles of a slice are means over its profile; T1 is that of a sharp profile.

    Raises
    ------
    ProtocolError
        If angles and images do not fit together or an angle is not between 0 and 180 degrees.

    References
    ----------
    S. C. L. Deoni et al., Magn. Reson. Med. 49, 515 (2003), doi:10.1002/mrm.10407.
    L.-C. Chang et al., Magn. Reson. Med. 60, 496 (2008), doi:10.1002/mrm.21669.
    """
    flips = fitting.series(images, flip_angles, 2, "flip angles")
    if not ((flips > 0) & (flips < np.pi)).all() or not repetition_time > 0:
        raise ProtocolError(
            f"flip angles are {np.degrees(flips).round(3).tolist()} degrees, the repetition time "
            f"{repetition_time:.4g} s; angles lie between 0 and 180 degrees, the time above 0 "
            "(scanroom.mri.maps.flip_angles). Give radians and seconds."
        )
    shape = images.shape[1:]
    given = fitting.per_voxel(b1, shape, "b1")
    scale = np.ones(int(np.prod(shape))) if given is None else given
    usable = scale > 0
    scale = np.where(usable, scale, 1.0)
    points = np.zeros((len(flips), 3))
    points[:, 0], points[:, 1] = flips, repetition_time
    law = Law(kind=SPOILED, points=points, low=1 / limits[1], high=1 / limits[0])
    flat = images.reshape(len(flips), -1) * usable
    start = _straight_line(np.abs(flat), np.outer(flips, scale), repetition_time, law)
    found = fitting.fit(flat, law, scale=scale, start=start)
    return fitting.time_map("T1", found, shape, fitting.per_voxel(noise, shape, "noise"))


def _straight_line(
    signal: Float[np.ndarray, "image voxel"],
    flips: Float[np.ndarray, "image voxel"],
    repetition_time: Second,
    law: Law,
) -> Float[np.ndarray, " voxel"]:
    """Rates by DESPOT1: S / sin over S / tan is a line of slope exp(-TR / T1)."""
    up, along = signal / np.sin(flips), signal / np.tan(flips)
    up, along = up - up.mean(axis=0), along - along.mean(axis=0)
    power = (along**2).sum(axis=0)
    slope = np.divide((up * along).sum(axis=0), power, out=np.zeros_like(power), where=power > 0)
    lowest = np.exp(-repetition_time * law.high / 1.01)
    highest = np.exp(-repetition_time * law.low * 1.01)
    return np.asarray(-np.log(np.clip(slope, lowest, highest)) / repetition_time)


def double_angle(
    once: np.ndarray,
    twice: np.ndarray,
    flip_angle: Radian,
    *,
    noise: float | np.ndarray | None = None,
) -> Map:
    """Flip angle over the nominal one, from images at that angle and at twice it.

    Both from equilibrium: a repetition time of five T1 or more, gradient echoes, or spin echoes
    with the same refocusing pulse. Complex images reach 180 degrees, magnitudes 90.

    References
    ----------
    E. K. Insko, L. Bolinger, J. Magn. Reson. A 103, 82 (1993), doi:10.1006/jmra.1993.1133.
    """
    ratio, spread = _ratio(once, twice, noise)
    return _angle(ratio / 2, spread / 2, flip_angle, once.shape)


def actual_flip_angle(
    short: np.ndarray,
    long: np.ndarray,
    repetition_times: tuple[Second, Second],
    flip_angle: Radian,
    *,
    noise: float | np.ndarray | None = None,
) -> Map:
    """Flip angle over the nominal one, from a spoiled steady state of two alternating intervals.

    ``short`` is the image after the pulse that the long interval precedes and the short one
    follows. Right to first order in interval over T1.

    Raises
    ------
    ProtocolError
        If the second interval is not the longer one.

    References
    ----------
    V. L. Yarnykh, Magn. Reson. Med. 57, 192 (2007), doi:10.1002/mrm.21120.
    """
    first, second = repetition_times
    if not 0 < first < second:
        raise ProtocolError(
            f"the intervals are {first:.4g} s and {second:.4g} s; the second is the longer one "
            "(scanroom.mri.maps.flip_angles). Give the short one and its image first."
        )
    n = second / first
    ratio, spread = _ratio(short, long, noise)
    below = np.where(ratio < n, n - ratio, 1.0)
    cosine = np.where(ratio < n, (ratio * n - 1) / below, 2.0)
    return _angle(cosine, spread * (n**2 - 1) / below**2, flip_angle, short.shape)


def _ratio(
    under: np.ndarray, over: np.ndarray, noise: float | np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Real ratio of two images and its standard error, infinite where nothing is known."""
    fitting.series(np.stack([under, over]), np.arange(2.0), 2, "images")
    power = np.abs(under).astype(np.float64).ravel() ** 2
    product = np.real(over.ravel() * np.conj(under.ravel())).astype(np.float64)
    seen = power > 0
    ratio = np.divide(product, power, out=np.full(power.shape, 2.0), where=seen)
    sigma = fitting.per_voxel(noise, under.shape, "noise")
    spread = np.full(power.shape, np.inf)
    if sigma is not None:
        spread[seen] = sigma[seen] * np.sqrt((1 + ratio[seen] ** 2) / power[seen])
    return np.where(seen, ratio, np.inf), spread


def _angle(cosine: np.ndarray, spread: np.ndarray, nominal: Radian, shape: tuple[int, ...]) -> Map:
    """Map of arccos over the nominal angle; a cosine beyond one is noise, not an angle."""
    if not 0 < nominal < np.pi:
        raise ProtocolError(
            f"the nominal flip angle is {np.degrees(nominal):.4g} degrees; it lies between 0 and "
            "180 (scanroom.mri.maps.flip_angles). Give radians."
        )
    good = np.abs(cosine) < 1
    inside = np.where(good, cosine, 0.0)
    array = np.where(good, np.arccos(inside) / nominal, 0.0)
    error = np.where(good, spread / np.sqrt(1 - inside**2) / nominal, np.inf)
    return fitting.as_map("B1", "1", (array, error, good, None), shape)
