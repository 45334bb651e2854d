"""Free and bound protons, slow and plain: exact steps of matrices, and an adaptive integration.

The state is (x, y, z of the free pool, z of the bound one, 1). Nothing here is shared with the
engine but the programme and the isochromats it is given.
"""

import itertools
from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.integrate import quad, solve_ivp
from scipy.linalg import expm

from scanroom.physics.spins.ensemble import Spins
from scanroom.physics.spins.program import PULSE, Program, PulseKind

CENTRE = 1500.0
TWO_PI = 2 * np.pi


def bare_line(x: float) -> float:
    """G(x) of the super-Lorentzian by adaptive quadrature around the magic angle."""
    magic = 1 / np.sqrt(3)

    def integrand(u: float) -> float:
        v = 3 * u * u - 1
        return float(np.exp(-2 * (x / v) ** 2) / abs(v)) if v else 0.0

    near = 10.0 ** -np.arange(1, 7)
    knots = np.sort(np.concatenate([[0.0, magic, 1.0], magic * (1 - near), magic + near / 3]))
    parts = itertools.pairwise(knots)
    total = sum(quad(integrand, a, b, epsabs=1e-13, epsrel=1e-10)[0] for a, b in parts)
    return float(np.sqrt(2 / np.pi) * total)


@cache
def line(offset: float, t2: float) -> float:
    """Value of the line [s]; within 1.5 kHz the parabola of the same value and slope there."""
    if abs(offset) >= CENTRE:
        return t2 * bare_line(TWO_PI * abs(offset) * t2)
    step = 1.0
    low, here, high = (t2 * bare_line(TWO_PI * (CENTRE + more) * t2) for more in (-step, 0.0, step))
    slope = (high - low) / (2 * step)
    return here + slope * (offset**2 - CENTRE**2) / (2 * CENTRE)


def generator(who: Spins, i: int, pulse: complex, offset: float, absorbed: float) -> np.ndarray:
    """Matrix of the differential equation of one isochromat under a constant pulse [Hz]."""
    to_bound, to_free, r1b, _ = who.bound[i].astype(float)
    r1, r2 = float(who.r1[i]), float(who.r2[i])
    a, b, c = TWO_PI * offset, TWO_PI * pulse.real, TWO_PI * pulse.imag
    w = np.pi * (TWO_PI * abs(pulse)) ** 2 * absorbed
    return np.array(
        [
            [-r2, a, -c, 0.0, 0.0],
            [-a, -r2, b, 0.0, 0.0],
            [c, -b, -r1 - to_bound, to_bound, r1],
            [0.0, 0.0, to_free, -r1b - to_free - w, r1b],
            [0.0, 0.0, 0.0, 0.0, 0.0],
        ]
    )


def frequency(kind: PulseKind, who: Spins, i: int) -> float:
    """Offset of one isochromat from a pulse [Hz]."""
    return float(who.position[i] @ kind.gradient + who.offset[i] - kind.frequency)


def turned(angle: float) -> np.ndarray:
    """Rotation that multiplies x + i y by exp(-i angle)."""
    out = np.eye(5)
    c, s = np.cos(angle), np.sin(angle)
    out[:2, :2] = [[c, s], [-s, c]]
    return out


def pulse_matrix(program: Program, at: int, who: Spins, i: int) -> np.ndarray:
    """What a kind of pulse does in its own frame, step by step."""
    kind = program.pulses[at]
    envelope = program.envelopes[kind.envelope]
    offset = frequency(kind, who, i)
    absorbed = line(offset, float(who.bound[i, 3]))
    total = np.eye(5)
    for step, time in zip(envelope.step, np.diff(envelope.edge), strict=True):
        pulse = complex(kind.strength * step * np.atleast_1d(who.transmit[i])[kind.shim])
        total = expm(time * generator(who, i, pulse, offset, absorbed)) @ total
    return total


def played(program: Program, who: Spins) -> np.ndarray:
    """Transverse magnetisation of every isochromat at the middle sample of every window."""
    return np.array([_followed(program, who, i) for i in range(len(who))]).T


def _followed(program: Program, who: Spins, i: int) -> list[complex]:
    """`played` of one isochromat."""
    state = np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    now, moment, seen = 0.0, np.zeros(program.n_axes), []
    pulses: dict[int, np.ndarray] = {}
    free: dict[float, np.ndarray] = {}
    for at in range(len(program.event)):
        kind, is_pulse = int(program.kind[at]), program.event[at] == PULSE
        instant = 0 if is_pulse else 2
        time = round(program.time[at, instant] - now, 12)
        if time not in free:
            free[time] = expm(time * generator(who, i, 0j, 0.0, 0.0))
        turns = who.position[i] @ (program.moment[at, instant] - moment) + who.offset[i] * time
        arrived = turned(TWO_PI * float(turns)) @ free[time] @ state
        if not is_pulse:
            seen.append(complex(arrived[0], arrived[1]))
            continue
        if kind not in pulses:
            pulses[kind] = pulse_matrix(program, kind, who, i)
        begin, end = TWO_PI * program.turns[at]
        state = turned(end) @ pulses[kind] @ turned(-begin) @ arrived
        now, moment = program.time[at, 1], program.moment[at, 1]
    return seen


def integrated(
    who: Spins,
    duration: float,
    pulse: Callable[[float], complex],
    carrier: float,
    start: np.ndarray,
) -> np.ndarray:
    """State of the first isochromat after a smooth pulse [Hz] at a carrier [Hz]: Dormand-Prince."""
    offset = float(who.offset[0]) - carrier
    absorbed = line(offset, float(who.bound[0, 3]))

    def slope(time: float, state: np.ndarray) -> np.ndarray:
        return np.asarray(generator(who, 0, pulse(time), offset, absorbed) @ state)

    found = solve_ivp(slope, (0.0, duration), start, method="DOP853", rtol=1e-10, atol=1e-12)
    return np.asarray(found.y[:, -1])
