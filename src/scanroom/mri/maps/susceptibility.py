"""Magnetic susceptibility from the local field of tissue.

The field is relative, ``(f - f0) / f0`` in ppm, as is susceptibility (SI). A field tells no
constant: susceptibility is relative to its mean over the reference region, which is 0.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float32
from numba import njit
from scipy.ndimage import gaussian_filter

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Hertz, Metre
from scanroom.mri.maps.dipole import Axis, Volume, convolved, kernel, padded
from scanroom.mri.maps.echoes import refuse_unless_finite
from scanroom.mri.maps.model import Map
from scanroom.operators.threads import each

Mask = Bool[np.ndarray, "z y x"]
Voxel = tuple[Metre, Metre, Metre]
_MARGIN = 16
_BLUR = 2.0
_SMOOTH_SHARE = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Local field [ppm] with its standard error, where it is known, and how its grid lies."""

    field: Volume
    error: Volume
    mask: Mask
    voxel: Voxel
    direction: Axis


def relative_field(off_resonance: Map, larmor: Hertz) -> tuple[Volume, Volume]:
    """Field [ppm] and its standard error from an off-resonance [Hz]; 0 and inf where not valid."""
    scale = 1e6 / larmor
    field = np.where(off_resonance.valid, off_resonance.array * scale, 0.0)
    error = np.where(off_resonance.valid, off_resonance.error * scale, np.inf)
    return field.astype(np.float32), error.astype(np.float32)


def truncated(
    local: Local,
    *,
    threshold: float = 0.2,
    reference: Mask | None = None,
) -> Map:
    """Susceptibility [ppm] by dividing by the dipole's kernel, cut off below a threshold (TKD).

    What the cut takes from a point source's own height is given back. Linear: the error is exact
    for independent noise of the field.

    Raises
    ------
    ProtocolError
        If the threshold is not between 0 and 2/3, or nothing is inside.

    References
    ----------
    K. Shmueli et al., Magn. Reson. Med. 62, 1510 (2009), doi:10.1002/mrm.22135; F. Schweser et
    al., Magn. Reson. Med. 69, 1581 (2013), doi:10.1002/mrm.24405.
    """
    if not 0 < threshold < 2 / 3:
        raise ProtocolError(
            f"the threshold is {threshold}; the kernel lies between -2/3 and 1/3, so that it may "
            "be above 0 and below 2/3 (Shmueli 2009). Choose 0.1 to 0.3."
        )
    clean, spread = _prepared(local)
    shape = padded(local.field.shape, _MARGIN)
    dipole = kernel(shape, local.voxel, local.direction)
    sign = np.where(dipole < 0, -1.0, 1.0)
    inverse = sign / np.maximum(np.abs(dipole), threshold)
    height = _mean(inverse * dipole, shape)
    inverse = (inverse / height).astype(np.float32)
    found = convolved(clean, inverse, shape)
    square = scipy.fft.irfftn(inverse, shape) ** 2
    power = convolved(spread**2, scipy.fft.rfftn(square), shape)
    return _map(found, np.sqrt(np.maximum(power, 0.0)), local, reference)


