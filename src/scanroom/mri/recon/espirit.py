"""Coil sensitivities by ESPIRiT: what every patch of k-space has in common.

All patches of a fully sampled centre lie in a small space of signals; a picture of all coils is
consistent where projecting its patches onto that space changes nothing. In the image this is, pixel
by pixel, a matrix among the coils whose eigenvectors of eigenvalue one are the sensitivities: one
set usually, several where the field of view folds or the field tears.

The projection of a patch of ``k`` points along each axis is known from the centre's Gram matrix;
what it does to an image hangs only on differences of places in the patch, so the matrices of all
pixels are Fourier transforms of ``2 k - 1`` points along each axis, exact on any grid. Eigenvectors
are found on a coarse grid and polished on that of the image, some rows of it at a time: memory is
the maps and little more.

References
----------
M. Uecker et al., Magn. Reson. Med. 71, 990 (2014), doi:10.1002/mrm.24751.
S. S. Iyer, F. Ong, K. Setsompop, M. Doneva, M. Lustig, Magn. Reson. Med. 84, 1820 (2020),
doi:10.1002/mrm.28241 (weights of the space of signals from the noise).
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import scipy.linalg
from jaxtyping import Complex64, Complex128, Float32, Int
from numba import njit

from scanroom.core.errors import ProtocolError
from scanroom.operators.threads import each, one_blas

KERNEL = {1: 6, 2: 6, 3: 5}
"""Points of a patch along every axis that is encoded, by the number of such axes."""
SIGNAL = 3e-4
"""Share of the Gram matrix's largest eigenvalue below which nothing is taken for signal."""
CROP = 0.8
"""Eigenvalue below which a pixel is taken to hold nothing."""
_COARSE = 4
_POWER_STEPS, _POLISH_STEPS = 30, 4
_CACHE = 1 << 20
"""Bytes of matrices that are worked on at a time."""

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
        """Maps that are zero where the eigenvalue is below ``least``: nothing is seen there."""
        out: np.ndarray = self.maps * (self.eigenvalue >= least)[:, None]
        return out

    def softened(self, least: float = CROP) -> Complex64[np.ndarray, "set coil z y x"]:
        """Maps that fade from 1 to 0 as the eigenvalue falls from 1 to ``least``.

        The image of softened maps, weighed by their norm once more, has no hard edge where the
        object ends.
        """
        rise = np.clip((self.eigenvalue - least) / (1 - least), 0, 1)
        weight = (rise * rise * (3 - 2 * rise)).astype(np.float32)
        out: np.ndarray = self.maps * weight[:, None]
        return out


