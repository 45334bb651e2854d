"""Proximal maps of total variation and of total generalized variation, compiled row by row.

Both are found by iterations that begin where the last call ended, so that a few of them do within
the iterations of a solver. Differences are those of `operators.differences`; magnitudes are taken
over directions, real and imaginary parts (isotropic).
"""

from dataclasses import dataclass, field
from typing import no_type_check

import numpy as np
from jaxtyping import Complex
from numba import njit

from scanroom.operators.linear import Array, Shape
from scanroom.operators.threads import each

RATIO = 2.0
"""Second-order weight over the first-order one (F. Knoll et al. 2011)."""


def _axes(shape: Shape) -> Array:
    return np.array([axis for axis, n in enumerate(shape) if n > 1], np.int64)


@dataclass(slots=True)
class TotalVariation:
    """Proximal map of ``strength * sum |gradient|`` of images "z y x".

    The dual problem by projected gradients with momentum: A. Beck, M. Teboulle, IEEE Trans. Image
    Process. 18, 2419 (2009), doi:10.1109/TIP.2009.2028250.
    """

    shape: Shape
    n_iterations: int = 10
    _dual: Array | None = field(default=None, init=False)

    def __call__(self, image: Complex[Array, "z y x"], strength: float) -> Array:
        """Minimise ``|z - image|^2 / 2 + strength * TV(z)``."""
        x, axes = _parts(image), _axes(self.shape)
        if self._dual is None or self._dual.dtype != x.dtype:
            self._dual = np.zeros((len(axes), *x.shape), x.dtype)
        dual, ahead = self._dual, self._dual.copy()
        u, momentum = np.empty_like(x), 1.0
        step = x.dtype.type(1 / (4 * len(axes)))
        limit = x.dtype.type(strength)
        for _ in range(self.n_iterations):
            following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            push = x.dtype.type((momentum - 1) / following)
            _each(_shifted, len(x), x, u, ahead, axes)
            _each(_tv_dual, len(x), u, (dual, ahead), axes, (step, limit, push))
            momentum = following
        _each(_shifted, len(x), x, u, dual, axes)
        return _image(u, image)


@dataclass(slots=True)
class GeneralizedVariation:
    """Proximal map of second-order total generalized variation of images "z y x".

    The least over vector fields ``v`` of ``strength * (sum |gradient z - v| + 2 * sum |E v|)``,
    ``E`` the symmetrised derivative: what is smooth costs by its bending, edges by their height.
    F. Knoll, K. Bredies, T. Pock, R. Stollberger, Magn. Reson. Med. 65, 480 (2011),
    doi:10.1002/mrm.22595, by primal-dual iterations.
    """

    shape: Shape
    n_iterations: int = 15
    balance: float = 2.0
    _state: tuple[Array, Array, Array, Array] | None = field(default=None, init=False)

    def __call__(self, image: Complex[Array, "z y x"], strength: float) -> Array:
        """Minimise ``|z - image|^2 / 2 + strength * TGV(z)``."""
        x, axes = _parts(image), _axes(self.shape)
        n = len(axes)
        if self._state is None or self._state[0].dtype != x.dtype:
            n_pairs = n * (n - 1) // 2
            zeros = [np.zeros((m, *x.shape), x.dtype) for m in (n, n, n + n_pairs)]
            self._state = (x.copy(), zeros[0], zeros[1], zeros[2])
        u, v, p, q = self._state
        u_bar, v_bar = u.copy(), v.copy()
        kind = x.dtype.type
        # the squared norm of the operator is below 4 n + 1 + sqrt(4 n) and 4 n: 8 n is above both
        root = np.sqrt(8.0 * n)
        tau, sigma = kind(self.balance / root), kind(1 / (self.balance * root))
        limits = (kind(strength), kind(RATIO * strength))
        for _ in range(self.n_iterations):
            _each(_tgv_dual, len(x), (u_bar, v_bar), (p, q), axes, sigma, limits)
            _each(_tgv_primal, len(x), x, (u, v), (u_bar, v_bar), (p, q), axes, tau)
        return _image(u.copy(), image)


