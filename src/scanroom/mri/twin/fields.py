"""The static field, the transmit field and the receive fields the subject lies in."""

import numpy as np
from jaxtyping import Bool, Complex64, Float, Float32
from scipy.ndimage import binary_erosion

from scanroom.core.units import Hertz
from scanroom.mri.system import System
from scanroom.mri.twin.faults import Faults
from scanroom.mri.twin.sampling import Isochromats, voxel_size
from scanroom.physics.coils import LoopArray, receive_sensitivity, transmit_field
from scanroom.physics.susceptibility import AIR, dipole_field, shim, solid_harmonics
from scanroom.subject.model import Subject

# Sensitivity of the uniform coil that stands in when the array is switched off [T/A].
UNIFORM = 3e-6
# Share of the voxels that must lie beneath the surface to be shimmed by themselves.
ENOUGH = 0.3


def static_field(subject: Subject, system: System, faults: Faults) -> Float32[np.ndarray, "x y z"]:
    """Offset [Hz] of every voxel's centre: susceptibility, what the shim took and what it left."""
    shape = subject.maps["proton_density"].shape
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    points = index @ subject.affine[:3, :3].T + subject.affine[:3, 3]
    field = np.zeros(shape, np.float32)
    if faults.b0 and "susceptibility" in subject.maps:
        direction = np.linalg.solve(subject.affine[:3, :3], np.array([0.0, 0.0, 1.0]))
        direction = direction * np.array(voxel_size(subject))
        x, y, z = direction / np.linalg.norm(direction)
        field = dipole_field(
            subject.maps["susceptibility"],
            voxel_size(subject),
            direction=(float(x), float(y), float(z)),
            background=AIR,
        )
        field = field * np.float32(system.larmor)
        if faults.shim_order >= 0:
            inside = shim_volume(subject).ravel()
            terms = shim(field.ravel(), points, inside=inside, order=faults.shim_order)
            field = field + (solid_harmonics(points, order=faults.shim_order) @ terms).reshape(
                shape
            )
    error = solid_harmonics(points, order=1) @ np.array(faults.shim_error)
    return np.asarray(field + error.reshape(shape), np.float32)


def shim_volume(subject: Subject) -> Bool[np.ndarray, "x y z"]:
    """Voxels with protons, less one layer at the surface where enough remain.

    A voxel that is partly air has the field of the air beside it, hundreds of hertz at 3 T; the
    least squares would follow that thin layer and spoil the uniform field beneath.
    """
    filled = np.asarray(subject.maps["proton_density"] > 0)
    deep = np.asarray(binary_erosion(filled, np.ones((3, 3, 3))))
    return deep if deep.sum() >= ENOUGH * filled.sum() else filled


def at_isochromats(
    field: Float32[np.ndarray, "x y z"], spins: Isochromats
) -> Float[np.ndarray, " spin"]:
    """Follow a field map into the voxels by its slope at their centres."""
    x, y, z = spins.voxel.astype(np.int64).T
    out = field[x, y, z].astype(np.float64)
    for axis in range(3):
        if field.shape[axis] > 1:
            out += np.gradient(field, axis=axis)[x, y, z] * spins.within[:, axis]
    return np.asarray(out)


def transmit(
    position: Float[np.ndarray, "spin 3"], frequency: Hertz, faults: Faults
) -> Complex64[np.ndarray, " spin"]:
    """Relative transmit field, as the spins meet it: the conjugate of its phasor (nomenclature)."""
    if not faults.b1:
        return np.ones(len(position), np.complex64)
    return transmit_field(position, frequency=frequency).conj().astype(np.complex64)


def receive(
    position: Float[np.ndarray, "spin 3"], array: LoopArray, faults: Faults
) -> Complex64[np.ndarray, "spin coil"]:
    """Receive field [T/A]."""
    if not faults.coils:
        return np.full((len(position), array.n_coils), UNIFORM, np.complex64)
    return np.ascontiguousarray(receive_sensitivity(array, position).T)


def slope(field: Float[np.ndarray, "x y z"], axis: int) -> Float32[np.ndarray, "x y z"]:
    """Change of a field [Hz] from one face of a voxel to the other: the lesser of both sides.

    On one side of a voxel the field may jump, where another material begins; that is no slope
    within it. At an extremum there is none.
    """
    steps = np.diff(np.asarray(field, np.float32), axis=axis)
    none = np.zeros_like(field.take([0], axis), dtype=np.float32)
    before, after = np.concatenate([none, steps], axis), np.concatenate([steps, none], axis)
    lesser = np.where(np.abs(before) < np.abs(after), before, after)
    return np.where(before * after > 0, lesser, np.float32(0.0)).astype(np.float32)
