"""Differences of neighbours, and what total variation needs of them.

A difference beyond the last pixel is zero. Vectors carry their direction in the first axis, in the
order of ``axes``; symmetric tensors their pairs of directions, those on the diagonal first.
"""

import itertools
from typing import Any

import numpy as np

from scanroom.operators.linear import Array, Linear, Shape

Axes = tuple[int, ...]


def gradient(shape: Shape, axes: Axes = (-2, -1)) -> Linear:
    """Differences to the next pixel along each of ``axes``; the norm is below ``2 sqrt(axes)``."""
    return Linear(
        forward=lambda x: np.stack([_ahead(x, axis) for axis in axes]),
        adjoint=lambda p: sum(
            (_ahead_adjoint(part, axis) for part, axis in zip(p, axes, strict=True)),
            start=np.zeros_like(p[0]),
        ),
        domain=shape,
        codomain=(len(axes), *shape),
    )


def symmetrised(shape: Shape, axes: Axes = (-2, -1)) -> Linear:
    """Symmetrised derivative of a vector field, by differences to the pixel before.

    Off the diagonal tensors are stored once, times ``sqrt(2)``: norms are those of the full tensor.
    The first difference of an axis is zero. K. Bredies, K. Kunisch, T. Pock, SIAM J. Imaging Sci.
    3, 492 (2010), doi:10.1137/090769521.
    """
    pairs = tuple(itertools.combinations(range(len(axes)), 2))
    n = len(axes)

    def forward(v: Array) -> Array:
        half = v.real.dtype.type(np.sqrt(0.5))
        diagonal = [_behind(v[i], axes[i]) for i in range(n)]
        mixed = [half * (_behind(v[i], axes[j]) + _behind(v[j], axes[i])) for i, j in pairs]
        return np.stack(diagonal + mixed)

    def adjoint(q: Array) -> Array:
        half = q.real.dtype.type(np.sqrt(0.5))
        v = np.stack([_behind_adjoint(q[i], axes[i]) for i in range(n)])
        for number, (i, j) in enumerate(pairs, start=n):
            v[i] += half * _behind_adjoint(q[number], axes[j])
            v[j] += half * _behind_adjoint(q[number], axes[i])
        return v

    return Linear(forward, adjoint, (n, *shape), (n + len(pairs), *shape))


def _cut(axis: int, begin: int | None, end: int | None) -> Any:
    """Slices of one axis counted from the end."""
    return (..., slice(begin, end), *(slice(None),) * (-1 - axis))


def _ahead(x: Array, axis: int) -> Array:
    result = np.zeros_like(x)
    later, earlier = _cut(axis, 1, None), _cut(axis, None, -1)
    np.subtract(x[later], x[earlier], out=result[earlier])
    return result


def _ahead_adjoint(p: Array, axis: int) -> Array:
    result = np.zeros_like(p)
    later, earlier = _cut(axis, 1, None), _cut(axis, None, -1)
    result[later] += p[earlier]
    result[earlier] -= p[earlier]
    return result


def _behind(x: Array, axis: int) -> Array:
    result = np.zeros_like(x)
    later, earlier = _cut(axis, 1, None), _cut(axis, None, -1)
    np.subtract(x[later], x[earlier], out=result[later])
    return result


def _behind_adjoint(q: Array, axis: int) -> Array:
    result = np.zeros_like(q)
    later, earlier = _cut(axis, 1, None), _cut(axis, None, -1)
    result[later] += q[later]
    result[earlier] -= q[later]
    return result
