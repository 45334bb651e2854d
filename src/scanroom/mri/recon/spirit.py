"""SPIRiT: k-space in which every sample is what its neighbours in all coils say it is.

A kernel learned in the fully sampled centre predicts each sample of each coil from all around it.
The missing samples are those that make the prediction hold as well as can be, whatever the pattern;
measured ones stay as they are. In the image the kernel is a matrix ``G`` among the coils of every
pixel, so the error of the prediction ``|(G - 1) x|^2`` costs a transform there and back and a small
product per pixel. In hybrid space (image along x) every place along the readout is a problem of
its own.

References
----------
M. Lustig, J. M. Pauly, Magn. Reson. Med. 64, 457 (2010), doi:10.1002/mrm.22428.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import scipy.fft
import scipy.linalg
from jaxtyping import Bool, Complex64
from numba import njit

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.parallel import centre_block
from scanroom.operators.fourier import to_kspace
from scanroom.operators.threads import each, one_blas

KERNEL = 5
"""Points of the kernel along every axis."""
REGULARISATION = 1e-2
"""Added to the Gram matrix, as a share of its mean diagonal."""
N_ITERATIONS = 20
TOLERANCE = 1e-3

Hybrid = Complex64[np.ndarray, "coil z y x"]
Sampled = Bool[np.ndarray, "z y"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiritKernel:
    """What a sample is made of, ``weights[z, y, x, source, target]``; of itself nothing."""

    weights: Complex64[np.ndarray, "kz ky kx coil coil"]

    def pixels(
        self, shape: tuple[int, int, int], part: slice
    ) -> Complex64[np.ndarray, "x coil coil z y"]:
        """``G[target, source]`` of some places along x, pixels of z and y in order of the FFT."""
        waves = [
            np.exp(-2j * np.pi * np.outer(np.arange(n) - n // 2, np.arange(k) - k // 2) / n)
            for n, k in zip(shape, self.weights.shape[:3], strict=True)
        ]
        here = np.tensordot(waves[2][part].astype(np.complex64), self.weights, (1, 2))
        here = np.einsum("xabst,ya->xbsty", here.swapaxes(1, 2), waves[1].astype(np.complex64))
        here = np.einsum("xbsty,zb->xtszy", here, waves[0].astype(np.complex64), optimize=True)
        return np.ascontiguousarray(np.fft.ifftshift(here, (3, 4)))


def calibrate_spirit(
    centre: Hybrid, *, kernel: int = KERNEL, regularisation: float = REGULARISATION
) -> SpiritKernel:
    """Learn the kernel from a fully sampled centre of hybrid k-space (or of another scan).

    Raises
    ------
    ProtocolError
        If the centre is too small for the kernel.
    """
    known = to_kspace(centre, (3,))
    size = tuple(1 if n == 1 else kernel for n in known.shape[1:])
    room = [n - k + 1 for n, k in zip(known.shape[1:], size, strict=True)]
    n_unknown = len(known) * int(np.prod(size))
    if min(room) < 1 or int(np.prod(room)) < n_unknown:
        raise ProtocolError(
            f"the fully sampled centre has {known.shape[1:]} points (z, y, x); a SPIRiT kernel of "
            f"{kernel} needs {n_unknown} places or more (scanroom.mri.recon.spirit). Measure more "
            "central lines, or use cg-sense."
        )
    windows = np.lib.stride_tricks.sliding_window_view(known, size, axis=(1, 2, 3))
    with one_blas():
        gram = np.zeros((n_unknown, n_unknown), np.complex64)
        for z in range(room[0]):
            rows = windows[:, z].transpose(0, 3, 4, 5, 1, 2).reshape(n_unknown, -1)
            gram += rows.conj() @ rows.T
        share = max(regularisation, n_unknown * float(np.finfo(np.float32).eps))
        gram[np.diag_indices_from(gram)] += share * np.trace(gram).real / n_unknown
        # regression of each coil's middle sample on all others: a column of the inverse
        factor = scipy.linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
        middle = np.arange(len(known)) * int(np.prod(size)) + int(np.prod(size)) // 2
        unit = np.zeros((n_unknown, len(known)), np.complex64)
        unit[middle, np.arange(len(known))] = 1
        inverse = scipy.linalg.cho_solve(factor, unit, check_finite=False)
    weights = -inverse / inverse[middle, np.arange(len(known))]
    weights[middle, np.arange(len(known))] = 0
    shaped = weights.reshape(len(known), *size, len(known)).transpose(1, 2, 3, 0, 4)
    return SpiritKernel(weights=np.ascontiguousarray(shaped.astype(np.complex64)))


def spirit(
    kspace: Hybrid,
    sampled: Sampled,
    kernel: SpiritKernel | None = None,
    *,
    n_iterations: int = N_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Hybrid:
    """Fill what was not measured, any pattern; the kernel comes from the centre if none is given.

    Raises
    ------
    ProtocolError
        If nothing was measured, or the centre is too small for a kernel.
    """
    if not sampled.any() or n_iterations < 1 or not 0 <= tolerance < 1:
        raise ProtocolError(
            f"SPIRiT got {int(sampled.sum())} measured lines, {n_iterations} iterations, a "
            f"tolerance of {tolerance:g}; it needs one or more, 1 or more, 0 to 1 "
            "(scanroom.mri.recon.spirit). Correct it."
        )
    if kernel is None:
        kernel = calibrate_spirit(kspace[(slice(None), *centre_block(sampled))])
    known = kernel
    n_coils, n_z, n_y, n_x = kspace.shape
    width = int(np.clip((1 << 22) // (8 * n_coils**2 * n_z * n_y), 1, n_x))
    mask = np.fft.ifftshift(sampled)
    out = np.empty_like(kspace)

    def some(block: int) -> None:
        part = slice(block * width, min((block + 1) * width, n_x))
        pixels = known.pixels((n_z, n_y, n_x), part)
        data = np.moveaxis(np.fft.ifftshift(kspace[..., part], (1, 2)), -1, 0)
        filled = _filled(pixels, np.ascontiguousarray(data), mask, n_iterations, tolerance)
        out[..., part] = np.fft.fftshift(np.moveaxis(filled, 0, -1), (1, 2))

    each(some, -(-n_x // width))
    return out


def _filled(
    pixels: Complex64[np.ndarray, "x coil coil z y"],
    data: Complex64[np.ndarray, "x coil z y"],
    mask: Bool[np.ndarray, "z y"],
    n_iterations: int,
    tolerance: float,
) -> Complex64[np.ndarray, "x coil z y"]:
    """Conjugate gradients over the missing samples of some places, all at once."""
    axes = (-1,) if data.shape[-2] == 1 else (-2, -1)
    missing = (~mask).astype(np.float32)
    strain = np.empty_like(pixels)
    _strain(pixels, strain)

    def gram(samples: Complex64[np.ndarray, "x coil z y"]) -> Complex64[np.ndarray, "x coil z y"]:
        images = scipy.fft.ifftn(samples, axes=axes, workers=1)
        strained = np.empty_like(images)
        _weigh(strain, images, strained)
        found: np.ndarray = scipy.fft.fftn(strained, axes=axes, overwrite_x=True, workers=1)
        found *= missing
        return found

    measured = data * mask
    residual = -gram(measured)
    x, direction = np.zeros_like(residual), residual.copy()
    power = float(np.vdot(residual, residual).real)
    goal = power * tolerance**2
    for _ in range(n_iterations):
        if power <= goal or power == 0:
            break
        image = gram(direction)
        curve = float(np.vdot(direction, image).real)
        if curve <= 0:
            break
        step = np.float32(power / curve)
        x += step * direction
        residual -= step * image
        before, power = power, float(np.vdot(residual, residual).real)
        direction = residual + np.float32(power / before) * direction
    filled: np.ndarray = measured + x
    return filled


@njit(cache=True, nogil=True)
@no_type_check
def _strain(pixels, out):
    """``(G - 1)^H (G - 1)`` of every pixel; ``pixels`` becomes ``G - 1``."""
    n_x, n_coils = pixels.shape[:2]
    for i in range(n_x):
        for c in range(n_coils):
            pixels[i, c, c] -= np.complex64(1)
        for a in range(n_coils):
            for b in range(n_coils):
                out[i, a, b] = 0
                for t in range(n_coils):
                    _add_product(pixels[i, t, a], pixels[i, t, b], out[i, a, b])


@njit(cache=True, nogil=True)
@no_type_check
def _add_product(one, other, out):
    """``out += conj(one) other``."""
    for z in range(one.shape[0]):
        for y in range(one.shape[1]):
            out[z, y] += np.conj(one[z, y]) * other[z, y]


@njit(cache=True, nogil=True)
@no_type_check
def _weigh(matrix, images, out):
    """Multiply every pixel's coils by its matrix."""
    n_x, n_coils, _, n_z, n_y = matrix.shape
    for i in range(n_x):
        for a in range(n_coils):
            for z in range(n_z):
                for y in range(n_y):
                    out[i, a, z, y] = 0
                for b in range(n_coils):
                    for y in range(n_y):
                        out[i, a, z, y] += matrix[i, a, b, z, y] * images[i, b, z, y]