def _parts(image: Array) -> Array:
    return np.ascontiguousarray(image).view(image.real.dtype)


def _image(parts: Array, like: Array) -> Array:
    return parts.view(like.dtype).reshape(like.shape)


def _each(kernel, n, *arguments) -> None:  # type: ignore[no-untyped-def]
    each(lambda z: kernel(z, *arguments), n)


@njit(nogil=True)
@no_type_check
def _add(out, a, one, other, n):
    """``out += a * (one - other)``."""
    for i in range(n):
        out[i] += a * (one[i] - other[i])


@njit(nogil=True)
@no_type_check
def _add_one(out, a, one, n):
    for i in range(n):
        out[i] += a * one[i]


@njit(nogil=True)
@no_type_check
def _ahead(out, a, f, z, y, axis):
    """Add ``a`` times the difference to the next pixel, zero at the last."""
    n_z, n_y, n = f.shape
    if axis == 2:
        _add(out, a, f[z, y, 2:], f[z, y], n - 2)
    elif axis == 1 and y < n_y - 1:
        _add(out, a, f[z, y + 1], f[z, y], n)
    elif axis == 0 and z < n_z - 1:
        _add(out, a, f[z + 1, y], f[z, y], n)


@njit(nogil=True)
@no_type_check
def _behind(out, a, f, z, y, axis):
    """Add ``a`` times the difference to the pixel before, zero at the first."""
    n = f.shape[2]
    if axis == 2:
        _add(out[2:], a, f[z, y, 2:], f[z, y], n - 2)
    elif axis == 1 and y > 0:
        _add(out, a, f[z, y], f[z, y - 1], n)
    elif axis == 0 and z > 0:
        _add(out, a, f[z, y], f[z - 1, y], n)


@njit(nogil=True)
@no_type_check
def _ahead_adjoint(out, a, f, z, y, axis):
    n_z, n_y, n = f.shape
    if axis == 2:
        _add_one(out[2:], a, f[z, y], n - 2)
        _add_one(out, -a, f[z, y], n - 2)
        return
    before, last = (y, n_y - 1) if axis == 1 else (z, n_z - 1)
    if before > 0:
        _add_one(out, a, f[z, y - 1] if axis == 1 else f[z - 1, y], n)
    if before < last:
        _add_one(out, -a, f[z, y], n)


@njit(nogil=True)
@no_type_check
def _behind_adjoint(out, a, f, z, y, axis):
    n_z, n_y, n = f.shape
    if axis == 2:
        _add_one(out[2:], a, f[z, y, 2:], n - 2)
        _add_one(out, -a, f[z, y, 2:], n - 2)
        return
    here, last = (y, n_y - 1) if axis == 1 else (z, n_z - 1)
    if here > 0:
        _add_one(out, a, f[z, y], n)
    if here < last:
        _add_one(out, -a, f[z, y + 1] if axis == 1 else f[z + 1, y], n)


