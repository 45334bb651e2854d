"""The centred, orthonormal Fourier transform: element ``n // 2`` of an axis is its origin.

Signs follow MRD: k-space is the sum of the image times ``exp(-2 pi i k.r)``. Single precision
stays single. One thread pool: `WORKERS` threads inside a transform, none around it.
"""

import os

import numpy as np
import scipy.fft
from jaxtyping import Complex, Shaped

from scanroom.operators.linear import Array, Linear, Shape

Axes = tuple[int, ...]
WORKERS = min(2, os.cpu_count() or 1)


def to_kspace(image: Complex[Array, "..."], axes: Axes) -> Complex[Array, "..."]:
    """Transform chosen axes of an image to k-space."""
    moved = np.fft.ifftshift(image, axes)
    moved = scipy.fft.fftn(moved, axes=axes, norm="ortho", overwrite_x=True, workers=WORKERS)
    return np.fft.fftshift(moved, axes)


def to_image(kspace: Complex[Array, "..."], axes: Axes) -> Complex[Array, "..."]:
    """Transform chosen axes of k-space to the image; the inverse and adjoint of `to_kspace`."""
    moved = np.fft.ifftshift(kspace, axes)
    moved = scipy.fft.ifftn(moved, axes=axes, norm="ortho", overwrite_x=True, workers=WORKERS)
    return np.fft.fftshift(moved, axes)


def fourier(shape: Shape, axes: Axes = (-2, -1)) -> Linear:
    """Centred unitary Fourier transform over chosen axes."""
    return Linear(lambda x: to_kspace(x, axes), lambda y: to_image(y, axes), shape, shape)


def resize(array: Shaped[Array, "..."], n: int, axis: int) -> Shaped[Array, "..."]:
    """Crop or zero-pad one axis to ``n`` elements, its origin ``n // 2`` kept."""
    size = array.shape[axis]
    if size == n:
        return array
    start = size // 2 - n // 2
    window = [slice(None)] * array.ndim
    if n < size:
        window[axis] = slice(start, start + n)
        return array[tuple(window)]
    shape = list(array.shape)
    shape[axis] = n
    padded = np.zeros(shape, dtype=array.dtype)
    window[axis] = slice(-start, size - start)
    padded[tuple(window)] = array
    return padded


def window(shape: Shape, n: int, axis: int) -> Linear:
    """Crop or zero-pad one axis about its origin; the adjoint does the opposite."""
    result = list(shape)
    result[axis] = n
    return Linear(
        lambda x: resize(x, n, axis),
        lambda y: resize(y, shape[axis], axis),
        shape,
        tuple(result),
    )
