"""From a subject to two pools of protons: what is free, and what it exchanges with."""

import numpy as np
from jaxtyping import Int

from scanroom.core.errors import ProtocolError
from scanroom.mri.twin.sampling import rate
from scanroom.physics.spins.pools import free_rate
from scanroom.subject.mixture import BOUND
from scanroom.subject.model import Subject

Voxel = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Int[np.ndarray, " n"]]


def longitudinal(subject: Subject, at: Voxel, *, wanted: bool) -> dict[str, np.ndarray]:
    """R1 [1/s] of voxels and, if ``wanted``, their exchange with bound protons, as `Spins` has it.

    The subject's T1 is what is observed of both pools together; free protons then have another one.
    """
    maps = subject.maps
    observed = rate(maps["t1"][at])
    if not wanted:
        return {"r1": observed}
    fraction, to_bound = (maps[name][at].astype(np.float64) for name in BOUND[:2])
    with np.errstate(divide="ignore", invalid="ignore"):
        to_free = np.where(to_bound > 0, to_bound / fraction, 0.0)
    bound = rate(maps["t1_bound"][at])
    free = free_rate(observed.astype(np.float64), bound.astype(np.float64), to_bound, to_free)
    rates = np.stack([to_bound, to_free, bound, maps["t2_bound"][at]], axis=1)
    return {"r1": free.astype(np.float32), "bound": rates.astype(np.float32)}


def refuse_transfer(subject: Subject, *, wanted: bool, diffusing: bool = False) -> None:
    """Refuse a subject whose bound protons are not known or cannot be, or that diffuses as well.

    Raises
    ------
    ProtocolError
        If a map is missing, or its values make no pool that exchanges. If orders are to diffuse as
        well: they lose and exchange what they store at once, not one after the other.
    """
    if not wanted:
        return
    if diffusing:
        raise ProtocolError(
            f"transfer is asked for with diffusion of {subject.name}; the twin follows one of the "
            "two in a scan (scanroom.mri.twin). Switch one of them off."
        )
    maps = subject.maps
    if missing := [name for name in BOUND if name not in maps]:
        raise ProtocolError(
            f"transfer is asked for, and {subject.name} has no map of {', '.join(missing)}; the "
            "twin needs all four of bound protons (scanroom.subject.mixture.BOUND). Load the "
            "subject with properties=(*MAGNETIC, *BOUND)."
        )
    at = np.nonzero(maps["proton_density"] > 0)
    fraction, to_bound, _, t2 = (maps[name][at] for name in BOUND)
    sound = (fraction >= 0) & (to_bound >= 0) & ((to_bound == 0) | (fraction > 0))
    if not np.all(sound & ((to_bound == 0) | (t2 > 0))):
        raise ProtocolError(
            f"bound protons of {subject.name} are negative, exchange without being there or have "
            "no T2; bound_fraction and t2_bound must be above 0 where exchange_rate is "
            "(scanroom.mri.twin). Correct the maps."
        )
    longitudinal(subject, (at[0], at[1], at[2]), wanted=True)
