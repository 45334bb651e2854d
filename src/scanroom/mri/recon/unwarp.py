"""Images put straight: what gradients that bend far from the centre did to place and brightness.

A gradient coil's field leaves the straight line away from the centre. Where the field of the three
is that of another place, the voxel is drawn there, and it is as much brighter as space is drawn
together. The true image at r is that drawn at ``apparent(r)``, times the Jacobian determinant of
``apparent``.

References ---------- A. Janke, H. Zhao, G. J. Cowin, G. J. Galloway, D. M. Doddrell, Magn. Reson.
Med. 52, 115 (2004), doi:10.1002/mrm.20122. J. Jovicich et al., NeuroImage 30, 436 (2006),
doi:10.1016/j.neuroimage.2005.09.046.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from scipy.ndimage import map_coordinates
from scipy.special import lpmv

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Metre

Points = Float[np.ndarray, "point 3"]
Apparent = Callable[[Points], Points]
"""From where a point is to where it seems to be [m], scanner's axes:
`scanroom.physics.gradient_fields.bent` with its coils, or `Harmonics`.
"""
_STEP: Metre = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Harmonics:
    """Fields of the gradient coils as solid harmonics.

    A coil adds to its own coordinate ``radius (r / radius)^n P_nm(cos theta) (cosine[coil, n, m]
    cos m phi + sine[coil, n, m] sin m phi)``, P_nm the associated Legendre function, for m > 0
    times ``(-1)^m sqrt((2 n + 1) (n - m)! / (2 (n + m)!))``. The straight field itself (n = 1) is
    not stated.
    """

    radius: Metre
    cosine: Float[np.ndarray, "3 order order"]
    sine: Float[np.ndarray, "3 order order"]

    def __call__(self, position: Points) -> Points:
        """Where points seem to lie."""
        x, y, z = position.T
        r = np.sqrt((position**2).sum(axis=1))
        upright = np.divide(z, r, out=np.zeros_like(r), where=r > 0)
        around = np.arctan2(y, x)
        seen = position.copy()
        for n in range(self.cosine.shape[1]):
            for m in range(n + 1):
                coils = self.cosine[:, n, m], self.sine[:, n, m]
                if not (coils[0].any() or coils[1].any()):
                    continue
                height = _scale(n, m) * lpmv(m, n, upright) * self.radius * (r / self.radius) ** n
                seen += (height * np.cos(m * around))[:, None] * coils[0]
                seen += (height * np.sin(m * around))[:, None] * coils[1]
        return seen


def _scale(n: int, m: int) -> float:
    if m == 0:
        return 1.0
    share = 1.0
    for factor in range(n - m + 1, n + m + 1):
        share /= factor
    return float((-1) ** m * np.sqrt((2 * n + 1) / 2 * share))


def unwarp(
    image: Shaped[np.ndarray, "z y x"],
    affine: Float[np.ndarray, "4 4"],
    apparent: Apparent,
    *,
    intensity: bool = True,
    through_plane: bool = True,
) -> Shaped[np.ndarray, "z y x"]:
    """Draw an image, real or complex, where its voxels truly are, by cubic splines.

    ``affine`` takes voxel indices (x, y, z) to scanner metres. Without ``through_plane`` (thick
    slices with gaps) voxels stay in their slice and brightness changes by the two axes of the plane
    only. What was drawn outside the field of view is 0.

    Raises
    ------
    ProtocolError
        If the affine holds no volume.
    """
    if not (np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 0):
        raise ProtocolError(
            "the affine has no inverse; it must take voxel indices to metres along three axes "
            "(scanroom.mri.recon.unwarp). Give the one of the image."
        )
    single = image.shape[0] == 1 or not through_plane
    back = np.linalg.inv(affine[:3, :3])
    straight = np.empty_like(image)
    for z in range(len(image)):
        y, x = np.meshgrid(*(np.arange(n) for n in image.shape[1:]), indexing="ij")
        index = np.stack([x.ravel(), y.ravel(), np.full(x.size, z)], axis=1).astype(float)
        place = index @ affine[:3, :3].T + affine[:3, 3]
        drawn = (apparent(place) - affine[:3, 3]) @ back.T
        plane = _sampled(image, drawn, z if single else None)
        if intensity:
            plane *= _stretch(place, apparent, affine, in_plane=single)
        straight[z] = plane.reshape(image.shape[1:])
    return straight


def _sampled(image: np.ndarray, drawn: Points, stay: int | None) -> np.ndarray:
    """Values between voxels; ``drawn`` in voxels x, y, z."""
    if stay is None:
        return _splined(image, drawn[:, ::-1].T)
    return _splined(image[stay], drawn[:, 1::-1].T)


def _splined(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    if np.iscomplexobj(image):
        return _splined(image.real, at) + 1j * _splined(image.imag, at)
    values: np.ndarray = map_coordinates(image, at, order=3, mode="grid-constant")
    return values


def _stretch(
    place: Points, apparent: Apparent, affine: np.ndarray, *, in_plane: bool
) -> Float[np.ndarray, " point"]:
    """How much space is drawn apart: along all axes, or the two of the plane."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    slopes = [
        (apparent(place + _STEP * axis) - apparent(place - _STEP * axis)) / (2 * _STEP)
        for axis in axes.T
    ]
    jacobian = np.linalg.inv(axes) @ np.stack(slopes, axis=2)
    if in_plane:
        jacobian = jacobian[:, :2, :2]
    determinant: np.ndarray = np.abs(np.linalg.det(jacobian))
    return determinant
