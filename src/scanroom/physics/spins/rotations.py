"""What a radio-frequency pulse does, tabulated over off-resonance and strength.

With the frame turning at the pulse's own frequency, dM/dt = omega x M - relaxation, omega =
-2 pi (Re b, Im b, offset). Without relaxation the pulse is one rotation, held as Cayley-Klein
numbers (a, b). Relaxation enters by the first Magnus term in the interaction frame, which needs
only P = int u u^T dt and q = int u dt, where u(t) is the direction that the pulse, up to t, turns
onto z: M(T) = U exp(-R2 T - (R1 - R2) P) M(0) + R1 U exp(...)^(1/2) q. One table therefore serves
every T1 and T2, every gradient (an offset) and every flip angle (a strength) of one pulse shape.
"""

import math
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Complex, Float, Int
from numba import njit

from scanroom.core.units import Hertz, Second

# Nodes per cycle of 1/duration in offset, and radians of flip per node in strength: six-point and
# four-point Lagrange interpolation then err by less than 3e-7 and 1e-6.
_OFFSET_NODES = 16.0
_FLIP_STEP = 0.15
# Half angle per step [rad] up to which the seven-term series of sine and cosine are exact to 1e-12.
_HALF_ANGLE = 0.5
N_ENTRIES = 12
# Share decayed during a pulse up to which four terms of the exponential of its half are exact to
# 3e-7.
_SHORT = 0.15
_LANE = 64


