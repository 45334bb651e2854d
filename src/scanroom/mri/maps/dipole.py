"""The field of a dipole in k-space, on a grid that may lie askew to the magnet."""

import numpy as np
import scipy.fft
from jaxtyping import Float

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Metre

Volume = Float[np.ndarray, "z y x"]
Axis = tuple[float, float, float]
"""A direction along the grid's axes z, y, x."""


def field_direction(affine: Float[np.ndarray, "4 4"]) -> Axis:
    """Direction of B0 (z of the scanner) along the axes z, y, x of images with this affine.

    Raises
    ------
    ProtocolError
        If the affine's axes do not stand at right angles.
    """
    edges = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(edges.T @ edges, np.eye(3), atol=1e-3):
        raise ProtocolError(
            "the axes of the image do not stand at right angles; the dipole's field is known on "
            "grids that do (scanroom.mri.maps.dipole). Resample the image."
        )
    x, y, z = (float(value) for value in edges[2])
    return z, y, x


def kernel(
    shape: tuple[int, int, int], voxel: tuple[Metre, Metre, Metre], direction: Axis
) -> Volume:
    """``1/3 - cos^2`` at the frequencies of a real transform, origin first; 0 at the origin.

    Raises
    ------
    ProtocolError
        If the direction has no length.

    References
    ----------
    J. P. Marques, R. Bowtell, Concepts Magn. Reson. 25B, 65 (2005), doi:10.1002/cmr.b.20034.
    """
    length = float(np.linalg.norm(direction))
    if not length > 0:
        raise ProtocolError(
            f"B0 points along {direction}; a direction has a length (scanroom.mri.maps.dipole). "
            "Take it from `field_direction`."
        )
    k = frequencies(shape, voxel)
    square = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    along = sum(part * axis / length for part, axis in zip(k, direction, strict=True))
    safe = np.where(square > 0, square, 1.0)
    return np.asarray(np.where(square > 0, 1 / 3 - along**2 / safe, 0.0), np.float32)


def frequencies(
    shape: tuple[int, int, int], voxel: tuple[Metre, Metre, Metre]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies [1/m] of a real transform along z, y, x, ready to broadcast."""
    return (
        scipy.fft.fftfreq(shape[0], voxel[0])[:, None, None],
        scipy.fft.fftfreq(shape[1], voxel[1])[None, :, None],
        scipy.fft.rfftfreq(shape[2], voxel[2])[None, None, :],
    )


def padded(shape: tuple[int, int, int], margin: int) -> tuple[int, int, int]:
    """A fast size with at least so many empty voxels, against copies in the periodic transform."""
    z, y, x = (int(scipy.fft.next_fast_len(n + margin, real=True)) for n in shape)
    return z, y, x


def convolved(volume: Volume, transfer: np.ndarray, shape: tuple[int, int, int]) -> Volume:
    """Multiply the transform, on a grid of this size, and return the volume's own part."""
    spectrum = scipy.fft.rfftn(volume, shape)
    spectrum *= transfer
    whole = scipy.fft.irfftn(spectrum, shape, overwrite_x=True)
    return np.asarray(whole[tuple(slice(n) for n in volume.shape)])
