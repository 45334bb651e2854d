"""Velocity from the phase that moving spins gather in bipolar gradients."""

import numpy as np
from jaxtyping import Bool, Complex, Float

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.echoes import FAINTEST, phase_variance, refuse_unless_finite
from scanroom.mri.maps.model import Map
from scanroom.mri.maps.smooth import background_phase
from scanroom.mri.maps.unwrapping import TURN, unwrap, wrapped

Image = Complex[np.ndarray, "z y x"]


def venc_of(first_moment: float) -> float:
    """Velocity [m/s] of half a turn, of the difference of two first moments [cycles s/m], signed.

    Raw data gather ``-2 pi m v`` (docs/nomenclature.md): a positive moment has a negative venc.

    Raises
    ------
    ProtocolError
        If the moment is zero or not finite.
    """
    if not (np.isfinite(first_moment) and first_moment != 0):
        raise ProtocolError(
            f"the first moment is {first_moment}; it must be a number other than 0 "
            "(scanroom.mri.maps.velocity). Give gamma times the integral of G t [cycles s/m]."
        )
    return -0.5 / first_moment


def velocity(
    reference: Image,
    encoded: Image,
    venc: float,
    *,
    noise: float = 1.0,
    still: Bool[np.ndarray, "z y x"] | None = None,
    order: int = 1,
    unaliased: bool = True,
) -> Map:
    """Velocity [m/s] along the encoded direction from two images.

    ``order`` is that of the polynomial taken away as background phase (eddy currents, concomitant
    fields; -1: none). It is fitted to ``still`` tissue, or where that is not given to all bright
    voxels with bisquare weights, which takes tissue at rest to be the most of the image.
    ``unaliased`` unwraps in space. Not valid: voxels where either image is dim.

    Raises
    ------
    ProtocolError
        If venc is 0, values are not finite, or too few voxels stand still.

    References
    ----------
    N. J. Pelc et al., J. Magn. Reson. Imaging 1, 405 (1991), doi:10.1002/jmri.1880010404;
    P. G. Walker et al., J. Magn. Reson. Imaging 3, 521 (1993), doi:10.1002/jmri.1880030315.
    """
    if not (np.isfinite(venc) and venc != 0):
        raise ProtocolError(
            f"venc is {venc} m/s; it must be a number other than 0 (scanroom.mri.maps.velocity). "
            "Take it from the protocol, or from `venc_of`."
        )
    refuse_unless_finite("images", np.stack([reference, encoded]))
    product = encoded * reference.conj()
    bright = np.minimum(np.abs(reference), np.abs(encoded)) > FAINTEST * noise
    phase = np.angle(product).astype(np.float64)
    variance = phase_variance(reference, noise) + phase_variance(encoded, noise)
    if order >= 0:
        weight = 1 / np.maximum(variance, 1e-30)
        where = bright if still is None else bright & still
        background, more = background_phase(phase, weight, where, order, robust=still is None)
        phase, variance = wrapped(phase - background), variance + more
    if unaliased and bright.any():
        phase = anchored(phase, np.sqrt(np.abs(product)), bright, still)
    scale = venc / np.pi
    return Map(
        name="velocity",
        array=np.where(bright, scale * phase, 0.0).astype(np.float32),
        unit="m/s",
        valid=bright,
        error=np.where(bright, abs(scale) * np.sqrt(variance), np.inf).astype(np.float32),
    )


def flow_rate(
    found: Map, area: Bool[np.ndarray, "z y x"], pixel: tuple[float, float]
) -> tuple[float, float]:
    """Volume per time [m3/s] through an area of pixels [m] of one slice, and its standard error.

    The error is that of noise, voxels independent; the area's own error is not in it.
    """
    cell = pixel[0] * pixel[1]
    kept = area & found.valid
    total = float(found.array[kept].sum(dtype=np.float64)) * cell
    return total, float(np.sqrt((found.error[kept].astype(np.float64) ** 2).sum())) * cell


def anchored(
    phase: Float[np.ndarray, "z y x"],
    magnitude: Float[np.ndarray, "z y x"],
    bright: Bool[np.ndarray, "z y x"],
    still: Bool[np.ndarray, "z y x"] | None,
) -> Float[np.ndarray, "z y x"]:
    """Unwrap so that in each region still tissue, or most of the region, has no whole turn."""
    found = unwrap(phase, mask=bright, magnitude=magnitude)
    result = found.phase.copy()
    turns = np.round((found.phase - phase) / TURN).astype(np.int64)
    anchors = bright if still is None or not (bright & still).any() else bright & still
    for number in range(1, int(found.region.max()) + 1):
        inside = found.region == number
        chosen = inside & anchors if (inside & anchors).any() else inside
        values, counts = np.unique(turns[chosen], return_counts=True)
        result[inside] -= TURN * values[np.argmax(counts)]
    return result
