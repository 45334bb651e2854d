"""A field map from the blur of the image itself, where none was measured.

Where an object has a smooth phase, an image demodulated at the right frequency has none left once
the phase of its low-resolution image is taken off; at a wrong one the blur leaks into the imaginary
part. Every voxel gets the frequency that leaves the least of it around the voxel.

References ---------- D. C. Noll, J. M. Pauly, C. H. Meyer, D. G. Nishimura, A. Macovski, Magn.
Reson. Med. 25, 319 (1992), doi:10.1002/mrm.1910250210.
"""

import numpy as np
from jaxtyping import Complex, Float
from scipy.ndimage import gaussian_filter

from scanroom.mri.recon.noncartesian import encoding
from scanroom.operators.linear import Array

CENTRE = 0.12
"""Share of k-space, from the middle to the edge, whose image gives the phase."""


def autofocus(
    samples: Complex[np.ndarray, "coil ..."],
    place: Float[np.ndarray, "sample axis"],
    time: Float[np.ndarray, " sample"],
    maps: Complex[np.ndarray, "coil z y x"],
    frequencies: Float[np.ndarray, " try"],
    *,
    weight: Float[np.ndarray, " sample"],
    width: float = 3.0,
) -> tuple[Float[np.ndarray, "z y x"], Complex[np.ndarray, "z y x"]]:
    """Field map [Hz] and the image that it sharpens, by trying evenly spaced ``frequencies`` [Hz].

    ``weight`` is the density compensation, ``width`` the deviation in pixels of the window in which
    the energy of the imaginary part is summed, and over which the map is smooth. The image is not
    in units of noise: it is pieced together of images.
    """
    encode = encoding(place, maps, weight=weight)
    middle = np.linalg.norm(place, axis=1) < CENTRE / 2
    origin = float(np.average(time[middle], weights=weight[middle]))
    root = np.sqrt(weight)

    def image(frequency: float, used: Array) -> Array:
        back = np.exp(2j * np.pi * frequency * (time - origin)) * root * used
        found: Array = encode.adjoint(samples.reshape(encode.codomain) * back.astype(samples.dtype))
        return found

    low = image(0.0, middle.astype(float))
    phase = np.exp(-1j * np.angle(low)).astype(samples.dtype)
    everywhere = np.ones(len(time))
    tried = np.stack([image(float(f), everywhere) for f in frequencies])
    extent = (0.0 if maps.shape[1] == 1 else width, width, width)
    blur = np.stack([gaussian_filter((one * phase).imag ** 2, extent) for one in tried])
    heavy = gaussian_filter(np.abs(low), extent)
    best = frequencies[np.argmin(blur, axis=0)]
    found = gaussian_filter(best * np.abs(low), extent) / np.maximum(heavy, heavy.max() * 1e-6)
    return found, _pieced(tried, frequencies, found)


def _pieced(
    tried: Complex[np.ndarray, "try z y x"],
    frequencies: Float[np.ndarray, " try"],
    found: Float[np.ndarray, "z y x"],
) -> Complex[np.ndarray, "z y x"]:
    """Every voxel from the two images whose frequencies are next to its own."""
    step = frequencies[1] - frequencies[0]
    at = np.clip((found - frequencies[0]) / step, 0, len(frequencies) - 1)
    below = np.minimum(at.astype(int), len(frequencies) - 2)
    share = (at - below).astype(tried.real.dtype)
    lower = np.take_along_axis(tried, below[None], 0)[0]
    upper = np.take_along_axis(tried, below[None] + 1, 0)[0]
    pieced: Array = lower + share * (upper - lower)
    return pieced
