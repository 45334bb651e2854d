"""Sixteen-bit numbers with an exact scale: the same values in every file of one image."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Integer

from scanroom.core.errors import FormatError
from scanroom.core.result import Result

LARGEST = 2**15 - 1
"""Largest stored number. Every reader holds it, whether it takes 16 bits as signed or not."""
DEEPEST = -100
"""Smallest exponent of the scale: far from the subnormal numbers of single precision."""
SHINING, HEADROOM, SPAN = 0.1, 1.15, 2.2
"""Share of the bright voxels above which a voxel belongs to the object; room above the object;
white is no more than so many times the middle of the object."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """``stored * slope`` is the image. The slope is a power of two, so the product is exact."""

    stored: Integer[np.ndarray, "*axes"]
    slope: float

    @property
    def values(self) -> Float32[np.ndarray, "*axes"]:
        """The numbers that stand for the image."""
        return np.asarray(self.stored.astype(np.float32) * np.float32(self.slope))

    @property
    def window(self) -> tuple[float, float]:
        """Stored numbers to show as black and white, symmetric if any is negative.

        What shines is taken as the object; a twentieth of it, fat or skin beside a coil as a
        rule, may be brighter than white; and where that still leaves most of it dark, more of it.
        """
        size = np.abs(self.stored.astype(np.float32))
        shining = size[size > SHINING * np.percentile(size, 99.5)] if size.size else size
        high = 1.0
        if shining.size:
            middle, bright = np.percentile(shining, [50, 95]).tolist()
            high = min(bright * HEADROOM, middle * SPAN)
        return (-high if self.stored.min(initial=0) < 0 else 0.0), max(high, 1.0)


def quantise(array: np.ndarray) -> Quantised:
    """Round to steps of a power of two, at most 2^-14 of the largest value.

    Images that are nowhere negative become unsigned. What is already quantised stays the same.

    Raises
    ------
    FormatError
        If a value is not finite, not real, or beyond single precision.
    """
    if np.iscomplexobj(array):
        raise FormatError(
            "the image is complex; a stored picture is real (DICOM PS3.3 C.7.6.3). "
            "Take its magnitude or phase."
        )
    if not np.isfinite(array).all():
        n_bad = int(array.size - np.isfinite(array).sum())
        raise FormatError(
            f"the image holds {n_bad} values that are not finite; stored pixels are integers "
            "(DICOM PS3.3 C.7.6.3). Replace them, by 0 say."
        )
    peak = float(np.abs(array).max(initial=0))
    if peak > float(np.finfo(np.float32).max):
        raise FormatError(
            f"the image reaches {peak:.3g}; single precision ends at 3.4e38 (IEEE 754). "
            "Use a larger unit."
        )
    exponent = max(math.frexp(peak / LARGEST)[1], DEEPEST) if peak > 0 else 0
    if peak / LARGEST <= math.ldexp(1.0, exponent - 1) and exponent > DEEPEST:
        exponent -= 1
    slope = math.ldexp(1.0, exponent)
    kind = np.int16 if array.min(initial=0) < 0 else np.uint16
    return Quantised(np.rint(array / slope).astype(kind), slope)


def quantised(result: Result) -> Result:
    """Round an image to the numbers that its files will hold."""
    return replace(result, array=quantise(result.array).values)
