"""Fourier sums at any place of k-space (FINUFFT), and the density that undoes crowding.

References
----------
A. H. Barnett, J. Magland, L. af Klinteberg, SIAM J. Sci. Comput. 41, C479 (2019),
doi:10.1137/18M120885X. J. G. Pipe, P. Menon, Magn. Reson. Med. 41, 179 (1999),
doi:10.1002/(SICI)1522-2594(199901)41:1<179::AID-MRM25>3.0.CO;2-V.
"""

from collections.abc import Callable

import finufft
import numpy as np
from jaxtyping import Float

from scanroom.operators.fourier import WORKERS
from scanroom.operators.linear import Array, Linear, Shape

PRECISION = {np.dtype(np.complex64): 1e-4, np.dtype(np.complex128): 1e-9}
_REAL = {np.dtype(np.complex64): np.float32, np.dtype(np.complex128): np.float64}


def nufft(place: Float[Array, "sample axis"], shape: Shape, *, n_images: int = 1) -> Linear:
    """Images of ``shape`` to samples at ``place``, in cycles per pixel, axes as in the image.

    Scaled so that the samples of a full Cartesian grid make a unitary map. With ``n_images`` > 1
    images and samples carry a leading axis.
    """
    angle = 2 * np.pi * (np.mod(place + 0.5, 1.0) - 0.5)
    scale = 1 / np.sqrt(np.prod(shape))
    plans: dict[tuple[int, np.dtype], Callable[[Array], Array]] = {}
    batch = (n_images,) if n_images > 1 else ()

    def run(kind: int, data: Array) -> Array:
        key = (kind, data.dtype)
        if key not in plans:
            plans[key] = _plan(kind, angle, shape, n_images, data.dtype)
        result: Array = plans[key](np.ascontiguousarray(data)) * data.real.dtype.type(scale)
        return result

    return Linear(
        forward=lambda image: run(2, image),
        adjoint=lambda samples: run(1, samples),
        domain=(*batch, *shape),
        codomain=(*batch, len(place)),
    )


def _plan(
    kind: int, angle: Float[Array, "sample axis"], shape: Shape, n_images: int, dtype: np.dtype
) -> Callable[[Array], Array]:
    plan = finufft.Plan(
        kind,
        shape,
        n_trans=n_images,
        eps=PRECISION[dtype],
        isign=-1 if kind == 2 else 1,
        dtype=dtype.name,
        upsampfac=1.25,
        nthreads=WORKERS,
    )
    plan.setpts(*np.ascontiguousarray(angle.T.astype(_REAL[dtype])))
    execute: Callable[[Array], Array] = plan.execute
    return execute


def density(
    place: Float[Array, "sample axis"], shape: Shape, *, n_iterations: int = 20
) -> Float[Array, " sample"]:
    """Weights that make the samples cover k-space evenly (Pipe and Menon 1999).

    The kernel is the transform of a triangle twice as wide as the image: never negative, zero at
    every other sample of the Cartesian grid, whose own weights are therefore one.
    """
    wide = tuple(2 * n for n in shape)
    spread = nufft(place, wide)
    kernel = np.ones(wide)
    for axis, n in enumerate(wide):
        side = np.maximum(0.0, 1 - np.abs(np.arange(n) - n // 2) / (n // 2))
        kernel = kernel * side.reshape([-1 if i == axis else 1 for i in range(len(wide))])
    weight: Float[Array, " sample"] = np.ones(len(place))
    for _ in range(n_iterations):
        seen = spread(kernel * spread.H(weight.astype(complex))).real
        weight = weight / np.maximum(seen, seen.max() * 1e-6)
    return weight * 0.5 ** len(shape)
