"""Which places were measured, and how much each counts."""

import numpy as np
from jaxtyping import Shaped

from scanroom.operators.linear import Array, Linear, Shape


def weighted(weight: Shaped[Array, "..."], shape: Shape) -> Linear:
    """Multiply by real weights that broadcast to ``shape``; its own adjoint.

    Weights of one and zero choose what was measured.
    """

    def apply(samples: Array) -> Array:
        heavy: Array = samples * np.asarray(weight, dtype=samples.real.dtype)
        return heavy

    return Linear(apply, apply, shape, shape)
