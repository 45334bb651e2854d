"""Complex images of several echoes: what every map of their phase asks of them.

Magnetisation precesses as ``exp(-2 pi i f t)`` (docs/nomenclature.md), so a positive offset turns
the phase of an image backwards. Images of a scanner of the other sign are conjugated first. In
units of the noise (``noise = 1``) real and imaginary part each have that standard deviation.
"""

import numpy as np
from jaxtyping import Bool, Complex, Float

from scanroom.core.errors import ProtocolError

Images = Complex[np.ndarray, "echo z y x"]
FAINTEST = 5.0
"""Signal over noise below which phase is not trusted: its error is 0.2 rad and no longer normal.

H. Gudbjartsson, S. Patz, Magn. Reson. Med. 34, 910 (1995), doi:10.1002/mrm.1910340618.
"""


def checked(images: Images, times: Float[np.ndarray, " echo"], least: int) -> None:
    """Refuse what no fit over echoes can be made of.

    Raises
    ------
    ProtocolError
        If there are fewer than ``least`` echoes, times do not rise or are not one per image, or a
        value is not finite.
    """
    if len(times) != len(images) or len(times) < least or not (np.diff(times) > 0).all():
        raise ProtocolError(
            f"{len(images)} images have echo times {[float(time) for time in times]} s; there must "
            f"be one rising time for each of at least {least} (scanroom.mri.maps). Sort them."
        )
    refuse_unless_finite("images", images)


def refuse_unless_finite(what: str, array: np.ndarray) -> None:
    """Refuse values that are not numbers.

    Raises
    ------
    ProtocolError
        If there are any.
    """
    if bad := int((~np.isfinite(array)).sum()):
        raise ProtocolError(
            f"{bad} values of the {what} are not finite; a map needs numbers "
            "(scanroom.mri.maps). Set them to 0 and leave them out of the mask."
        )


def bright(images: Images, noise: float) -> Bool[np.ndarray, "z y x"]:
    """Voxels whose signal, root mean square over images, is above the faintest trusted."""
    power = np.mean(images.real**2 + images.imag**2, axis=0)
    return np.asarray(power > (FAINTEST * noise) ** 2 + 2 * noise**2)


def phase_variance(image: Complex[np.ndarray, "..."], noise: float) -> Float[np.ndarray, "..."]:
    """Variance [rad2] of the phase of a signal well above its noise."""
    power = (image.real**2 + image.imag**2).astype(np.float64)
    return np.asarray(noise**2 / np.maximum(power, 1e-24))
