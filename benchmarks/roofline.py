"""What the machine can do, and what a repetition of a gradient echo asks of it."""

import time

import numba as nb
import numpy as np

from scanroom.physics.spins.engine import Settings, simulate
from scanroom.physics.spins.ensemble import Spins
from validation.mri_bloch_truths import Timeline, sinc

_TRIAD = 20_000_000
_CHAINS, _ROUNDS, _WIDTH = 8, 40_000, 16
_SPINS, _REPETITIONS, _COILS, _SAMPLES = 100_000, 64, 8, 256
# Per spin and repetition, by the kernels: 12 taps (6, real and imaginary) times 2 coil parts of 8
# coils multiply-added; a pulse's affine map of 3 x 4; two turns with sine and cosine, 30 each.
_FLOPS = {"spreading": 2 * 12 * 2 * _COILS, "pulse": 2 * 12, "free precession": 2 * 40}
# Read per spin and repetition: weights, taps, plan, magnetisation, relaxation; written:
# magnetisation twice.
_BYTES = {"weights": 2 * _COILS * 4, "taps": 12 * 4, "pulse map": 12 * 4, "spin": 4 * 12 + 8 * 4}


@nb.njit(parallel=True, fastmath=True)
def _triad(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:  # pragma: no cover - compiled
    for i in nb.prange(a.size):
        a[i] = b[i] + np.float32(3.0) * c[i]


@nb.njit(parallel=True, fastmath=True)
def _multiply_add(out: np.ndarray, rounds: int) -> None:  # pragma: no cover - compiled
    for thread in nb.prange(out.shape[0]):
        x = out[thread].copy()
        for _ in range(rounds):
            for i in range(x.size):
                x[i] = x[i] * np.float32(0.999) + np.float32(0.001)
        out[thread] = x


def limits() -> dict[str, float]:
    """Memory bandwidth [B/s] and single-precision arithmetic [flop/s] of two threads, best of 5."""
    nb.set_num_threads(min(2, nb.config.NUMBA_NUM_THREADS))
    arrays = [np.ones(_TRIAD, np.float32) for _ in range(3)]
    chains = np.ones((2, _CHAINS * _WIDTH), np.float32)
    _triad(*arrays)
    _multiply_add(chains, 10)
    bandwidth = arithmetic = 0.0
    for _ in range(5):
        start = time.perf_counter()
        _triad(*arrays)
        bandwidth = max(bandwidth, 3 * 4 * _TRIAD / (time.perf_counter() - start))
        start = time.perf_counter()
        _multiply_add(chains, _ROUNDS)
        flops = 2 * chains.size * _ROUNDS
        arithmetic = max(arithmetic, flops / (time.perf_counter() - start))
    return {"bandwidth": bandwidth, "arithmetic": arithmetic}


def work_of_a_repetition() -> dict[str, float]:
    """Time [s] per spin and repetition of the isochromat engine, and what it does in it."""
    rng, line = np.random.default_rng(0), Timeline()
    envelope, select = sinc(), np.array([0.0, 0.0, 2e5])
    for _ in range(_REPETITIONS):
        line.pulse(0.3, 0.0, envelope, gradient=select)
        line.free(2e-3, (-580.0, 100.0, -300.0)).window(_SAMPLES, 1e-5, (4.5e5, 0, 0))
        line.free(2e-3, (-570.0, -100.0, 2000.0))
    spins = Spins(
        position=rng.uniform(-0.1, 0.1, (_SPINS, 3)) * [1, 1, 0.05],
        offset=rng.uniform(-30, 30, _SPINS),
        r1=np.full(_SPINS, 1.0, np.float32),
        r2=np.full(_SPINS, 12.0, np.float32),
        transmit=np.ones(_SPINS, np.complex64),
        weight=np.ones((_SPINS, _COILS), np.complex64),
    )
    program = line.program()
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        for _window in simulate(program, spins, Settings(threads=2, tolerance=0.0, silence=0.0)):
            pass
        best = min(best, time.perf_counter() - start)
    return {
        "seconds": best / (_SPINS * _REPETITIONS),
        "flops": float(sum(_FLOPS.values())),
        "bytes": float(sum(_BYTES.values())),
        "samples": float(_SAMPLES),
        "coils": float(_COILS),
    }
