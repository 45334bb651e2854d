"""What images are sparse in: penalties whose strength is set by the noise.

A penalty is called as ``penalty(image, strength)`` and gives the proximal map of ``strength`` times
itself. Its unit is learnt from one sample of noise as it stands in the gradient of the data term,
``A^H n``: the standard deviation, per real component, of the least dual field that explains this
noise. For an orthonormal transform these are its coefficients, band by band; for total variation
the field is that of a potential flow whose divergence is the noise. Below about one such unit the
minimum of the data term and the penalty keeps the noise, far above it structure is lost.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import scipy.fft
from jaxtyping import Complex64

from scanroom.core.errors import ProtocolError
from scanroom.operators.fourier import resize
from scanroom.operators.linear import Array, Shape
from scanroom.operators.threads import each
from scanroom.operators.variation import GeneralizedVariation, TotalVariation
from scanroom.operators.wavelets import COARSEST, padded, shrink_groups, wavelet

Images = Complex64[np.ndarray, "frame z y x"]
PENALTIES = ("wavelet", "tv", "tgv")
MEDIAN = float(np.sqrt(2 * np.log(2)))
"""Median magnitude of complex noise with unit deviation of each component (Rayleigh)."""


@runtime_checkable
class Penalty(Protocol):
    """What `compressed_sensing` needs of a penalty."""

    def learn(self, noise: Images) -> None:
        """Set the unit from one sample of the noise in ``A^H n``."""

    def loudness(self, image: Images) -> float:
        """Tell by how much the typical detail of an image is louder than that of the noise."""

    def __call__(self, image: Images, strength: float) -> Images:
        """Apply the proximal map of ``strength`` units."""


def penalty(name: str, shape: Shape, *, seed: int = 0) -> Penalty:
    """Make one of `PENALTIES` for images "frame z y x" of ``shape``.

    Raises
    ------
    ProtocolError
        If there is no such penalty.
    """
    if name == "wavelet":
        return Wavelets(shape, seed=seed)
    if name == "tv":
        return Variation(shape, TotalVariation)
    if name == "tgv":
        return Variation(shape, GeneralizedVariation)
    raise ProtocolError(
        f"penalty is {name!r}; it may be {', '.join(PENALTIES)} (scanroom.mri.recon.sparsity). "
        "Choose one of them."
    )


class Wavelets:
    """Magnitudes of orthonormal wavelet coefficients, grouped over frames.

    The pyramid's origin moves by a random step at every call (R. R. Coifman, D. L. Donoho, 1995,
    doi:10.1007/978-1-4612-2544-7_9; M. A. T. Figueiredo, R. D. Nowak, IEEE Trans. Image Process.
    12, 906 (2003), doi:10.1109/TIP.2003.814255): no block edges are left. ``seed`` fixes the steps.
    """

    def __init__(self, shape: Shape, *, seed: int = 0) -> None:
        self.shape = shape
        self.padded = tuple(padded(n, _depth(n)) for n in shape[1:])
        if not any(_depth(n) for n in shape[1:]):
            raise ProtocolError(
                f"the image has {' x '.join(map(str, shape[1:]))} pixels; wavelets want "
                f"{2 * COARSEST} along an axis at least. Choose penalty 'tv'."
            )
        self.transform = wavelet(self.padded)
        self._random = np.random.default_rng(seed)
        self._unit = np.zeros(0)

    def learn(self, noise: Images) -> None:
        """Deviation of a component of the noise in every band."""
        found = np.stack([self.transform.forward(self._wide(one)) for one in noise])
        self._unit = np.array(
            [
                np.sqrt(np.mean(np.abs(found[(slice(None), *band)]) ** 2) / 2)
                for _, band in self.transform.bands()
            ]
        )

    def loudness(self, image: Images) -> float:
        """Of the finest band that stands out most."""
        found = np.stack([self.transform.forward(self._wide(one)) for one in image])
        return max(
            float(np.median(np.abs(found[(slice(None), *band)])) / (MEDIAN * unit))
            for (level, band), unit in zip(self.transform.bands(), self._unit, strict=True)
            if level == 0 and unit > 0
        )

    def __call__(self, image: Images, strength: float) -> Images:
        """Shrink the coefficients of all frames together, seen from a random origin."""
        steps = self._random.integers(0, [1 << level for level in self.transform.levels])
        shift = (int(steps[0]), int(steps[1]), int(steps[2]))
        # of groups the threshold grows with the deviation of the norm of their noise
        thresholds = self._unit * strength * np.sqrt(len(image))
        if len(image) == 1:
            return self._narrow(self.transform.shrunk(self._wide(image[0]), thresholds, shift))[
                None
            ]
        found = each(lambda i: self.transform.forward(self._wide(image[i]), shift), len(image))
        shrink_groups(self.transform, found, thresholds)
        return np.stack(
            each(lambda i: self._narrow(self.transform.inverse(found[i], shift)), len(found))
        )

    def _wide(self, image: Array) -> Array:
        for axis, n in enumerate(self.padded):
            image = resize(image, n, axis)
        return image

    def _narrow(self, image: Array) -> Array:
        for axis, n in enumerate(self.shape[1:]):
            image = resize(image, n, axis)
        return image


class Variation:
    """Total (generalized) variation of every frame by itself."""

    SHARE = 0.6
    """Unit over the deviation of the dual field, found on `validation/sparse_scenes.py`."""

    def __init__(self, shape: Shape, kind: Callable[[Shape], Callable[[Array, float], Array]]):
        self._maps = [kind(shape[1:]) for _ in range(shape[0])]
        self._axes = tuple(axis for axis in (1, 2, 3) if shape[axis] > 1)
        self._unit = self._step = 0.0

    def learn(self, noise: Images) -> None:
        """Deviation of a component of the least field whose divergence is the noise.

        The field is the gradient of a potential; cosine transforms diagonalise what lies between.
        """
        square = np.zeros((1, 1, 1, 1))
        for axis in self._axes:
            n = noise.shape[axis]
            waves = 2 - 2 * np.cos(np.pi * np.arange(n) / n)
            square = square + waves.reshape([-1 if i == axis else 1 for i in range(4)])
        parts = (noise.real, noise.imag)
        power = sum(
            scipy.fft.dctn(part, axes=self._axes, norm="ortho", workers=1) ** 2 for part in parts
        )
        n_numbers = 2 * len(self._axes) * noise.size
        flow = np.divide(power, square, out=np.zeros_like(power), where=square > 0)
        self._unit = float(np.sqrt(flow.sum() / n_numbers)) * self.SHARE
        self._step = float(np.sqrt((power * square).sum() / n_numbers))

    def loudness(self, image: Images) -> float:
        """Of the differences between neighbours."""
        steps = [np.median(np.abs(np.diff(image, axis=axis))) for axis in self._axes]
        return float(max(steps) / (MEDIAN * self._step))

    def __call__(self, image: Images, strength: float) -> Images:
        """Apply the map frame by frame."""
        return np.stack(each(lambda i: self._maps[i](image[i], strength * self._unit), len(image)))


def _depth(n: int) -> int:
    """Levels that leave `COARSEST` coefficients along an axis of ``n`` pixels."""
    return max(int(np.log2(n / COARSEST)), 0) if n >= COARSEST else 0
