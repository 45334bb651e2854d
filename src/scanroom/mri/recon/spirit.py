"""SPIRiT: k-space in which every sample is what its neighbours in all coils say it is.

A kernel learned in the fully sampled centre predicts each sample of each coil from all around it.
The missing samples are those that make the prediction hold as well as can be, whatever the pattern;
measured ones stay as they are, and the less signal there is beside the noise, the smaller the
others. In the image the kernel is a matrix ``G`` among the coils of every pixel, so the error of
the prediction ``|(G - 1) x|^2`` costs a transform there and back and a small product per pixel. In
hybrid space (image along x) every place along the readout is a problem of its own.

Weights of all coils come from one inverse: of many variables, the regression of one on all others
stands in its column of the inverse of their Gram matrix.

References
----------
M. Lustig, J. M. Pauly, Magn. Reson. Med. 64, 457 (2010), doi:10.1002/mrm.22428.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import scipy.fft
import scipy.linalg
from jaxtyping import Bool, Complex64
from numba import njit

from scanroom.core.errors import FormatError, ProtocolError
from scanroom.mri.recon.parallel import centre_block
from scanroom.operators.fourier import to_image, to_kspace
from scanroom.operators.linear import Array, Linear
from scanroom.operators.threads import each, one_blas

KERNEL = 5
"""Points of the kernel along every axis."""
REGULARISATION = 3e-3
"""Added to the Gram matrix, as a share of its mean diagonal."""
N_ITERATIONS = 50
TOLERANCE = 3e-3
"""Relative residual at which iterations stop."""
_CACHE = 1 << 22
"""Bytes of matrices that are worked on at a time."""

Hybrid = Complex64[np.ndarray, "coil z y x"]
Sampled = Bool[np.ndarray, "z y"]
Grid = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiritKernel:
    """``weights[z, y, x, source, target]``: what a sample is made of; zero for the sample itself.

    ``misfit`` is the power of a sample that is not predicted, in the centre that taught it.
    Reusable for every frame of the same coils and field of view.
    """

    weights: Complex64[np.ndarray, "kz ky kx coil coil"]
    misfit: float

    def pixels(self, shape: Grid, part: slice) -> Complex64[np.ndarray, "x coil coil z y"]:
        """``G[target, source]`` of some places along x of a grid (z, y, x).

        Pixels of z and y are in the order of the FFT.
        """
        along_z, along_y, along_x = (
            np.exp(-2j * np.pi * np.outer(np.arange(n) - n // 2, np.arange(k) - k // 2) / n).astype(
                np.complex64
            )
            for n, k in zip(shape, self.weights.shape[:3], strict=True)
        )
        at_x = np.tensordot(along_x[part], self.weights, (1, 2))  # x kz ky source target
        at_y = np.tensordot(at_x, along_y, (2, 1))  # x kz source target y
        made: np.ndarray = np.einsum("xksty,zk->xtszy", at_y, along_z, optimize=True)
        return np.ascontiguousarray(np.fft.ifftshift(made, (3, 4)))


def calibrate_spirit(
    centre: Hybrid, *, kernel: int = KERNEL, regularisation: float = REGULARISATION
) -> SpiritKernel:
    """Learn the kernel from a fully sampled centre in hybrid space, of this scan or another.

    Raises
    ------
    ProtocolError
        If the kernel has no middle, the regularisation is negative, or the centre is too small.
    FormatError
        If the centre is not finite.
    """
    known = to_kspace(centre, (3,))
    n_z, n_y, n_x = (1 if n == 1 else kernel for n in known.shape[1:])
    room = [n - k + 1 for n, k in zip(known.shape[1:], (n_z, n_y, n_x), strict=True)]
    n_weights = len(known) * n_z * n_y * n_x
    n_places = int(np.prod(np.maximum(room, 0)))
    if n_places < n_weights or kernel < 3 or kernel % 2 == 0 or regularisation < 0:
        raise ProtocolError(
            f"a SPIRiT kernel of {kernel} points has {n_weights} weights for each coil, told by "
            f"{n_places} places, with a regularisation of {regularisation:g}; it may have 3 or any "
            "odd number above, as many places as weights, and 0 or more "
            "(scanroom.mri.recon.spirit). Measure more central lines, or use cg-sense."
        )
    if not np.isfinite(known).all():
        raise FormatError(
            "the centre of k-space holds samples that are not finite; a receiver gives numbers "
            "(scanroom.mri.recon.spirit). Measure it again."
        )
    with one_blas():
        weights, missed = _regressed(_gram(known, (n_z, n_y, n_x)), len(known), regularisation)
    shaped = weights.reshape(len(known), n_z, n_y, n_x, len(known)).transpose(1, 2, 3, 0, 4)
    return SpiritKernel(weights=np.ascontiguousarray(shaped), misfit=missed / n_places)


def consistency(kernel: SpiritKernel, shape: Grid) -> Linear:
    """``G - 1``: how far each sample of hybrid k-space is from what its neighbours say."""
    n_coils = kernel.weights.shape[-1]
    matrix = np.fft.fftshift(kernel.pixels(shape, slice(None)), (3, 4))
    matrix -= np.eye(n_coils, dtype=np.complex64)[:, :, None, None]

    def forward(kspace: Array) -> Array:
        return to_kspace(np.einsum("xtszy,szyx->tzyx", matrix, to_image(kspace, (1, 2))), (1, 2))

    def adjoint(strain: Array) -> Array:
        images = to_image(strain, (1, 2))
        return to_kspace(np.einsum("xtszy,tzyx->szyx", matrix.conj(), images), (1, 2))

    return Linear(forward, adjoint, (n_coils, *shape), (n_coils, *shape))


def spirit(
    kspace: Hybrid,
    sampled: Sampled,
    kernel: SpiritKernel | None = None,
    *,
    noise: float | None = None,
    n_iterations: int = N_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Hybrid:
    """Fill what was not measured, any pattern; the kernel comes from the centre if none is given.

    ``noise`` is the standard deviation of real and imaginary part of a sample, 1 after
    prewhitening; where none is given what the kernel missed in the centre stands for it. Units
    of samples do not matter. The image is not in units of the noise: `replicas.replica_noise`
    tells it.

    Raises
    ------
    ProtocolError
        If nothing was measured, a number is out of its range, the kernel is of other coils, or
        the centre is too small for a kernel.
    """
    if not sampled.any() or n_iterations < 1 or not 0 <= tolerance < 1 or (noise or 0.0) < 0:
        raise ProtocolError(
            f"SPIRiT got {int(sampled.sum())} measured lines, {n_iterations} iterations, a "
            f"tolerance of {tolerance:g}, noise of {noise or 0.0:g}; it needs one or more, 1 or "
            "more, 0 to 1, 0 or more (scanroom.mri.recon.spirit). Correct it."
        )
    known = kernel or calibrate_spirit(kspace[(slice(None), *centre_block(sampled))])
    n_coils, n_z, n_y, n_x = kspace.shape
    if known.weights.shape[-1] != n_coils:
        raise ProtocolError(
            f"k-space has {n_coils} coils and the kernel {known.weights.shape[-1]}; both must be "
            "the same coils (scanroom.mri.recon.spirit). Calibrate with these coils."
        )
    width = int(np.clip(_CACHE // (8 * n_coils**2 * n_z * n_y), 1, n_x))
    measured, restraint = np.fft.ifftshift(sampled), _restraint(known, kspace, sampled, noise)
    out = np.empty_like(kspace)

    def some(block: int) -> None:
        part = slice(block * width, min((block + 1) * width, n_x))
        pixels = known.pixels((n_z, n_y, n_x), part)
        data = np.moveaxis(np.fft.ifftshift(kspace[..., part], (1, 2)), -1, 0) * measured
        data = np.ascontiguousarray(data)
        data += _missing(_gram_of(pixels, restraint), data, measured, n_iterations, tolerance)
        out[..., part] = np.fft.fftshift(np.moveaxis(data, 0, -1), (1, 2))

    each(some, -(-n_x // width))
    return out


def _gram(known: Hybrid, size: Grid) -> Complex64[np.ndarray, "n n"]:
    """Products of all patches with themselves; rows are coil, z, y, x of the patch."""
    n = len(known) * int(np.prod(size))
    windows = np.lib.stride_tricks.sliding_window_view(known, size, axis=(1, 2, 3))
    gram = np.zeros((n, n), np.complex64)
    for z, y in np.ndindex(windows.shape[1:3]):  # a line of patches at a time
        rows = windows[:, z, y].transpose(0, 2, 3, 4, 1).reshape(n, -1)
        gram += rows.conj() @ rows.T
    return gram


def _regressed(
    gram: Complex64[np.ndarray, "n n"], n_coils: int, regularisation: float
) -> tuple[Complex64[np.ndarray, "n coil"], float]:
    """Weights of each coil's middle sample on all others of its patch; mean energy they miss."""
    # never less than rounding, lest identical coils break the factorisation
    share = max(regularisation, len(gram) * float(np.finfo(np.float32).eps))
    loaded = gram.copy()
    loaded[np.diag_indices_from(gram)] += share * np.trace(gram).real / len(gram)
    n = len(gram) // n_coils
    middle, coil = np.arange(n_coils) * n + n // 2, np.arange(n_coils)
    unit = np.zeros((len(gram), n_coils), np.complex64)
    unit[middle, coil] = 1
    factor = scipy.linalg.cho_factor(loaded, overwrite_a=True, check_finite=False)
    inverse = scipy.linalg.cho_solve(factor, unit, overwrite_b=True, check_finite=False)
    strain = (inverse / inverse[middle, coil]).astype(np.complex64)
    missed = float(np.vdot(strain, gram @ strain).real) / n_coils
    weights = -strain
    weights[middle, coil] = 0
    return weights, max(missed, 0.0)


