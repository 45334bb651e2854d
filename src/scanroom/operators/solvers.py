"""Solvers of linear problems."""

from collections.abc import Callable

import numpy as np

from scanroom.operators.linear import Array


def conjugate_gradients(
    normal: Callable[[Array], Array],
    right: Array,
    *,
    n_iterations: int,
    tolerance: float = 1e-4,
) -> Array:
    """Solve ``normal x = right`` for a Hermitian positive map, from zero.

    Stops early when the residual has fallen to ``tolerance`` of ``right``.

    References
    ----------
    M. R. Hestenes, E. Stiefel, J. Res. Natl. Bur. Stand. 49, 409 (1952),
    doi:10.6028/jres.049.044.
    """
    x = np.zeros_like(right)
    residual = right.copy()
    direction = right.copy()
    power = float(np.vdot(residual, residual).real)
    goal = power * tolerance**2
    for _ in range(n_iterations):
        if power <= goal:
            break
        image = normal(direction)
        step = right.real.dtype.type(power / float(np.vdot(direction, image).real))
        x += step * direction
        residual -= step * image
        before, power = power, float(np.vdot(residual, residual).real)
        direction = residual + right.real.dtype.type(power / before) * direction
    return x
