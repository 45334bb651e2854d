"""Trajectories made sharp where the field is uneven: by a map, or by what blur they have."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Complex64, Float
from scipy.ndimage import map_coordinates

from scanroom.core.errors import FormatError, ProtocolError
from scanroom.core.result import Result
from scanroom.core.units import Hertz, Ratio
from scanroom.formats.nifti import read_nifti
from scanroom.mri.raw.encoding import Encoding
from scanroom.mri.recon.autofocus import autofocus
from scanroom.mri.recon.geometry import Axes, directions_of
from scanroom.mri.recon.noncartesian import centre_maps, sensed, solved
from scanroom.mri.recon.off_resonance import off_resonance
from scanroom.operators.nufft import density

BY_ITSELF = "autofocus"
REACH: Ratio = 1.5e-6
"""Off-resonance that autofocus looks for, either way: what shimming leaves in a head, with room."""
N_ITERATIONS = 10
_PER_TURN = 6
"""Frequencies tried for each turn that the longest readout could make."""
_MOST_TRIED = 200
_HERE = "scanroom.mri.recon.focus"


def focused(
    signal: Complex64[np.ndarray, "coil sample"],
    place: Float[np.ndarray, "sample axis"],
    time: Float[np.ndarray, " sample"],
    shape: tuple[int, ...],
    field: Float[np.ndarray, "z y x"] | Hertz,
) -> tuple[Complex64[np.ndarray, "z y x"], str]:
    """Image of samples at ``time`` [s] in a field [Hz], and what to say of it.

    A number for ``field`` lets autofocus look so far either way.

    Raises
    ------
    ProtocolError
        If so many frequencies would have to be tried that it would take for ever.
    """
    flat = len(shape) == 2
    whole = (1, *shape) if flat else shape
    received = signal[:, None] if flat else signal
    maps = centre_maps(received, place, whole)
    weight = density(place, shape)
    if isinstance(field, float):
        tries = _tried(field, float(np.ptp(time)))
        found, image = autofocus(received, place, time, maps, tries, weight=weight)
        bright = np.abs(image) > 0.1 * np.abs(image).max()
        low, middle, high = np.percentile(found[bright], (2, 50, 98))
        said = f"sharpened by autofocus, field of {low:.0f} to {high:.0f}, median {middle:.0f} Hz"
        return image.astype(np.complex64), f"{said}; not in units of noise"
    encode = sensed(off_resonance(place, time, field[0] if flat else field, weight=weight), maps)
    root = np.sqrt(weight).astype(np.float32)
    image = solved(encode, received * root, n_iterations=N_ITERATIONS)
    said = f"solved with a field map from {field.min():.0f} to {field.max():.0f} Hz"
    return image.astype(np.complex64), f"{said}; not in units of noise"


def _tried(reach: Hertz, span: float) -> Float[np.ndarray, " try"]:
    n = 2 * int(np.ceil(reach * max(span, 1e-4) * _PER_TURN)) + 3
    if n > _MOST_TRIED:
        raise ProtocolError(
            f"autofocus would try {n} frequencies, up to {reach:.0f} Hz for readouts of "
            f"{span * 1e3:.0f} ms; up to {_MOST_TRIED} ({_HERE}). Give a field map instead."
        )
    return np.linspace(-reach, reach, n)


@lru_cache(maxsize=2)
def read_field(path: str) -> Result:
    """Read a field map [Hz].

    Raises
    ------
    FormatError
        If the file holds no finite volume.
    """
    held = read_nifti(Path(path))
    if held.array.ndim != 3 or np.iscomplexobj(held.array) or not np.isfinite(held.array).all():
        raise FormatError(
            f"{path} holds an array {held.array.shape}; a field map is one finite volume in Hz "
            f"({_HERE}). Take that of 'scanroom mri map b0', or another one."
        )
    return held


def field_of(
    path: str, encoding: Encoding, window: int, axes: Axes, shape: tuple[int, ...]
) -> Float[np.ndarray, "z y x"]:
    """Field map [Hz] of a NIfTI file at the pixels of a slice (or slab) on its grid.

    Pixels outside the map get the value at its edge.

    Raises
    ------
    FormatError
        If the file holds no volume.
    """
    held = read_field(path)
    whole = ((1,) * (3 - len(shape)) + shape)[-3:]
    columns = directions_of(encoding, window) * [axis.pixel for axis in axes]
    grids = [np.arange(n) - n // 2 for n in whole]
    if whole[0] == 1:
        grids[0] = np.zeros(1, int)
    z, y, x = np.meshgrid(*grids, indexing="ij")
    place = np.stack([x, y, z], axis=-1) @ columns.T + encoding.position[window]
    back = np.linalg.inv(held.affine)
    voxel = place @ back[:3, :3].T + back[:3, 3]
    at = voxel[..., ::-1].reshape(-1, 3).T
    found: np.ndarray = map_coordinates(
        held.array.astype(np.float64), at, order=1, mode="nearest"
    ).reshape(whole)
    return found