Samples = Complex64[np.ndarray, "x coil z y"]


def _restraint(
    kernel: SpiritKernel, kspace: Hybrid, sampled: Sampled, noise: float | None
) -> float:
    """Power that a prediction misses over the signal power of the lines outside the centre.

    Coils share one object, so that a sample of all of them has one amplitude to be known.
    """
    floor, missed = kernel.misfit, kernel.misfit
    if noise is not None:
        each_coil = float(np.vdot(kernel.weights, kernel.weights).real) / len(kspace)
        floor, missed = 2 * noise**2, 2 * noise**2 * (1 + each_coil)
    if floor == 0:
        return 0.0
    outside = sampled.copy()
    outside[centre_block(sampled)] = False
    lines = kspace[:, outside if outside.any() else sampled]
    power = float(np.vdot(lines, lines).real) / lines.size
    return missed / (len(kspace) * max(power - floor, 0.1 * floor))


def _gram_of(
    pixels: Complex64[np.ndarray, "x coil coil z y"], restraint: float
) -> Callable[[Samples], Samples]:
    """``(G - 1)^H (G - 1) + restraint``, samples in order of the FFT; ``pixels`` is used up."""
    n_x, n_coils, _, n_z, n_y = pixels.shape
    flat = pixels.reshape(n_x, n_coils, n_coils, n_z * n_y)
    strain = np.empty_like(flat)
    _strain(flat, strain)
    axes = (-1,) if n_z == 1 else (-2, -1)

    def gram(samples: Samples) -> Samples:
        images = scipy.fft.ifftn(samples, axes=axes, workers=1)
        strained = np.empty_like(images)
        _weigh(strain, images.reshape(n_x, n_coils, -1), strained.reshape(n_x, n_coils, -1))
        found: np.ndarray = scipy.fft.fftn(strained, axes=axes, overwrite_x=True, workers=1)
        return found + np.float32(restraint) * samples

    return gram


