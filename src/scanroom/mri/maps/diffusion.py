"""Diffusion: the apparent coefficient, the tensor, and b-matrices of any gradients.

References
----------
P. J. Basser, J. Mattiello, D. LeBihan, J. Magn. Reson. B 103, 247 (1994),
doi:10.1006/jmrb.1994.1037.
J. Veraart et al., NeuroImage 81, 335 (2013), doi:10.1016/j.neuroimage.2013.05.028 (weights).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Second
from scanroom.mri.maps import fitting
from scanroom.mri.maps.fitting import DECAY, Law
from scanroom.mri.maps.model import Map
from scanroom.operators.threads import each

LOWEST, HIGHEST = -1e-9, 10e-9
"""Coefficients looked for [m2/s]: noise makes slow diffusion negative, no water is faster."""

_BLOCK = 8192
_N_TERMS = 7
_N_WEIGHINGS = 2
_MISFIT = fitting.LARGEST_MISFIT**2


def apparent_diffusion(
    images: np.ndarray,
    b_values: Float[np.ndarray, " image"],
    *,
    noise: float | np.ndarray | None = None,
) -> Map:
    """Fit S = S0 exp(-b D) to magnitudes, one image for each b-value [s/m2] along the first axis.

    Least squares of the signal itself, not of its logarithm. Images of several directions may
    share a b-value: D is then that of the mean signal.

    Raises
    ------
    ProtocolError
        If b-values and images do not fit together.
    """
    b = fitting.series(images, b_values, 2, "b-values")
    points = np.zeros((len(b), 3))
    points[:, 0] = b
    law = Law(kind=DECAY, points=points, low=LOWEST, high=HIGHEST)
    found = fitting.fit(np.abs(images), law)
    shape = images.shape[1:]
    error = found.error(fitting.per_voxel(noise, shape, "noise"))
    parts = (found.rate, error, found.trusted() & (found.rate > 0), found.residual())
    return fitting.as_map("ADC", "m2/s", parts, shape)


def b_matrices(
    b_values: Float[np.ndarray, " image"], directions: Float[np.ndarray, "image 3"]
) -> Float[np.ndarray, "image 3 3"]:
    """b-matrices [s/m2] of single directions, which need not be unit vectors: only b = 0 has none.

    Raises
    ------
    ProtocolError
        If a b-value above 0 has no direction.
    """
    length = np.linalg.norm(directions, axis=1)
    missing = (length == 0) & (b_values > 50e6)
    if missing.any():
        raise ProtocolError(
            f"image {int(np.argmax(missing))} has b = {b_values[missing][0] * 1e-6:.4g} s/mm2 and "
            "no direction (scanroom.mri.maps.diffusion). Give a direction for each above 50 s/mm2."
        )
    unit = directions / np.where(length > 0, length, 1.0)[:, None]
    return np.asarray(b_values[:, None, None] * unit[:, :, None] * unit[:, None, :])


def b_matrix_of(
    time: Float[np.ndarray, " knot"],
    gradients: Float[np.ndarray, "axis knot"],
    refocused: tuple[Second, ...],
    echo: Second,
) -> Float[np.ndarray, "axis axis"]:
    """b-matrix [s/m2] of all gradients from the excitation, at time 0, to the echo.

    ``gradients`` [Hz/m] are straight between knots: diffusion, slice, crushers, read and phase
    alike. What a refocusing pulse finds wound up it turns round. The integral of the products of
    moments is exact: between knots they are parabolas, and three points of Gauss's rule suffice.
    """
    edge = np.unique(np.clip(np.concatenate([time, [0.0, echo], refocused]), 0.0, echo))
    node, weight = np.polynomial.legendre.leggauss(3)
    total = np.zeros((len(gradients), len(gradients)))
    moment = np.zeros(len(gradients))
    for begin, end in pairwise(edge):
        if begin in refocused:
            moment = -moment
        # A hair inside, so that steps in a waveform belong to the right interval.
        hair = 1e-9 * (end - begin)
        ends = np.array([begin + hair, end - hair])
        first, last = np.stack([np.interp(ends, time, g, left=0, right=0) for g in gradients]).T
        for at, share in zip((node + 1) / 2, weight / 2, strict=True):
            inside = (end - begin) * (first * at + (last - first) * at**2 / 2)
            k = 2 * np.pi * (moment + inside)
            total += share * (end - begin) * np.outer(k, k)
        moment = moment + (end - begin) * (first + last) / 2
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """What a diffusion tensor says: means, fractional anisotropy, and its own axes.

    ``direction`` [3 ...] is the unit vector of fastest diffusion, in the frame of the b-matrices,
    its sign of no meaning; ``cone`` is its standard error as an angle [rad]. ``eigenvalues``
    [3 ...] fall. ``elements`` [6 ...] are xx, yy, zz, xy, xz, yz.
    """

    mean: Map
    anisotropy: Map
    axial: Map
    radial: Map
    direction: Float[np.ndarray, "3 ..."]
    cone: Float[np.ndarray, "..."]
    eigenvalues: Float[np.ndarray, "3 ..."]
    elements: Float[np.ndarray, "6 ..."]


def diffusion_tensor(
    images: np.ndarray,
    b_matrix: Float[np.ndarray, "image 3 3"],
    *,
    noise: float | np.ndarray | None = None,
) -> Tensor:
    """Fit log S = log S0 - B:D to magnitudes, one image for each b-matrix along the first axis.

    Weighted linear least squares: a logarithm's noise is that of the signal over the signal, so
    each sample weighs as the square of the signal that the fit before predicts.

    Raises
    ------
    ProtocolError
        If matrices and images do not fit together, or cannot tell the six elements apart.
    """
    terms = np.asarray(b_matrix, np.float64)
    if terms.shape != (len(images), 3, 3) or not np.isfinite(images).all():
        raise ProtocolError(
            f"b-matrices have the shape {terms.shape} for {len(images)} images, which are to be "
            "finite; each image needs one of 3 x 3 (scanroom.mri.maps.diffusion). "
            "Make them of b-values and directions by b_matrices."
        )
    unit = np.abs(terms).max() or 1.0
    rows = terms[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]] * [1, 1, 1, 2, 2, 2]
    design = np.concatenate([np.ones((len(terms), 1)), -rows / unit], axis=1)
    if np.linalg.matrix_rank(design, tol=1e-6 * np.sqrt(len(terms))) < _N_TERMS:
        raise ProtocolError(
            f"{len(terms)} b-matrices leave some of the tensor's six elements or the signal "
            "without diffusion unknown (scanroom.mri.maps.diffusion). Measure six directions that "
            "do not lie on a cone, and another b-value."
        )
    shape = images.shape[1:]
    sigma = fitting.per_voxel(noise, shape, "noise")
    flat = np.abs(images).reshape(len(images), -1)
    out = np.zeros((flat.shape[1], 26))
    known = np.full(flat.shape[1], np.nan) if sigma is None else sigma
    start = np.linalg.pinv(design)

    def block(number: int) -> None:
        some = slice(number * _BLOCK, (number + 1) * _BLOCK)
        data = np.ascontiguousarray(flat[:, some].T, dtype=np.float64)
        _tensors(data, design, start, known[some], out[some])

    each(block, -(-flat.shape[1] // _BLOCK))
    return _tensor(out, unit, len(images), shape)


def _tensor(out: np.ndarray, unit: float, n_images: int, shape: tuple[int, ...]) -> Tensor:
    """Name the columns that the kernel leaves."""
    trusted = (out[:, 25] > 0) & (out[:, 8] > 0)
    residual = np.sqrt(out[:, 24] / n_images)

    def of(name: str, unit_name: str, column: int, error: int, scale: float) -> Map:
        parts = (out[:, column] * scale, out[:, error] * scale, trusted, residual)
        return fitting.as_map(name, unit_name, parts, shape)

    return Tensor(
        mean=of("MD", "m2/s", 15, 19, 1 / unit),
        anisotropy=of("FA", "1", 16, 20, 1.0),
        axial=of("AD", "m2/s", 17, 21, 1 / unit),
        radial=of("RD", "m2/s", 18, 22, 1 / unit),
        direction=out[:, 9:12].T.reshape(3, *shape),
        cone=out[:, 23].reshape(shape),
        eigenvalues=out[:, 6:9].T.reshape(3, *shape) / unit,
        elements=out[:, :6].T.reshape(6, *shape) / unit,
    )


# ---------------------------------------------------------------- kernels


@njit(cache=True, nogil=True)
@no_type_check
def _rotate(matrix: np.ndarray, vectors: np.ndarray, p: int, q: int) -> None:
    """One of Jacobi's rotations: the element (p, q) becomes zero."""
    if matrix[p, q] == 0.0:
        return
    theta = (matrix[q, q] - matrix[p, p]) / (2 * matrix[p, q])
    t = 1 / (abs(theta) + np.sqrt(theta * theta + 1))
    t = t if theta >= 0 else -t
    c = 1 / np.sqrt(t * t + 1)
    s = t * c
    for k in range(3):
        a, b = matrix[k, p], matrix[k, q]
        matrix[k, p], matrix[k, q] = c * a - s * b, s * a + c * b
    for k in range(3):
        a, b = matrix[p, k], matrix[q, k]
        matrix[p, k], matrix[q, k] = c * a - s * b, s * a + c * b
    for k in range(3):
        a, b = vectors[k, p], vectors[k, q]
        vectors[k, p], vectors[k, q] = c * a - s * b, s * a + c * b


