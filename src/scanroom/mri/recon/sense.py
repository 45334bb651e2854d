"""SENSE: the image that, seen by the coils, best explains the lines measured.

K-space is hybrid: transformed along the readout, which is always fully sampled, so every place
along it is a problem of its own - a line of a 2-D scan, a plane of a 3-D one - with conjugate
gradients of its own; a few at a time, all they need stays in a core's cache.

Where whole lines are left out at regular distances R pixels lie upon each other, and the solution
is one small inverse per pixel, with the exact noise of the image beside it: the geometry factor.

References
----------
K. P. Pruessmann, M. Weiger, M. B. Scheidegger, P. Boesiger, Magn. Reson. Med. 42, 952 (1999),
doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S; K. P. Pruessmann, M. Weiger,
P. Boernert, P. Boesiger, Magn. Reson. Med. 46, 638 (2001), doi:10.1002/mrm.1241.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import scipy.fft
from jaxtyping import Bool, Complex, Complex64, Float32, Int
from numba import njit

from scanroom.core.errors import ProtocolError
from scanroom.operators import lanes
from scanroom.operators.coils import coils
from scanroom.operators.fourier import fourier
from scanroom.operators.linear import Linear
from scanroom.operators.sampling import weighted
from scanroom.operators.threads import each
from scanroom.operators.undersampled import undersampled

N_ITERATIONS = 30
TOLERANCE = 1e-3
"""Relative residual at which iterations stop, before they amplify noise."""
_STOP = 0.5
"""Residual at which to stop over that which noise leaves; by trial on phantoms and real scans."""
_CACHE = 1 << 19
"""Bytes of a coil that are worked on at a time, where vector instructions do not set the width."""

Hybrid = Complex64[np.ndarray, "coil z y x"]
Sets = Complex64[np.ndarray, "set coil z y x"]
Sampled = Bool[np.ndarray, "z y"]
Volume = Complex64[np.ndarray, "z y x"]
Volumes = Complex64[np.ndarray, "set z y x"]


def encoding(maps: Complex[np.ndarray, "coil z y x"], sampled: Sampled) -> Linear:
    """Image to the hybrid k-space that was measured: coils, transform along z and y, sampling."""
    return (
        weighted(sampled[None, :, :, None], maps.shape) @ fourier(maps.shape, (1, 2)) @ coils(maps)
    )


def cg_sense(
    kspace: Hybrid,
    sampled: Sampled,
    maps: Hybrid | Sets,
    *,
    regularisation: float = 0.0,
    noise: float = 0.0,
    n_iterations: int = N_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Volume | Volumes:
    """Solve ``(A^H A + regularisation) image = A^H kspace`` for any pattern of lines.

    ``kspace`` has k along z and y and image along x, orthonormal; what was not measured counts for
    nothing, whatever stands there. Iterations stop when the residual is ``tolerance`` of the right
    side, or half of what ``noise`` leaves of it, the standard deviation of real and imaginary part
    of a sample (1 after prewhitening; 0 to go on): what follows would fit noise. Returns
    ``z y x``, with a leading axis of sets where maps have one.

    Raises
    ------
    ProtocolError
        If nothing was measured or a number is out of its range.
    """
    if (
        not sampled.any()
        or min(regularisation, noise) < 0
        or n_iterations < 1
        or not 0 <= tolerance < 1
    ):
        raise ProtocolError(
            f"CG-SENSE got {int(sampled.sum())} measured lines, a regularisation of "
            f"{regularisation:g}, noise of {noise:g}, {n_iterations} iterations, a tolerance of "
            f"{tolerance:g}; it needs one or more, 0 or more, 0 or more, 1 or more, 0 to 1 "
            "(scanroom.mri.recon.sense). Correct it."
        )
    several = maps.ndim == kspace.ndim + 1
    sets = maps if several else maps[None]
    width = _width(sets)
    parts = [slice(x, min(x + width, maps.shape[-1])) for x in range(0, maps.shape[-1], width)]
    image = np.zeros((len(sets), *kspace.shape[1:]), np.complex64)
    right = np.empty_like(image)

    def begun(block: int) -> np.ndarray:
        part = parts[block]
        right[..., part] = _adjoint(kspace[..., part], sampled, sets[..., part])
        fitted = 2 * (_STOP * noise) ** 2 * sampled.mean() * _powers(sets[..., part])
        return np.stack([_powers(right[..., part]), fitted])

    power, fitted = np.concatenate(each(begun, len(parts)), axis=1)
    goal = np.maximum(power.mean() * tolerance**2, fitted)

    def solved(block: int) -> None:
        part = parts[block]
        if (power[part] > goal[part]).any():
            normal = _normal(sets[..., part], sampled, regularisation)
            image[..., part] = _solved(normal, right[..., part], goal[part], n_iterations)

    each(solved, len(parts))
    return image if several else image[0]


def _width(sets: Sets) -> int:
    """Places along the readout that are worked on at a time."""
    if _in_lanes(sets):
        return lanes.LANES
    return int(np.clip(_CACHE // (8 * sets[0, 0, ..., 0].size), 1, sets.shape[-1]))


def _in_lanes(sets: Sets) -> bool:
    """Whether vector instructions go along the readout: one set, places enough to fill them."""
    fits = all(lanes.can_transform(n) for n in sets.shape[2:4])
    return len(sets) == 1 and fits and sets.shape[-1] >= lanes.LANES // 2


def _adjoint(kspace: Hybrid, sampled: Sampled, sets: Sets) -> Volumes:
    """Right side of the normal equations, at some places."""
    data = np.fft.ifftshift(kspace * sampled[None, :, :, None], (1, 2))
    images = scipy.fft.ifftn(data, axes=(1, 2), norm="ortho", overwrite_x=True, workers=1)
    images = np.fft.fftshift(images, (1, 2))
    return np.stack([np.einsum("c...,c...->...", maps.conj(), images) for maps in sets])


def _normal(sets: Sets, sampled: Sampled, regularisation: float) -> Callable[[Volumes], Volumes]:
    """``A^H A + regularisation`` at some places."""
    gram_of_sets = _one_set(sets, sampled) if _in_lanes(sets) else _folding(sets, sampled)

    def normal(image: Volumes) -> Volumes:
        found = gram_of_sets(image)
        if regularisation:
            found += np.float32(regularisation) * image
        return found

    return normal


def _one_set(sets: Sets, sampled: Sampled) -> Callable[[Volumes], Volumes]:
    """``A^H A`` through vector instructions, sixteen places at once."""
    gram = undersampled(sets[0], sampled).N
    return lambda image: gram(image[0])[None]


def _folding(sets: Sets, sampled: Sampled) -> Callable[[Volumes], Volumes]:
    """``A^H A`` of few places or several sets, a coil at a time; rows all missing are passed by."""
    maps = np.ascontiguousarray(np.moveaxis(np.fft.ifftshift(sets, (2, 3)), -1, 2))
    maps = np.ascontiguousarray(maps.swapaxes(0, 1))  # coil set x z y
    mask = np.fft.ifftshift(sampled)
    rows = np.flatnonzero(mask.any(axis=1))
    weight = mask[rows].astype(np.float32)

    def gram(image: Volumes) -> Volumes:
        one = np.ascontiguousarray(np.moveaxis(np.fft.ifftshift(image, (1, 2)), -1, 1))
        total = np.zeros_like(one)
        for coil in maps:
            seen = np.einsum("s...,s...->...", coil, one)
            _combine(coil, _folded(seen, rows, weight), total)
        found: np.ndarray = np.fft.fftshift(np.moveaxis(total, 1, -1), (1, 2))
        return found

    return gram


def _folded(
    seen: Complex64[np.ndarray, "x z y"],
    rows: Int[np.ndarray, " row"],
    weight: Float32[np.ndarray, "row y"],
) -> Complex64[np.ndarray, "x z y"]:
    """To k-space, what was measured of it, and back; indices in order of the FFT."""
    deep = seen.shape[1] > 1
    if deep:
        seen = scipy.fft.fft(seen, axis=1, overwrite_x=True, workers=1)
    part = scipy.fft.fft(seen[:, rows], axis=2, overwrite_x=True, workers=1)
    part *= weight
    back: np.ndarray = scipy.fft.ifft(part, axis=2, overwrite_x=True, workers=1)
    if not deep:
        return back
    seen[:] = 0
    seen[:, rows] = back
    image: np.ndarray = scipy.fft.ifft(seen, axis=1, overwrite_x=True, workers=1)
    return image


def _solved(
    normal: Callable[[Volumes], Volumes], right: Volumes, goal: np.ndarray, n_iterations: int
) -> Volumes:
    """Conjugate gradients of some places at once, each with its own steps and its own end."""
    residual = np.ascontiguousarray(right)
    x, direction = np.zeros_like(residual), residual.copy()
    power = _powers(residual)
    flat = [array.reshape(-1, right.shape[-1]) for array in (x, residual, direction)]
    for _ in range(n_iterations):
        if (power <= goal).all():
            break
        image = np.ascontiguousarray(normal(direction)).reshape(flat[0].shape)
        _step(*flat, image, power, goal)
    return x


def _powers(array: Complex64[np.ndarray, "... x"]) -> np.ndarray:
    """Energy at every place along the readout."""
    flat = array.reshape(-1, array.shape[-1])
    power: np.ndarray = np.einsum("ij,ij->j", flat.real, flat.real, dtype=np.float64)
    power += np.einsum("ij,ij->j", flat.imag, flat.imag, dtype=np.float64)
    return power


@njit(cache=True, nogil=True)
@no_type_check
def _combine(coil, seen, out):
    """``out += conj(coil) seen``, for every set: ``set x z y`` of ``x z y``."""
    n_sets, n_x, n_z, n_y = coil.shape
    for s in range(n_sets):
        for i in range(n_x):
            for z in range(n_z):
                for y in range(n_y):
                    out[s, i, z, y] += np.conj(coil[s, i, z, y]) * seen[i, z, y]


@njit(cache=True, nogil=True)
@no_type_check
def _step(x, residual, direction, image, power, goal):
    """One step of conjugate gradients at every place (last axis) that has not reached its goal."""
    n, n_places = x.shape
    curve, after = np.zeros(n_places), np.zeros(n_places)
    step, turn = np.zeros(n_places, np.float32), np.zeros(n_places, np.float32)
    for k in range(n):
        for i in range(n_places):
            d, a = direction[k, i], image[k, i]
            curve[i] += d.real * a.real + d.imag * a.imag
    for i in range(n_places):
        if power[i] > goal[i] and curve[i] > 0.0:
            step[i] = power[i] / curve[i]
    for k in range(n):
        for i in range(n_places):
            x[k, i] += step[i] * direction[k, i]
            residual[k, i] -= step[i] * image[k, i]
            after[i] += residual[k, i].real ** 2 + residual[k, i].imag ** 2
    _account(power, after, step, goal, turn)
    for k in range(n):
        for i in range(n_places):
            direction[k, i] = residual[k, i] + turn[i] * direction[k, i]


@njit(cache=True, nogil=True)
@no_type_check
def _account(power, after, step, goal, turn):
    """What the step left of each residual, and how much of the old direction goes into the new."""
    for i in range(len(power)):
        if step[i] > 0.0:
            turn[i] = after[i] / power[i]
            power[i] = after[i]
        else:
            power[i] = min(power[i], goal[i])  # nothing more can be done there


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfolded:
    """An image and its geometry factor: noise is ``sqrt(R) g`` that of all lines measured."""

    image: Volume
    gfactor: Float32[np.ndarray, "z y x"]


def regular(sampled: Sampled) -> Int[np.ndarray, "2 2"] | None:
    """Basis of the lattice (z, y) that the measured lines make, None if they make none.

    The lattice includes shifted ones (CAIPIRINHA); rows are basis vectors, upper triangular:
    ``[[R_z, shift], [0, R_y]]``.
    """
    places = np.argwhere(sampled)
    n_z, n_y = sampled.shape
    first = places[0]
    in_row = places[places[:, 0] == first[0]][:, 1]
    r_y = int(np.diff(in_row).min()) if len(in_row) > 1 else n_y
    rows = np.unique(places[:, 0])
    r_z = int(np.diff(rows).min()) if len(rows) > 1 else n_z
    if n_z % r_z or n_y % r_y:
        return None
    shift = 0
    if len(rows) > 1:
        shift = int((places[places[:, 0] == rows[1]][0, 1] - in_row[0]) % r_y)
    if (n_z // r_z) * shift % r_y:
        return None
    z, y = np.meshgrid(np.arange(n_z), np.arange(n_y), indexing="ij")
    rise = (z - first[0]) // r_z
    made = ((z - first[0]) % r_z == 0) & ((y - first[1] - rise * shift) % r_y == 0)
    return np.array([[r_z, shift], [0, r_y]]) if np.array_equal(made, sampled) else None


def unfold(
    kspace: Hybrid, sampled: Sampled, maps: Hybrid, *, regularisation: float = 0.0
) -> Unfolded:
    """Unfold lines left out at regular distances, pixel by pixel, with the geometry factor.

    Raises
    ------
    ProtocolError
        If the lines make no lattice that divides the grid, or fold more often than there are coils.
    """
    lattice = regular(sampled)
    folds = 0 if lattice is None else int(lattice[0, 0] * lattice[1, 1])
    if lattice is None or folds > len(maps):
        raise ProtocolError(
            f"the measured lines {'fold' if lattice is not None else 'make no lattice'}"
            f"{f' {folds} times' if folds else ''}; "
            f"SENSE unfolds lattices that divide the grid, up to {len(maps)} times with "
            f"{len(maps)} coils (scanroom.mri.recon.sense). Use cg-sense."
        )
    data = kspace * sampled[None, :, :, None]
    folded = fourier(kspace.shape, (1, 2)).H(data)
    image, gfactor = (
        np.zeros(kspace.shape[1:], np.complex64),
        np.zeros(kspace.shape[1:], np.float32),
    )
    groups, phase = _folds(sampled, lattice)

    def place(x: int) -> None:
        seen = maps[..., x].reshape(len(maps), -1)
        once = np.ascontiguousarray(folded[..., x].reshape(len(maps), -1))
        flat, noise = np.zeros(seen.shape[1], np.complex64), np.zeros(seen.shape[1], np.float32)
        _unfold(np.ascontiguousarray(seen), once, groups, phase, regularisation, flat, noise)
        image[..., x] = flat.reshape(sampled.shape)
        gfactor[..., x] = noise.reshape(sampled.shape)

    each(place, kspace.shape[-1])
    return Unfolded(image=image, gfactor=gfactor)


@njit(cache=True, nogil=True)
@no_type_check
def _unfold(maps, folded, groups, phase, regularisation, image, gfactor):
    """Least squares of every group of pixels that lie upon each other, and their g-factor.

    ``N = E^H E`` of a group is factored as ``L L^H``; a pixel that no coil sees stays zero.
    """
    n_groups, n_folds = groups.shape
    n_coils = len(maps)
    seen = np.empty((n_coils, n_folds), np.complex128)
    once = np.empty(n_coils, np.complex128)
    normal = np.empty((n_folds, n_folds), np.complex128)
    lower = np.empty((n_folds, n_folds), np.complex128)
    for g in range(n_groups):
        for c in range(n_coils):
            once[c] = folded[c, groups[g, 0]]
            for f in range(n_folds):
                seen[c, f] = maps[c, groups[g, f]] * phase[f]
        faint = _product(seen, normal)
        _factor(normal, lower, regularisation, faint)
        column = np.conj(seen.T) @ once
        _back_substitute(lower, column)
        for f in range(n_folds):
            if normal[f, f].real > faint:
                image[groups[g, f]] = column[f] * n_folds
                gfactor[groups[g, f]] = _amplified(normal, lower, f)


@njit(cache=True, nogil=True)
@no_type_check
def _product(seen, normal):
    """``normal = seen^H seen``; the brightness below which a pixel is taken for dark."""
    n_coils, n_folds = seen.shape
    brightest = 0.0
    for i in range(n_folds):
        for j in range(i + 1):
            total = 0j
            for c in range(n_coils):
                total += np.conj(seen[c, i]) * seen[c, j]
            normal[i, j] = total
            normal[j, i] = np.conj(total)
        brightest = max(brightest, normal[i, i].real)
    return 1e-6 * brightest


@njit(cache=True, nogil=True)
@no_type_check
def _factor(normal, lower, regularisation, faint):
    """Cholesky factor; rows of dark pixels as those of the unit matrix.

    Pixels that all coils see alike cannot be told apart: an enormous g-factor, no failure.
    """
    for i in range(len(normal)):
        for j in range(i + 1):
            value = normal[i, j]
            if i == j:
                value += 1.0 if value.real <= faint else regularisation
            for k in range(j):
                value -= lower[i, k] * np.conj(lower[j, k])
            if i == j:
                lower[i, i] = np.sqrt(max(value.real, 1e-6 * faint + 1e-30))
            else:
                lower[i, j] = value / lower[j, j]


@njit(cache=True, nogil=True)
@no_type_check
def _amplified(normal, lower, f):
    """Geometry factor: noise of the least squares times the pixel alone, from the inverse."""
    column = np.zeros(len(normal), np.complex128)
    column[f] = 1
    _back_substitute(lower, column)
    noise = 0.0
    for i in range(len(normal)):
        total = 0j
        for j in range(len(normal)):
            total += normal[i, j] * column[j]
        noise += (np.conj(column[i]) * total).real
    return np.sqrt(max(noise * normal[f, f].real, 0.0))


@njit(cache=True, nogil=True)
@no_type_check
def _back_substitute(lower, column):
    """Solve ``L L^H x = column`` in place."""
    n = len(column)
    for i in range(n):
        for k in range(i):
            column[i] -= lower[i, k] * column[k]
        column[i] /= lower[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            column[i] -= np.conj(lower[k, i]) * column[k]
        column[i] /= lower[i, i]


def _folds(
    sampled: Sampled, lattice: Int[np.ndarray, "2 2"]
) -> tuple[Int[np.ndarray, "group fold"], Complex64[np.ndarray, " fold"]]:
    """Pixels (z, y as one index) that lie upon each other, and their phases against the first.

    Lines at ``k0`` plus a lattice leave, of a pixel, copies at the dual lattice, each turned by
    ``exp(-2 pi i k0.f)``.
    """
    (n_z, n_y), ((r_z, shift), (_, r_y)) = sampled.shape, lattice.tolist()
    up, along = np.meshgrid(np.arange(r_z), np.arange(r_y), indexing="ij")
    step_y = along.ravel() * (n_y // r_y)
    step_z = up.ravel() * (n_z // r_z) - along.ravel() * shift * (n_z // r_z) // r_y
    z, y = np.meshgrid(np.arange(n_z), np.arange(n_y), indexing="ij")
    every = (z.reshape(-1, 1) + step_z) % n_z * n_y + (y.reshape(-1, 1) + step_y) % n_y
    chosen = every[every.argmin(axis=1) == 0]
    origin = np.argwhere(sampled)[0] - [n_z // 2, n_y // 2]
    turns = origin[0] * step_z / n_z + origin[1] * step_y / n_y
    phase = np.exp(-2j * np.pi * turns).astype(np.complex64)
    return chosen, phase
