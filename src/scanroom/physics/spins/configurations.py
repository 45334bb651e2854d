"""Magnetisation inside a box as a few orders of dephasing: how gradients spoil without many spins.

Within a small box the gradients wind the magnetisation up; pulses, relaxation and fields are alike
everywhere in it. So M(r + s) = sum over k of M_k exp(-i 2 pi k.s), with few k: transverse F_k,
which every gradient moves on, and longitudinal Z_k, which stay. A pulse mixes F_k, F_-k* and Z_k by
its real rotation matrix applied to the complex vector M_k. What a receiver sees of one k is the
Fourier transform of the box, a product of three sinc. The fourth coordinate of k is the time gone
by transverse, which a Lorentzian line of width 1 / (pi T2') turns into exp(-|time| / T2').

References
----------
M. Weigel, J. Magn. Reson. Imaging 41, 266 (2015), doi:10.1002/jmri.24619 (one dimension);
J. Endres et al., Magn. Reson. Med. 92, 1189 (2024), doi:10.1002/mrm.30055 (any sequence).
"""

import math
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from scanroom.physics.spins.bound_orders import mix_partners, recover_orders
from scanroom.physics.spins.trig import decay, turn
from scanroom.physics.spins.vector_orders import mix_orders

# Configurations one run may hold; the smallest are let go when there are more.
MOST = 192
# Spins of one run: their configurations should stay in a processor's second cache.
RUN = 128
_F, _Z, _ZERO = 0, 1, 2
_SLOTS = 3 * MOST + 2
# Over this length [m] what an order winds up cancels, be voxels as small as they like.
_REGION = 5e-2

# Places in the clock of a run.
TIME, MOMENT, RECOVERED, PENDING, LOST, HEARD, LOUD, SHOWN = 0, 1, 4, 5, 6, 7, 8, 9
EXCHANGED, DEPHASING = 10, 11
CLOCK = 20


class Work(NamedTuple):
    """The configurations of the run at work, in two banks that pulses copy from one to the other.

    Each has a ``kind``, a ``key`` [1/m, 1/m, 1/m, s], a ``slot`` of the bank and a ``size``, the
    largest magnitude when its run was last hit. ``tally`` is their number and the bank in use.
    ``bound`` are the banks of partners (see `bound_orders`), of no length where there are none.
    """

    banks: np.ndarray
    tally: np.ndarray
    kind: np.ndarray
    key: np.ndarray
    slot: np.ndarray
    size: np.ndarray
    clock: np.ndarray
    order_key: np.ndarray
    order_slot: np.ndarray
    order_sign: np.ndarray
    squares: np.ndarray
    share: np.ndarray
    kept: np.ndarray
    cosine: np.ndarray
    sine: np.ndarray
    bound: np.ndarray


@njit(cache=True, nogil=True)
@no_type_check
def new_work(length, coupled=False):  # noqa: FBT002
    """Room for the configurations of a run of at most ``length`` spins, a multiple of 16."""
    return Work(
        np.zeros((2, _SLOTS * 2 * length), np.float32),
        np.zeros(2, np.int64),
        np.zeros(_SLOTS, np.int64),
        np.zeros((_SLOTS, 4)),
        np.zeros(_SLOTS, np.int64),
        np.zeros(_SLOTS),
        np.zeros(CLOCK),
        np.zeros((MOST + 1, 4)),
        np.zeros((MOST + 1, 3), np.int64),
        np.zeros(MOST + 1),
        np.zeros((MOST + 1, 3), np.float32),
        np.zeros(_SLOTS),
        np.zeros(length, np.float32),
        np.zeros(length, np.float32),
        np.zeros(length, np.float32),
        np.zeros((2, _SLOTS * 2 * length if coupled else 0), np.float32),
    )


