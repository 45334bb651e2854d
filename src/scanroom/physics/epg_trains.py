"""Extended phase graphs of whole trains, compiled: for dictionaries of thousands of signals.

The same physics as `scanroom.physics.epg`, which is the readable one and the truth of the tests.

References
----------
M. Weigel, J. Magn. Reson. Imaging 41, 266 (2015), doi:10.1002/jmri.24619.
"""

from typing import no_type_check

import numpy as np
from jaxtyping import Complex, Float
from numba import njit

from scanroom.core.units import Hertz, Ratio, Second


@njit(cache=True, nogil=True)
@no_type_check
def echo_train(
    excitation: float, refocusing: np.ndarray, spacing: Second, t1: Second, t2: Second
) -> Float[np.ndarray, " echo"]:
    """Echoes of a train that keeps to Carr, Purcell, Meiboom and Gill, flip angles in rad.

    Spoilers on both sides of every refocusing pulse make whatever else is excited silent, so orders
    at the pulses are odd ones only and every state is real: index j stands for order 2 j + 1.
    """
    n = len(refocusing)
    up, down, along = np.zeros(n + 2), np.zeros(n + 2), np.zeros(n + 2)
    e1, e2, half = np.exp(-spacing / t1), np.exp(-spacing / t2), np.exp(-spacing / 2 / t2)
    echoes = np.zeros(n)
    up[0] = np.sin(excitation) * half
    for i in range(n):
        cosine, sine = np.cos(refocusing[i]), np.sin(refocusing[i])
        keep, swap = (1 + cosine) / 2, (1 - cosine) / 2
        # Higher orders than these have not been made, or cannot come back in time.
        top = min(i + 1, n - i)
        for j in range(top):
            p, m, w = up[j], down[j], along[j]
            up[j] = keep * p + swap * m - sine * w
            down[j] = swap * p + keep * m + sine * w
            along[j] = (0.5 * sine * (p - m) + cosine * w) * e1
        echoes[i] = down[0] * half
        first = down[0] * e2
        for j in range(top, 0, -1):
            up[j] = up[j - 1] * e2
        up[0] = first
        for j in range(top):
            down[j] = down[j + 1] * e2
    return echoes


@njit(cache=True, nogil=True)
@no_type_check
def gradient_train(
    flip: np.ndarray,
    phase: np.ndarray,
    repetition: np.ndarray,
    times: tuple[Second, Second, Second, Ratio],
    tissue: tuple[Second, Second, Ratio, Hertz],
    n_orders: int,
) -> Complex[np.ndarray, " pulse"]:
    """Signal at the echo after each pulse, as a receiver sees it that follows the pulse's phase.

    ``times`` are the echo time, the time from the inversion to the first pulse, T of the inversion
    (0: none) and the share of the magnetisation that it inverts. ``tissue`` is T1, T2, the flip
    angle over the nominal one, and the off-resonance. Every repetition dephases by one turn, of
    which ``n_orders`` are followed; with one order the train is balanced. A phase of 0 turns about
    x; a positive off-resonance turns clockwise, as in the nomenclature.
    """
    echo, delay, inverted = times[0], times[1], times[3]
    t1, t2, scale, offset = tissue
    up = np.zeros(n_orders, np.complex128)
    down = np.zeros(n_orders, np.complex128)
    along = np.zeros(n_orders, np.complex128)
    along[0] = 1.0
    if times[2] > 0:
        along[0] = 1 - (1 + inverted) * np.exp(-delay / t1)
    signal = np.zeros(len(flip), np.complex128)
    for i in range(len(flip)):
        angle = flip[i] * scale
        keep, swap = np.cos(angle / 2) ** 2, np.sin(angle / 2) ** 2
        sine, cosine = np.sin(angle), np.cos(angle)
        turn = np.exp(1j * phase[i])
        back = np.conj(turn)
        double, twice = turn * turn * swap, back * back * swap
        top = min(i + 1, n_orders)
        for k in range(top):
            p, m, z = up[k], down[k], along[k]
            up[k] = keep * p + double * m - 1j * turn * sine * z
            down[k] = twice * p + keep * m + 1j * back * sine * z
            along[k] = 0.5j * sine * (turn * m - back * p) + cosine * z
        at = np.exp(-echo / t2 - 2j * np.pi * offset * echo)
        signal[i] = up[0] * at * back
        e1, e2 = np.exp(-repetition[i] / t1), np.exp(-repetition[i] / t2)
        spin = np.exp(-2j * np.pi * offset * repetition[i])
        for k in range(top):
            up[k] *= e2 * spin
            down[k] *= e2 * np.conj(spin)
            along[k] *= e1
        along[0] += 1 - e1
        if n_orders > 1:
            for k in range(min(top, n_orders - 1), 0, -1):
                up[k] = up[k - 1]
            for k in range(n_orders - 1):
                down[k] = down[k + 1]
            down[n_orders - 1] = 0.0
            up[0] = np.conj(down[0])
    return signal
