"""The noise of any reconstruction, by repeating it on noise that is known.

References
----------
P. M. Robson, A. K. Grant, A. J. Madhuranthakam, R. Lattanzi, D. K. Sodickson, C. A. McKenzie,
Magn. Reson. Med. 60, 895 (2008), doi:10.1002/mrm.21728.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Complex64, Float32

from scanroom.core.errors import ProtocolError


def replica_noise(
    reconstruct: Callable[[Complex64[np.ndarray, "coil ..."]], Complex64[np.ndarray, "..."]],
    kspace: Complex64[np.ndarray, "coil ..."],
    *,
    n_replicas: int = 100,
    seed: int = 0,
) -> Float32[np.ndarray, "..."]:
    """Standard deviation of each pixel, in phase with the image, for prewhitened samples.

    ``reconstruct`` gets the measured k-space with white noise added, real and imaginary part of
    standard deviation one, and returns the complex image; it may be linear or not. The figure
    itself is uncertain by ``1 / sqrt(2 n_replicas)``. Over that of all lines measured and
    ``sqrt(R)`` it is the geometry factor; the image over it is the SNR.

    Raises
    ------
    ProtocolError
        If fewer than two replicas are asked for.
    """
    if n_replicas < 2:
        raise ProtocolError(
            f"{n_replicas} replicas are asked for; a standard deviation needs 2 or more "
            "(scanroom.mri.recon.replicas). A hundred give 7 %."
        )
    image = reconstruct(kspace)
    phase = np.exp(-1j * np.angle(image)).astype(np.complex64)
    mean, spread = np.zeros(image.shape), np.zeros(image.shape)
    for replica in range(n_replicas):
        rng = np.random.Generator(np.random.Philox(key=[seed, replica]))
        noise = rng.standard_normal((*kspace.shape, 2), np.float32).view(np.complex64)[..., 0]
        value = ((reconstruct(kspace + noise) - image) * phase).real.astype(np.float64)
        # running mean and spread: Welford 1962, doi:10.1080/00401706.1962.10490022
        away = value - mean
        mean += away / (replica + 1)
        spread += away * (value - mean)
    deviation: np.ndarray = np.sqrt(spread / (n_replicas - 1)).astype(np.float32)
    return deviation
