"""Solvers that need gradients and proximal maps only: FISTA, ADMM and primal-dual iterations.

A proximal map is ``proximal(x, step)``: it minimises ``|z - x|^2 / 2 + step * g(z)`` over ``z``.
All of them are deterministic: the same input has the same bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scanroom.operators.linear import Array, Linear
from scanroom.operators.solvers import conjugate_gradients

Map = Callable[[Array], Array]
Proximal = Callable[[Array, float], Array]


@dataclass(frozen=True, slots=True)
class Iterations:
    """How many: at most, at least, and the relative change below which the rest is saved."""

    most: int
    least: int = 0
    tolerance: float = 0.0

    def enough(self, number: int, change: float, size: float) -> bool:
        """Tell whether iteration ``number``, from 0, may be the last."""
        return number + 1 >= self.least and change <= self.tolerance * size


def largest_eigenvalue(
    normal: Map, shape: tuple[int, ...], *, n_iterations: int = 30, seed: int = 0
) -> float:
    """Largest eigenvalue of a Hermitian positive map of complex arrays, by power iteration.

    It approaches from below: a step of one over it wants a margin of a few per cent.
    """
    rng = np.random.default_rng(seed)
    vector: Array = (rng.normal(size=(*shape, 2)) @ np.array([1, 1j])).astype(np.complex64)
    value = 0.0
    for _ in range(n_iterations):
        norm = float(np.linalg.norm(vector))
        if norm == 0:
            return 0.0
        vector = vector / np.float32(norm)
        after = normal(vector)
        value = float(np.vdot(vector, after).real)
        vector = after
    return value


def fista(
    gradient: Map,
    proximal: Proximal,
    start: Array,
    *,
    step: float,
    iterations: Iterations,
) -> Array:
    """Minimise ``f + g``, ``f`` with a gradient, ``g`` with a proximal map.

    ``step`` is at most one over the Lipschitz constant of the gradient. Momentum starts anew where
    it points uphill.

    References
    ----------
    A. Beck, M. Teboulle, SIAM J. Imaging Sci. 2, 183 (2009), doi:10.1137/080716542.
    B. O'Donoghue, E. Candes, Found. Comput. Math. 15, 715 (2015), doi:10.1007/s10208-013-9150-3.
    """
    kind = start.real.dtype.type
    x, ahead, momentum = start, start, 1.0
    for number in range(iterations.most):
        after = proximal(ahead - kind(step) * gradient(ahead), step)
        change = after - x
        if float(np.vdot(ahead - after, change).real) > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = after + kind((momentum - 1) / following) * change
        x, momentum = after, following
        if iterations.enough(number, _norm(change), _norm(x)):
            break
    return x


@dataclass(frozen=True, slots=True)
class Smooth:
    """A term with a gradient, and the Lipschitz constant of that."""

    gradient: Map
    lipschitz: float


@dataclass(frozen=True, slots=True)
class Term:
    """A term ``g(K x)`` of a sum to be minimised, with the proximal map of ``g``."""

    linear: Linear
    proximal: Proximal


def admm(
    encode: Linear,
    data: Array,
    terms: Sequence[Term],
    start: Array,
    *,
    penalty: float,
    iterations: Iterations,
    n_inner: int = 10,
) -> Array:
    """Minimise ``|A x - data|^2 / 2`` plus terms ``g(K x)``, splitting at every ``K x``.

    ``penalty`` weighs the splitting; it sets the speed, not the solution. The inner problem is
    solved by conjugate gradients from the last solution. Change is the larger of what is left of
    the splitting and of its last step.

    References
    ----------
    S. Boyd et al., Found. Trends Mach. Learn. 3, 1 (2011), doi:10.1561/2200000016.
    """
    kind = start.real.dtype.type
    seen, normal = encode.H(data), encode.N
    maps = [term.linear for term in terms]
    normals = [one.N for one in maps]

    def inner(v: Array) -> Array:
        total: Array = normal(v) + kind(penalty) * sum(one(v) for one in normals)
        return total

    x = start
    split = [one(x) for one in maps]
    dual = [np.zeros_like(one) for one in split]
    for number in range(iterations.most):
        back = [one.H(z - u) for one, z, u in zip(maps, split, dual, strict=True)]
        right = seen + kind(penalty) * sum(back) - inner(x)
        x = x + conjugate_gradients(inner, right, n_iterations=n_inner, tolerance=1e-3)
        before, images = split, [one(x) for one in maps]
        split = [
            term.proximal(image + u, 1 / penalty)
            for term, image, u in zip(terms, images, dual, strict=True)
        ]
        dual = [u + image - z for u, image, z in zip(dual, images, split, strict=True)]
        apart = _norm(*[image - z for image, z in zip(images, split, strict=True)])
        moved = _norm(*[z - old for z, old in zip(split, before, strict=True)])
        large = max(_norm(*images), _norm(*split))
        if iterations.enough(number, max(apart, moved), large):
            break
    return x


def primal_dual(
    linear: Linear,
    dual_proximal: Proximal,
    start: Array,
    *,
    norm: float,
    iterations: Iterations,
    smooth: Smooth | None = None,
    proximal: Proximal | None = None,
) -> Array:
    """Minimise ``f(x) + g(x) + h(K x)``; ``f`` has a gradient, ``g`` and ``h*`` proximal maps.

    ``dual_proximal`` is that of the conjugate ``h*`` (`proximal.conjugate` makes it from that of
    ``h``), ``norm`` at least the norm of ``K``, ``smooth`` is ``f`` and ``proximal`` that of
    ``g``. Without ``f`` these are the iterations of Chambolle and Pock.

    References
    ----------
    A. Chambolle, T. Pock, J. Math. Imaging Vis. 40, 120 (2011), doi:10.1007/s10851-010-0251-1.
    L. Condat, J. Optim. Theory Appl. 158, 460 (2013), doi:10.1007/s10957-012-0245-9.
    """
    kind = start.real.dtype.type
    # 1 / step - step |K|^2 >= lipschitz / 2
    quarter = smooth.lipschitz / 4 if smooth else 0.0
    step = 0.99 / (quarter + float(np.hypot(quarter, norm)))
    x, dual = start, np.zeros_like(linear(start))
    for number in range(iterations.most):
        slope = linear.H(dual)
        if smooth:
            slope = slope + smooth.gradient(x)
        after = x - kind(step) * slope
        if proximal is not None:
            after = proximal(after, step)
        dual, before = dual_proximal(dual + kind(step) * linear(2 * after - x), step), dual
        change, x = max(_norm(after - x), _norm(dual - before)), after
        if iterations.enough(number, change, min(_norm(x), _norm(dual))):
            break
    return x


def _norm(*arrays: Array) -> float:
    return float(np.sqrt(sum(np.vdot(one, one).real for one in arrays)))
