"""Fourier sums at any place of k-space (FINUFFT), and the density that undoes crowding.

References
----------
A. H. Barnett, J. Magland, L. af Klinteberg, SIAM J. Sci. Comput. 41, C479 (2019),
doi:10.1137/18M120885X. J. G. Pipe, P. Menon, Magn. Reson. Med. 41, 179 (1999),
doi:10.1002/(SICI)1522-2594(199901)41:1<179::AID-MRM25>3.0.CO;2-V.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import finufft
import numpy as np
from jaxtyping import Float

from scanroom.operators.linear import Array, Linear, Shape
from scanroom.operators.spreading import neighbourhood
from scanroom.operators.threads import each
from scanroom.operators.toeplitz import convolution, eigenvalues

SINGLE = np.dtype(np.complex64)
PRECISION = {np.dtype(np.complex64): 1e-4, np.dtype(np.complex128): 1e-9}
_REAL = {np.dtype(np.complex64): np.float32, np.dtype(np.complex128): np.float64}


def nufft(
    place: Float[Array, "sample axis"],
    shape: Shape,
    *,
    n_images: int = 1,
    weight: Float[Array, " sample"] | None = None,
) -> Linear:
    """Images of ``shape`` to samples at ``place``, in cycles per pixel, axes as in the image.

    Scaled so that the samples of a full Cartesian grid make a unitary map; a ``weight`` multiplies
    samples by its root, so that it counts once in the normal operator. With ``n_images`` > 1 images
    and samples carry a leading axis.
    """
    plans = _Plans(2 * np.pi * (np.mod(place + 0.5, 1.0) - 0.5), shape)
    factor = 1 / np.sqrt(np.prod(shape))
    scale = np.full(len(place), factor) if weight is None else factor * np.sqrt(weight)
    batch = (n_images,) if n_images > 1 else ()
    normal: dict[np.dtype, Linear] = {}

    def stacked(work: Callable[[Array], Array], data: Array) -> Array:
        if not batch:
            return work(data)
        return np.stack(each(lambda i: work(data[i]), n_images))

    def gram(image: Array) -> Array:
        if image.dtype not in normal:
            normal[image.dtype] = toeplitz(place, shape, weight=weight, dtype=image.dtype)
        return stacked(normal[image.dtype], image)

    return Linear(
        forward=lambda image: stacked(lambda x: plans.run(2, x) * _like(scale, x), image),
        adjoint=lambda samples: stacked(lambda y: plans.run(1, y * _like(scale, y)), samples),
        domain=(*batch, *shape),
        codomain=(*batch, len(place)),
        gram=gram,
    )


def toeplitz(
    place: Float[Array, "sample axis"],
    shape: Shape,
    *,
    weight: Float[Array, " sample"] | None = None,
    dtype: np.dtype = SINGLE,
) -> Linear:
    """Normal operator of `nufft` as a convolution: its cost does not hang on the number of samples.

    The weight may be negative here: what is needed is that it is real.
    """
    return convolution(eigenvalues(point_spread(place, shape, weight=weight, dtype=dtype)))


def point_spread(
    place: Float[Array, "sample axis"],
    shape: Shape,
    *,
    weight: Float[Array, " sample"] | None = None,
    dtype: np.dtype = SINGLE,
) -> Array:
    """Answer of the normal operator to one bright pixel, on a grid twice as wide as the image."""
    wide = tuple(2 * n for n in shape)
    heavy = np.ones(len(place)) if weight is None else weight
    spread: Array = nufft(place, wide).adjoint(heavy.astype(dtype))
    spread *= spread.real.dtype.type(np.sqrt(np.prod(wide)) / np.prod(shape))
    return spread


def _like(real: Float[Array, " sample"], data: Array) -> Array:
    return real.astype(data.real.dtype)


@dataclass(frozen=True, slots=True)
class _Plans:
    """Plans of one thread each, lent to whichever thread needs one: the same bytes however many."""

    angle: Float[Array, "sample axis"]
    shape: Shape
    idle: dict[tuple[int, np.dtype], list[Callable[[Array], Array]]] = field(default_factory=dict)

    def run(self, kind: int, data: Array) -> Array:
        """Transform one image (2) or one set of samples (1)."""
        idle = self.idle.setdefault((kind, data.dtype), [])
        try:
            execute = idle.pop()
        except IndexError:
            execute = _plan(kind, self.angle, self.shape, data.dtype)
        result = execute(np.ascontiguousarray(data))
        idle.append(execute)
        return result


def _plan(
    kind: int, angle: Float[Array, "sample axis"], shape: Shape, dtype: np.dtype
) -> Callable[[Array], Array]:
    plan = finufft.Plan(
        kind,
        shape,
        eps=PRECISION[dtype],
        isign=-1 if kind == 2 else 1,
        dtype=dtype.name,
        upsampfac=1.25,
        nthreads=1,
    )
    plan.setpts(*np.ascontiguousarray(angle.T.astype(_REAL[dtype])))
    execute: Callable[[Array], Array] = plan.execute
    return execute


def density(
    place: Float[Array, "sample axis"], shape: Shape, *, n_iterations: int = 20
) -> Float[Array, " sample"]:
    """Weights that make the samples cover k-space evenly (Pipe and Menon 1999).

    The kernel is the transform of a triangle twice as wide as the image: never negative, zero at
    every other sample of the Cartesian grid, whose own weights are therefore one. All iterations
    but the last are quick sums: the last, exact, mends what they miss.
    """
    wide = tuple(2 * n for n in shape)
    sides = [np.maximum(0.0, 1 - np.abs(np.arange(n) - n // 2) / (n // 2)) for n in wide]
    weight = np.ones(len(place), np.float32)
    if len(wide) in {2, 3} and n_iterations > 1:
        around = neighbourhood(place, sides)
        for _ in range(n_iterations - 1):
            weight = _evened(weight, around(weight))
    spread = nufft(place, wide)
    kernel = np.ones(wide)
    for axis, side in enumerate(sides):
        kernel *= side.reshape([-1 if i == axis else 1 for i in range(len(wide))])
    exact = spread(kernel * spread.H(weight.astype(complex))).real
    return _evened(weight.astype(float), exact) * 0.5 ** len(shape)


def _evened(weight: Float[Array, " sample"], seen: Float[Array, " sample"]) -> Array:
    even: Array = weight / np.maximum(seen, seen.max() * 1e-6)
    return even
