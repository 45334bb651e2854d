"""Series of images (time frames, contrasts) that are few images in changing shares.

Locally low rank: in every small block the series is a matrix of low rank (J. D. Trzasko,
A. Manduca, Proc. ISMRM 19, 4371 (2011); T. Zhang, J. M. Pauly, I. R. Levesque, Magn. Reson. Med.
73, 655 (2015), doi:10.1002/mrm.25161). Low rank plus sparse: a background of low rank and what
moves, sparse in temporal frequency (R. Otazo, E. Candes, D. K. Sodickson, Magn. Reson. Med. 73,
1125 (2015), doi:10.1002/mrm.25240).

Strength follows from the noise in the gradient of the data term: a matrix of noise alone has
singular values up to ``deviation * (sqrt(rows) + sqrt(columns))`` (V. A. Marchenko, L. A. Pastur,
Math. USSR Sb. 1, 457 (1967), doi:10.1070/SM1967v001n04ABEH001994); that is one unit. Images are no
linear function of the data: not in units of their noise.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from jaxtyping import Bool, Complex64

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.compressed_sensing import (
    FALL,
    TOLERANCE,
    Maps,
    frames,
    minimise,
    n_steps_down,
    white,
)
from scanroom.operators.first_order import Iterations, fista
from scanroom.operators.linear import Array, Shape
from scanroom.operators.patches import Patches
from scanroom.operators.proximal import singular_soft, soft
from scanroom.operators.threads import each

BLOCK = 8
N_ITERATIONS = 40
LOCAL_SHARE = 0.9
GLOBAL_SHARE = 1.5
SPARSE_SHARE = 2.5
"""Units over those of the noise, for blocks, background and motion.

