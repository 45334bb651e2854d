"""Field of what lies outside a region, taken away."""

import numpy as np
import scipy.fft
from jaxtyping import Bool
from scipy.ndimage import binary_erosion, distance_transform_edt

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Metre
from scanroom.mri.maps.dipole import Axis, Volume, convolved, kernel, padded
from scanroom.operators.solvers import conjugate_gradients

Mask = Bool[np.ndarray, "z y x"]
Voxel = tuple[Metre, Metre, Metre]


def projected(
    field: Volume,
    mask: Mask,
    voxel: Voxel,
    direction: Axis,
    *,
    weight: Volume | None = None,
    n_iterations: int = 100,
) -> Volume:
    """Local field: what dipoles outside the region cannot explain (PDF).

    ``weight`` is the inverse standard error of the field, relative. The field keeps its unit.

    References
    ----------
    T. Liu et al., NMR Biomed. 24, 1129 (2011), doi:10.1002/nbm.1670.
    """
    _refuse_empty(mask)
    shape = padded(field.shape, max(field.shape))
    transfer = kernel(shape, voxel, direction)
    whole = np.zeros(shape, np.float32)
    inside = np.zeros(shape, bool)
    crop = tuple(slice(n) for n in field.shape)
    inside[crop] = mask
    square = np.zeros(shape, np.float32)
    square[crop] = 1.0 if weight is None else (weight / weight[mask].max()) ** 2
    square *= inside
    whole[crop] = np.where(mask, field, 0.0)
    outside = ~inside

    def dipoles(source: np.ndarray) -> np.ndarray:
        made = scipy.fft.irfftn(scipy.fft.rfftn(source) * transfer, shape)
        return np.asarray(made, np.float32)

    def normal(source: np.ndarray) -> np.ndarray:
        return np.asarray(outside * dipoles(square * dipoles(source)))

    right = outside * dipoles(square * whole)
    source = conjugate_gradients(normal, right, n_iterations=n_iterations, tolerance=1e-3)
    return np.where(mask, field - dipoles(source)[crop], 0.0).astype(np.float32)


def boundary_value(
    field: Volume, mask: Mask, voxel: Voxel, *, n_iterations: int = 2000
) -> tuple[Volume, Mask]:
    """Local field: what is left of the harmonic field with the same values on the edge (LBV).

    Sources inside are taken to make no field on the edge, which is a layer of one voxel and is
    lost. Nothing within is fitted, so that what sources make there stays whole.

    References
    ----------
    D. Zhou et al., NMR Biomed. 27, 312 (2014), doi:10.1002/nbm.3064.
    """
    _refuse_empty(mask)
    solid = np.pad(mask, 1)
    core = binary_erosion(solid)
    weights = [(max(voxel) / size) ** 2 for size in voxel]
    edge = np.where(solid & ~core, np.pad(np.where(mask, field, 0.0), 1), 0.0).astype(np.float64)

    def neighbours(values: np.ndarray) -> np.ndarray:
        total = np.zeros_like(values)
        for axis, weight in enumerate(weights):
            total += weight * (np.roll(values, 1, axis) + np.roll(values, -1, axis))
        return total

    def normal(values: np.ndarray) -> np.ndarray:
        return np.where(core, 2 * sum(weights) * values - neighbours(values), 0.0)

    right = np.where(core, neighbours(edge), 0.0)
    harmonic = conjugate_gradients(normal, right, n_iterations=n_iterations, tolerance=1e-6)
    inside = (slice(1, -1),) * 3
    known = core[inside]
    return np.where(known, field - harmonic[inside], 0.0).astype(np.float32), known


def mean_value(
    field: Volume,
    mask: Mask,
    voxel: Voxel,
    *,
    radius: Metre = 8e-3,
    threshold: float = 0.05,
) -> tuple[Volume, Mask]:
    """Local field by the mean value of harmonic functions over spheres, and where it is known.

    Spheres shrink from ``radius`` to two voxels as the edge comes near (V-SHARP); what they take
    from the local field is put back but for frequencies they keep less than ``threshold`` of.

    References
    ----------
    F. Schweser et al., NeuroImage 54, 2789 (2011), doi:10.1016/j.neuroimage.2010.10.070;
    B. Wu et al., Magn. Reson. Med. 67, 137 (2012), doi:10.1002/mrm.23000.
    """
    _refuse_empty(mask)
    inset = np.pad(mask, 1)
    depth = distance_transform_edt(inset, sampling=voxel)[1:-1, 1:-1, 1:-1]
    least = 2 * max(voxel)
    radii = np.arange(max(radius, least), least * 0.999, -max(voxel))
    shape = padded(field.shape, int(2 * radii[0] / min(voxel)) + 2)
    clean = np.where(mask, field, 0.0).astype(np.float32)
    spectrum = scipy.fft.rfftn(clean, shape)
    local = np.zeros(field.shape, np.float32)
    known = np.zeros(mask.shape, bool)
    first = np.zeros(0)
    crop = tuple(slice(n) for n in field.shape)
    for size in radii:
        high = 1 - _sphere(shape, voxel, float(size))
        first = high if first.size == 0 else first
        reached = mask & (depth > size) & ~known
        if reached.any():
            local[reached] = scipy.fft.irfftn(spectrum * high, shape)[crop][reached]
            known |= reached
    back = np.where(np.abs(first) > threshold, 1 / np.where(first == 0, 1.0, first), 0.0)
    return np.where(known, convolved(local, back, shape), 0.0).astype(np.float32), known


def _sphere(shape: tuple[int, int, int], voxel: Voxel, radius: float) -> Volume:
    """Transform of a ball of unit sum, centred on the first element."""
    axes = [scipy.fft.fftfreq(n, 1.0 / n) * size for n, size in zip(shape, voxel, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    ball = (z**2 + y**2 + x**2 <= radius**2).astype(np.float32)
    return np.asarray(scipy.fft.rfftn(ball / ball.sum()).real)


def _refuse_empty(mask: Mask) -> None:
    if not mask.any() or mask.all():
        raise ProtocolError(
            f"{int(mask.sum())} of {mask.size} voxels are inside; a background needs some inside "
            "and some outside (scanroom.mri.maps.background). Draw the mask around the subject."
        )
