"""From a subject to isochromats: several per voxel, off the image grid."""

import dataclasses
import functools
import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Metre
from scanroom.physics.fat import split
from scanroom.subject.model import Subject

# A Lorentzian has no variance; offsets beyond this many half widths (1 % of the spins) are put
# there.
_WIDEST = 64.0
_FASTEST_RATE = 1e6

ISOTROPIC = "diffusion"
TENSOR = tuple(f"diffusion_{term}" for term in ("xx", "yy", "zz", "xy", "xz", "yz"))
VELOCITY = ("velocity_x", "velocity_y", "velocity_z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Isochromats:
    """Where each isochromat is, which voxel it stands for, and its share of T2'.

    ``within`` is the place in the voxel, -1/2 to 1/2 along each axis of the grid; ``spread`` is
    its offset in half widths of the voxel's Lorentzian line, 1 / (2 pi T2'). ``more_shift`` is
    chemical shift beside the voxel's own, ``share`` that of its protons (see `physics.fat`).
    """

    voxel: Float[np.ndarray, "spin 3"]
    within: Float32[np.ndarray, "spin 3"]
    position: Float[np.ndarray, "spin 3"]
    spread: Float32[np.ndarray, " spin"]
    n_per_voxel: int
    more_shift: Float[np.ndarray, " spin"]
    share: Float[np.ndarray, " spin"]


def isochromats(
    subject: Subject,
    chosen: Bool[np.ndarray, "x y z"],
    n_per_voxel: int,
    seed: int = 0,
    *,
    column: int | None = None,
    before: int = 0,
) -> Isochromats:
    """Spread isochromats over the chosen voxels.

    In each voxel they stand on a lattice of four dimensions (place and quantile of T2') that is
    evenly spaced along every axis, so that any whole number of turns across a voxel, up to their
    count, adds up to nothing. A random shift per voxel keeps more turns from adding up to
    something, at the price of a grain in the image: a pixel holds now more, now fewer of them.
    With ``column`` they stand evenly in a column along that axis of the grid, alike in every
    voxel: uniform tissue is uniform, and a moment is dephased as in a continuum unless it comes
    near a multiple of the count of turns per voxel along that axis. Quantiles of T2' are random in
    either case. So many voxels of the same subject have been filled ``before``.
    """
    if not 1 <= n_per_voxel <= 64:
        raise ProtocolError(
            f"{n_per_voxel} isochromats per voxel; there may be 1 to 64 (scanroom.mri.twin). "
            "Choose a number in that range."
        )
    index = np.argwhere(chosen)
    steps = np.arange(n_per_voxel)[:, None] * np.array(lattice(n_per_voxel)) / n_per_voxel
    random = np.random.Philox(key=[seed, 0])
    if column is not None:
        same = np.random.Generator(np.random.Philox(key=[seed, 0])).random(3)
    shift = np.random.Generator(random.advance(before)).random((len(index), 1, 4))
    if column is not None:
        shift[:, :, :3] = same
        steps = steps * np.array([axis in {column, 3} for axis in range(4)])
    place = (steps[None] + shift) % 1.0
    within = (place[..., :3] - 0.5).reshape(-1, 3)
    voxel = np.repeat(index.astype(np.float64), n_per_voxel, axis=0)
    affine = subject.affine
    quantile = place[..., 3].reshape(-1)
    spread = np.clip(np.tan(np.pi * (quantile - 0.5)), -_WIDEST, _WIDEST)
    return Isochromats(
        voxel=voxel,
        within=within.astype(np.float32),
        position=(voxel + within) @ affine[:3, :3].T + affine[:3, 3],
        spread=spread.astype(np.float32),
        n_per_voxel=n_per_voxel,
        **_alone(len(voxel)),
    )


def cut(
    subject: Subject, chosen: Bool[np.ndarray, "x y z"], across: tuple[int, int, int], axis: int
) -> tuple[Isochromats, Int[np.ndarray, " spin"]]:
    """Cut the chosen voxels into equal boxes; return their centres and the column of each.

    A column is what lies one behind another along ``axis`` of the grid.
    """
    index = np.argwhere(chosen)
    parts = np.array(list(itertools.product(*map(range, across))))
    within = np.tile((parts + 0.5) / across - 0.5, (len(index), 1))
    voxel = np.repeat(index.astype(np.float64), len(parts), axis=0)
    fine = np.repeat(index * across, len(parts), axis=0) + np.tile(parts, (len(index), 1))
    shape = np.array(chosen.shape) * across
    fine[:, axis], shape[axis] = 0, 1
    affine = subject.affine
    grains = Isochromats(
        voxel=voxel,
        within=within.astype(np.float32),
        position=(voxel + within) @ affine[:3, :3].T + affine[:3, 3],
        spread=np.zeros(len(voxel), np.float32),
        n_per_voxel=len(parts),
        **_alone(len(voxel)),
    )
    return grains, np.ravel_multi_index(tuple(fine.T), tuple(shape))


def _alone(n: int) -> dict[str, np.ndarray]:
    return {"more_shift": np.zeros(n), "share": np.ones(n)}


def with_peaks(
    subject: Subject, grains: Isochromats
) -> tuple[Isochromats, Int[np.ndarray, " spin"]]:
    """Give fat its peaks, and tell from which isochromat each is made."""
    x, y, z = grains.voxel.astype(np.int64).T
    rows, more, share = split(subject.maps["chemical_shift"][x, y, z].astype(np.float64))
    peaks = dataclasses.replace(
        grains,
        voxel=grains.voxel[rows],
        within=grains.within[rows],
        position=grains.position[rows],
        spread=grains.spread[rows],
        more_shift=more,
        share=share,
    )
    return peaks, rows


@functools.lru_cache(maxsize=64)
def lattice(n: int) -> tuple[int, int, int, int]:
    """Generator of a lattice rule of n points in four dimensions.

    Chosen so that few and only short waves look like a constant to the points: least sum of
    ``|wave|^-4`` over those that do; a prime count serves best. More than 16 points: powers of one
    number (N. M. Korobov 1959).
    """
    units = [a for a in range(1, n) if np.gcd(a, n) == 1] or [1]
    choices = list(itertools.product([1], units, units, units))
    if n > 16:
        choices = [(1, a, a * a % n, a**3 % n) for a in units]
    waves = np.array(list(itertools.product(range(-4, 5), repeat=4)))
    length = (waves**2).sum(axis=1)
    waves, merit = waves[length > 0], length[length > 0] ** -2.0
    merit[waves[:, 3] == 0] *= 10.0  # places matter more than their tie to T2'
    sums = [float(merit[waves @ np.array(choice) % n == 0].sum()) for choice in choices]
    a, b, c, d = choices[int(np.argmin(np.round(sums, 9)))]
    return a, b, c, d


def voxel_size(subject: Subject) -> tuple[Metre, Metre, Metre]:
    """Edge lengths of a voxel."""
    x, y, z = np.linalg.norm(subject.affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


def rate(time: Float[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Relaxation rate [1/s] of a relaxation time [s]; infinite and zero times are bounded."""
    with np.errstate(divide="ignore"):
        return np.minimum(1.0 / np.asarray(time, np.float64), _FASTEST_RATE).astype(np.float32)


def diffuses(subject: Subject) -> bool:
    """Whether the subject says how it diffuses."""
    return any(name in subject.maps for name in (ISOTROPIC, *TENSOR))


def diffusion_at(
    subject: Subject,
    voxel: tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Int[np.ndarray, " n"]],
    *,
    wanted: bool,
) -> Float32[np.ndarray, "term n_or_none"]:
    """Coefficients [m2/s] of voxels, or six terms of tensors if the subject has any of them."""
    if not wanted:
        return np.zeros((0, 0), np.float32)
    maps = subject.maps
    still = np.zeros(len(voxel[0]), np.float32)
    names = TENSOR if any(name in maps for name in TENSOR) else (ISOTROPIC,)
    rows = [maps[name][voxel] if name in maps else still for name in names]
    return np.asarray(rows, np.float32)


def speed(subject: Subject) -> float:
    """Of what flows fastest in the subject [m/s]."""
    parts = [
        subject.maps[name].astype(np.float64) ** 2 for name in VELOCITY if name in subject.maps
    ]
    return float(np.sqrt(np.max(sum(parts)))) if parts else 0.0
