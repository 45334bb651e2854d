"""Small displacements from motion-encoding gradients, as a push of focused ultrasound makes."""

import numpy as np
from jaxtyping import Bool, Complex, Float

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.echoes import FAINTEST, phase_variance, refuse_unless_finite
from scanroom.mri.maps.model import Map
from scanroom.mri.maps.smooth import background_phase
from scanroom.mri.maps.unwrapping import TURN, wrapped
from scanroom.mri.maps.velocity import anchored

Image = Complex[np.ndarray, "z y x"]


def encoding(
    time: Float[np.ndarray, " sample"],
    gradient: Float[np.ndarray, " sample"],
    response: Float[np.ndarray, " sample"] | None = None,
) -> float:
    """Cycles per metre that a gradient gives to a displacement: the integral of their product.

    ``gradient`` is gamma G over 2 pi [Hz/m], straight between the samples [s]; ``response`` the
    displacement over its plateau at those times (1 where not given: the tissue has moved for as
    long as the gradient is on).

    Raises
    ------
    ProtocolError
        If the product adds up to nothing: such a gradient sees no displacement.
    """
    shown = np.ones_like(gradient) if response is None else response
    step = np.diff(time)
    ends = gradient[:-1] * shown[:-1] + gradient[1:] * shown[1:]
    crossed = gradient[:-1] * shown[1:] + gradient[1:] * shown[:-1]
    total = float((step * (ends / 3 + crossed / 6)).sum())
    if not (np.isfinite(total) and abs(total) > 0):
        raise ProtocolError(
            f"the gradient encodes {total} cycles per metre; it must be a number other than 0 "
            "(scanroom.mri.maps.displacement). Put one lobe before the push and one within it."
        )
    return total


def displacement(
    positive: Image,
    negative: Image,
    cycles_per_metre: float,
    *,
    rest: tuple[Image, Image] | None = None,
    still: Bool[np.ndarray, "z y x"] | None = None,
    order: int = -1,
    noise: float = 1.0,
) -> Map:
    """Displacement [m] along the gradient, from images with the gradient one way and the other.

    The difference holds twice the encoded phase and nothing of the static field. ``rest`` are the
    same two images without a push: they take away what eddy currents leave. A polynomial of
    ``still`` tissue (``order`` 0 and above; all bright voxels with bisquare weights where no mask
    is given) takes away what has drifted since. Not valid: voxels where an image is dim.

    Raises
    ------
    ProtocolError
        If the encoding is 0, values are not finite, or too few voxels stand still.

    References
    ----------
    N. McDannold, S. E. Maier, Med. Phys. 35, 3748 (2008), doi:10.1118/1.2956712.
    """
    if not (np.isfinite(cycles_per_metre) and cycles_per_metre != 0):
        raise ProtocolError(
            f"{cycles_per_metre} cycles per metre are encoded; they must be a number other than 0 "
            "(scanroom.mri.maps.displacement). Take them from `encoding`."
        )
    images = [positive, negative, *(rest or ())]
    refuse_unless_finite("images", np.stack(images))
    product = positive * negative.conj()
    size = np.sqrt(np.abs(product))
    if rest is not None:
        product = product * (rest[0] * rest[1].conj()).conj()
    bright = np.min([np.abs(image) for image in images], axis=0) > FAINTEST * noise
    variance = sum((phase_variance(image, noise) for image in images), np.zeros(product.shape))
    phase = np.angle(product).astype(np.float64)
    if order >= 0:
        where = bright if still is None else bright & still
        fit, more = background_phase(phase, 1 / variance, where, order, robust=still is None)
        phase, variance = wrapped(phase - fit), variance + more
    if bright.any():
        phase = anchored(phase, size, bright, still)
    scale = -1 / (2 * TURN * cycles_per_metre)
    return Map(
        name="displacement",
        array=np.where(bright, scale * phase, 0.0).astype(np.float32),
        unit="m",
        valid=bright,
        error=np.where(bright, abs(scale) * np.sqrt(variance), np.inf).astype(np.float32),
    )