@njit(nogil=True, error_model="numpy")
@no_type_check
def _scale(size, limit, n):
    """Squares of magnitudes, side by side, to the factors that bring them within ``limit``."""
    one, tiny = size.dtype.type(1), size.dtype.type(1e-30)
    for i in range(n // 2):
        keep = limit / np.sqrt(size[2 * i] + size[2 * i + 1] + tiny)
        keep = keep if keep < one else one
        size[2 * i], size[2 * i + 1] = keep, keep


@njit(nogil=True)
@no_type_check
def _add_square(size, row, n):
    for i in range(n):
        size[i] += row[i] * row[i]


@njit(nogil=True)
@no_type_check
def _multiply(row, size, n):
    for i in range(n):
        row[i] *= size[i]


@njit(nogil=True)
@no_type_check
def _project(field, z, y, limit, size):
    """Bring the vectors of one row within ``limit``."""
    n = field.shape[3]
    size[:] = 0
    for d in range(field.shape[0]):
        _add_square(size, field[d, z, y], n)
    _scale(size, limit, n)
    for d in range(field.shape[0]):
        _multiply(field[d, z, y], size, n)


@njit(cache=True, nogil=True)
@no_type_check
def _shifted(z, x, u, dual, axes):
    """``u = x - gradient^H dual``, one plane."""
    for y in range(x.shape[1]):
        row = u[z, y]
        row[:] = x[z, y]
        for d in range(len(axes)):
            _ahead_adjoint(row, x.dtype.type(-1), dual[d], z, y, axes[d])


@njit(nogil=True)
@no_type_check
def _push(ahead, dual, factor, n):
    """``dual`` becomes what ``ahead`` holds; ``ahead`` goes on by its change."""
    for i in range(n):
        new = ahead[i]
        ahead[i] = new + factor * (new - dual[i])
        dual[i] = new


@njit(cache=True, nogil=True)
@no_type_check
def _tv_dual(z, u, duals, axes, numbers):
    (dual, ahead), (step, limit, push) = duals, numbers
    n = u.shape[2]
    size = np.empty(n, u.dtype)
    for y in range(u.shape[1]):
        for d in range(len(axes)):
            _ahead(ahead[d, z, y], step, u, z, y, axes[d])
        _project(ahead, z, y, limit, size)
        for d in range(len(axes)):
            _push(ahead[d, z, y], dual[d, z, y], push, n)


@njit(cache=True, nogil=True)
@no_type_check
def _tgv_dual(z, bars, duals, axes, sigma, limits):
    (u, v), (p, q) = bars, duals
    n_axes, n = len(axes), u.shape[2]
    size = np.empty(n, u.dtype)
    half = u.dtype.type(np.sqrt(0.5)) * sigma
    for y in range(u.shape[1]):
        for d in range(n_axes):
            _ahead(p[d, z, y], sigma, u, z, y, axes[d])
            _add_one(p[d, z, y], -sigma, v[d, z, y], n)
            _behind(q[d, z, y], sigma, v[d], z, y, axes[d])
        pair = n_axes
        for i in range(n_axes):
            for j in range(i + 1, n_axes):
                _behind(q[pair, z, y], half, v[i], z, y, axes[j])
                _behind(q[pair, z, y], half, v[j], z, y, axes[i])
                pair += 1
        _project(p, z, y, limits[0], size)
        _project(q, z, y, limits[1], size)


@njit(nogil=True, error_model="numpy")
@no_type_check
def _toward(now, bar, x, tau, n):
    """``now`` holds the step taken without the data ``x``: take it with them."""
    share = now.dtype.type(1) / (now.dtype.type(1) + tau)
    for i in range(n):
        before = bar[i]
        new = (now[i] + tau * x[i]) * share
        now[i] = new
        bar[i] = new + new - before


@njit(nogil=True)
@no_type_check
def _beyond(now, bar, n):
    for i in range(n):
        bar[i] = now[i] + now[i] - bar[i]


@njit(cache=True, nogil=True)
@no_type_check
def _tgv_primal(z, x, primals, bars, duals, axes, tau):
    (u, v), (u_bar, v_bar), (p, q) = primals, bars, duals
    n_axes, n = len(axes), u.shape[2]
    half = u.dtype.type(np.sqrt(0.5)) * tau
    for y in range(u.shape[1]):
        u_bar[z, y] = u[z, y]
        for d in range(n_axes):
            v_bar[d, z, y] = v[d, z, y]
            _ahead_adjoint(u[z, y], -tau, p[d], z, y, axes[d])
            _add_one(v[d, z, y], tau, p[d, z, y], n)
            _behind_adjoint(v[d, z, y], -tau, q[d], z, y, axes[d])
        pair = n_axes
        for i in range(n_axes):
            for j in range(i + 1, n_axes):
                _behind_adjoint(v[i, z, y], -half, q[pair], z, y, axes[j])
                _behind_adjoint(v[j, z, y], -half, q[pair], z, y, axes[i])
                pair += 1
        _toward(u[z, y], u_bar[z, y], x[z, y], tau, n)
        for d in range(n_axes):
            _beyond(v[d, z, y], v_bar[d, z, y], n)
