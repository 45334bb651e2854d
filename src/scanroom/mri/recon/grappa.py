"""GRAPPA: missing lines from their measured neighbours in all coils, by weights the centre taught.

One set of neighbours serves all missing lines of a cell of the lattice, so calibration is one Gram
matrix and its Cholesky factor. Along the readout the weights are a short convolution: in hybrid
space (image along x) they are a small matrix for each x, and filling is one matrix product per x.

References
----------
M. A. Griswold et al., Magn. Reson. Med. 47, 1202 (2002), doi:10.1002/mrm.10171; F. A. Breuer et
al., Magn. Reson. Med. 53, 684 (2005), doi:10.1002/mrm.20401 (lattices in two directions);
F. A. Breuer et al., Magn. Reson. Med. 62, 739 (2009), doi:10.1002/mrm.22066 (noise).
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Complex64, Float32, Int

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.lattice import Lattice
from scanroom.mri.recon.parallel import centre_block
from scanroom.operators.fourier import to_kspace
from scanroom.operators.threads import each, one_blas

ALONG = 5
"""Points of the kernel along the readout."""
SOURCES = {1: 4, 2: 12}
"""Most measured neighbours, by the number of directions that are encoded."""
_CAUTION = 4.0
"""Regularisation over the ratio of noise to signal, found by trial on arrays of 8 and 16 coils."""

Hybrid = Complex64[np.ndarray, "coil z y x"]
Sampled = Bool[np.ndarray, "z y"]
Places = Int[np.ndarray, "_ 2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Weights of one lattice: reusable for every frame of the same coils and lattice.

    ``weights[along, source, coil, target, coil]``; ``sources`` and ``targets`` are places (z, y)
    against a point of the lattice.
    """

    lattice: Lattice
    sources: Places
    targets: Places
    weights: Complex64[np.ndarray, "along source coil target coil"]

    def fill(self, kspace: Hybrid, sampled: Sampled) -> Hybrid:
        """Fill what was not measured within the grid; what was stays."""
        rows, missing = self._rows(sampled)
        out = np.where(sampled[None, :, :, None], kspace, np.complex64(0))
        if len(missing) == 0:
            return out
        n_coils, n_z, n_y, n_x = kspace.shape
        flat = out.reshape(n_coils, n_z * n_y, n_x)
        padded = np.concatenate([flat, np.zeros((n_coils, 1, n_x), np.complex64)], axis=1)
        cells, targets, place = missing.T
        at_x = self.at_x(n_x)
        n_sources, n_targets = len(self.sources), len(self.targets)

        def some(block: int) -> None:
            part = slice(block * 32, (block + 1) * 32)
            around = padded[:, rows, part].transpose(3, 1, 2, 0).reshape(-1, *_flat(rows, n_coils))
            matrix = at_x[part].reshape(-1, n_sources * n_coils, n_targets * n_coils)
            made = (around @ matrix).reshape(-1, len(rows), n_targets, n_coils)
            flat[:, place, part] = made[:, cells, targets].transpose(2, 1, 0)

        each(some, -(-n_x // 32))
        return out

    def at_x(self, n_x: int) -> Complex64[np.ndarray, "x source coil target coil"]:
        """Weights of every place of the image along the readout."""
        turn = np.arange(n_x) - n_x // 2
        along = np.arange(len(self.weights)) - len(self.weights) // 2
        waves = np.exp(-2j * np.pi * np.outer(turn, along) / n_x).astype(np.complex64)
        flat = self.weights.reshape(len(along), -1)
        made: np.ndarray = (waves @ flat).reshape(n_x, *self.weights.shape[1:])
        return made

    def _rows(
        self, sampled: Sampled
    ) -> tuple[Int[np.ndarray, "cell source"], Int[np.ndarray, "missing 3"]]:
        """Indices of the sources of every cell, and of missing lines their cell, target, place.

        Sources beyond the grid, or not measured, point to the zero after the last line.
        """
        n_z, n_y = sampled.shape
        z, y = np.meshgrid(
            np.arange(-self.lattice.step_z, n_z + 1),
            np.arange(-self.lattice.step_y, n_y + 1),
            indexing="ij",
        )
        held = self.lattice.holds(z, y)
        origins = np.stack([z[held], y[held]], axis=1)
        around = origins[:, None] + self.sources
        inside = ((around >= 0) & (around < sampled.shape)).all(axis=2)
        clipped = np.clip(around, 0, np.array(sampled.shape) - 1)
        inside &= sampled[clipped[..., 0], clipped[..., 1]]
        rows = np.where(inside, clipped[..., 0] * n_y + clipped[..., 1], n_z * n_y)
        wanted = origins[:, None] + self.targets
        within = ((wanted >= 0) & (wanted < sampled.shape)).all(axis=2)
        cell, target = np.nonzero(within & inside.any(axis=1)[:, None])
        at = wanted[cell, target]
        lacking = ~sampled[at[:, 0], at[:, 1]]
        place = at[:, 0] * n_y + at[:, 1]
        return rows, np.stack([cell, target, place], axis=1)[lacking]

    def gfactor(self, maps: Hybrid) -> Float32[np.ndarray, "z y x"]:
        """Geometry factor of the image that ``maps``, of unit norm, combine; centre not counted.

        The noise of such an image is ``sqrt(R) g`` where that of all lines measured is one. Lines
        of the centre that were measured beside the lattice make it less.
        """
        n_coils, n_z, n_y, n_x = maps.shape
        at_x = self.at_x(n_x)
        away = self.sources[:, None] - self.targets[None]
        z, y = np.arange(n_z) - n_z // 2, np.arange(n_y) - n_y // 2
        turn_z = np.exp(-2j * np.pi * away[..., 0, None] * z / n_z).astype(np.complex64)
        turn_y = np.exp(-2j * np.pi * away[..., 1, None] * y / n_y).astype(np.complex64)
        waves = (turn_z[..., :, None] * turn_y[..., None, :]).reshape(-1, n_z * n_y)
        out = np.empty((n_z, n_y, n_x), np.float32)

        def place(x: int) -> None:
            # source coil, target coil, pixel
            pairs = at_x[x].transpose(1, 3, 0, 2).reshape(n_coils * n_coils, -1)
            unalias = (pairs @ waves).reshape(n_coils, n_coils, -1)
            m = maps[..., x].reshape(n_coils, -1).conj()
            seen = np.einsum("tp,stp->sp", m, unalias) + m
            out[..., x] = np.linalg.norm(seen, axis=0).reshape(n_z, n_y) / self.lattice.factor

        each(place, n_x)
        return out


def _flat(rows: Int[np.ndarray, "cell source"], n_coils: int) -> tuple[int, int]:
    return rows.shape[0], rows.shape[1] * n_coils


def calibrate(
    kspace: Hybrid,
    sampled: Sampled,
    lattice: Lattice,
    *,
    centre: Complex64[np.ndarray, "coil _ _ x"] | None = None,
    n_sources: int | None = None,
    regularisation: float | None = None,
    noise: float = 1.0,
) -> Kernel:
    """Learn the weights of a lattice from the fully sampled centre of hybrid k-space.

    ``centre`` is such a centre of another scan of the same coils and field of view, where there is
    one. A kernel spans at most half of it, so that it is seen in many places. The regularisation is
    a share of the mean diagonal of the Gram matrix. Where none is given it is that which weighs
    ``noise``, the standard deviation of real and imaginary part of a sample (1 after prewhitening,
    0 where unknown), as all of k-space has it against its signal - the centre is far brighter -
    and to it is added the share of the targets' energy that the weights do not predict.

    Raises
    ------
    ProtocolError
        If the centre is too small for the kernel.
    """
    block = centre_block(sampled)
    known = kspace[(slice(None), *block)] if centre is None else centre
    sources = _sources(lattice, sampled.shape, n_sources or _count(lattice, known.shape[1:3]))
    targets = np.array(
        [(z, y) for z in range(lattice.step_z) for y in range(lattice.step_y) if z or y]
    )
    along = ALONG if kspace.shape[-1] >= 2 * ALONG else 1
    with one_blas():
        gram, right, energy = _equations(known, sources, targets, along)
        share = regularisation
        if share is None:
            share = _noise_share(kspace, sampled, block, noise) if noise > 0 else 0.0
            share += _misfit(gram, right, energy, share)
        weights = _ridge(gram, right, share)
    n_coils = len(kspace)
    shape = (along, len(sources), n_coils, len(targets), n_coils)
    return Kernel(lattice=lattice, sources=sources, targets=targets, weights=weights.reshape(shape))


def _count(lattice: Lattice, centre: tuple[int, ...]) -> int:
    """How many neighbours span no more than half of the centre; two at least in each direction."""
    if min(centre) > 1:
        return SOURCES[2]
    fits = (max(centre) // 2 - 1) // max(lattice.step_z, lattice.step_y) + 1
    return int(np.clip(fits // 2 * 2, 2, SOURCES[1]))


def _noise_share(
    kspace: Hybrid, sampled: Sampled, block: tuple[slice, slice], noise: float
) -> float:
    """Noise over signal power of all k-space, by the lines that were measured, times a caution."""
    power = np.einsum("czyx,czyx->zy", kspace.real, kspace.real)
    power += np.einsum("czyx,czyx->zy", kspace.imag, kspace.imag)
    power = power / (kspace.shape[0] * kspace.shape[3])
    outside = sampled.copy()
    outside[block] = False
    around = power[outside].mean() if outside.any() else 0.0
    whole = power[block].sum() + (sampled.size - power[block].size) * around
    floor = 2 * noise**2
    return float(_CAUTION * floor / max(whole / sampled.size - floor, 0.1 * floor))


def _sources(lattice: Lattice, shape: tuple[int, ...], n: int) -> Places:
    """Points of the lattice nearest to the middle of a cell, against the cell's own point."""
    reach_z = 0 if shape[0] == 1 else 3 * lattice.step_z
    z, y = np.meshgrid(
        np.arange(-reach_z, reach_z + 1),
        np.arange(-3 * lattice.step_y, 3 * lattice.step_y + 1),
        indexing="ij",
    )
    held = lattice.holds(z + lattice.origin[0], y + lattice.origin[1])
    places = np.stack([z[held], y[held]], axis=1)
    middle = np.array([(lattice.step_z - 1) / 2, (lattice.step_y - 1) / 2])
    # ties are broken by place: the same sources on every machine
    order = np.lexsort((places[:, 1], places[:, 0], np.round(((places - middle) ** 2).sum(1), 6)))
    chosen: np.ndarray = places[order[:n]]
    return chosen


def _equations(
    centre: Hybrid, sources: Places, targets: Places, along: int
) -> tuple[Complex64[np.ndarray, "n n"], Complex64[np.ndarray, "n k"], float]:
    """Gram matrix, right side and energy of the targets, over every place of the centre."""
    known = to_kspace(centre, (3,))
    n_coils, n_z, n_y, n_x = known.shape
    every = np.concatenate([sources, targets, [[0, 0]]])
    first, last = -every.min(axis=0), np.array([n_z, n_y]) - every.max(axis=0)
    n_unknown = along * len(sources) * n_coils
    half = along // 2
    n_places = int(np.prod(np.maximum(last - first, 0))) * (n_x - 2 * half)
    if n_places < n_unknown:
        raise ProtocolError(
            f"the fully sampled centre of {n_z} x {n_y} lines gives {max(n_places, 0)} equations "
            f"for {n_unknown} weights of a GRAPPA kernel; it needs as many or more "
            "(scanroom.mri.recon.grappa). Measure more central lines, or use cg-sense."
        )
    height, width = last - first

    def rows(offset: np.ndarray, step: int) -> np.ndarray:
        z, y = first + offset
        part = known[:, z : z + height, y : y + width, step : step + n_x - 2 * half]
        return part.reshape(n_coils, -1)

    around = np.concatenate([rows(source, step) for step in range(along) for source in sources])
    wanted = np.concatenate([rows(target, half) for target in targets])
    conjugate = around.conj()
    return conjugate @ around.T, conjugate @ wanted.T, float(np.vdot(wanted, wanted).real)


def _ridge(
    gram: Complex64[np.ndarray, "n n"], right: Complex64[np.ndarray, "n k"], share: float
) -> Complex64[np.ndarray, "n k"]:
    """Solve with ``share`` of the mean diagonal added to the diagonal."""
    loaded = gram.copy()
    # never less than rounding, lest identical coils break the factorisation
    least = max(share, len(gram) * float(np.finfo(np.float32).eps))
    loaded[np.diag_indices_from(loaded)] += least * np.trace(gram).real / len(gram)
    factor = scipy.linalg.cho_factor(loaded, overwrite_a=True, check_finite=False)
    solved: np.ndarray = scipy.linalg.cho_solve(factor, right, check_finite=False)
    return solved.astype(np.complex64)


def _misfit(
    gram: Complex64[np.ndarray, "n n"],
    right: Complex64[np.ndarray, "n k"],
    energy: float,
    share: float,
) -> float:
    """Share of the targets' energy that the best weights do not predict."""
    weights = _ridge(gram, right, share)
    missed = energy - 2 * np.vdot(weights, right).real + np.vdot(weights, gram @ weights).real
    return float(np.clip(missed / max(energy, np.finfo(np.float32).tiny), 0, 1))
