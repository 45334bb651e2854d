"""Voxels that hold up to two tissues, and the property maps that follow from them."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8, UInt32

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Metre, Tesla
from scanroom.subject.model import PROPERTIES, Subject
from scanroom.subject.tissue import TissueTable, tissue_table

WHOLE = 255
"""Share of the first tissue that stands for a voxel of that tissue alone."""

MAGNETIC: tuple[str, ...] = (
    "proton_density",
    "t1",
    "t2",
    "t2_prime",
    "chemical_shift",
    "susceptibility",
    "diffusion",
    "conductivity",
)
"""What a magnetic resonance twin asks for."""

BOUND: tuple[str, ...] = ("bound_fraction", "exchange_rate", "t1_bound", "t2_bound")
"""What it asks for beside that if magnetisation is to be transferred to bound protons."""

_RATES = ("t1", "t2", "t2_prime", "t1_bound")
_OF_PROTONS = ("diffusion", "bound_fraction", "exchange_rate")
_OF_MAJORITY = ("chemical_shift",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Two tissues per voxel (indices into ``tissues``); ``share`` / 255 of it is the first."""

    tissues: tuple[str, ...]
    first: UInt8[np.ndarray, "x y z"]
    second: UInt8[np.ndarray, "x y z"]
    share: UInt8[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]

    def fraction(self, tissue: str) -> Float32[np.ndarray, "x y z"]:
        """Volume fraction of a tissue."""
        share = self.share.astype(np.float32) / WHOLE
        index = self._index(tissue)
        return np.where(self.first == index, share, np.float32(0)) + np.where(
            (self.second == index) & (self.first != index), 1 - share, np.float32(0)
        )

    def pure(self, tissue: str) -> np.ndarray:
        """Voxels that hold this tissue alone."""
        return np.asarray((self.first == self._index(tissue)) & (self.share == WHOLE))

    def _index(self, tissue: str) -> int:
        if tissue not in self.tissues:
            raise ProtocolError(
                f"{tissue!r} is not in this subject; it holds {', '.join(self.tissues)}. "
                "Choose one of them."
            )
        return self.tissues.index(tissue)


def crop_mixture(
    mixture: Mixture, lower: Float[np.ndarray, "3"], upper: Float[np.ndarray, "3"]
) -> Mixture:
    """Keep the voxels whose centres lie in a box of scanner coordinates [m]."""
    span, affine = box(mixture.affine, mixture.first.shape, lower, upper)
    return Mixture(
        tissues=mixture.tissues,
        first=mixture.first[span],
        second=mixture.second[span],
        share=mixture.share[span],
        affine=affine,
    )


def box(
    affine: Float[np.ndarray, "4 4"],
    shape: tuple[int, ...],
    lower: Float[np.ndarray, "3"],
    upper: Float[np.ndarray, "3"],
) -> tuple[tuple[slice, slice, slice], Float[np.ndarray, "4 4"]]:
    """Index ranges of the smallest block of voxels that holds all centres within a box.

    Raises
    ------
    ProtocolError
        If no voxel lies there.
    """
    corners = np.array(np.meshgrid(*zip(lower, upper, strict=True), indexing="ij")).reshape(3, -1)
    index = np.linalg.solve(affine[:3, :3], corners - affine[:3, 3:])
    start = np.maximum(np.ceil(index.min(axis=1) - 1e-6), 0).astype(int)
    stop = np.minimum(np.floor(index.max(axis=1) + 1e-6) + 1, shape).astype(int)
    if np.any(stop <= start):
        raise ProtocolError(
            f"the box from {np.round(lower, 4).tolist()} to {np.round(upper, 4).tolist()} m holds "
            "no voxel of the subject (scanroom.subject). Choose a box that meets it."
        )
    moved = affine.copy()
    moved[:3, 3] = affine[:3, :3] @ start + affine[:3, 3]
    x, y, z = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    return (x, y, z), moved


