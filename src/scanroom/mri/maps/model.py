"""A map: a quantity in every voxel, how well it is known, and where it is to be trusted."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from scanroom.core.errors import FormatError


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """A quantity in SI units, voxel by voxel.

    ``error`` is its standard error, infinite where it cannot be known; ``residual``, where given,
    the root mean square of what the model leaves of the signal, in the signal's unit. The array is
    finite everywhere; where ``valid`` is false it is not to be trusted.
    """

    name: str
    array: np.ndarray
    unit: str
    valid: Bool[np.ndarray, "..."]
    error: Float[np.ndarray, "..."]
    residual: Float[np.ndarray, "..."] | None = None

    def __post_init__(self) -> None:
        shapes = {self.array.shape, self.valid.shape, self.error.shape}
        if self.residual is not None:
            shapes.add(self.residual.shape)
        if len(shapes) > 1:
            raise FormatError(
                f"map {self.name!r} has parts of shapes {sorted(shapes)}; they must be alike "
                "(scanroom.mri.maps.model). Give each voxel a value, an error and a mark."
            )
        if not np.isfinite(self.array).all():
            raise FormatError(
                f"map {self.name!r} has {int((~np.isfinite(self.array)).sum())} values that are "
                "not finite (scanroom.mri.maps.model). Set them to 0 and mark them not valid."
            )
