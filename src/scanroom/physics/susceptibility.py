"""The static field a magnetisable subject makes, and the shim that takes its smooth part away."""

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy import fft

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Metre

# chi of the air around a subject at 20 degrees C: J. F. Schenck, Med. Phys. 23, 815 (1996),
# doi:10.1118/1.597854.
AIR = 0.36e-6
MAX_SHIM_ORDER = 2


def dipole_field(
    susceptibility: Float[np.ndarray, "x y z"],
    voxel: tuple[Metre, Metre, Metre],
    *,
    direction: tuple[float, float, float] = (0.0, 0.0, 1.0),
    background: float = AIR,
    padding: float = 2.0,
) -> Float32[np.ndarray, "x y z"]:
    """Relative field change ``dB/B0`` seen by protons, to first order in ``susceptibility``.

    The convolution with the dipole field of a small sphere, ``1/3 - cos^2`` in k-space, which
    includes the sphere of Lorentz; ``direction`` is that of B0 in the grid's own axes. The subject
    stands in an endless ``background``; ``padding`` is the edge of the empty box around it over
    the edge of the map, against copies of the subject in the periodic transform.

    Raises
    ------
    ProtocolError
        If the padding is below 1, the direction has no length, or a value is not finite.

    References
    ----------
    R. Salomir, B. D. de Senneville, C. T. W. Moonen, Concepts Magn. Reson. 19B, 26 (2003),
    doi:10.1002/cmr.b.10083; J. P. Marques, R. Bowtell, Concepts Magn. Reson. 25B, 65 (2005),
    doi:10.1002/cmr.b.20034.
    """
    axis = np.asarray(direction, np.float64)
    if not padding >= 1 or not np.linalg.norm(axis) > 0:
        raise ProtocolError(
            f"padding is {padding:.3g} and the field points along {direction}; padding is at least "
            "1 and the direction has a length (Marques and Bowtell 2005). Correct the value."
        )
    axis = axis / np.linalg.norm(axis)
    shape = tuple(
        fft.next_fast_len(int(np.ceil(padding * n)), real=True) for n in susceptibility.shape
    )
    change = (susceptibility - background).astype(np.float32)
    if not np.isfinite(change).all():
        raise ProtocolError(
            f"{int((~np.isfinite(change)).sum())} values of the susceptibility are not finite; "
            "each is a ratio like -9e-6 (scanroom.subject.model.PROPERTIES). Correct the subject."
        )
    spectrum = fft.rfftn(change, shape)
    k = (
        fft.fftfreq(shape[0], voxel[0]),
        fft.fftfreq(shape[1], voxel[1]),
        fft.rfftfreq(shape[2], voxel[2]),
    )
    for i in range(shape[0]):  # plane by plane: memory stays at one cube
        spectrum[i] *= _kernel((k[0][i : i + 1], k[1], k[2]), voxel, axis)
    field = fft.irfftn(spectrum, shape, overwrite_x=True)
    crop = tuple(slice(n) for n in susceptibility.shape)
    return np.ascontiguousarray(field[crop], np.float32)


def _kernel(
    k: tuple[Float[np.ndarray, " kx"], Float[np.ndarray, " ky"], Float[np.ndarray, " kz"]],
    voxel: tuple[Metre, Metre, Metre],
    axis: Float[np.ndarray, " 3"],
) -> Float32[np.ndarray, "ky kz"]:
    """``1/3 - cos^2`` on one plane of k-space; 0 at its centre, where the box's shape decides.

    Where two axes mix, the kernel would jump at the highest frequency, which stands for both its
    signs; a smooth fall to zero there, ``1 - (k / k_max)^4``, takes the ringing of an oblique
    field from 3 % of chi to 0.2 %.
    """
    shapes = ((-1, 1), (-1, 1), (1, -1))
    square = along = rest = np.zeros((1, 1))
    for values, size, weight, shape in zip(k, voxel, axis, shapes, strict=True):
        tapered = values * (1 - (2 * size * values) ** 4)
        square = square + (values**2).reshape(shape)
        along = along + (weight * tapered).reshape(shape)
        rest = rest + (weight**2 * (values**2 - tapered**2)).reshape(shape)
    cosine = (along**2 + rest) / np.where(square > 0, square, 1)
    return np.where(square > 0, 1 / 3 - cosine, 0).astype(np.float32)


def solid_harmonics(
    points: Float[np.ndarray, "point axis"], *, order: int = MAX_SHIM_ORDER
) -> Float[np.ndarray, "point term"]:
    """Real solid harmonics, the fields shim coils make: 1; x y z; xy zy z2 zx x2-y2.

    ``z2`` is ``z^2 - (x^2 + y^2) / 2``. Unnormalised, so that a coefficient is in field units per
    metre to the power of its order.

    Raises
    ------
    ProtocolError
        If the order is not 0, 1 or 2.

    References
    ----------
    F. Romeo, D. I. Hoult, Magn. Reson. Med. 1, 44 (1984), doi:10.1002/mrm.1910010107.
    """
    if order not in range(MAX_SHIM_ORDER + 1):
        raise ProtocolError(
            f"shim order is {order}; it may be 0, 1 or {MAX_SHIM_ORDER} "
            "(the coils of a clinical scanner). Choose one of them."
        )
    x, y, z = points.T
    terms = [np.ones_like(x), x, y, z]
    terms += [x * y, z * y, z**2 - (x**2 + y**2) / 2, z * x, x**2 - y**2]
    return np.stack(terms[: (order + 1) ** 2], axis=1)


def shim(
    field: Float[np.ndarray, " point"],
    points: Float[np.ndarray, "point axis"],
    *,
    inside: Bool[np.ndarray, " point"],
    order: int = MAX_SHIM_ORDER,
) -> Float[np.ndarray, " term"]:
    """Shim currents, as coefficients of `solid_harmonics`, that cancel most of ``field`` inside.

    Least squares over the points marked ``inside``; add ``solid_harmonics(points) @ shim`` to the
    field to play them. What remains is what no coil of this order can take away.

    Raises
    ------
    ProtocolError
        If fewer points are inside than there are terms.
    """
    n_terms = (order + 1) ** 2
    if inside.sum() < n_terms:
        raise ProtocolError(
            f"{int(inside.sum())} points lie inside the shim volume; order {order} has {n_terms} "
            "terms and needs at least as many points. Enlarge the volume or lower the order."
        )
    basis = solid_harmonics(points[inside], order=order)
    scale = np.abs(basis).max(axis=0)
    scale[scale == 0] = 1.0
    solution = np.linalg.lstsq(basis / scale, field[inside].astype(np.float64), rcond=None)[0]
    return np.asarray(-solution / scale)
