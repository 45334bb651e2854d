"""The same physics, slow and plain: double precision, small steps, classical Runge-Kutta."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Complex, Float

from scanroom.core.units import Second

Field = Callable[[float], tuple[Complex[np.ndarray, " spin"], Float[np.ndarray, " spin"]]]


def integrate(
    magnetisation: Float[np.ndarray, "spin 3"],
    field: Field,
    rates: tuple[Float[np.ndarray, " spin"], Float[np.ndarray, " spin"]],
    duration: Second,
    n_steps: int,
) -> Float[np.ndarray, "spin 3"]:
    """Integrate Bloch's equation from 0 to ``duration``; equilibrium is 1.

    ``field(t)`` gives b [Hz] and the offset [Hz] of every spin; ``rates`` are R1 and R2 [1/s].
    """
    r1, r2 = rates
    transverse = magnetisation[:, 0] + 1j * magnetisation[:, 1]
    state = np.stack([transverse, magnetisation[:, 2].astype(np.complex128)])

    def slope(time: float, now: np.ndarray) -> np.ndarray:
        pulse, offset = field(time)
        m, mz = now[0], now[1].real
        dm = -2j * np.pi * offset * m + 2j * np.pi * mz * pulse - r2 * m
        dmz = 2 * np.pi * (np.conj(m) * pulse).imag + r1 * (1 - mz)
        return np.stack([dm, dmz.astype(np.complex128)])

    step = duration / n_steps
    for i in range(n_steps):
        time = i * step
        k1 = slope(time, state)
        k2 = slope(time + step / 2, state + step / 2 * k1)
        k3 = slope(time + step / 2, state + step / 2 * k2)
        k4 = slope(time + step, state + step * k3)
        state = state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return np.stack([state[0].real, state[0].imag, state[1].real], axis=1)
