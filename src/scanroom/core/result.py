"""What a measurement leaves behind: numbers that know where they lie, their unit and their past."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from scanroom.core.errors import FormatError


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """An image or map with axes, unit and provenance.

    ``axes`` names the axes of ``array``, slowest first, for instance ``("z", "y", "x")``.
    ``affine`` takes the voxel index ``(x, y, z, 1)``, voxel centres at integers, to scanner
    coordinates RAS+ in metres. ``provenance`` holds what is needed to make the array
    again: protocol, drive digest,
    calibrations, software.
    """

    name: str
    array: np.ndarray
    axes: tuple[str, ...]
    affine: Float[np.ndarray, "4 4"]
    unit: str
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.axes) != self.array.ndim:
            raise FormatError(
                f"result {self.name!r} has {self.array.ndim} axes but {len(self.axes)} names "
                f"{self.axes}; each axis needs one name."
            )
