"""The noise of any reconstruction, by repeating it on noise that is known.

References
----------
P. M. Robson, A. K. Grant, A. J. Madhuranthakam, R. Lattanzi, D. K. Sodickson, C. A. McKenzie,
Magn. Reson. Med. 60, 895 (2008), doi:10.1002/mrm.21728.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Complex64, Float32

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.noise import Measurement


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
    found = Spread(reconstruct(kspace))
    for replica in range(n_replicas):
        rng = np.random.Generator(np.random.Philox(key=[seed, replica]))
        found.add(reconstruct(kspace + _white(rng, kspace.shape)))
    return found.deviation()


class Spread:
    """Standard deviation, in phase with an image, of what comes one by one.

    References
    ----------
    B. P. Welford, Technometrics 4, 419 (1962), doi:10.1080/00401706.1962.10490022.
    """

    def __init__(self, image: Complex64[np.ndarray, "..."]) -> None:
        self._image = image
        self._phase = np.exp(-1j * np.angle(image)).astype(np.complex64)
        self._n = 0
        self._mean, self._spread = np.zeros(image.shape), np.zeros(image.shape)

    def add(self, image: Complex64[np.ndarray, "..."]) -> None:
        """Take one more."""
        value = ((image - self._image) * self._phase).real.astype(np.float64)
        self._n += 1
        away = value - self._mean
        self._mean += away / self._n
        self._spread += away * (value - self._mean)

    def deviation(self) -> Float32[np.ndarray, "..."]:
        """Standard deviation of all so far."""
        found: np.ndarray = np.sqrt(self._spread / max(self._n - 1, 1)).astype(np.float32)
        return found


def with_noise(measurement: Measurement, replica: int, *, seed: int = 0) -> Measurement:
    """Add noise as white as that of the channels to a prewhitened measurement."""
    rng = np.random.Generator(np.random.Philox(key=[seed, replica]))
    signal = tuple(line + _white(rng, line.shape) for line in measurement.signal)
    return replace(measurement, signal=signal)


def _white(rng: np.random.Generator, shape: tuple[int, ...]) -> Complex64[np.ndarray, "..."]:
    noise: np.ndarray = rng.standard_normal((*shape, 2), np.float32).view(np.complex64)[..., 0]
    return noise
