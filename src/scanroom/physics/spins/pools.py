"""Two pools of protons: free water, and bound ones that show only in what they take and give.

Longitudinal magnetisation of free (a) and bound protons (b), each relative to its own equilibrium:
da/dt = R1a (1 - a) - kf (a - b), db/dt = R1b (1 - b) - kr (b - a) - W b. The free pool is the one
that pulses turn and coils see; W is how fast a pulse saturates the bound one (`saturating`).
Between pulses the two deviations from equilibrium are sums of two exponentials.

References
----------
R. M. Henkelman et al., Magn. Reson. Med. 29, 759 (1993), doi:10.1002/mrm.1910290607;
S. J. Malik, R. P. A. G. Teixeira, J. V. Hajnal, Magn. Reson. Med. 80, 767 (2018),
doi:10.1002/mrm.27040 (orders of dephasing: each longitudinal one has a bound partner).
"""

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Float32
from numba import njit

from scanroom.core.errors import ProtocolError
from scanroom.physics.spins.trig import decay, turn

N_RATES = 4
"""Columns of `Spins.bound`: kf and kr [1/s], R1b [1/s], T2b [s]."""
N_PLAIN, N_COUPLED = 12, 20
"""Numbers of an affine map of one pool, and of two (see `apply_coupled`)."""
_ONE = np.float32(1.0)


# Rows of what the kernels know of bound partners (see `bound_arrays`).
BOUND, SLOW, FAST, OWN, GAIN, LOSS, TO_BOUND, TO_FREE, R1, T2 = range(10)


def free_rate(
    observed: Float[np.ndarray, " n"],
    bound: Float[np.ndarray, " n"],
    to_bound: Float[np.ndarray, " n"],
    to_free: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    """R1 of free protons [1/s] so that both pools together recover at the ``observed`` rate.

    That is the slower of the two rates: what is left once the pools agree.

    Raises
    ------
    ProtocolError
        If no R1 of free protons makes the observed one.

    References
    ----------
    R. M. Henkelman et al. 1993, doi:10.1002/mrm.1910290607.
    """
    gap = bound - observed
    apart = np.where(to_bound > 0, gap + to_free, 1.0)
    free = observed - to_bound * gap / np.where(apart > 0, apart, 1.0)
    if (apart <= 0).any() or (free < 0).any():
        worst = float(observed[np.argmax((apart <= 0) | (free < 0))])
        raise ProtocolError(
            f"a T1 of {1 / max(worst, 1e-12):.4g} s is observed beside a bound pool; exchange with "
            "it leaves no relaxation of free protons that makes it (scanroom.physics.spins.pools). "
            "Correct t1, t1_bound, bound_fraction or exchange_rate."
        )
    return np.asarray(free)


def bound_arrays(
    rates: Float32[np.ndarray, "spin rate"], r1: Float32[np.ndarray, " spin"]
) -> Float32[np.ndarray, "row spin_or_none"]:
    """Lay bound partners out for the kernels, at equilibrium; ``r1`` is that of free protons.

    Rows are their magnetisation `BOUND`, then rates and shares. A deviation of both pools is split
    in a part that decays at the rate `SLOW` and one at `FAST`. Of the slow part, the free pool has
    `OWN` of its own deviation and `GAIN` of the other's; the bound pool has `LOSS` of the free
    pool's and 1 - `OWN` of its own. `TO_BOUND` and the rest are as in `Spins`. Without partners no
    row has any length.
    """
    if not rates.shape[1]:
        return np.zeros((T2 + 1, 0), np.float32)
    to_bound, to_free, bound, t2 = rates.T.astype(np.float64)
    free, back = r1 + to_bound, bound + to_free
    root = np.sqrt((free - back) ** 2 / 4 + to_bound * to_free)
    middle, twice = (free + back) / 2, np.where(root > 0, 2 * root, 1.0)
    fast = middle + root
    rows = (
        np.ones(len(r1)),
        middle - root,
        fast,
        np.where(root > 0, (fast - free) / twice, 1.0),
        to_bound / twice,
        to_free / twice,
        to_bound,
        to_free,
        bound,
        t2,
    )
    return np.stack(rows).astype(np.float32)


@njit(cache=True, nogil=True)
@no_type_check
def recover_both(free, bound, rates, time, equilibrium):
    """Let two pools of magnetisation recover for a time [s] towards an equilibrium, 0 or 1.

    ``free`` and ``bound`` are as long as the rows of ``rates``, the `bound_arrays` of their spins.
    """
    slow, fast, own = rates[SLOW], rates[FAST], rates[OWN]
    gain, loss = rates[GAIN], rates[LOSS]
    time32, rest = np.float32(time), np.float32(equilibrium)
    for i in range(free.size):
        p, q = decay(slow[i] * time32), decay(fast[i] * time32)
        a, b = rest - free[i], rest - bound[i]
        slow_a = own[i] * a + gain[i] * b
        slow_b = loss[i] * a + (_ONE - own[i]) * b
        free[i] = rest - (p * slow_a + q * (a - slow_a))
        bound[i] = rest - (p * slow_b + q * (b - slow_b))


@njit(cache=True, nogil=True)
@no_type_check
def recover_coupled(spins, first, last, time):
    """`precession.recover` of two pools."""
    free, bound = spins.mz[first:last], spins.bound[BOUND, first:last]
    recover_both(free, bound, spins.bound[:, first:last], time, 1.0)


@njit(cache=True, nogil=True)
@no_type_check
def apply_coupled(spins, first, last, maps, turns):
    """`precession.apply_maps` of two pools.

    Beyond the 12 numbers of one pool: what x, y, z get of the bound pool; what that gets of
    x, y, z, of itself and as a vector.
    """
    mx, my, mz = spins.mx[first:last], spins.my[first:last], spins.mz[first:last]
    bound = spins.bound[BOUND, first:last]
    cos_in, sin_in = turn(turns[0])
    cos_out, sin_out = turn(turns[1])
    for i in range(last - first):
        a = mx[i] * cos_in - my[i] * sin_in
        b = mx[i] * sin_in + my[i] * cos_in
        c, d = mz[i], bound[i]
        x = maps[0, i] * a + maps[1, i] * b + maps[2, i] * c + maps[9, i] + maps[12, i] * d
        y = maps[3, i] * a + maps[4, i] * b + maps[5, i] * c + maps[10, i] + maps[13, i] * d
        z = maps[6, i] * a + maps[7, i] * b + maps[8, i] * c + maps[11, i] + maps[14, i] * d
        own = maps[18, i] * d + maps[19, i]
        bound[i] = maps[15, i] * a + maps[16, i] * b + maps[17, i] * c + own
        mz[i] = z
        mx[i] = x * cos_out + y * sin_out
        my[i] = y * cos_out - x * sin_out