@njit(cache=True, nogil=True)
@no_type_check
def _own_axes(matrix: np.ndarray, vectors: np.ndarray) -> None:
    """Eigenvalues of a symmetric matrix, falling along its diagonal, and eigenvectors."""
    vectors[:] = np.eye(3)
    for _ in range(12):
        off = abs(matrix[0, 1]) + abs(matrix[0, 2]) + abs(matrix[1, 2])
        if off < 1e-15 * (abs(matrix[0, 0]) + abs(matrix[1, 1]) + abs(matrix[2, 2])):
            break
        _rotate(matrix, vectors, 0, 1)
        _rotate(matrix, vectors, 0, 2)
        _rotate(matrix, vectors, 1, 2)
    for p, q in ((0, 1), (1, 2), (0, 1)):
        if matrix[q, q] > matrix[p, p]:
            matrix[p, p], matrix[q, q] = matrix[q, q], matrix[p, p]
            for k in range(3):
                vectors[k, p], vectors[k, q] = vectors[k, q], vectors[k, p]


@njit(cache=True, nogil=True)
@no_type_check
def _inverse(normal: np.ndarray) -> bool:
    """Invert a symmetric positive matrix in place, by Gauss and Jordan; False if it is none."""
    n = len(normal)
    for p in range(n):
        pivot = normal[p, p]
        if not pivot > 1e-300:
            return False
        normal[p, p] = 1.0
        for j in range(n):
            normal[p, j] /= pivot
        for i in range(n):
            if i != p:
                factor = normal[i, p]
                normal[i, p] = 0.0
                for j in range(n):
                    normal[i, j] -= factor * normal[p, j]
    return True