class PulseTable(NamedTuple):
    """Cayley-Klein numbers and relaxation integrals of one shape on a grid.

    ``entries[strength, offset]`` holds Re a, Im a, Re b, Im b, Pxx, Pyy, Pxy, Pxz, Pyz, qx, qy, qz,
    the last eight divided by the duration.
    """

    entries: np.ndarray
    offset_first: float
    offset_step: float
    strength_first: float
    strength_step: float
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A pulse shape: ``step[i]`` (largest magnitude 1) held from ``edge[i]`` to ``edge[i + 1]``.

    ``step`` is the b of Bloch's equation, the conjugate of what the transmitter plays.
    """

    edge: Float[np.ndarray, " step_plus_1"]
    step: Complex[np.ndarray, " step"]

    @property
    def duration(self) -> Second:
        """From the first edge to the last."""
        return float(self.edge[-1] - self.edge[0])

    @property
    def area(self) -> Second:
        """Integral of the magnitude: turns per hertz of strength."""
        return float(np.abs(self.step) @ np.diff(self.edge))


@njit(cache=True, nogil=True)
@no_type_check
def advance(state, angle, strength, pulse, weight):
    """Turn 64 spins by one step; add the step to the integrals of u.

    ``angle`` is pi offset dt, ``pulse`` pi b dt of unit strength.
    """
    for i in range(_LANE):
        pulse_real, pulse_imag = strength[i] * pulse.real, strength[i] * pulse.imag
        half = angle[i] * angle[i] + pulse_real * pulse_real + pulse_imag * pulse_imag
        cosine = 1.0 + half * (
            -1 / 2 + half * (1 / 24 + half * (-1 / 720 + half * (1 / 40320 - half / 3628800)))
        )
        sinc = 1.0 + half * (
            -1 / 6 + half * (1 / 120 + half * (-1 / 5040 + half * (1 / 362880 - half / 39916800)))
        )
        along, up, across = angle[i] * sinc, pulse_real * sinc, pulse_imag * sinc
        # step: a = cosine + i along, b = i (up + i across)
        ar, ai, br, bi = state[0, i], state[1, i], state[2, i], state[3, i]
        new_ar = cosine * ar - along * ai + across * br - up * bi
        new_ai = cosine * ai + along * ar + across * bi + up * br
        new_br = cosine * br + along * bi - across * ar - up * ai
        new_bi = cosine * bi - along * br - across * ai + up * ar
        state[0, i], state[1, i], state[2, i], state[3, i] = new_ar, new_ai, new_br, new_bi
        ux = -2.0 * (new_ar * new_br - new_ai * new_bi)
        uy = -2.0 * (new_ar * new_bi + new_ai * new_br)
        uz = new_ar * new_ar + new_ai * new_ai - new_br * new_br - new_bi * new_bi
        state[4, i] += weight * ux * ux
        state[5, i] += weight * uy * uy
        state[6, i] += weight * ux * uy
        state[7, i] += weight * ux * uz
        state[8, i] += weight * uy * uz
        state[9, i] += weight * ux
        state[10, i] += weight * uy
        state[11, i] += weight * uz


@njit(cache=True, nogil=True)
@no_type_check
def _tabulate(offsets, strength, time, signal, out):
    """Fill one row of the table: every offset at one strength."""
    state = np.empty((N_ENTRIES, _LANE))
    angle = np.zeros(_LANE)
    strengths = np.full(_LANE, strength)
    duration = time.sum()
    for first in range(0, offsets.size, _LANE):
        count = min(_LANE, offsets.size - first)
        state[:] = 0.0
        state[0] = 1.0
        state[11] = 0.5 * time[0] / duration
        for step in range(time.size):
            turned = math.pi * time[step]
            for i in range(count):
                angle[i] = turned * offsets[first + i]
            following = time[step + 1] if step + 1 < time.size else 0.0
            weight = 0.5 * (time[step] + following) / duration
            advance(state, angle, strengths, turned * signal[step], weight)
        for i in range(count):
            for entry in range(N_ENTRIES):
                out[first + i, entry] = state[entry, i]


def refined(
    envelope: Envelope, fastest: Hertz
) -> tuple[Float[np.ndarray, " step"], Complex[np.ndarray, " step"]]:
    """Cut the steps so that none turns by more than the series allow; return lengths and values."""
    lengths = np.diff(envelope.edge)
    pieces = np.maximum(np.ceil(np.pi * fastest * lengths / _HALF_ANGLE), 1).astype(int)
    return np.repeat(lengths / pieces, pieces), np.repeat(envelope.step, pieces)


def _nodes(low: float, high: float, step: float, before: int, after: int) -> tuple[float, int]:
    """First node and number of nodes so that interpolation stays inside."""
    count = int(np.ceil((high - low) / step)) + before + after + 1
    return low - before * step, count


def pulse_table(
    envelope: Envelope,
    offsets: tuple[Hertz, Hertz],
    strengths: tuple[Hertz, Hertz],
    pool: Executor,
) -> PulseTable:
    """Tabulate a shape for every total offset and peak strength between the given bounds."""
    offset_step = 1.0 / (_OFFSET_NODES * envelope.duration)
    strength_step = _FLIP_STEP / (2 * np.pi * max(envelope.area, 1e-12))
    offset_first, n_offsets = _nodes(*offsets, offset_step, 2, 3)
    strength_first, n_strengths = _nodes(*strengths, strength_step, 1, 2)
    offset = offset_first + offset_step * np.arange(n_offsets)
    strength = strength_first + strength_step * np.arange(n_strengths)
    fastest = float(np.hypot(np.abs(offset).max(), np.abs(strength).max()))
    time, signal = refined(envelope, fastest)
    entries = np.empty((n_strengths, n_offsets, N_ENTRIES), np.float32)
    jobs = [
        pool.submit(_tabulate, offset, value, time, signal, entries[row])
        for row, value in enumerate(strength)
    ]
    for job in jobs:
        job.result()
    return PulseTable(
        entries, offset_first, offset_step, strength_first, strength_step, envelope.duration
    )


def pulse_reach(table: PulseTable) -> tuple[Float[np.ndarray, " offset"], ...]:
    """Largest tilt and largest shift of phase [rad], against free precession, at each offset.

    A pulse tilts by at most ``2 |b|``; far from resonance, where the tilt has died out, it still
    shifts the phase of what is transverse already (F. Bloch, A. Siegert, Phys. Rev. 57, 522, 1940).
    """
    entries = table.entries
    offset = table.offset_first + table.offset_step * np.arange(entries.shape[1])
    free = np.exp(1j * np.pi * offset * table.duration)
    apart = np.hypot(entries[..., 0] - free.real, entries[..., 1] - free.imag)
    tilt = np.hypot(entries[..., 2], entries[..., 3])
    return tuple(np.asarray(2 * part.max(axis=0), np.float64) for part in (tilt, apart))


def reaches(
    tables: Iterable[PulseTable],
) -> tuple[Float[np.ndarray, " node"], Float[np.ndarray, " node"], Int[np.ndarray, " edge"]]:
    """`pulse_reach` of all tables, one behind another, and where each begins."""
    reach = [pulse_reach(table) for table in tables]
    tilts, shifts = (np.concatenate([*(r[i] for r in reach), np.zeros(0)]) for i in (0, 1))
    return tilts, shifts, np.cumsum([0, *(len(tilt) for tilt, _ in reach)])


def at_offsets(
    table: PulseTable,
    reach: Float[np.ndarray, " offset"],
    offset: Float[np.ndarray, " spin"],
) -> Float[np.ndarray, " spin"]:
    """Reach of a pulse at the nearest offsets [Hz] of its table."""
    place = np.rint((offset - table.offset_first) / table.offset_step).astype(np.int64)
    return np.asarray(reach[np.clip(place, 0, len(reach) - 1)])


@njit(inline="always")
@no_type_check
def lagrange6(f, out):
    """Weights of the nodes -2..3 at ``0 <= f < 1``."""
    a, b, c, d, e, g = f + 2.0, f + 1.0, f, f - 1.0, f - 2.0, f - 3.0
    out[0] = -b * c * d * e * g / 120.0
    out[1] = a * c * d * e * g / 24.0
    out[2] = -a * b * d * e * g / 12.0
    out[3] = a * b * c * e * g / 12.0
    out[4] = -a * b * c * d * g / 24.0
    out[5] = a * b * c * d * e / 120.0


@njit(inline="always")
@no_type_check
def lagrange4(f, out):
    """Weights of the nodes -1..2 at ``0 <= f < 1``."""
    out[0] = -f * (f - 1.0) * (f - 2.0) / 6.0
    out[1] = (f + 1.0) * (f - 1.0) * (f - 2.0) / 2.0
    out[2] = -(f + 1.0) * f * (f - 2.0) / 2.0
    out[3] = (f + 1.0) * f * (f - 1.0) / 6.0


@njit(cache=True, nogil=True)
@no_type_check
def interpolate(table, offset, strength, weights, out):
    """Entries of the table at one offset and strength."""
    place = (offset - table.offset_first) / table.offset_step
    column = min(max(int(place), 2), table.entries.shape[1] - 4)
    lagrange6(place - column, weights[0])
    place = (strength - table.strength_first) / table.strength_step
    row = min(max(int(place), 1), table.entries.shape[0] - 3)
    lagrange4(place - row, weights[1])
    for entry in range(N_ENTRIES):
        out[entry] = 0.0
    for i in range(4):
        for j in range(6):
            weight = np.float32(weights[1, i] * weights[0, j])
            node = table.entries[row - 1 + i, column - 2 + j]
            for entry in range(N_ENTRIES):
                out[entry] += weight * node[entry]


@njit(cache=True, nogil=True)
@no_type_check
def _relaxation(entry, r1, r2, duration, work):
    """``exp(-R2 T - (R1 - R2) P)`` into ``work[0]``, and of half the pulse into ``work[3]``.

    Series to the fourth power of a half, or, of what decays fast, of a sixteenth and then squares.
    """
    small, power, total = work[1], work[2], work[0]
    parts, squares = (2.0, 0) if r2 * duration < _SHORT and r1 * duration < _SHORT else (16.0, 3)
    scale = (r2 - r1) * duration / parts
    small[0, 0], small[1, 1] = entry[4] * scale, entry[5] * scale
    small[2, 2] = (1.0 - entry[4] - entry[5]) * scale
    small[0, 1] = small[1, 0] = entry[6] * scale
    small[0, 2] = small[2, 0] = entry[7] * scale
    small[1, 2] = small[2, 1] = entry[8] * scale
    for i in range(3):
        small[i, i] -= r2 * duration / parts
    total[:] = small / 4.0
    for i in range(3):
        total[i, i] += 1.0
    for divisor in (3.0, 2.0, 1.0):
        _multiply(small, total, power)
        total[:] = power / divisor
        for i in range(3):
            total[i, i] += 1.0
    for _ in range(squares):
        _multiply(total, total, power)
        total[:] = power
    work[3][:] = total
    _multiply(work[3], work[3], total)


@njit(inline="always")
@no_type_check
def _multiply(left, right, out):
    """Product of two 3 x 3 matrices."""
    for i in range(3):
        for j in range(3):
            out[i, j] = (
                left[i, 0] * right[0, j] + left[i, 1] * right[1, j] + left[i, 2] * right[2, j]
            )


@njit(cache=True, nogil=True)
@no_type_check
def turn_of(entry, rotation):
    """Write the rotation of table entries: 3 x 3 matrix of their Cayley-Klein numbers.

    `affine_map` writes it out again: a call there makes plans of pulses a tenth slower.
    """
    size = math.sqrt(entry[0] ** 2 + entry[1] ** 2 + entry[2] ** 2 + entry[3] ** 2)
    a = complex(entry[0], entry[1]) / size
    b = complex(entry[2], entry[3]) / size
    to_m, to_conj, to_z = np.conj(a) ** 2, -b * b, 2.0 * np.conj(a) * b
    rotation[0, 0], rotation[0, 1] = to_m.real + to_conj.real, -to_m.imag + to_conj.imag
    rotation[1, 0], rotation[1, 1] = to_m.imag + to_conj.imag, to_m.real - to_conj.real
    rotation[0, 2], rotation[1, 2] = to_z.real, to_z.imag
    rotation[2, 0], rotation[2, 1] = -2.0 * (a * b).real, -2.0 * (a * b).imag
    rotation[2, 2] = 1.0 - 2.0 * (b.real * b.real + b.imag * b.imag)


@njit(cache=True, nogil=True)
@no_type_check
def affine_map(entry, spin, duration, work, out):
    """Turn table entries into the affine map of one spin (R1, R2, turns of its transmit phase).

    ``out`` takes the matrix row by row, then the vector.
    """
    r1, r2, turns = spin
    size = math.sqrt(entry[0] ** 2 + entry[1] ** 2 + entry[2] ** 2 + entry[3] ** 2)
    a = complex(entry[0], entry[1]) / size
    b = complex(entry[2], entry[3]) / size
    _relaxation(entry, r1, r2, duration, work)
    turned, rotation = work[1], work[2]
    to_m, to_conj, to_z = np.conj(a) ** 2, -b * b, 2.0 * np.conj(a) * b
    rotation[0, 0], rotation[0, 1] = to_m.real + to_conj.real, -to_m.imag + to_conj.imag
    rotation[1, 0], rotation[1, 1] = to_m.imag + to_conj.imag, to_m.real - to_conj.real
    rotation[0, 2], rotation[1, 2] = to_z.real, to_z.imag
    rotation[2, 0], rotation[2, 1] = -2.0 * (a * b).real, -2.0 * (a * b).imag
    rotation[2, 2] = 1.0 - 2.0 * (b.real * b.real + b.imag * b.imag)
    _multiply(rotation, work[3], turned)  # work[3]: relaxation of half the pulse
    scale = r1 * duration
    for i in range(3):
        out[9 + i] = scale * (
            turned[i, 0] * entry[9] + turned[i, 1] * entry[10] + turned[i, 2] * entry[11]
        )
    _multiply(rotation, work[0], turned)
    _turn_frame(turned, turns, out)


@njit(cache=True, nogil=True)
@no_type_check
def _turn_frame(matrix, turns, out):
    """Write Z(turns) matrix Z(-turns) and turn the vector, for a transmit field with a phase."""
    c, s = math.cos(2.0 * math.pi * turns), math.sin(2.0 * math.pi * turns)
    for i in range(3):
        x, y = matrix[i, 0], matrix[i, 1]
        matrix[i, 0], matrix[i, 1] = x * c - y * s, x * s + y * c
    for j in range(3):
        x, y = matrix[0, j], matrix[1, j]
        out[j], out[3 + j], out[6 + j] = x * c - y * s, x * s + y * c, matrix[2, j]
    x, y = out[9], out[10]
    out[9], out[10] = x * c - y * s, x * s + y * c