def total_variation(
    local: Local,
    *,
    edge: float = 0.05,
    magnitude: Volume | None = None,
    reference: Mask | None = None,
    n_iterations: int = 80,
    n_replicas: int = 4,
    seed: int = 0,
) -> Map:
    """Susceptibility [ppm] whose field fits, weighted by its error, with the least edges.

    The most probable map where the field's misfit is normal with its ``error`` and steps between
    neighbours are Laplacian of mean ``edge`` [ppm], by alternating directions of multipliers with
    one split for steps and one for weights: each move has a closed form. Where a ``magnitude`` is
    given its steepest 30 % cost nothing. Not linear: the error is the spread over ``n_replicas``
    repetitions with fresh noise of the size of ``error``, blurred over neighbours; the bias
    towards smaller contrast is not in it.

    Raises
    ------
    ProtocolError
        If nothing is inside, or fewer than two replicas are asked for.

    References
    ----------
    J. Liu et al., NeuroImage 59, 2560 (2012), doi:10.1016/j.neuroimage.2011.08.082; B. Bilgic et
    al., Magn. Reson. Med. 72, 1444 (2014), doi:10.1002/mrm.25029; C. Milovic et al., Magn. Reson.
    Med. 80, 814 (2018), doi:10.1002/mrm.27073.
    """
    if n_replicas < 2 or not edge > 0:
        raise ProtocolError(
            f"{n_replicas} replicas and an edge of {edge} ppm are asked for; a spread needs two at "
            "least, an edge is above 0 (scanroom.mri.maps.susceptibility). Ask for 4 and 0.05."
        )
    clean, spread = _prepared(local)
    if not (spread > 0).any():
        raise ProtocolError(
            "the field has no standard error in any voxel; it weighs field against edges "
            "(scanroom.mri.maps.susceptibility). Give that of `field_map`."
        )
    weight = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1.0), 0.0)
    middle = float(np.median(weight[spread > 0]))
    weight = (weight / middle).clip(max=3.0).astype(np.float32)
    problem = _Problem(local, weight, 1 / (middle**2 * edge))
    edges = problem.edge_weights(magnitude)

    def solve(number: int) -> Volume:
        data = clean
        if number:
            key = np.random.Philox(key=[seed, number])
            data = clean + spread * np.random.Generator(key).standard_normal(
                clean.shape, np.float32
            )
        return problem.solved(data, edges, n_iterations)

    found, *again = each(solve, n_replicas + 1)
    variance = np.var(again, axis=0, ddof=1)
    sigma = np.sqrt(_blurred(variance, local.mask))
    return _map(found, sigma, local, reference)


