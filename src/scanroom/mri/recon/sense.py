"""SENSE: the image that, seen by the coils, best explains the lines measured.

K-space is hybrid: transformed along the readout, which is always fully sampled, so every place
along it is a problem of its own - a line of a 2-D scan, a plane of a 3-D one. Each has its own
conjugate gradients, stopped by its own residual; a few at a time, all their coils stay in a core's
cache.

Where whole lines are left out at regular distances R pixels lie upon each other, and the solution
is one small inverse per pixel, with the exact noise of the image beside it: the geometry factor.

References
----------
K. P. Pruessmann, M. Weiger, M. B. Scheidegger, P. Boesiger, Magn. Reson. Med. 42, 952 (1999),
doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S; K. P. Pruessmann, M. Weiger,
P. Boernert, P. Boesiger, Magn. Reson. Med. 46, 638 (2001), doi:10.1002/mrm.1241.
"""

from dataclasses import dataclass
from typing import NamedTuple, no_type_check

import numpy as np
import scipy.fft
from jaxtyping import Bool, Complex64, Float32, Int
from numba import njit

from scanroom.core.errors import ProtocolError
from scanroom.operators.coils import coils
from scanroom.operators.fourier import fourier
from scanroom.operators.linear import Linear
from scanroom.operators.sampling import weighted
from scanroom.operators.threads import each

N_ITERATIONS = 30
TOLERANCE = 3e-4
"""Relative residual at which iterations stop, before they amplify noise."""
_CACHE = 1 << 20
"""Bytes of maps that are worked on at a time."""

Hybrid = Complex64[np.ndarray, "coil z y x"]
Sampled = Bool[np.ndarray, "z y"]
Volume = Complex64[np.ndarray, "z y x"]


def encoding(maps: Hybrid, sampled: Sampled) -> Linear:
    """Image to the hybrid k-space that was measured: coils, transform along z and y, sampling."""
    return (
        weighted(sampled[None, :, :, None], maps.shape) @ fourier(maps.shape, (1, 2)) @ coils(maps)
    )


