"""Coil sensitivities from the image's own low-resolution centre, and what they combine to.

In every small neighbourhood the coils see one object: the dominant eigenvector of their local
covariance is the sensitivity (Walsh, Gmitro, Marcellin, Magn. Reson. Med. 43, 682 (2000),
doi:10.1002/(SICI)1522-2594(200005)43:5<682::AID-MRM10>3.0.CO;2-G). Maps have unit norm, so white
noise of the coils stays white and one in the combined image. Their phase is that of each coil
against the virtual coil that sees the whole object best, so that the image keeps its phase.

`inati` finds much the same without the covariance: maps and image by turns, each from the other
(Inati, Hansen, Kellman, Proc. ISMRM 22, 4407 (2014)). Its cost goes with the coils, not their
square.
"""

import numpy as np
from jaxtyping import Complex64, Float32
from scipy.ndimage import uniform_filter

from scanroom.operators.fourier import resize, to_image, to_kspace

N_CENTRE = 32
"""Points of k-space, along each axis, that make the low-resolution images."""
_FINER = 2
_NEIGHBOURHOOD = 5
_POWER_STEPS = 12
_TURNS = 5

Images = Complex64[np.ndarray, "coil z y x"]
Low = Complex64[np.ndarray, "coil low_z low_y low_x"]


def sensitivities(images: Images) -> Images:
    """Estimate unit-norm maps on the grid of the images."""
    low = _low_resolution(images)
    eigenvectors = _dominant(_local_covariance(low), _virtual_coil(low))
    maps = eigenvectors
    for axis in (1, 2, 3):
        maps = _interpolate(maps, images.shape[axis], axis)
    return _normalised(maps)


def inati(images: Images) -> Images:
    """Estimate unit-norm maps on the grid of the images, maps and image by turns."""
    low = _low_resolution(images)
    size = tuple(min(_NEIGHBOURHOOD, n) for n in low.shape[1:])
    virtual = _virtual_coil(low)
    image = np.einsum("c,c...->...", virtual.conj(), low)
    for _ in range(_TURNS):
        seen = low * image.conj()
        maps = np.stack([uniform_filter(coil, size, mode="nearest") for coil in seen])
        maps = _turned(_normalised(maps), virtual)
        image = combine(low, maps)
    for axis in (1, 2, 3):
        maps = _interpolate(maps, images.shape[axis], axis)
    return _normalised(maps)


def combine(images: Images, maps: Images) -> Complex64[np.ndarray, "z y x"]:
    """Weigh every coil by its sensitivity: the best SNR for white noise, the phase kept."""
    image: np.ndarray = np.einsum("c...,c...->...", maps.conj(), images)
    return image


def root_sum_of_squares(images: Images) -> Float32[np.ndarray, "z y x"]:
    """Magnitude without maps (Roemer et al. 1990, doi:10.1002/mrm.1910160203)."""
    power: np.ndarray = np.einsum("c...,c...->...", images.real, images.real)
    power += np.einsum("c...,c...->...", images.imag, images.imag)
    magnitude: np.ndarray = np.sqrt(power)
    return magnitude


def _low_resolution(images: Images) -> Low:
    """Keep a Hann-windowed centre of k-space, on a grid twice as fine as it needs."""
    low = images
    for axis in (3, 2, 1):
        n = min(N_CENTRE, low.shape[axis])
        if n == 1:
            continue
        centre = resize(to_kspace(low, (axis,)), n, axis)
        radius = np.abs(np.arange(n) - n // 2) / (n / 2 + 1)
        window = (0.5 + 0.5 * np.cos(np.pi * radius)).astype(np.float32)
        centre = centre * window.reshape([-1 if i == axis else 1 for i in range(4)])
        low = to_image(resize(centre, min(_FINER * n, images.shape[axis]), axis), (axis,))
    return low


def _local_covariance(low: Images) -> Complex64[np.ndarray, "z y x coil coil"]:
    n_coils = len(low)
    result = np.empty((*low.shape[1:], n_coils, n_coils), dtype=np.complex64)
    size = tuple(min(_NEIGHBOURHOOD, n) for n in low.shape[1:])
    for row in range(n_coils):
        for column in range(row, n_coils):
            product = low[row] * low[column].conj()
            smooth = uniform_filter(product, size, mode="nearest")
            result[..., row, column] = smooth
            result[..., column, row] = smooth.conj()
    return result


def _virtual_coil(low: Images) -> Complex64[np.ndarray, " coil"]:
    """Weights of the coils that gather most of the object's energy."""
    flat = low.reshape(len(low), -1).astype(np.complex128)
    _, vectors = np.linalg.eigh(flat @ flat.conj().T)
    return vectors[:, -1].astype(np.complex64)


def _dominant(
    covariance: Complex64[np.ndarray, "z y x coil coil"], virtual: Complex64[np.ndarray, " coil"]
) -> Images:
    """Power iteration from the virtual coil, whose phase every vector keeps."""
    vector = covariance @ virtual
    for _ in range(_POWER_STEPS):
        vector = vector / np.maximum(_norm(vector), np.finfo(np.float32).tiny)
        vector = np.matmul(covariance, vector[..., None])[..., 0]
    vector = vector / np.maximum(_norm(vector), np.finfo(np.float32).tiny)
    return _turned(np.ascontiguousarray(np.moveaxis(vector, -1, 0)), virtual)


def _turned(maps: Images, virtual: Complex64[np.ndarray, " coil"]) -> Images:
    """Give every pixel the phase of its coils against the virtual coil."""
    against = np.einsum("c...,c->...", maps, virtual.conj())
    size = np.abs(against)
    turn = np.where(size > 0, against.conj() / np.where(size > 0, size, 1), 1)
    turned: np.ndarray = (maps * turn).astype(np.complex64)
    return turned


def _norm(vector: np.ndarray) -> np.ndarray:
    norm: np.ndarray = np.linalg.norm(vector, axis=-1, keepdims=True)
    return norm


def _interpolate(maps: Low, n: int, axis: int) -> Complex64[np.ndarray, "coil _ _ _"]:
    """Linear interpolation between pixel centres; origins coincide."""
    size = maps.shape[axis]
    if size == n:
        return maps
    place = np.clip((np.arange(n) - n // 2) * (size / n) + size // 2, 0, size - 1)
    below = np.minimum(place.astype(int), max(size - 2, 0))
    share = (place - below).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(4)]
    share = share.reshape(shape)
    lower = maps.take(below, axis)
    upper = maps.take(np.minimum(below + 1, size - 1), axis)
    between: np.ndarray = lower + share * (upper - lower)
    return between


def _normalised(maps: Images) -> Images:
    norm = root_sum_of_squares(maps)
    even = np.float32(1 / np.sqrt(len(maps)))
    return np.where(norm > 0, maps / np.where(norm > 0, norm, 1), even).astype(np.complex64)