def _missing(
    gram: Callable[[Samples], Samples],
    data: Samples,
    measured: Bool[np.ndarray, "z y"],
    n_iterations: int,
    tolerance: float,
) -> Samples:
    """Conjugate gradients over the missing samples of some places, all at once."""
    free = (~measured).astype(np.float32)
    residual = -gram(data) * free
    x, direction = np.zeros_like(residual), residual.copy()
    power = float(np.vdot(residual, residual).real)
    goal = power * tolerance**2
    for _ in range(n_iterations):
        if power <= goal:
            break
        image = gram(direction) * free
        step = np.float32(power / np.vdot(direction, image).real)
        x += step * direction
        residual -= step * image
        before, power = power, float(np.vdot(residual, residual).real)
        direction = residual + np.float32(power / before) * direction
    return x


@njit(cache=True, nogil=True)
@no_type_check
def _strain(pixels: np.ndarray, out: np.ndarray) -> None:
    """``(G - 1)^H (G - 1)`` of every pixel; ``G - 1`` is left in ``pixels``."""
    n_x, n_coils, _, n_pixels = pixels.shape
    for i in range(n_x):
        for c in range(n_coils):
            for p in range(n_pixels):
                pixels[i, c, c, p] -= np.complex64(1)
        for a in range(n_coils):
            for b in range(n_coils):
                out[i, a, b] = np.conj(pixels[i, 0, a]) * pixels[i, 0, b]
                for t in range(1, n_coils):
                    for p in range(n_pixels):
                        out[i, a, b, p] += np.conj(pixels[i, t, a, p]) * pixels[i, t, b, p]


@njit(cache=True, nogil=True)
@no_type_check
def _weigh(matrix: np.ndarray, images: np.ndarray, out: np.ndarray) -> None:
    """Multiply every pixel's coils by its matrix."""
    n_x, n_coils, _, n_pixels = matrix.shape
    for i in range(n_x):
        for a in range(n_coils):
            for p in range(n_pixels):
                out[i, a, p] = matrix[i, a, 0, p] * images[i, 0, p]
            for b in range(1, n_coils):
                for p in range(n_pixels):
                    out[i, a, p] += matrix[i, a, b, p] * images[i, b, p]