def espirit(
    centre: Centre,
    shape: Grid,
    *,
    kernel: int | None = None,
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
    coarse = tuple(
        1 if n == 1 else min(n, max(2 * (2 * k - 1), n // _COARSE))
        for n, k in zip(shape, size, strict=True)
    )
    start = np.zeros((n_sets, len(centre), 1, 1, 1), np.complex64)
    start[0, :, 0, 0, 0] = reference
    for number in range(1, n_sets):  # any start that is no multiple of another's
        start[number, :, 0, 0, 0] = np.roll(reference, number) * np.exp(1j * np.arange(len(centre)))
    first = _eigenvectors(lags, (coarse[0], coarse[1], coarse[2]), start, reference, _POWER_STEPS)
    if coarse == shape:
        return first
    return _eigenvectors(lags, shape, first.maps, reference, _POLISH_STEPS)


def patch_size(centre: tuple[int, ...], kernel: int | None = None) -> Grid:
    """Extent of a patch (z, y, x): one along axes that are not encoded.

    Raises
    ------
    ProtocolError
        If the centre is too small.
    """
    n_axes = sum(n > 1 for n in centre)
    kernel = kernel or KERNEL[max(n_axes, 1)]
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


def _eigenvectors(
    lags: Complex64[np.ndarray, "coil coil lz ly lx"],
    shape: Grid,
    start: Complex64[np.ndarray, "set coil _ _ _"],
    reference: Complex64[np.ndarray, " coil"],
    n_steps: int,
) -> Sensitivities:
    """Power steps in every pixel of a grid, from ``start`` on any coarser one."""
    n_sets, n_coils = start.shape[:2]
    upper = lags[np.triu_indices(n_coils)]  # the matrices are Hermitian
    waves = [_waves(n, n_lags) for n, n_lags in zip(shape, lags.shape[2:], strict=True)]
    along = np.matmul(upper, waves[2].T)  # pair lz ly x
    maps = np.empty((n_sets, n_coils, *shape), np.complex64)
    values = np.empty((n_sets, *shape), np.float32)
    n_rows = int(np.clip(_CACHE // (8 * len(upper) * shape[2]), 1, shape[1]))
    n_parts = -(-shape[1] // n_rows)

    def rows(item: int) -> None:
        z, part = divmod(item, n_parts)
        y = slice(part * n_rows, min((part + 1) * n_rows, shape[1]))
        plane = np.einsum("pzyx,z->pyx", along, waves[0][z])
        matrices = np.matmul(waves[1][y], plane)
        vectors = _interpolated(start, shape, z, np.arange(y.start, y.stop))
        _power(matrices, vectors, reference, n_steps, values[:, z, y])
        maps[:, :, z, y] = vectors

    each(rows, shape[0] * n_parts)
    return Sensitivities(maps=maps, eigenvalue=values)


def _waves(n: int, n_lags: int) -> Complex64[np.ndarray, "pixel lag"]:
    """Waves of the differences of places in a patch, in every pixel of an axis."""
    place, lag = np.arange(n) - n // 2, np.arange(n_lags) - n_lags // 2
    wave: np.ndarray = np.exp(2j * np.pi * np.outer(place, lag) / n).astype(np.complex64)
    return wave


def _interpolated(
    coarse: Complex64[np.ndarray, "set coil z y x"],
    shape: Grid,
    z: int,
    rows: Int[np.ndarray, " row"],
) -> Complex64[np.ndarray, "set coil row _"]:
    """Straight lines between the nodes of the coarse grid, origins together."""
    part = coarse
    for axis, at in ((2, np.array([z])), (3, rows), (4, np.arange(shape[2]))):
        n, fine = coarse.shape[axis], shape[axis - 2]
        place = np.clip((at - fine // 2) * (n / fine) + n // 2, 0, n - 1)
        low = np.minimum(place.astype(int), max(n - 2, 0))
        share = (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(5)])
        lower, higher = part.take(low, axis), part.take(np.minimum(low + 1, n - 1), axis)
        part = lower + share * (higher - lower)
    return np.ascontiguousarray(part[:, :, 0])


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _power(matrices, vectors, reference, n_steps, values):
    """Power steps in some rows of pixels, in place, sets kept orthogonal; phase by ``reference``.

    ``matrices`` are upper triangles ``pair y x``, ``vectors`` are ``set coil y x``. Pixels of a row
    go side by side through vector instructions.
    """
    n_sets, n_coils, n_y, n_x = vectors.shape
    real = np.empty((n_coils * (n_coils + 1) // 2, n_x), np.float32)
    imag = np.empty_like(real)
    v_real = np.empty((n_sets, n_coils, n_x), np.float32)
    v_imag = np.empty_like(v_real)
    w_real, w_imag = np.empty((n_coils, n_x), np.float32), np.empty((n_coils, n_x), np.float32)
    for y in range(n_y):
        _apart(matrices[:, y], real, imag)
        for s in range(n_sets):
            _apart(vectors[s, :, y], v_real[s], v_imag[s])
        for _ in range(n_steps):
            for s in range(n_sets):
                _product(real, imag, v_real[s], v_imag[s], w_real, w_imag)
                for t in range(s):  # what lies along sets before this one belongs to them
                    _without(v_real[t], v_imag[t], w_real, w_imag)
                _normalised(w_real, w_imag, v_real[s], v_imag[s], values[s, y])
        for s in range(n_sets):
            _turned(v_real[s], v_imag[s], reference, vectors[s, :, y])


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _apart(array, real, imag):
    """Real and imaginary parts."""
    for row in range(array.shape[0]):
        for x in range(array.shape[1]):
            real[row, x] = array[row, x].real
            imag[row, x] = array[row, x].imag


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _without(v_real, v_imag, w_real, w_imag):
    """Take from ``w`` what lies along ``v``."""
    n_coils, n_x = w_real.shape
    real, imag = np.empty(n_x, np.float32), np.empty(n_x, np.float32)
    _overlap(v_real, v_imag, w_real, w_imag, real, imag)
    for c in range(n_coils):
        for x in range(n_x):
            w_real[c, x] -= v_real[c, x] * real[x] - v_imag[c, x] * imag[x]
            w_imag[c, x] -= v_real[c, x] * imag[x] + v_imag[c, x] * real[x]


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _normalised(w_real, w_imag, v_real, v_imag, norm):
    """``v = w / |w|`` in every pixel; the norm."""
    n_coils, n_x = w_real.shape
    size = np.zeros(n_x, np.float32)
    for c in range(n_coils):
        for x in range(n_x):
            size[x] += w_real[c, x] * w_real[c, x] + w_imag[c, x] * w_imag[c, x]
    for x in range(n_x):
        norm[x] = np.sqrt(size[x])
        size[x] = np.float32(1) / max(norm[x], np.float32(1e-20))
    for c in range(n_coils):
        for x in range(n_x):
            v_real[c, x] = w_real[c, x] * size[x]
            v_imag[c, x] = w_imag[c, x] * size[x]


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _turned(v_real, v_imag, reference, out):
    """Write vectors with the phase that they have against the reference taken away."""
    n_coils, n_x = v_real.shape
    real, imag = np.zeros(n_x, np.float32), np.zeros(n_x, np.float32)
    for c in range(n_coils):
        a, b = reference[c].real, reference[c].imag
        for x in range(n_x):
            real[x] += a * v_real[c, x] + b * v_imag[c, x]
            imag[x] += a * v_imag[c, x] - b * v_real[c, x]
    for x in range(n_x):
        length = np.sqrt(real[x] * real[x] + imag[x] * imag[x])
        dark = length <= np.float32(1e-20)
        real[x] = np.float32(1) if dark else real[x] / length
        imag[x] = np.float32(0) if dark else imag[x] / length
    for c in range(n_coils):
        for x in range(n_x):
            out[c, x] = complex(
                v_real[c, x] * real[x] + v_imag[c, x] * imag[x],
                v_imag[c, x] * real[x] - v_real[c, x] * imag[x],
            )


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _product(real, imag, v_real, v_imag, w_real, w_imag):
    """Multiply every pixel's Hermitian matrix by its vector."""
    n_coils, n_x = v_real.shape
    w_real[:] = 0
    w_imag[:] = 0
    pair = 0
    for i in range(n_coils):
        for x in range(n_x):
            w_real[i, x] += real[pair, x] * v_real[i, x]
            w_imag[i, x] += real[pair, x] * v_imag[i, x]
        pair += 1
        for j in range(i + 1, n_coils):
            for x in range(n_x):
                a, b = real[pair, x], imag[pair, x]
                w_real[i, x] += a * v_real[j, x] - b * v_imag[j, x]
                w_imag[i, x] += a * v_imag[j, x] + b * v_real[j, x]
                w_real[j, x] += a * v_real[i, x] + b * v_imag[i, x]
                w_imag[j, x] += a * v_imag[i, x] - b * v_real[i, x]
            pair += 1


@njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _overlap(a_real, a_imag, b_real, b_imag, out_real, out_imag):
    """Add up conj(a) b over coils."""
    out_real[:] = 0
    out_imag[:] = 0
    for c in range(len(a_real)):
        for x in range(a_real.shape[1]):
            out_real[x] += a_real[c, x] * b_real[c, x] + a_imag[c, x] * b_imag[c, x]
            out_imag[x] += a_real[c, x] * b_imag[c, x] - a_imag[c, x] * b_real[c, x]
