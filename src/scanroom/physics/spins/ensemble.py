"""Who is played to: isochromats, and the order in which they are worked on."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from jaxtyping import Complex64, Float, Float32, Int

from scanroom.physics.spins.gridding import columns_of
from scanroom.physics.spins.pools import bound_arrays
from scanroom.physics.spins.precession import SpinArrays
from scanroom.physics.spins.program import PULSE, WINDOW, Program, PulseKind, WindowKind

RUN = 1024
_SLAB = 1e-3
# Relaxation rates [1/s] that are worked on apart: what cannot be gridded, and what never fades.
_SHORT_R2, _LONG_R2 = 100.0, 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spins:
    """Isochromats: place [m], offset from the carrier [Hz], relaxation [1/s], fields.

    Axes of ``position`` beyond the third are further field coordinates (see `Program`).
    ``transmit`` is the relative transmit field, in a column for each set of channel weights that
    pulses are played with, if there are several; ``weight`` is what one unit of transverse
    magnetisation, relative to equilibrium, adds to each coil's signal. ``bound`` has no columns, or
    those that `pools.N_RATES` counts: what each isochromat exchanges with bound protons.
    """

    position: Float[np.ndarray, "spin axis"]
    offset: Float[np.ndarray, " spin"]
    r1: Float32[np.ndarray, " spin"]
    r2: Float32[np.ndarray, " spin"]
    transmit: Complex64[np.ndarray, "spin ..."]
    weight: Complex64[np.ndarray, "spin coil"]
    bound: Float32[np.ndarray, "spin rate"] = field(
        default_factory=lambda: np.zeros((0, 0), np.float32)
    )

    def __post_init__(self) -> None:
        if not self.bound.shape[1]:
            object.__setattr__(self, "bound", np.zeros((len(self.offset), 0), np.float32))

    def __len__(self) -> int:
        return len(self.offset)


def joined(parts: Sequence[Spins]) -> Spins:
    """One ensemble of several."""
    names = [field.name for field in fields(Spins)]
    return Spins(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})


def order_of_work(spins: Spins, program: Program) -> Int[np.ndarray, " spin"]:
    """Sort spins so that a run of neighbours shares a slice and a part of the spectrum.

    First by 1 mm slabs across the most used slice direction, then along the most used readout
    direction. Spins of very short T2, which cannot be gridded, and of very long T2, which keep
    a run from falling silent, stay together.
    """
    across = _main_direction(program, PULSE, 2)
    along = _main_direction(program, WINDOW, 0)
    slab = np.floor(spins.position @ across / _SLAB).astype(np.int64)
    return np.lexsort((spins.position @ along, slab, np.digitize(spins.r2, [_LONG_R2, _SHORT_R2])))


def _main_direction(program: Program, event: int, otherwise: int) -> Float[np.ndarray, " axis"]:
    """Direction of the gradient that most events of one sort have."""
    kinds: Sequence[PulseKind | WindowKind] = program.windows
    if event == PULSE:
        kinds = program.pulses
    uses = np.bincount(program.kind[program.event == event], minlength=len(kinds))
    directions: dict[tuple[float, ...], int] = {}
    for kind, count in zip(kinds, uses, strict=True):
        strength = float(np.linalg.norm(kind.gradient))
        if strength > 0:
            key = tuple(np.round(kind.gradient / strength, 6).tolist())
            directions[key] = directions.get(key, 0) + int(count)
    if not directions:
        return np.array(np.eye(program.n_axes)[otherwise])
    return np.array(max(directions, key=lambda key: (directions[key], key)))


def arrays_of(spins: Spins, order: Int[np.ndarray, " spin"]) -> SpinArrays:
    """Lay the spins out for the kernels, at equilibrium."""
    position = np.ascontiguousarray(spins.position[order].T, np.float64)
    transmit = spins.transmit[order]
    transmit = transmit.reshape(len(order), transmit.size // max(len(order), 1))
    return SpinArrays(
        position[0],
        position[1],
        position[2],
        position[3:],
        np.zeros(len(order)),
        np.ascontiguousarray(spins.offset[order], np.float64),
        spins.r1[order],
        spins.r2[order],
        np.abs(transmit),
        (np.angle(transmit) / (2 * np.pi)).astype(np.float32),
        columns_of(spins.weight[order]),
        np.zeros(len(order), np.float32),
        np.zeros(len(order), np.float32),
        np.ones(len(order), np.float32),
        bound_arrays(spins.bound[order], spins.r1[order]),
    )
