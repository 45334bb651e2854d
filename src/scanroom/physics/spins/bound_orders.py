"""Orders of dephasing whose longitudinal part has a bound partner, as every Z_k has with two pools.

A second pair of banks, laid out as that of the orders, holds the partner of the Z in each slot.
Partners do not diffuse: with diffusion Z_k would lose and exchange at once, which is not followed.

References
----------
S. J. Malik, R. P. A. G. Teixeira, J. V. Hajnal, Magn. Reson. Med. 80, 767 (2018),
doi:10.1002/mrm.27040.
"""

from typing import no_type_check

import numpy as np
from numba import njit

from scanroom.physics.spins.pools import recover_both
from scanroom.physics.spins.saturating import left_over

_F, _ZERO = 0, 2
_HALF = np.float32(0.5)


@njit(cache=True, nogil=True)
@no_type_check
def recover_orders(bound, work, length, since):
    """Let all longitudinal orders of a run and their partners recover for a time [s]."""
    kind, slot, count = work.kind, work.slot, bound.shape[1]
    bank, partner = work.banks[work.tally[1]], work.bound[work.tally[1]]
    for at in range(work.tally[0]):
        if kind[at] == _F:
            continue
        place = slot[at] * 2 * length
        rest = 1.0 if kind[at] == _ZERO else 0.0
        real, own = bank[place : place + count], partner[place : place + count]
        recover_both(real, own, bound, since, rest)
        if kind[at] != _ZERO:
            place += length
            imag, own = bank[place : place + count], partner[place : place + count]
            recover_both(imag, own, bound, since, 0.0)


@njit(cache=True, nogil=True)
@no_type_check
def saturate_orders(spins, held, saturation, kind, times):
    """Saturate a run of boxes by a pulse that turns nobody of it; return when it last exchanged.

    ``held`` are the work and its length, ``times`` when the pulse begins and when the run last
    exchanged.
    """
    work, length = held
    now, exchanged = times
    coarse, count = saturation.coarse, spins.x.size
    partner, left = work.bound[work.tally[1]], np.empty(count)
    for piece in range(coarse.edge[kind], coarse.edge[kind + 1]):
        middle = now + coarse.duration[piece] / 2.0
        recover_orders(spins.bound, work, length, middle - exchanged)
        left_over(spins, 0, count, saturation, piece, left)
        for at in range(work.tally[0]):
            if work.kind[at] != _F:
                for part in range(2):
                    place = (work.slot[at] * 2 + part) * length
                    for i in range(count):
                        partner[place + i] *= left[i]
        exchanged = middle
        now += coarse.duration[piece]
    return exchanged


@njit(cache=True, nogil=True)
@no_type_check
def mix_partners(banks, rows, numbers, squares, length):
    """Add to what `vector_orders.mix_orders` made of one order what its bound partner does.

    ``banks`` are the old and new orders, the old and new partners and the maps (see
    `pools.apply_coupled`); ``rows`` and ``numbers`` are as there. ``squares`` takes the largest of
    F, opposite F and Z; a partner counts for the size of its Z.
    """
    old, new, old_bound, new_bound, maps = banks
    f, g, z, out_f, out_g, out_z = rows
    sign, share = numbers
    largest = np.zeros(3, np.float32)
    for i in range(length):
        fr, fi, gr, gi = old[f + i], old[f + length + i], old[g + i], old[g + length + i]
        xr, yr, zr = _HALF * (fr + gr), _HALF * (fi + gi), old[z + i]
        xi, yi, zi = _HALF * (fi - gi), _HALF * (gr - fr), sign * old[z + length + i]
        real, imag = old_bound[z + i], sign * old_bound[z + length + i]
        x, y = maps[12 * length + i], maps[13 * length + i]
        a, b = new[out_f + i] + x * real - y * imag, new[out_f + length + i] + x * imag + y * real
        new[out_f + i], new[out_f + length + i] = a, b
        largest[0] = max(largest[0], a * a + b * b)
        a, b = new[out_g + i] + x * real + y * imag, new[out_g + length + i] + y * real - x * imag
        new[out_g + i], new[out_g + length + i] = a, b
        largest[1] = max(largest[1], a * a + b * b)
        lost = maps[14 * length + i]
        a, b = new[out_z + i] + lost * real, new[out_z + length + i] + lost * imag
        new[out_z + i], new[out_z + length + i] = a, b
        largest[2] = max(largest[2], a * a + b * b)
        x, y, lost = maps[15 * length + i], maps[16 * length + i], maps[17 * length + i]
        kept = maps[18 * length + i]
        a = x * xr + y * yr + lost * zr + kept * real + share * maps[19 * length + i]
        b = x * xi + y * yi + lost * zi + kept * imag
        new_bound[out_z + i], new_bound[out_z + length + i] = a, b
        largest[2] = max(largest[2], a * a + b * b)
    for which in range(3):
        squares[which] = largest[which]
