"""Coil sensitivities by ESPIRiT: what every patch of k-space has in common.

All patches of a fully sampled centre lie in a small space of signals; a picture of all coils is
consistent where projecting its patches onto that space changes nothing. In the image this is, pixel
by pixel, a matrix among the coils whose eigenvectors of eigenvalue one are the sensitivities: one
set usually, several where the field of view folds or the field tears.

The projection of a patch of ``k`` points of ``c`` coils is known from the centre's Gram matrix
alone; what it does to an image hangs only on differences of places in the patch, so the matrices of
all pixels are Fourier transforms of ``2 k - 1`` points along each axis, exact on any grid.
Eigenvectors are found on a coarse grid and polished on the grid of the image.

References
----------
M. Uecker et al., Magn. Reson. Med. 71, 990 (2014), doi:10.1002/mrm.24751.
S. S. Iyer, F. Ong, K. Setsompop, M. Doneva, M. Lustig, Magn. Reson. Med. 84, 1820 (2020),
doi:10.1002/mrm.28241 (weights of the space of signals from the noise).
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import scipy.fft
import scipy.linalg
from jaxtyping import Complex64, Complex128, Float32
from numba import njit

from scanroom.core.errors import ProtocolError
from scanroom.operators.threads import each, one_blas

KERNEL = 6
"""Points of a patch along every axis that is encoded."""
SIGNAL = 1e-3
"""Share of the largest eigenvalue of the Gram matrix that signal has, where noise is unknown."""
CROP = 0.8
"""Eigenvalue below which a pixel is taken to hold nothing."""
_COARSE = 4
_POWER_STEPS, _POLISH_STEPS = 24, 3
_PLANES = 8

Centre = Complex64[np.ndarray, "coil z y x"]
Grid = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivities:
    """Sets of maps, best first, each of unit norm over coils, and the eigenvalue of each.

    The phase is that of each coil against the virtual coil that sees the centre best.
    """

    maps: Complex64[np.ndarray, "set coil z y x"]
    eigenvalue: Float32[np.ndarray, "set z y x"]

    def cropped(self, least: float = CROP) -> Complex64[np.ndarray, "set coil z y x"]:
        """Maps that are zero where the eigenvalue is below ``least``: nothing is sought there."""
        out: np.ndarray = self.maps * (self.eigenvalue >= least)[:, None]
        return out


def espirit(
    centre: Centre,
    shape: Grid,
    *,
    kernel: int = KERNEL,
    n_sets: int = 1,
    noise: float | None = None,
) -> Sensitivities:
    """Estimate maps on a grid of ``shape`` (z, y, x) from a fully sampled centre of k-space.

    ``noise`` is the standard deviation of real and imaginary part of its samples, 1 after
    prewhitening: what lies a little above it is weighed down, what lies below is left out.

    Raises
    ------
    ProtocolError
        If the centre is smaller than a patch and a half, or fewer or more sets than coils are
        asked for.
    """
    size = patch_size(centre.shape[1:], kernel)
    if not 1 <= n_sets <= len(centre):
        raise ProtocolError(
            f"{n_sets} sets of sensitivities are asked for; there may be 1 to {len(centre)}, as "
            "many as coils (scanroom.mri.recon.espirit). Ask for one or two."
        )
    with one_blas():
        lags = _lags(_projection(centre, size, noise), len(centre), size)
    reference = _virtual_coil(centre)
    n_z, n_y, n_x = (
        1 if n == 1 else min(n, max(2 * (2 * k - 1), n // _COARSE))
        for n, k in zip(shape, size, strict=True)
    )
    coarse = (n_z, n_y, n_x)
    if n_sets > 1 or coarse == shape:
        return _directly(lags, shape, reference, n_sets)
    first = _directly(lags, coarse, reference, 1).maps[0]
    return _polished(lags, shape, first, reference)


def patch_size(centre: tuple[int, ...], kernel: int = KERNEL) -> Grid:
    """Extent of a patch (z, y, x): one along axes that are not encoded.

    Raises
    ------
    ProtocolError
        If the centre is too small.
    """
    size = tuple(1 if n == 1 else kernel for n in centre)
    if any(n < k + k // 2 for n, k in zip(centre, size, strict=True)) or max(size) == 1:
        raise ProtocolError(
            f"the fully sampled centre has {centre} points (z, y, x); patches of {kernel} need "
            f"{kernel + kernel // 2} or more along an encoded axis (scanroom.mri.recon.espirit). "
            "Measure more central lines, or take another way to sensitivities."
        )
    return size[0], size[1], size[2]


def _projection(
    centre: Centre, size: Grid, noise: float | None
) -> Complex64[np.ndarray, "patch patch"]:
    """Project patches onto the space of signals; rows are coil, z, y, x of the patch."""
    gram, n_patches = _gram(centre, size)
    power, vectors = scipy.linalg.eigh(gram, driver="evd", overwrite_a=True, check_finite=False)
    weight = (power > SIGNAL * power[-1]).astype(np.float32)
    if noise is not None:
        # largest eigenvalue that noise alone would have (Marchenko and Pastur 1967)
        edge = 2 * noise**2 * (np.sqrt(n_patches) + np.sqrt(len(gram))) ** 2
        weight *= np.sqrt(np.clip(1 - edge / np.maximum(power, 1e-30), 0, 1)).astype(np.float32)
    kept = weight > 0
    chosen = vectors[:, kept] * weight[kept]
    projection: np.ndarray = chosen @ chosen.conj().T
    return projection


def _gram(centre: Centre, size: Grid) -> tuple[Complex64[np.ndarray, "patch patch"], int]:
    """Sum over all patches of the outer product of a patch with itself."""
    windows = np.lib.stride_tricks.sliding_window_view(centre, size, axis=(1, 2, 3))
    n_z, n_y, n_x = windows.shape[1:4]
    total: np.ndarray = np.zeros((len(centre) * int(np.prod(size)),) * 2, np.complex64)
    for z in range(n_z):  # of a volume, a plane of patches at a time
        patches = windows[:, z].transpose(1, 2, 0, 3, 4, 5).reshape(n_y * n_x, -1)
        total += patches.T @ patches.conj()
    return total, n_z * n_y * n_x


def _lags(
    projection: Complex64[np.ndarray, "patch patch"], n_coils: int, size: Grid
) -> Complex64[np.ndarray, "coil coil lz ly lx"]:
    """Add up what the projection does by difference of places, for the mean over a patch."""
    n = int(np.prod(size))
    blocks = (
        projection.reshape(n_coils, n, n_coils, n).transpose(0, 2, 1, 3).reshape(-1, *size, *size)
    )
    out = np.zeros((n_coils * n_coils, *(2 * k - 1 for k in size)), np.complex64)
    for z, y, x in np.ndindex(*size):
        part = blocks[:, :, :, :, z, y, x]
        at = tuple(slice(k - 1 - i, 2 * k - 1 - i) for k, i in zip(size, (z, y, x), strict=True))
        out[(slice(None), *at)] += part
    out /= n
    return out.reshape(n_coils, n_coils, *out.shape[1:])


def _virtual_coil(centre: Centre) -> Complex64[np.ndarray, " coil"]:
    """Weights of the coils that gather most of the centre's energy."""
    flat = centre.reshape(len(centre), -1).astype(np.complex128)
    vector: Complex128[np.ndarray, " coil"] = np.linalg.eigh(flat @ flat.conj().T)[1][:, -1]
    vector = vector * np.exp(-1j * np.angle(vector[np.argmax(np.abs(vector))]))
    return vector.astype(np.complex64)