@njit(cache=True, nogil=True)
@no_type_check
def _weighted(
    data: np.ndarray,
    design: np.ndarray,
    beta: np.ndarray,
    normal: np.ndarray,
) -> bool:
    """Improve ``beta`` by least squares with weights from itself; ``normal`` becomes the inverse.

    The weights are squares of the predicted signal, so the inverse is the covariance for noise of
    one.
    """
    n, terms = design.shape
    right = np.zeros(terms)
    normal[:] = 0.0
    for i in range(n):
        level = 0.0
        for p in range(terms):
            level += design[i, p] * beta[p]
        weight = np.exp(2 * min(level, 300.0))
        for p in range(terms):
            scaled = weight * design[i, p]
            right[p] += scaled * data[i]
            for q in range(p + 1):
                normal[p, q] += scaled * design[i, q]
    for p in range(terms):
        for q in range(p):
            normal[q, p] = normal[p, q]
    if not _inverse(normal):
        return False
    for p in range(terms):
        beta[p] = (normal[p] * right).sum()
    return bool(np.isfinite(beta).all())


@njit(cache=True, nogil=True)
@no_type_check
def _spread(slope: np.ndarray, covariance: np.ndarray) -> float:
    """Standard error of a function of the six elements, by its slopes."""
    total = 0.0
    for p in range(6):
        for q in range(6):
            total += slope[p] * covariance[p + 1, q + 1] * slope[q]
    return float(np.sqrt(max(total, 0.0)))


