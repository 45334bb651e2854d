"""Extended phase graphs: echoes of a spoiled or refocused train, without isochromats.

States are the Fourier components of the magnetisation over a voxel that each interval dephases by
one whole turn: ``f_plus[k]`` and ``f_minus[k]`` transverse, ``z[k]`` longitudinal.

References
----------
M. Weigel, J. Magn. Reson. Imaging 41, 266 (2015), doi:10.1002/jmri.24619.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

from scanroom.core.units import Radian, Second


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """What one interval leaves of each component."""

    e1: float
    e2: float


def relaxation(time: Second, t1: Second, t2: Second) -> Relaxation:
    """Relaxation over ``time``."""
    return Relaxation(e1=float(np.exp(-time / t1)), e2=float(np.exp(-time / t2)))


def equilibrium(n_states: int) -> Complex[np.ndarray, "component state"]:
    """All magnetisation along z; rows are ``f_plus``, ``f_minus``, ``z``."""
    states = np.zeros((3, n_states), np.complex128)
    states[2, 0] = 1.0
    return states


def pulse(
    states: Complex[np.ndarray, "component state"], flip: Radian, phase: Radian
) -> Complex[np.ndarray, "component state"]:
    """Rotate by a hard pulse; a phase of 0 turns about x."""
    c2, s2 = np.cos(flip / 2) ** 2, np.sin(flip / 2) ** 2
    turn, sine = np.exp(1j * phase), np.sin(flip)
    rotation = np.array(
        [
            [c2, turn**2 * s2, -1j * turn * sine],
            [turn**-2 * s2, c2, 1j / turn * sine],
            [-0.5j / turn * sine, 0.5j * turn * sine, np.cos(flip)],
        ]
    )
    return np.asarray(rotation @ states)


def relax(
    states: Complex[np.ndarray, "component state"], kept: Relaxation
) -> Complex[np.ndarray, "component state"]:
    """Relax over one interval, with recovery of the undephased state."""
    out = states * np.array([[kept.e2], [kept.e2], [kept.e1]])
    out[2, 0] += 1 - kept.e1
    return np.asarray(out)


def dephase(
    states: Complex[np.ndarray, "component state"],
) -> Complex[np.ndarray, "component state"]:
    """Dephase by one turn; the highest state is lost."""
    out = np.zeros_like(states)
    out[0, 1:] = states[0, :-1]
    out[1, :-1] = states[1, 1:]
    out[0, 0] = np.conj(out[1, 0])
    out[2] = states[2]
    return out


def refocused_train(
    n_echoes: int, refocusing: Radian, spacing: Second, t1: Second, t2: Second
) -> Float[np.ndarray, " echo"]:
    """Echo amplitudes of a CPMG train whose excitation is a perfect 90 degrees."""
    half = relaxation(spacing / 2, t1, t2)
    states = pulse(equilibrium(2 * n_echoes + 2), np.pi / 2, np.pi / 2)
    echoes = np.empty(n_echoes)
    for echo in range(n_echoes):
        states = dephase(relax(states, half))
        states = dephase(relax(pulse(states, refocusing, 0.0), half))
        echoes[echo] = abs(states[0, 0])
    return echoes


def spoiled_train(
    n_pulses: int, flip: Radian, increment: Radian, repetition: Second, times: tuple[Second, Second]
) -> Float[np.ndarray, " pulse"]:
    """Signal right after each pulse of an RF- and gradient-spoiled train; ``times`` T1 and T2."""
    kept = relaxation(repetition, *times)
    states = equilibrium(n_pulses + 1)
    signal = np.empty(n_pulses)
    for n in range(n_pulses):
        states = pulse(states, flip, increment * n * (n + 1) / 2)
        signal[n] = abs(states[0, 0])
        states = dephase(relax(states, kept))
    return signal