@njit(cache=True, nogil=True)
@no_type_check
def begin(work, length):
    """Put a run at equilibrium at the start of the programme."""
    work.tally[0], work.tally[1] = 1, 0
    work.kind[0], work.slot[0], work.size[0] = _ZERO, 2, 1.0
    work.key[0] = 0.0
    work.clock[:] = 0.0
    work.banks[0, 4 * length : 5 * length] = 1.0
    work.banks[0, 5 * length : 6 * length] = 0.0
    if work.bound.shape[1] > 0:
        work.bound[0, 4 * length : 5 * length] = 1.0
        work.bound[0, 5 * length : 6 * length] = 0.0


@njit(cache=True, nogil=True)
@no_type_check
def save(work, length, bank, table):
    """Copy the configurations out: magnetisation, and their kinds, keys and sizes."""
    for at in range(work.tally[0]):
        place = work.slot[at] * 2 * length
        bank[at, : 2 * length] = work.banks[work.tally[1], place : place + 2 * length]
        if work.bound.shape[1] > 0:
            bank[at, 2 * length :] = work.bound[work.tally[1], place : place + 2 * length]
        table[at, 0], table[at, 1] = work.kind[at], work.size[at]
        table[at, 2:] = work.key[at]


@njit(cache=True, nogil=True)
@no_type_check
def restore(work, length, bank, table):
    """Take up what `save` left."""
    work.tally[0], work.tally[1] = len(table), 0
    for at in range(len(table)):
        work.slot[at] = at + 2
        place = (at + 2) * 2 * length
        work.banks[0, place : place + 2 * length] = bank[at, : 2 * length]
        if work.bound.shape[1] > 0:
            work.bound[0, place : place + 2 * length] = bank[at, 2 * length :]
        work.kind[at], work.size[at] = int(table[at, 0]), table[at, 1]
        work.key[at] = table[at, 2:]


@njit(cache=True, nogil=True)
@no_type_check
def turn_and_decay(spins, work, moment, time):
    """What free precession from the run's clock to ``time`` does to every box's centre."""
    clock, cosine, sine = work.clock, work.cosine, work.sine
    elapsed = time - clock[TIME]
    kx, ky, kz = (
        moment[0] - clock[MOMENT],
        moment[1] - clock[MOMENT + 1],
        moment[2] - clock[MOMENT + 2],
    )
    pending, elapsed32 = clock[PENDING], np.float32(elapsed)
    x, y, z, offset, r2 = spins.x, spins.y, spins.z, spins.offset, spins.r2
    for i in range(x.size):
        c, s = turn(kx * x[i] + ky * y[i] + kz * z[i] + elapsed * offset[i] - pending)
        kept = decay(r2[i] * elapsed32)
        cosine[i] = c * kept
        sine[i] = s * kept


# Arrays are fetched from their tuple once per call and cut into views once per configuration: each
# costs an atomic count of references, in inner loops together as much as the arithmetic.


@njit(cache=True, nogil=True)
@no_type_check
def rotate(real, imag, cosine, sine):
    """Turn transverse magnetisation back by angles of these cosines and sines."""
    for i in range(real.size):
        a, b = real[i], imag[i]
        real[i] = a * cosine[i] + b * sine[i]
        imag[i] = b * cosine[i] - a * sine[i]


@njit(cache=True, nogil=True)
@no_type_check
def _dim(part, kept):
    for i in range(part.size):
        part[i] *= kept[i]


