"""How strongly a semi-solid absorbs off its resonance: the super-Lorentzian line.

With x = 2 pi offset T2 the line is T2 G(x), G(x) = sqrt(2 / pi) times the integral over u from 0 to
1 of exp(-2 x^2 / v^2) / |v|, v = 3 u^2 - 1. It grows without bound at its centre, as the logarithm;
within `CENTRE` of it the line is a parabola with the value and the slope it has there, the usual
remedy (M. Gloor et al. 2008).

References
----------
C. Morrison, R. M. Henkelman, Magn. Reson. Med. 33, 475 (1995), doi:10.1002/mrm.1910330404;
M. Gloor, K. Scheffler, O. Bieri, Magn. Reson. Med. 60, 691 (2008), doi:10.1002/mrm.21705.
"""

import functools
import math
from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from scanroom.core.units import Hertz, Second

CENTRE: Hertz = 1.5e3
"""Offset below which the line is continued by a parabola."""
# Nodes, even in the logarithm of x: Hermite's cubics between them err by less than 1e-6.
_LEAST, _MOST, _NODES = 1e-3, 20.0, 640
_STEP = math.log(_MOST / _LEAST) / (_NODES - 1)
# The integrand has fallen to exp(-72) of its largest where it is cut.
_FALLEN = 72.0
_ORDER = 200


@functools.cache
def line_table() -> Float[np.ndarray, "2 node"]:
    """Logarithm of G at nodes of the logarithm of x, and its derivative by that logarithm."""
    x = _LEAST * np.exp(_STEP * np.arange(_NODES))[:, None]
    node, weight = np.polynomial.legendre.leggauss(_ORDER)
    # Beyond the magic angle v = exp(w), before it v = -exp(-z^2): both leave smooth integrands.
    low = 0.5 * np.log(2 * x**2 / (_FALLEN + x**2 / 2))
    w = low + (np.log(2.0) - low) * (node + 1) / 2
    beyond = weight * (np.log(2.0) - low) / 2 / (6 * np.sqrt((1 + np.exp(w)) / 3))
    end = np.sqrt(np.maximum(np.log(np.sqrt(_FALLEN / 2) / x), 0.0))
    z = end * (node + 1) / 2
    u = np.sqrt(-np.expm1(-(z**2)) / 3)
    before = weight * end / 2 * np.where(u > 0, z / (3 * np.where(u > 0, u, 1.0)), 0.0)
    steep = np.concatenate([2 * x**2 * np.exp(-2 * w), 2 * x**2 * np.exp(2 * z**2)], axis=1)
    part = np.concatenate([beyond, before], axis=1)
    # Relative to its value at v = 2, which is the largest, so that nothing is lost.
    left = part * np.exp(x**2 / 2 - steep)
    total = left.sum(axis=1)
    slope = (left * -2 * steep).sum(axis=1) / total
    logarithm = np.log(np.sqrt(2 / np.pi) * total) - x[:, 0] ** 2 / 2
    return np.stack([logarithm, slope])


@njit(cache=True, nogil=True)
@no_type_check
def _read(table, x):
    """G and its logarithmic derivative at ``x``."""
    if x >= _MOST:
        return 0.0, 0.0
    place = math.log(max(x, _LEAST) / _LEAST) / _STEP
    at = min(int(place), _NODES - 2)
    t = place - at
    low, high = table[0, at], table[0, at + 1]
    a, b = table[1, at] * _STEP, table[1, at + 1] * _STEP
    bend, twist = 3.0 * (high - low) - 2.0 * a - b, a + b - 2.0 * (high - low)
    value = low + t * (a + t * (bend + t * twist))
    slope = (a + t * (2.0 * bend + 3.0 * t * twist)) / _STEP
    return math.exp(value), slope


@njit(cache=True, nogil=True)
@no_type_check
def absorption(table, offset, t2):
    """Value of the line [s] at an offset [Hz] from its centre; ``table`` is `line_table`."""
    x, least = 2.0 * math.pi * abs(offset) * t2, 2.0 * math.pi * CENTRE * t2
    if x >= least:
        return t2 * _read(table, x)[0]
    value, slope = _read(table, least)
    return t2 * value * (1.0 + 0.5 * slope * ((x / least) ** 2 - 1.0))


def super_lorentzian(
    offset: Float[np.ndarray, " offset"], t2: Second
) -> Float[np.ndarray, " offset"]:
    """Value of the line [s] at offsets [Hz] from its centre."""
    table = line_table()
    return np.array([absorption(table, float(value), float(t2)) for value in offset])
