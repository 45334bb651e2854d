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
    standard deviation one, and returns the complex image. The figure itself is uncertain by
    ``1 / sqrt(2 n_replicas)``.

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
    total = np.zeros(image.shape)
    for replica in range(n_replicas):
        rng = np.random.Generator(np.random.Philox(key=[seed, replica]))
        noise = rng.standard_normal((*kspace.shape, 2), np.float32).view(np.complex64)[..., 0]
        difference = (reconstruct(kspace + noise) - image) * phase
        total += difference.real.astype(np.float64) ** 2
    deviation: np.ndarray = np.sqrt(total / n_replicas).astype(np.float32)
    return deviation