@njit(cache=True, nogil=True)
@no_type_check
def catch_up(spins, work, length, time, moment, turns):
    """Let a run evolve freely until ``time``; turn what is transverse by ``turns`` [cycles]."""
    clock, kind, slot, key = work.clock, work.kind, work.slot, work.key
    bank = work.banks[work.tally[1]]
    clock[PENDING] += turns
    turn_and_decay(spins, work, moment, time)
    cosine, sine, r1, kept = work.cosine, work.sine, spins.r1, work.kept
    since = np.float32(time - clock[RECOVERED])
    for i in range(r1.size):
        kept[i] = decay(r1[i] * since)
    kx, ky, kz = moment[0], moment[1], moment[2]
    kx, ky, kz = kx - clock[MOMENT], ky - clock[MOMENT + 1], kz - clock[MOMENT + 2]
    elapsed = time - clock[TIME]
    coupled = work.bound.shape[1] > 0
    if coupled:
        recover_orders(spins.bound, work, length, time - clock[EXCHANGED])
    for at in range(work.tally[0]):
        if coupled and kind[at] != _F:
            continue
        place = slot[at] * 2 * length
        real, imag = bank[place : place + length], bank[place + length : place + 2 * length]
        if kind[at] == _F:
            rotate(real, imag, cosine, sine)
            key[at, 0] += kx
            key[at, 1] += ky
            key[at, 2] += kz
            key[at, 3] += elapsed
        elif kind[at] == _Z:
            _dim(real, kept)
            _dim(imag, kept)
        else:
            for i in range(r1.size):
                real[i] = np.float32(1.0) - (np.float32(1.0) - real[i]) * kept[i]
    clock[TIME] = clock[RECOVERED] = clock[EXCHANGED] = time
    clock[MOMENT], clock[MOMENT + 1], clock[MOMENT + 2] = moment[0], moment[1], moment[2]
    clock[PENDING] = 0.0


@njit(cache=True, nogil=True)
@no_type_check
def _merge(bank, length, slot, other, sign):
    """Add one configuration, or its conjugate, to another."""
    mine = bank[slot * 2 * length : (slot * 2 + 2) * length]
    yours = bank[other * 2 * length : (other * 2 + 2) * length]
    for i in range(length):
        mine[i] += yours[i]
    for i in range(length, 2 * length):
        mine[i] += sign * yours[i]


@njit(cache=True, nogil=True)
@no_type_check
def _find(key, at, order_key, n_orders, nearness):
    """Order of a configuration: 1 + its number, negative if opposite, or 0 if it is new."""
    near, longest = nearness
    a, b, c, d = key[at, 0], key[at, 1], key[at, 2], key[at, 3]
    for order in range(n_orders):
        x, y, z, t = (
            order_key[order, 0],
            order_key[order, 1],
            order_key[order, 2],
            order_key[order, 3],
        )
        close = abs(c - z) < near[2] and abs(a - x) < near[0] and abs(b - y) < near[1]
        if close and abs(d - t) < longest:
            return order + 1
        close = abs(c + z) < near[2] and abs(a + x) < near[0] and abs(b + y) < near[1]
        if close and abs(d + t) < longest:
            return -order - 1
    return 0


@njit(cache=True, nogil=True)
@no_type_check
def _gather(work, length, nearness):
    """Bring together what a pulse mixes; return the number of orders."""
    bank = work.banks[work.tally[1]]
    key, kind, slots = work.key, work.kind, work.slot
    order_key, order_slot, order_sign = work.order_key, work.order_slot, work.order_sign
    n_orders = 1
    order_key[0], order_slot[0], order_sign[0] = 0.0, 0, 1.0
    for at in range(work.tally[0]):
        found = _find(key, at, order_key, n_orders, nearness)
        if found == 0:
            for i in range(4):
                order_key[n_orders, i] = key[at, i]
            for i in range(3):
                order_slot[n_orders, i] = 0
            order_sign[n_orders] = 1.0
            n_orders += 1
            found = n_orders
        sign, order = (1.0 if found > 0 else -1.0), abs(found) - 1
        which = 2 if kind[at] != _F else (0 if sign > 0 else 1)
        if order_slot[order, which] == 0:
            order_slot[order, which] = slots[at]
            if which == 2:
                order_sign[order] = sign
        else:
            same = which != 2 or sign == order_sign[order]
            conjugate = np.float32(1.0) if same else np.float32(-1.0)
            _merge(bank, length, order_slot[order, which], slots[at], conjugate)
            if which == 2 and work.bound.shape[1] > 0:
                partner = work.bound[work.tally[1]]
                _merge(partner, length, order_slot[order, which], slots[at], conjugate)
    # Of order zero, F is its own opposite.
    order_slot[0, 1] = order_slot[0, 0]
    return n_orders


