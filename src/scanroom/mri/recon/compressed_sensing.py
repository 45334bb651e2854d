"""Fewer lines than coils can unfold, filled by what images have in common: they are sparse.

The image minimises ``|A x - y|^2 / 2 + strength * penalty(x)``: ``A`` weighs by the coils and takes
the lines measured (M. Lustig, D. Donoho, J. M. Pauly, Magn. Reson. Med. 58, 1182 (2007),
doi:10.1002/mrm.21391). How strong the penalty is follows from the noise (`recon.sparsity`): data
are prewhitened, so the noise is known, and one sample of it through ``A^H`` tells how loud it is
in every band. The first iterations use a stronger penalty that falls step by step to that of the
noise (E. T. Hale, W. Yin, Y. Zhang, SIAM J. Optim. 19, 1107 (2008), doi:10.1137/070698920): fewer
iterations do. The image is no linear function of the data: not in units of its noise.
"""

import numpy as np
from jaxtyping import Bool, Complex64

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.sparsity import Penalty, penalty
from scanroom.operators.blocks import block_diagonal
from scanroom.operators.first_order import Iterations, fista, largest_eigenvalue
from scanroom.operators.linear import Array, Linear
from scanroom.operators.undersampled import undersampled

N_ITERATIONS = 40
START = 10.0
"""First strength, over the loudness of the zero-filled image's details."""
FALL = 0.8
"""Each iteration's strength over the one before, until it is that of the noise."""
TOLERANCE = 2e-3
FILLED = "missing lines filled by compressed sensing; not in units of noise"

Hybrid = Complex64[np.ndarray, "coil z y x"]
Image = Complex64[np.ndarray, "z y x"]
Maps = Complex64[np.ndarray, "_ _ _ _"]


def compressed_sensing(
    kspace: Hybrid,
    sampled: Bool[np.ndarray, "_ _"],
    maps: Maps,
    *,
    sparse_in: str = "wavelet",
    strength: float = 1.0,
    n_iterations: int = N_ITERATIONS,
    seed: int = 0,
) -> Image:
    """Image of one slice or slab from some of its lines.

    ``kspace`` is prewhitened hybrid space (k in z and y, image in x), zero where ``sampled`` is
    false; ``sparse_in`` is ``"wavelet"``, ``"tv"`` or ``"tgv"``; ``strength`` is relative to what
    the noise asks for.

    Raises
    ------
    ProtocolError
        If shapes do not fit, there is no such penalty, or data are not finite.
    """
    image: np.ndarray = joint_compressed_sensing(
        kspace[None], sampled[None], maps,
        sparse_in=sparse_in, strength=strength, n_iterations=n_iterations, seed=seed,
    )[0]  # fmt: skip
    return image


def joint_compressed_sensing(
    kspace: Complex64[np.ndarray, "frame coil z y x"],
    sampled: Bool[np.ndarray, "_ _ _"],
    maps: Maps,
    *,
    sparse_in: str = "wavelet",
    strength: float = 1.0,
    n_iterations: int = N_ITERATIONS,
    seed: int = 0,
) -> Complex64[np.ndarray, "frame z y x"]:
    """Images of frames or contrasts of one object, each from its own lines.

    Wavelet coefficients of one place shrink together, so that edges seen in one frame are kept in
    all; variations are those of each frame.
    """
    encode = frames(kspace, sampled, maps)
    power = float((np.abs(maps) ** 2).sum(axis=0).max())
    chosen = penalty(sparse_in, encode.domain, seed=seed)
    return minimise(
        encode, kspace, chosen,
        strength=strength, lipschitz=power, n_iterations=n_iterations,
    )  # fmt: skip


def frames(
    kspace: Complex64[np.ndarray, "frame coil z y x"],
    sampled: Bool[np.ndarray, "_ _ _"],
    maps: Maps,
) -> Linear:
    """Encoding operator of frames "frame z y x", checked against the data.

    Raises
    ------
    ProtocolError
        If shapes do not fit or data are not finite.
    """
    if kspace.shape[1:] != maps.shape or sampled.shape != (len(kspace), *maps.shape[1:3]):
        raise ProtocolError(
            f"k-space is {kspace.shape}, lines {sampled.shape}, maps {maps.shape}; they are to be "
            "(frame, coil, z, y, x), (frame, z, y) and (coil, z, y, x). Bring them to one grid."
        )
    if not (np.isfinite(kspace).all() and np.isfinite(maps).all()):
        raise ProtocolError(
            "k-space or maps hold values that are not finite. Leave out the damaged lines."
        )
    return block_diagonal([undersampled(maps, lines) for lines in sampled])


def minimise(
    encode: Linear,
    data: Array,
    chosen: Penalty,
    *,
    strength: float = 1.0,
    noise: float = 1.0,
    lipschitz: float | None = None,
    n_iterations: int = N_ITERATIONS,
) -> Complex64[np.ndarray, "frame z y x"]:
    """Images "frame z y x" from data of any linear encoding.

    ``noise`` is the standard deviation of real and imaginary parts of the data, one after
    whitening; ``lipschitz`` the largest eigenvalue of the normal operator, else found by power
    iteration.
    """
    if lipschitz is None:
        lipschitz = 1.05 * largest_eigenvalue(encode.N, encode.domain)
    seen = encode.H(data)
    chosen.learn(encode.H(white(data.shape, noise)))
    loud = START * chosen.loudness(seen)
    normal, number = encode.N, iter(range(n_iterations))

    def proximal(image: Array, step: float) -> Array:
        now = max(1.0, loud * FALL ** next(number))
        return chosen(image, step * strength * now)

    return fista(
        lambda image: normal(image) - seen,
        proximal,
        seen / np.float32(lipschitz),
        step=1 / lipschitz,
        iterations=Iterations(n_iterations, n_steps_down(loud) + 2, TOLERANCE),
    )


def n_steps_down(loud: float) -> int:
    """Iterations until a strength that begins at ``loud`` has come down to one."""
    return int(np.ceil(np.log(max(loud, 1.0)) / -np.log(FALL)))


def white(shape: tuple[int, ...], noise: float, seed: int = 0) -> Complex64[np.ndarray, "..."]:
    """Complex white noise, ``noise`` the standard deviation of each component."""
    parts = np.random.default_rng(seed).standard_normal((*shape[:-1], 2 * shape[-1]), np.float32)
    parts *= np.float32(noise)
    return parts.view(np.complex64)