def _transform(
    lags: Complex64[np.ndarray, "coil coil lz ly lx"], shape: Grid, z: int
) -> Complex64[np.ndarray, "pair y x"]:
    """Matrices of one plane of pixels, their upper triangle (they are Hermitian)."""
    n_coils, extent = len(lags), lags.shape[2:]
    upper = np.triu_indices(n_coils)
    half = extent[0] // 2
    place = (z - shape[0] // 2) / shape[0]
    turn = np.exp(2j * np.pi * place * (np.arange(extent[0]) - half)).astype(np.complex64)
    plane = np.einsum("pzyx,z->pyx", lags[upper], turn) if extent[0] > 1 else lags[upper][:, 0]
    grid = np.zeros((len(plane), shape[1], shape[2]), np.complex64)
    # lag 0 at index 0; image index 0 is the centre n // 2 after the shift by signs below
    for axis_lags, n in ((extent[1], shape[1]), (extent[2], shape[2])):
        if axis_lags > n:
            raise ProtocolError(
                f"a patch's {axis_lags} lags do not fit a grid of {n} points "
                "(scanroom.mri.recon.espirit). Ask for a smaller kernel."
            )
    rows = (np.arange(extent[1]) - extent[1] // 2) % shape[1]
    columns = (np.arange(extent[2]) - extent[2] // 2) % shape[2]
    signs_y = _centre_turn(extent[1], shape[1])
    signs_x = _centre_turn(extent[2], shape[2])
    grid[:, rows[:, None], columns[None, :]] = plane * (signs_y[:, None] * signs_x[None, :])
    out: np.ndarray = scipy.fft.ifft2(grid, norm="forward", overwrite_x=True, workers=1)
    return out


def _centre_turn(n_lags: int, n: int) -> Complex64[np.ndarray, " lag"]:
    """Phase that puts the origin at index ``n // 2``."""
    lag = np.arange(n_lags) - n_lags // 2
    turn: np.ndarray = np.exp(-2j * np.pi * lag * (n // 2) / n).astype(np.complex64)
    return turn


def _directly(
    lags: Complex64[np.ndarray, "coil coil lz ly lx"],
    shape: Grid,
    reference: Complex64[np.ndarray, " coil"],
    n_sets: int,
) -> Sensitivities:
    """Eigenvectors of every pixel: by power iteration for one set, all of them for several."""
    n_coils = len(lags)
    maps = np.empty((n_sets, n_coils, *shape), np.complex64)
    values = np.empty((n_sets, *shape), np.float32)

    def plane(z: int) -> None:
        matrices = _transform(lags, shape, z)
        if n_sets == 1:
            vectors = np.tile(reference[:, None, None], (1, *shape[1:]))
            values[0, z] = _power(matrices, vectors, reference, _POWER_STEPS)
            maps[0, :, z] = vectors
        else:
            _all(matrices, reference, maps[:, :, z], values[:, z])

    each(plane, shape[0])
    return Sensitivities(maps=maps, eigenvalue=values)


def _polished(
    lags: Complex64[np.ndarray, "coil coil lz ly lx"],
    shape: Grid,
    coarse: Complex64[np.ndarray, "coil z y x"],
    reference: Complex64[np.ndarray, " coil"],
) -> Sensitivities:
    """Start from the coarse maps; a few power steps on the fine grid do the rest."""
    maps = np.empty((len(coarse), *shape), np.complex64)
    values = np.empty(shape, np.float32)

    def planes(block: int) -> None:
        for z in range(block * _PLANES, min((block + 1) * _PLANES, shape[0])):
            matrices = _transform(lags, shape, z)
            vectors = _interpolated(coarse, shape, z)
            values[z] = _power(matrices, vectors, reference, _POLISH_STEPS)
            maps[:, z] = vectors

    each(planes, -(-shape[0] // _PLANES))
    return Sensitivities(maps=maps[None], eigenvalue=values[None])


def _interpolated(
    coarse: Complex64[np.ndarray, "coil z y x"], shape: Grid, z: int
) -> Complex64[np.ndarray, "coil y x"]:
    """Straight lines between the nodes of the coarse grid, origins together."""
    plane = coarse
    for axis, at in ((1, np.array([z])), (2, np.arange(shape[1])), (3, np.arange(shape[2]))):
        n, fine = coarse.shape[axis], shape[axis - 1]
        place = np.clip((at - fine // 2) * (n / fine) + n // 2, 0, n - 1)
        low = np.minimum(place.astype(int), max(n - 2, 0))
        share = (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(4)])
        high = np.minimum(low + 1, n - 1)
        plane = plane.take(low, axis) * (1 - share) + plane.take(high, axis) * share
    return np.ascontiguousarray(plane[:, 0])


def _all(
    matrices: Complex64[np.ndarray, "pair y x"],
    reference: Complex64[np.ndarray, " coil"],
    maps: Complex64[np.ndarray, "set coil y x"],
    values: Float32[np.ndarray, "set y x"],
) -> None:
    """Several sets: every matrix in full."""
    n_coils = len(reference)
    whole = np.zeros((*matrices.shape[1:], n_coils, n_coils), np.complex64)
    for pair, (row, column) in enumerate(zip(*np.triu_indices(n_coils), strict=True)):
        whole[..., column, row] = matrices[pair].conj()
    power, vectors = np.linalg.eigh(whole)
    for number in range(len(maps)):
        vector = vectors[..., -1 - number]
        turn = vector @ reference.conj()
        vector = vector * np.exp(-1j * np.angle(turn))[..., None]
        maps[number] = vector.transpose(2, 0, 1)
        values[number] = power[..., -1 - number]


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _power(
    matrices: np.ndarray, vectors: np.ndarray, reference: np.ndarray, n_steps: int
) -> np.ndarray:
    """Power steps in every pixel, in place; the eigenvalue. Phase against ``reference``."""
    n_coils, n_y, n_x = vectors.shape
    values = np.empty((n_y, n_x), np.float32)
    matrix = np.empty((n_coils, n_coils), np.complex64)
    v = np.empty(n_coils, np.complex64)
    w = np.empty(n_coils, np.complex64)
    for y in range(n_y):
        for x in range(n_x):
            _fetch(matrices[:, y, x], vectors[:, y, x], matrix, v)
            size = np.float32(0.0)
            for _ in range(n_steps):
                size = _power_step(matrix, v, w)
            total = np.complex64(0.0)
            for i in range(n_coils):
                total += np.conj(reference[i]) * v[i]
            turn = np.conj(total) / max(np.abs(total), np.float32(1e-20))
            for i in range(n_coils):
                vectors[i, y, x] = v[i] * turn
            values[y, x] = size
    return values


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _fetch(pairs: np.ndarray, vector: np.ndarray, matrix: np.ndarray, v: np.ndarray) -> None:
    """Gather one pixel's whole matrix and its vector."""
    pair = 0
    for i in range(len(v)):
        v[i] = vector[i]
        for j in range(i, len(v)):
            matrix[i, j] = pairs[pair]
            matrix[j, i] = np.conj(pairs[pair])
            pair += 1


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _power_step(matrix: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.float32:
    """Multiply ``v`` by the matrix and make it a unit vector again; by how much it grew."""
    size = np.float32(0.0)
    for i in range(len(v)):
        total = np.complex64(0.0)
        for j in range(len(v)):
            total += matrix[i, j] * v[j]
        w[i] = total
        size += total.real * total.real + total.imag * total.imag
    size = np.sqrt(size)
    scale = np.float32(1.0) / max(size, np.float32(1e-20))
    for i in range(len(v)):
        v[i] = w[i] * scale
    return size
