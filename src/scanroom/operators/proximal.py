"""Proximal maps: ``map(x, step)`` minimises ``|z - x|^2 / 2 + step * g(z)`` over ``z``.

Each function here makes such a map for one ``g``. N. Parikh, S. Boyd, Found. Trends Optim. 1, 127
(2014), doi:10.1561/2400000003.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from scanroom.operators.linear import Array

Proximal = Callable[[Array, float], Array]


def soft(strength: float | Float[Array, "..."]) -> Proximal:
    """``g = sum(strength * |z|)``: magnitudes shrink by the threshold, phases stay."""

    def shrink(x: Array, step: float) -> Array:
        return _shrunk(x, np.abs(x), np.asarray(step * strength))

    return shrink


def group_soft(strength: float, axes: int | tuple[int, ...] = 0) -> Proximal:
    """``g = strength * sum(norms along axes)``: what shares a place shrinks together."""

    def shrink(x: Array, step: float) -> Array:
        power: Array = x.real**2 + x.imag**2
        size = np.sqrt(power.sum(axis=axes, keepdims=True))
        return _shrunk(x, size, np.asarray(step * strength))

    return shrink


def ball(radius: float, axes: int | tuple[int, ...] = 0) -> Proximal:
    """``g`` is zero where norms along ``axes`` stay within ``radius``, infinite elsewhere."""

    def project(x: Array, _step: float) -> Array:
        power: Array = x.real**2 + x.imag**2
        size = np.sqrt(power.sum(axis=axes, keepdims=True))
        inside: Array = x / np.maximum(size / x.real.dtype.type(radius), 1)
        return inside

    return project


def data_ball(centre: Array, radius: float) -> Proximal:
    """``g`` is zero within ``radius`` of ``centre``, infinite elsewhere."""

    def project(x: Array, _step: float) -> Array:
        away = x - centre
        size = float(np.linalg.norm(away))
        inside: Array = x if size <= radius else centre + away * x.real.dtype.type(radius / size)
        return inside

    return project


def singular_soft(strength: float) -> Proximal:
    """``g = strength * sum(singular values)`` of matrices in the last two axes.

    By the eigenvectors of the smaller Gram matrix, which is far cheaper than the singular value
    decomposition of a tall matrix. J.-F. Cai, E. J. Candes, Z. Shen, SIAM J. Optim. 20, 1956
    (2010), doi:10.1137/080738970.
    """

    def shrink(x: Array, step: float) -> Array:
        tall = x.shape[-2] >= x.shape[-1]
        other = x.conj().swapaxes(-1, -2)
        power, vectors = np.linalg.eigh(other @ x if tall else x @ other)
        size = np.sqrt(np.maximum(power, 0))
        threshold = step * strength
        with np.errstate(divide="ignore", invalid="ignore"):
            keep = np.where(size > threshold, 1 - threshold / size, 0).astype(x.real.dtype)
        kept = (vectors * keep[..., None, :]) @ vectors.conj().swapaxes(-1, -2)
        shrunk: Array = x @ kept if tall else kept @ x
        return shrunk

    return shrink


def conjugate(proximal: Proximal) -> Proximal:
    """Proximal map of the convex conjugate, by Moreau's identity.

    J. J. Moreau, Bull. Soc. Math. France 93, 273 (1965), doi:10.24033/bsmf.1625.
    """

    def other(x: Array, step: float) -> Array:
        factor = x.real.dtype.type(step)
        result: Array = x - factor * proximal(x / factor, 1 / step)
        return result

    return other


def _shrunk(x: Array, size: Array, threshold: Array) -> Array:
    threshold = threshold.astype(x.real.dtype)
    keep = np.maximum(size - threshold, 0) / np.where(size > 0, size, 1)
    result: Array = x * keep
    return result