class _Problem:
    """The steps of alternating directions for one grid; volumes are padded to a fast size."""

    def __init__(self, local: Local, weight: Float32[np.ndarray, "z y x"], strength: float) -> None:
        self.own = tuple(slice(n) for n in local.field.shape)
        self.shape = padded(local.field.shape, _MARGIN)
        self.dipole = kernel(self.shape, local.voxel, local.direction)
        self.square = self._wide(weight) ** 2
        self.step = np.array([min(local.voxel) / size for size in local.voxel], np.float32)
        self.strength = strength
        self.edge_penalty = 100 * strength
        laplace = np.zeros((1, 1, 1))
        for axis, (n, step) in enumerate(zip(self.shape, self.step, strict=True)):
            turn = np.arange(n if axis < 2 else n // 2 + 1) / n
            part = 4 * (step * np.sin(np.pi * turn)) ** 2
            laplace = laplace + part.reshape([-1 if other == axis else 1 for other in range(3)])
        self.system = (self.edge_penalty * laplace + self.dipole**2 + 1e-9).astype(np.float32)

    def edge_weights(self, magnitude: Volume | None) -> Float32[np.ndarray, "axis wz wy wx"]:
        """0 where the magnitude has one of its strongest edges, 1 elsewhere."""
        weight = np.ones((3, *self.shape), np.float32)
        if magnitude is None:
            return weight
        wide = self._wide(magnitude.astype(np.float32))
        inside = self.square > 0
        for axis, step in enumerate(self.step):
            size = step * np.abs(np.roll(wide, -1, axis) - wide)
            weight[axis] = size <= np.quantile(size[inside], _SMOOTH_SHARE)
        return weight

    def solved(
        self, data: Volume, edges: Float32[np.ndarray, "axis wz wy wx"], n_iterations: int
    ) -> Volume:
        """Susceptibility after so many rounds."""
        field = self._wide(data) * self.square
        chi = np.zeros(self.shape, np.float32)
        dual = np.zeros((3, *self.shape), np.float32)
        pull, shown, lag = np.zeros_like(chi), np.zeros_like(chi), np.zeros_like(chi)
        limit = np.float32(self.strength / self.edge_penalty)
        for _ in range(n_iterations):
            right = scipy.fft.rfftn(pull)
            right *= np.float32(self.edge_penalty)
            right += self.dipole * scipy.fft.rfftn(shown - lag)
            spectrum = right / self.system
            chi = scipy.fft.irfftn(spectrum, self.shape)
            made = scipy.fft.irfftn(spectrum * self.dipole, self.shape)
            made += lag
            shown = (field + made) / (self.square + np.float32(1.0))
            lag = made - shown
            pull[:] = 0
            _shrink(chi, dual, edges, limit, self.step, pull)
        return np.asarray(chi[self.own])

    def _wide(self, volume: Volume) -> Float32[np.ndarray, "wz wy wx"]:
        whole = np.zeros(self.shape, np.float32)
        whole[self.own] = volume
        return whole


@njit(cache=True, nogil=True)
@no_type_check
def _shrink(chi, dual, edges, limit, step, pull):
    """Edges cut by a limit, their dual brought up to date; adds what pulls the map towards them.

    What pulls is the adjoint of the gradient of (edge - dual).
    """
    shape = chi.shape
    for z in range(shape[0]):
        for y in range(shape[1]):
            for x in range(shape[2]):
                for axis in range(3):
                    w = (z + (axis == 0)) % shape[0]
                    v = (y + (axis == 1)) % shape[1]
                    u = (x + (axis == 2)) % shape[2]
                    moved = step[axis] * (chi[w, v, u] - chi[z, y, x]) + dual[axis, z, y, x]
                    cut = limit * edges[axis, z, y, x]
                    kept = max(moved - cut, np.float32(0)) + min(moved + cut, np.float32(0))
                    dual[axis, z, y, x] = moved - kept
                    force = step[axis] * (kept + kept - moved)
                    pull[w, v, u] += force
                    pull[z, y, x] -= force


def _prepared(local: Local) -> tuple[Volume, Volume]:
    field, error, mask = local.field, local.error, local.mask
    if not mask.any():
        raise ProtocolError(
            "no voxel is inside the mask; susceptibility needs a field "
            "(scanroom.mri.maps.susceptibility). Draw the mask around the subject."
        )
    refuse_unless_finite("field", field[mask])
    known = mask & np.isfinite(error)
    spread = np.where(known, error, 0.0).astype(np.float32)
    return np.where(known, field, 0.0).astype(np.float32), spread


def _mean(transfer: np.ndarray, shape: tuple[int, int, int]) -> float:
    """Mean of a transfer function over all frequencies: what a point keeps of its height."""
    return float(scipy.fft.irfftn(transfer, shape)[0, 0, 0])


def _blurred(variance: Volume, mask: Mask) -> Volume:
    """Mean over neighbours within the mask."""
    share = gaussian_filter(mask.astype(np.float32), _BLUR)
    inside = gaussian_filter(np.where(mask, variance, 0.0), _BLUR)
    return np.asarray(inside / np.maximum(share, 1e-6))


def _map(found: Volume, sigma: Volume, local: Local, reference: Mask | None) -> Map:
    """Reference the map to its mean over a region, the whole mask where none is given."""
    mask = local.mask
    region = mask if reference is None else mask & reference
    if not region.any():
        raise ProtocolError(
            "no voxel of the reference region is inside the mask; susceptibility is relative to "
            "its mean (scanroom.mri.maps.susceptibility). Draw the region within the mask."
        )
    values = np.where(mask, found - found[region].mean(dtype=np.float64), 0.0)
    return Map(
        name="susceptibility",
        array=values.astype(np.float32),
        unit="ppm",
        valid=mask & np.isfinite(local.error),
        error=np.where(mask, sigma, np.inf).astype(np.float32),
    )