Found on `validation/sparse_scenes.py`.
"""

Series = Complex64[np.ndarray, "frame z y x"]
Lines = Bool[np.ndarray, "_ _ _"]
Raw = Complex64[np.ndarray, "frame coil z y x"]


def locally_low_rank(
    kspace: Raw,
    sampled: Lines,
    maps: Maps,
    *,
    block: int = BLOCK,
    strength: float = 1.0,
    n_iterations: int = N_ITERATIONS,
    seed: int = 0,
) -> Series:
    """Images of frames or contrasts of one object, each from its own lines.

    ``kspace`` is prewhitened hybrid space (k in z and y, image in x), zero where ``sampled`` is
    false; ``block`` the edge of a block in pixels; ``strength`` relative to what the noise asks
    for.

    Raises
    ------
    ProtocolError
        If shapes do not fit, data are not finite, or there are fewer than two frames.
    """
    _several(kspace)
    encode = frames(kspace, sampled, maps)
    chosen = LocalRank(encode.domain, block=block, seed=seed)
    return minimise(
        encode, kspace, chosen,
        strength=strength, lipschitz=_power(maps), n_iterations=n_iterations,
    )  # fmt: skip


class LocalRank:
    """Sum of the singular values of every block, the blocks' origin moved at random each time."""

    def __init__(self, shape: Shape, *, block: int = BLOCK, seed: int = 0) -> None:
        z, y, x = (min(block, n) for n in shape[1:])
        self.patches = Patches(shape, (z, y, x))
        self._random = np.random.default_rng(seed)
        self._unit = 0.0

    def learn(self, noise: Series) -> None:
        """Set the largest singular value of a block of noise."""
        deviation = float(np.sqrt(np.mean(np.abs(noise) ** 2)))
        edge = np.sqrt(np.prod(self.patches.block)) + np.sqrt(len(noise))
        self._unit = LOCAL_SHARE * deviation * float(edge)

    def loudness(self, image: Series) -> float:
        """Of the second singular value, the mean over blocks."""
        blocks = self.patches.cut(image)
        values = np.linalg.eigvalsh(blocks.conj().swapaxes(1, 2) @ blocks)[:, -2:]
        return float(np.sqrt(np.maximum(values[:, 0], 0).mean())) / self._unit

    def __call__(self, image: Series, strength: float) -> Series:
        """Shrink the singular values of all blocks."""
        steps = self._random.integers(0, self.patches.block)
        shift = (int(steps[0]), int(steps[1]), int(steps[2]))
        blocks = self.patches.cut(image, shift)
        shrink = singular_soft(1.0)
        parts = np.array_split(np.arange(len(blocks)), -(-len(blocks) // 64))
        found = each(
            lambda i: shrink(blocks[parts[i]], strength * self._unit),
            len(parts),
        )
        series: np.ndarray = self.patches.join(np.concatenate(found), shift)
        return series


@dataclass(frozen=True, slots=True)
class Parts:
    """What stays, of low rank, and what moves, sparse in temporal frequency."""

    background: Series
    motion: Series

    @property
    def image(self) -> Series:
        """Both."""
        whole: np.ndarray = self.background + self.motion
        return whole


def low_rank_plus_sparse(
    kspace: Raw,
    sampled: Lines,
    maps: Maps,
    *,
    low_rank: float = 1.0,
    sparse: float = 1.0,
    n_iterations: int = N_ITERATIONS,
) -> Parts:
    """Background and motion of a time series, each frame from its own lines.

    Motion has no mean over time: unlike the original, where either part can hold what never
    changes, here the background does. As `locally_low_rank`; ``low_rank`` and ``sparse`` are
    strengths relative to what the noise asks for.

    Raises
    ------
    ProtocolError
        If shapes do not fit, data are not finite, or there are fewer than two frames.
    """
    _several(kspace)
    encode = frames(kspace, sampled, maps)
    seen, normal = encode.H(kspace), encode.N
    noise = encode.H(white(kspace.shape, 1.0))
    deviation = float(np.sqrt(np.mean(np.abs(noise) ** 2)))
    edge = np.sqrt(noise[0].size) + np.sqrt(len(noise))
    shrink_rank = singular_soft(GLOBAL_SHARE * deviation * float(edge) * low_rank)
    shrink = soft(SPARSE_SHARE * deviation / np.sqrt(2) * sparse)
    matrix = (len(noise), -1)
    # the second singular value of the zero-filled series stands for what is no background
    second = np.linalg.eigvalsh(_gram(seen.reshape(matrix)))[-2]
    loud = float(np.sqrt(max(second, 0.0))) / (deviation * float(edge))
    number = iter(range(n_iterations))

    def gradient(both: Array) -> Array:
        slope = normal(both[0] + both[1]) - seen
        return np.stack([slope, slope])

    def proximal(both: Array, step: float) -> Array:
        now = step * max(1.0, loud * FALL ** next(number))
        low = shrink_rank(both[0].reshape(matrix), now).reshape(both[0].shape)
        wave = scipy.fft.fft(both[1], axis=0, norm="ortho", workers=1)
        wave = shrink(wave, now)
        wave[0] = 0
        moving = scipy.fft.ifft(wave, axis=0, norm="ortho", workers=1)
        return np.stack([low, moving])

    # the same gradient twice: its Lipschitz constant doubles
    step = 1 / (2 * _power(maps))
    start = np.stack([seen, np.zeros_like(seen)])
    iterations = Iterations(n_iterations, n_steps_down(loud) + 2, TOLERANCE)
    found = fista(gradient, proximal, start, step=step, iterations=iterations)
    return Parts(background=found[0], motion=found[1])


def _gram(wide: Array) -> Array:
    product: Array = wide @ wide.conj().T
    return product


def _power(maps: Maps) -> float:
    return float((np.abs(maps) ** 2).sum(axis=0).max())


def _several(kspace: Raw) -> None:
    if len(kspace) < 2:
        raise ProtocolError(
            f"there is {len(kspace)} frame; low rank needs 2 or more (scanroom.mri.recon.low_rank)."
            " Choose compressed sensing."
        )