def cg_sense(
    kspace: Hybrid,
    sampled: Sampled,
    maps: Hybrid | Complex64[np.ndarray, "set coil z y x"],
    *,
    regularisation: float = 0.0,
    n_iterations: int = N_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Complex64[np.ndarray, "..."]:
    """Solve ``(A^H A + regularisation) image = A^H kspace`` for any pattern of lines.

    ``kspace`` has k along z and y and image along x, orthonormal; what was not measured counts for
    nothing, whatever stands there. Returns ``z y x``, with a leading axis of sets where maps have
    one.

    Raises
    ------
    ProtocolError
        If nothing was measured or a number is out of its range.
    """
    if not sampled.any() or regularisation < 0 or n_iterations < 1 or not 0 <= tolerance < 1:
        raise ProtocolError(
            f"CG-SENSE got {int(sampled.sum())} measured lines, a regularisation of "
            f"{regularisation:g}, {n_iterations} iterations, tolerance {tolerance:g}; it needs "
            "one or more, 0 or more, 1 or more, 0 to 1 (scanroom.mri.recon.sense). Correct it."
        )
    several = maps.ndim == kspace.ndim + 1
    sets = maps if several else maps[None]
    task = _task(kspace, sampled, sets, regularisation, n_iterations, tolerance)
    image = np.empty((len(sets), *kspace.shape[1:]), np.complex64)

    def some(block: int) -> None:
        part = slice(block * task.width, (block + 1) * task.width)
        image[..., part] = _solved(task, part)

    each(some, -(-kspace.shape[-1] // task.width))
    return image if several else image[0]


class _Task(NamedTuple):
    """What all places along the readout share; arrays as given, the mask in order of the FFT."""

    kspace: Hybrid
    maps: Complex64[np.ndarray, "set coil z y x"]
    mask: Float32[np.ndarray, "z y"]
    regularisation: float
    n_iterations: int
    tolerance: float
    width: int


def _task(
    kspace: Hybrid,
    sampled: Sampled,
    sets: Complex64[np.ndarray, "set coil z y x"],
    regularisation: float,
    n_iterations: int,
    tolerance: float,
) -> _Task:
    bytes_of_place = 8 * sets[..., 0].size
    width = int(np.clip(_CACHE // bytes_of_place, 1, kspace.shape[-1]))
    mask = np.fft.ifftshift(sampled).astype(np.float32)
    return _Task(kspace, sets, mask, regularisation, n_iterations, tolerance, width)


def _moved(array: Complex64[np.ndarray, "... z y x"]) -> Complex64[np.ndarray, "x ... z y"]:
    """Place first, then z and y in the order of the FFT, side by side in memory."""
    moved = np.moveaxis(np.fft.ifftshift(array, (-3, -2)), -1, 0)
    return np.ascontiguousarray(moved)


def _solved(task: _Task, part: slice) -> Complex64[np.ndarray, "set z y x"]:
    """Conjugate gradients of some places, all at once, each with its own steps."""
    maps = _moved(task.maps[..., part])  # x set coil z y
    data = _moved(task.kspace[..., part]) * task.mask
    axes = (-1,) if data.shape[-2] == 1 else (-2, -1)
    images = scipy.fft.ifftn(data, axes=axes, norm="ortho", overwrite_x=True, workers=1)
    residual = np.zeros((len(maps), maps.shape[1], *maps.shape[3:]), np.complex64)
    _combine(maps, images, residual)
    x = np.zeros_like(residual)
    direction = residual.copy()
    power = _powers(residual)
    goal = power * task.tolerance**2
    image = np.empty_like(residual)
    for _ in range(task.n_iterations):
        if (power <= goal).all():
            break
        _spread(maps, direction, images)
        images = scipy.fft.fftn(images, axes=axes, overwrite_x=True, workers=1)
        images *= task.mask
        images = scipy.fft.ifftn(images, axes=axes, overwrite_x=True, workers=1)
        image[:] = np.float32(task.regularisation) * direction
        _combine(maps, images, image)
        _step(x, residual, direction, image, power, goal)
    done = np.fft.fftshift(np.moveaxis(x, 0, -1), (-3, -2))
    return np.ascontiguousarray(done)


def _powers(array: Complex64[np.ndarray, "x ..."]) -> np.ndarray:
    flat = array.reshape(len(array), -1)
    power: np.ndarray = np.einsum("ij,ij->i", flat.real, flat.real, dtype=np.float64)
    power += np.einsum("ij,ij->i", flat.imag, flat.imag, dtype=np.float64)
    return power


@njit(cache=True, nogil=True)
@no_type_check
def _spread(maps: np.ndarray, image: np.ndarray, out: np.ndarray) -> None:
    """Each coil's view of the sets: ``x coil z y`` of ``x set z y``."""
    n_x, n_sets, n_coils, n_z, n_y = maps.shape
    for i in range(n_x):
        for c in range(n_coils):
            for z in range(n_z):
                for y in range(n_y):
                    out[i, c, z, y] = maps[i, 0, c, z, y] * image[i, 0, z, y]
                for s in range(1, n_sets):
                    for y in range(n_y):
                        out[i, c, z, y] += maps[i, s, c, z, y] * image[i, s, z, y]


@njit(cache=True, nogil=True)
@no_type_check
def _combine(maps: np.ndarray, images: np.ndarray, out: np.ndarray) -> None:
    """Add the coils, each by the conjugate of its map, to ``x set z y``."""
    n_x, n_sets, n_coils, n_z, n_y = maps.shape
    for i in range(n_x):
        for s in range(n_sets):
            for c in range(n_coils):
                for z in range(n_z):
                    for y in range(n_y):
                        out[i, s, z, y] += np.conj(maps[i, s, c, z, y]) * images[i, c, z, y]


@njit(cache=True, nogil=True)
@no_type_check
def _step(
    x: np.ndarray,
    residual: np.ndarray,
    direction: np.ndarray,
    image: np.ndarray,
    power: np.ndarray,
    goal: np.ndarray,
) -> None:
    """One step of conjugate gradients in every place that has not reached its goal."""
    n_x = len(x)
    for i in range(n_x):
        if power[i] <= goal[i]:
            continue
        a, b, r, d = (image[i].ravel(), x[i].ravel(), residual[i].ravel(), direction[i].ravel())
        curve = 0.0
        for k in range(len(a)):
            curve += d[k].real * a[k].real + d[k].imag * a[k].imag
        step = np.float32(power[i] / curve) if curve > 0.0 else np.float32(0.0)
        after = 0.0
        for k in range(len(a)):
            b[k] += step * d[k]
            r[k] -= step * a[k]
            after += r[k].real * r[k].real + r[k].imag * r[k].imag
        turn = np.float32(after / power[i])
        for k in range(len(a)):
            d[k] = r[k] + turn * d[k]
        power[i] = after if curve > 0.0 else goal[i]


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
        what = "make no lattice" if lattice is None else f"fold {folds} times"
        raise ProtocolError(
            f"the measured lines {what}; SENSE unfolds lattices that divide the grid, up to "
            f"{len(maps)} times with {len(maps)} coils (scanroom.mri.recon.sense). Use cg-sense."
        )
    data = kspace * sampled[None, :, :, None]
    folded = fourier(kspace.shape, (1, 2)).H(data)
    image, gfactor = (
        np.zeros(kspace.shape[1:], np.complex64),
        np.zeros(kspace.shape[1:], np.float32),
    )
    groups, phase = _folds(sampled, lattice)

    def place(x: int) -> None:
        seen = maps[..., x].reshape(len(maps), -1)[:, groups].transpose(1, 0, 2) * phase
        once = folded[..., x].reshape(len(maps), -1)[:, groups[:, 0]].T[..., None]
        found, noise = _inverted(seen, once, regularisation)
        flat = image[..., x].reshape(-1)
        flat[groups] = found * np.float32(folds)
        image[..., x] = flat.reshape(sampled.shape)
        flat_g = gfactor[..., x].reshape(-1)
        flat_g[groups] = noise
        gfactor[..., x] = flat_g.reshape(sampled.shape)

    each(place, kspace.shape[-1])
    return Unfolded(image=image, gfactor=gfactor)


def _inverted(
    seen: Complex64[np.ndarray, "group coil fold"],
    once: Complex64[np.ndarray, "group coil 1"],
    regularisation: float,
) -> tuple[Complex64[np.ndarray, "group fold"], Float32[np.ndarray, "group fold"]]:
    """Least squares of every group of pixels that lie upon each other, and their g-factor."""
    back = seen.conj().transpose(0, 2, 1)
    normal = back @ seen
    covered = np.einsum("gii->gi", normal).real
    # pixels that no coil sees stay zero: their row becomes that of the unit matrix
    dark = covered <= 1e-6 * covered.max(initial=1e-30)
    added = np.where(dark, np.float32(1.0), np.float32(regularisation))
    inverse = np.linalg.inv(normal + added[..., None] * np.eye(normal.shape[1], dtype=np.complex64))
    found = (inverse @ (back @ once))[..., 0] * ~dark
    noise = np.einsum("gij,gjk,gki->gi", inverse, normal, inverse, optimize=True).real
    gfactor = np.sqrt(np.maximum(noise * covered, 0)) * ~dark
    return found.astype(np.complex64), gfactor.astype(np.float32)


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
