"""The static field's offset from the phase of two echoes or more."""

import numpy as np
from jaxtyping import Bool, Float, Int

from scanroom.mri.maps.echoes import Images, bright, checked
from scanroom.mri.maps.model import Map
from scanroom.mri.maps.unwrapping import unwrap, unwrap_echoes, wrapped

_WORST = 0.2
_ISLAND = 0.01


def field_map(
    images: Images,
    times: Float[np.ndarray, " echo"],
    *,
    noise: float = 1.0,
    mask: Bool[np.ndarray, "z y x"] | None = None,
) -> Map:
    """Off-resonance [Hz] of water: a straight line through the phase over echo time.

    The difference over the shortest spacing is unwrapped in space, later echoes from it in time;
    the line is that of least squares with the weights ``|image|^2``, so that an unknown phase at
    time zero (coils, pulse) drops out. Images are coil-combined with the same maps for all echoes
    (``reconstruct(..., complex_images=True)``). Not valid: dim voxels, voxels whose phase leaves
    its line by more than 0.2 rad beyond thrice the noise (fat, flow, motion), islands below a
    hundredth of the largest region. Of every region the mean over the shortest spacing is taken to
    be within half a turn.

    Raises
    ------
    ProtocolError
        If there are fewer than two echoes, or times do not rise.

    References
    ----------
    Weighted fit: S. Robinson et al., NMR Biomed. 30, e3601 (2017), doi:10.1002/nbm.3601.
    """
    checked(images, times, 2)
    inside = bright(images, noise) if mask is None else mask
    rate, region = _first_rate(images, times, inside)
    phase = unwrap_echoes(np.angle(images).astype(np.float64), times, rate)
    weight = np.maximum(np.abs(images).astype(np.float64) ** 2, 1e-30)
    total = weight.sum(axis=0)
    centre = np.tensordot(times, weight, 1) / total
    away = times[:, None, None, None] - centre
    spread = (weight * away**2).sum(axis=0)
    slope = (weight * away * phase).sum(axis=0) / spread
    left = phase - (weight * phase).sum(axis=0) / total - slope * away
    square = (weight * left**2).sum(axis=0)
    error = noise / np.sqrt(spread) / (2 * np.pi)
    straight = square / total < _WORST**2 + 9 * noise**2 * len(times) / total
    valid = inside & bright(images, noise) & straight & _mainland(region)
    return Map(
        name="off-resonance",
        array=np.where(inside, -slope / (2 * np.pi), 0.0).astype(np.float32),
        unit="Hz",
        valid=valid,
        error=np.where(inside, error, np.inf).astype(np.float32),
        residual=np.sqrt(square / len(times)).astype(np.float32),
    )


def _first_rate(
    images: Images, times: Float[np.ndarray, " echo"], mask: Bool[np.ndarray, "z y x"]
) -> tuple[Float[np.ndarray, "z y x"], Int[np.ndarray, "z y x"]]:
    """Phase per second [rad/s] over the shortest spacing, and its regions."""
    spacing = np.diff(times)
    shortest = float(spacing.min())
    alike = np.flatnonzero(spacing < 1.001 * shortest)
    product = sum(images[n + 1] * images[n].conj() for n in alike)
    later = _later(images, times, shortest)
    step = unwrap(
        np.angle(product).astype(np.float64),
        mask=mask,
        magnitude=np.sqrt(np.abs(product)),
        later=None if later is None else later[0],
        ratio=1.0 if later is None else later[1],
    )
    return step.phase / shortest, step.region


def _later(
    images: Images, times: Float[np.ndarray, " echo"], shortest: float
) -> tuple[Float[np.ndarray, "z y x"], float] | None:
    """Phase over the whole train and how many times longer it is, where not more than thrice."""
    ratio = float(times[-1] - times[0]) / shortest
    if not 1.001 < ratio <= 3.001:
        return None
    return wrapped(np.angle(images[-1] * images[0].conj()).astype(np.float64)), ratio


def _mainland(region: Int[np.ndarray, "z y x"]) -> Bool[np.ndarray, "z y x"]:
    size = np.bincount(region.ravel())
    size[0] = 0
    return np.asarray((size >= _ISLAND * size.max())[region] & (region > 0))