@njit(cache=True, nogil=True)
@no_type_check
def _scatter(work, n_orders, faintest, slowest_r2):
    """List what a pulse left; return how many.

    Let go what is small already, or will be when it has been transverse once more for as long as
    it took to dephase: that is what it takes to come back.
    """
    key, kind, slot, sizes = work.key, work.kind, work.slot, work.size
    order_key, squares = work.order_key, work.squares
    count = 0
    for order in range(n_orders):
        for which in range(3):
            size = math.sqrt(squares[order, which])
            zero = order == 0 and which == 2
            back = math.exp(-abs(order_key[order, 3]) * slowest_r2)
            if (size * back <= faintest and not zero) or (order == 0 and which == 1):
                continue
            if count == MOST:
                return MOST + 1
            sign = -1.0 if which == 1 else 1.0
            kind[count] = _F if which < 2 else (_ZERO if order == 0 else _Z)
            for i in range(4):
                key[count, i] = sign * order_key[order, i]
            slot[count] = 2 + 3 * order + which
            sizes[count] = size
            count += 1
    return count


@njit(cache=True, nogil=True)
@no_type_check
def _note_shown(work, n_orders, limits, slowest_r2):
    """Add up the squares of what a region would have shown of what was let go for want of room."""
    order_key, squares, clock = work.order_key, work.squares, work.clock
    for order in range(n_orders):
        back = math.exp(-abs(order_key[order, 3]) * slowest_r2)
        for which in range(3):
            size = math.sqrt(squares[order, which])
            if limits[0] < size * back <= limits[1]:
                shown = size * back
                for axis in range(3):
                    shown /= max(1.0, math.pi * abs(order_key[order, axis]) * _REGION)
                clock[SHOWN] += shown * shown


@njit(cache=True, nogil=True)
@no_type_check
def mix(work, maps, length, limits):
    """Apply the maps of a pulse to every order, and drop what stays below the faintest.

    ``limits`` are the differences of moment, by axis [1/m], and of time [s] below which orders
    count as one, the faintest size and the slowest transverse relaxation of the run [1/s].
    """
    nearness, faintest, slowest_r2 = limits
    n_orders = _gather(work, length, nearness)
    old, new, squares = work.banks[work.tally[1]], work.banks[1 - work.tally[1]], work.squares
    order_slot, order_sign = work.order_slot, work.order_sign
    step = 2 * length
    new[:step] = np.float32(0.0)
    coupled = work.bound.shape[1] > 0
    old_bound, new_bound = work.bound[work.tally[1]], work.bound[1 - work.tally[1]]
    new_bound[:step] = np.float32(0.0)
    for order in range(n_orders):
        f, g, z = order_slot[order, 0], order_slot[order, 1], order_slot[order, 2]
        out = 2 + 3 * order
        rows = (f * step, g * step, z * step, out * step, (out + 1) * step, (out + 2) * step)
        share = np.float32(1.0) if order == 0 else np.float32(0.0)
        numbers = (np.float32(order_sign[order]), share)
        mix_orders((old, new, maps), rows, numbers, (squares, 3 * order), length)
        if coupled:
            banks = (old, new, old_bound, new_bound, maps)
            mix_partners(banks, rows, numbers, squares[order], length)
    work.tally[1] = 1 - work.tally[1]
    count, limit = MOST + 1, faintest
    while True:
        count = _scatter(work, n_orders, limit, slowest_r2)
        if count <= MOST:
            break
        limit = max(2.0 * limit, 1e-9)
        work.clock[LOST] = max(work.clock[LOST], limit)
    if limit > faintest:
        _note_shown(work, n_orders, (faintest, limit), slowest_r2)
    work.tally[0] = count
    loudest = 0.0
    for at in range(count):
        if work.kind[at] == _F:
            loudest = max(loudest, work.size[at])
    work.clock[LOUD] = loudest


