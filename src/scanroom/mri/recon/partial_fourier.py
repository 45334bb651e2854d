"""What half a k-space says about the other half, when the phase of the image is smooth.

Three answers: leave it zero; homodyne detection (Noll, Nishimura, Macovski, IEEE Trans. Med.
Imaging 10, 154 (1991), doi:10.1109/42.79473); projection onto convex sets (Haacke, Lindskog, Lin,
J. Magn. Reson. 92, 126 (1991), doi:10.1016/0022-2364(91)90253-P).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.fft
from jaxtyping import Complex64, Float

from scanroom.core.choice import one_of
from scanroom.operators.fourier import WORKERS, to_image, to_kspace

METHODS = ("pocs", "homodyne", "zero-fill")
N_ITERATIONS = 20
CONVERGED = 1e-3
"""Relative change of the image at which projections stop."""
_EDGE = 4
"""Points over which measured and projected data are blended."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Points ``first`` to ``last`` of a k-space axis were measured, counted from its centre."""

    first: int
    last: int

    @property
    def symmetric(self) -> int:
        """Points either side of the centre that have their mirror image measured."""
        return max(0, min(-self.first, self.last))

    @property
    def reach(self) -> int:
        """Farthest point measured."""
        return max(-self.first, self.last)

    @property
    def is_partial(self) -> bool:
        """More of one side missing than rounding, and enough of it there to know the phase."""
        return self.reach - self.symmetric > max(2, 0.02 * self.reach) and self.symmetric >= 2


def checked(method: str) -> str:
    """Return the name of a method.

    Raises
    ------
    ProtocolError
        If there is no such method; the text lists them.
    """
    source = "scanroom.mri.recon.partial_fourier"
    return one_of("partial Fourier method", method, METHODS, source)


def complete(
    images: Complex64[np.ndarray, "..."], coverage: Mapping[int, Coverage], method: str
) -> Complex64[np.ndarray, "..."]:
    """Fill in what partial Fourier left out along the axes named; the images are zero-filled.

    Homodyne works along one axis, that which misses most; the others stay zero-filled.
    """
    partial = {axis: seen for axis, seen in coverage.items() if seen.is_partial}
    if not partial or method == "zero-fill":
        return images
    if method == "homodyne":
        axis = homodyne_axis(partial)
        return homodyne(images, axis, partial[axis])
    return pocs(images, partial)


def homodyne_axis(partial: Mapping[int, Coverage]) -> int:
    """Choose the axis that misses most."""
    return max(partial, key=lambda axis: 1 - partial[axis].symmetric / partial[axis].reach)


def noise_gain(seen: Coverage, method: str) -> float:
    """Noise power in phase with the image over that of zero filling.

    A point whose mirror image is missing counts twice in amplitude.
    """
    if method == "zero-fill" or not seen.is_partial:
        return 1.0
    weight = _homodyne_weight(np.arange(seen.first, seen.last + 1), seen)
    if method == "pocs":
        weight = np.where(np.arange(seen.first, seen.last + 1).__abs__() > seen.symmetric, 2.0, 1.0)
    return float((weight**2).mean())


def _points(n: int) -> np.ndarray:
    return np.arange(n) - n // 2


def _along(values: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """Make a vector broadcast along one axis of an array."""
    return values.reshape([-1 if i == axis % ndim else 1 for i in range(ndim)])


def _low_pass(points: np.ndarray, seen: Coverage) -> np.ndarray:
    """Hann window over the symmetric part."""
    radius = np.clip(np.abs(points) / (seen.symmetric + 1), 0, 1)
    window: np.ndarray = 0.5 + 0.5 * np.cos(np.pi * radius)
    return window


def _homodyne_weight(points: np.ndarray, seen: Coverage) -> np.ndarray:
    """0 where nothing was measured, 2 where the mirror image is missing, a ramp between."""
    rising = points if seen.last >= -seen.first else -points
    return np.clip(1 + rising / (seen.symmetric + 1), 0, 2)


def _unit_phase(images: np.ndarray) -> np.ndarray:
    size = np.abs(images)
    return np.where(size > 0, images / np.where(size > 0, size, 1), 1).astype(images.dtype)


def homodyne(
    images: Complex64[np.ndarray, "..."], axis: int, seen: Coverage
) -> Complex64[np.ndarray, "..."]:
    """Weigh k-space to be Hermitian, take what is in phase with the low-resolution image."""
    points = _points(images.shape[axis])
    kspace = to_kspace(images, (axis,))
    guide = _guide(kspace, {axis: seen})
    weight = _along(_homodyne_weight(points, seen).astype(np.float32), axis, images.ndim)
    detected = to_image(kspace * weight, (axis,))
    image: np.ndarray = (detected * guide.conj()).real * guide
    return image


def _guide(kspace: np.ndarray, coverage: Mapping[int, Coverage]) -> np.ndarray:
    """Phase of the image that the symmetric part of k-space alone makes."""
    low = kspace
    for axis, seen in coverage.items():
        window = _low_pass(_points(kspace.shape[axis]), seen)
        low = low * _along(window.astype(np.float32), axis, kspace.ndim)
    return _unit_phase(to_image(low, tuple(coverage)))


def pocs(
    images: Complex64[np.ndarray, "..."],
    coverage: Mapping[int, Coverage],
    *,
    n_iterations: int = N_ITERATIONS,
) -> Complex64[np.ndarray, "..."]:
    """Alternate between the known phase and the measured data until the image stays."""
    axes = tuple(coverage)
    measured = to_kspace(images, axes)
    guide = np.fft.ifftshift(_guide(measured, coverage), axes)
    trust, support = _masks(images.shape, coverage)
    trust, support = np.fft.ifftshift(trust, axes), np.fft.ifftshift(support, axes)
    data = np.fft.ifftshift(measured, axes) * trust
    rest = (1 - trust) * support
    image = np.fft.ifftshift(images, axes)
    for _ in range(n_iterations):
        projected = np.abs(image) * guide
        kspace = scipy.fft.fftn(projected, axes=axes, norm="ortho", workers=WORKERS)
        kspace = kspace * rest + data
        fresh = scipy.fft.ifftn(kspace, axes=axes, norm="ortho", workers=WORKERS, overwrite_x=True)
        change = float(np.linalg.norm(fresh - image))
        image = fresh
        if change <= CONVERGED * float(np.linalg.norm(image)):
            break
    return np.fft.fftshift(image, axes)


def _masks(
    shape: tuple[int, ...], coverage: Mapping[int, Coverage]
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """How far measured data are trusted (soft towards what is missing), and what may be filled."""
    trust: np.ndarray = np.ones([1] * len(shape), dtype=np.float32)
    support: np.ndarray = np.ones([1] * len(shape), dtype=np.float32)
    for axis, seen in coverage.items():
        points = _points(shape[axis])
        inner = np.minimum(points - seen.first, seen.last - points) + 1
        short_side = points < 0 if seen.last >= -seen.first else points > 0
        edge = min(_EDGE, seen.symmetric)
        soft = np.clip(inner / edge, 0, 1) if edge else (inner > 0) * 1.0
        one = np.where(short_side, soft, inner > 0).astype(np.float32)
        trust = trust * _along(one, axis, len(shape))
        filled = (np.abs(points) <= seen.reach).astype(np.float32)
        support = support * _along(filled, axis, len(shape))
    return trust, support


def scaled(first: float, last: float, ratio: float) -> Coverage:
    """Coverage on a grid ``ratio`` times as fine, rounded inwards."""
    return Coverage(int(np.ceil(first * ratio - 0.5)), int(np.floor(last * ratio + 0.5)))