@njit(cache=True, nogil=True)
@no_type_check
def _pair(one: np.ndarray, two: np.ndarray, out: np.ndarray) -> None:
    """Slopes of u.D.v by xx, yy, zz, xy, xz, yz."""
    out[0], out[1], out[2] = one[0] * two[0], one[1] * two[1], one[2] * two[2]
    out[3] = one[0] * two[1] + one[1] * two[0]
    out[4] = one[0] * two[2] + one[2] * two[0]
    out[5] = one[1] * two[2] + one[2] * two[1]


@njit(cache=True, nogil=True)
@no_type_check
def _described(covariance: np.ndarray, sigma: float, out: np.ndarray) -> None:
    """From six elements (0-5) to eigenvalues (6-8), axes (9-11), measures (15-18), errors (19-23).

    Elements and eigenvalues are in the design's unit.
    """
    matrix, vectors, slope = np.empty((3, 3)), np.empty((3, 3)), np.empty(6)
    matrix[0, 0], matrix[1, 1], matrix[2, 2] = out[0], out[1], out[2]
    matrix[0, 1] = matrix[1, 0] = out[3]
    matrix[0, 2] = matrix[2, 0] = out[4]
    matrix[1, 2] = matrix[2, 1] = out[5]
    _own_axes(matrix, vectors)
    mean = (out[0] + out[1] + out[2]) / 3
    power, away = 0.0, 0.0
    for k in range(3):
        out[6 + k], out[9 + k] = matrix[k, k], vectors[k, 0]
        power += matrix[k, k] ** 2
        away += (matrix[k, k] - mean) ** 2
    anisotropy = np.sqrt(1.5 * away / power) if power > 0 else 0.0
    out[15], out[16], out[17] = mean, anisotropy, out[6]
    out[18] = (out[7] + out[8]) / 2
    slope[:] = 0.0
    slope[:3] = 1 / 3
    out[19] = sigma * _spread(slope, covariance)
    if anisotropy > 0:
        # FA^2 = 1.5 away / power, off-diagonal elements counting twice in both.
        for k in range(6):
            twice = 1.0 if k < 3 else 2.0
            off = out[k] - mean if k < 3 else out[k]
            slope[k] = 1.5 * twice * (off - away / power * out[k]) / (power * anisotropy)
        out[20] = sigma * _spread(slope, covariance)
    _pair(vectors[:, 0], vectors[:, 0], slope)
    out[21] = sigma * _spread(slope, covariance)
    slope *= -0.5
    slope[:3] += 0.5
    out[22] = sigma * _spread(slope, covariance)
    wide = 0.0
    for k in range(1, 3):
        gap = max(out[6] - out[6 + k], 1e-12)
        _pair(vectors[:, 0], vectors[:, k], slope)
        wide += (sigma * _spread(slope, covariance) / gap) ** 2
    out[23] = min(np.sqrt(wide), np.pi / 2)


@njit(cache=True, nogil=True)
@no_type_check
def _tensors(
    data: np.ndarray, design: np.ndarray, start: np.ndarray, sigma: np.ndarray, out: np.ndarray
) -> None:
    """Every voxel of a block; column 24 is the sum of squares left, 25 says whether it was found.

    Samples of zero have no logarithm: a voxel that holds one is left out.
    """
    n, terms = design.shape
    logarithm, beta, normal = np.empty(n), np.empty(terms), np.empty((terms, terms))
    for v in range(len(data)):
        if not data[v].min() > 0:
            continue
        logarithm[:] = np.log(data[v])
        beta[:] = 0.0
        for p in range(terms):
            for i in range(n):
                beta[p] += start[p, i] * logarithm[i]
        good = True
        for _ in range(_N_WEIGHINGS):
            good = good and _weighted(logarithm, design, beta, normal)
        if not good:
            continue
        left, total = 0.0, 0.0
        for i in range(n):
            level = 0.0
            for p in range(terms):
                level += design[i, p] * beta[p]
            left += (data[v, i] - np.exp(min(level, 300.0))) ** 2
            total += data[v, i] ** 2
        noise = sigma[v]
        if np.isnan(noise):
            noise = np.sqrt(left / (n - terms)) if n > terms else np.inf
        out[v, :6] = beta[1:]
        _described(normal, noise, out[v])
        out[v, 24] = left
        out[v, 25] = 1.0 if left <= _MISFIT * total else 0.0