@njit(cache=True, nogil=True)
@no_type_check
def shift(work, moment, time):
    """Move every transverse configuration on by a moment [1/m] and a time [s]."""
    key, kind = work.key, work.kind
    x, y, z = moment
    for at in range(work.tally[0]):
        if kind[at] == _F:
            key[at, 0] += x
            key[at, 1] += y
            key[at, 2] += z
            key[at, 3] += time


@njit(cache=True, nogil=True)
@no_type_check
def set_clock(work, time, moment, turns):
    """Note when and at which moment a pulse ended, and the phase [cycles] still to be taken off."""
    work.clock[TIME] = work.clock[RECOVERED] = work.clock[EXCHANGED] = time
    work.clock[MOMENT : MOMENT + 3] = moment
    work.clock[PENDING] = -turns


@njit(inline="always")
@no_type_check
def _sinc(turns):
    """Mean of exp(-i 2 pi turns s) over -1/2 < s < 1/2."""
    angle = math.pi * turns
    return math.sin(angle) / angle if abs(angle) > 1e-4 else 1.0 - angle * angle / 6.0


@njit(cache=True, nogil=True)
@no_type_check
def list_seen(states, count, view):
    """Share of every configuration that a receiver sees; the dominant one (-1: none) and its size.

    A box shows of a configuration its own Fourier transform. ``states`` are the keys, kinds, sizes
    and (written) shares; ``view`` is the moment from the run's clock to the window's middle sample,
    the box's edges, the time to that sample, half the window [s] and the size below which
    a configuration is not looked at. Third answer: the sign of the dominant one's time, 0 if it
    passes through zero within the window. Where ``whole`` is set, a share is the most that a sinc
    of its argument or any larger one can be.
    """
    key, kind, sizes, shares = states
    moment, edges, times, faintest, whole = view
    mx, my, mz = moment
    best, largest = -1, 0.0
    for at in range(count):
        shares[at] = 0.0
        if kind[at] != _F or sizes[at] <= faintest:
            continue
        kx, ky, kz = key[at, 0] + mx, key[at, 1] + my, key[at, 2] + mz
        share = 1.0
        for axis in range(3):
            turns = kx * edges[axis, 0] + ky * edges[axis, 1] + kz * edges[axis, 2]
            if whole:
                share *= 1.0 / max(1.0, math.pi * abs(turns))
            else:
                share *= _sinc(turns)
            if abs(share) * sizes[at] <= faintest:
                break
        if abs(share) * sizes[at] > faintest:
            shares[at] = share
            if abs(share) * sizes[at] > largest:
                best, largest = at, abs(share) * sizes[at]
    middle = key[best, 3] + times[0] if best >= 0 else 0.0
    side = 0 if abs(middle) < times[1] else (1 if middle > 0 else -1)
    return best, largest, side


@njit(cache=True, nogil=True)
@no_type_check
def _add_share(total, part, how, r2_prime):
    """Add one configuration, its share of what is seen and its relaxation by T2' in ``how``."""
    share, late = how
    if late == 0.0:
        for i in range(r2_prime.size):
            total[i] += share * part[i]
        return
    for i in range(r2_prime.size):
        total[i] += share * decay(r2_prime[i] * late) * part[i]


@njit(cache=True, nogil=True)
@no_type_check
def add_seen(work, length, r2_prime, late, signal):
    """Add up what `list_seen` found: the transverse magnetisation of every box at the clock.

    It is relaxed by T2' as it will be ``late`` [s] after the clock.
    """
    real, imag = signal[0], signal[1]
    real[:] = np.float32(0.0)
    imag[:] = np.float32(0.0)
    bank, slot, key, shares = work.banks[work.tally[1]], work.slot, work.key, work.share
    for at in range(work.tally[0]):
        if shares[at] != 0.0:
            how = (np.float32(shares[at]), np.float32(abs(key[at, 3] + late)))
            place = slot[at] * 2 * length
            _add_share(real, bank[place : place + length], how, r2_prime)
            _add_share(imag, bank[place + length : place + 2 * length], how, r2_prime)