def mixed(
    mixture: Mixture,
    *,
    name: str,
    field: Tesla,
    properties: Collection[str] = MAGNETIC,
    table: TissueTable | None = None,
    notice: str = "",
) -> Subject:
    """Compute property maps, float32, from the tissues of each voxel.

    Proton density, susceptibility and all mechanical, electric and thermal numbers are means by
    volume. Relaxation rates, diffusion and exchange are means by protons: the first decay of a
    voxel's signal. The chemical shift is that of the tissue with more protons, since fat and water
    do not share one frequency. A voxel of one tissue has exactly that tissue's numbers.
    A map of one number throughout takes no memory and cannot be written to.
    """
    unknown = set(properties) - set(PROPERTIES)
    if unknown:
        raise ProtocolError(
            f"{', '.join(sorted(unknown))} is not a property of a subject; there are "
            f"{', '.join(PROPERTIES)} (scanroom.subject.model). Choose among them."
        )
    table = table or tissue_table()
    values = {
        quantity: np.array(
            [table.number(tissue, quantity, field).value for tissue in mixture.tissues]
        )
        for quantity in {"proton_density", *properties}
    }
    # A map of small codes is looked up in a table with one row for each pair and share.
    n = len(mixture.tissues)
    code = np.multiply(mixture.first, n, dtype=np.uint32) + mixture.second
    code *= WHOLE + 1
    code += mixture.share
    used = np.zeros(n * n * (WHOLE + 1), bool)
    for layer in code:
        used[layer] = True
    rows = np.flatnonzero(used)
    pair, share = rows // (WHOLE + 1), rows % (WHOLE + 1) / WHOLE
    first, second = pair // n, pair % n
    density = values["proton_density"]
    protons = share * density[first], (1 - share) * density[second]
    maps = {
        quantity: _looked_up(
            _mix(quantity, values[quantity], (first, second), (share, protons)), rows, code
        )
        for quantity in dict.fromkeys(["proton_density", *properties])
    }
    return Subject(name=name, field=field, affine=mixture.affine.copy(), maps=maps, notice=notice)


def _looked_up(
    values: np.ndarray, rows: np.ndarray, code: UInt32[np.ndarray, "x y z"]
) -> Float32[np.ndarray, "x y z"]:
    """Map of the values in the rows of a table; where all are one, a view of that one number."""
    numbers = values.astype(np.float32)
    if np.all(numbers == numbers[0]):
        return np.broadcast_to(numbers[0], code.shape)
    table = np.zeros(int(rows[-1]) + 1, np.float32)
    table[rows] = numbers
    return np.asarray(table[code])


def _mix(
    quantity: str,
    values: np.ndarray,
    tissues: tuple[np.ndarray, np.ndarray],
    weights: tuple[np.ndarray, tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Mix one property of two tissues."""
    a, b = values[tissues[0]], values[tissues[1]]
    share, (mine, other) = weights
    if quantity in _OF_MAJORITY:
        return np.asarray(np.where(mine >= other, a, b))
    if quantity in _RATES:
        rate = _mean(1 / a, 1 / b, mine, other, share)
        with np.errstate(divide="ignore"):
            mixed_times = 1 / rate
        return np.asarray(np.where(share == 1, a, mixed_times))
    if quantity in _OF_PROTONS:
        return _mean(a, b, mine, other, share)
    return np.asarray(np.where(share == 1, a, share * a + (1 - share) * b))


def _mean(
    a: np.ndarray, b: np.ndarray, mine: np.ndarray, other: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """Mean by protons; by volume where there are none."""
    total = mine + other
    weight = np.where(total > 0, mine / np.where(total > 0, total, 1), share)
    return np.asarray(weight * a + (1 - weight) * b)


def grid(
    size: tuple[Metre, Metre, Metre],
    voxel: tuple[Metre, Metre, Metre],
    centre: tuple[Metre, Metre, Metre],
) -> tuple[tuple[int, int, int], Float[np.ndarray, "4 4"]]:
    """Shape and affine of the smallest grid of voxels, centred, that covers a box."""
    nx, ny, nz = (int(np.ceil(round(a / b, 9))) for a, b in zip(size, voxel, strict=True))
    shape = (nx, ny, nz)
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = np.array(centre) - 0.5 * (np.array(shape) - 1) * np.array(voxel)
    return shape, affine
