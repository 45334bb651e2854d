"""Vectorised elementary functions against NumPy."""

import numpy as np
from numba import njit

from scanroom.physics.spins.trig import decay, turn


@njit
def _turns(angle, cosine, sine):
    for i in range(angle.size):
        cosine[i], sine[i] = turn(angle[i])


@njit
def _decays(exponent, out):
    for i in range(exponent.size):
        out[i] = decay(exponent[i])


def test_turn_agrees_with_numpy_over_a_million_cycles():
    angle = np.random.default_rng(0).uniform(-1e6, 1e6, 20_000)
    cosine, sine = np.empty_like(angle), np.empty_like(angle)
    _turns(angle, cosine, sine)
    whole = 2 * np.pi * (angle - np.round(angle))
    # Single precision: eight roundings of 1.2e-7.
    assert np.abs(cosine - np.cos(whole)).max() < 2e-6
    assert np.abs(sine - np.sin(whole)).max() < 2e-6


def test_decay_agrees_with_numpy_and_dies_out():
    exponent = np.linspace(0, 80, 10_000).astype(np.float32)
    out = np.empty_like(exponent)
    _decays(exponent, out)
    truth = np.exp(-exponent.astype(float))
    assert (np.abs(out / truth - 1) < 1e-5).all()  # rounding of the exponent: 80 * 6e-8
    _decays(np.float32([1e9]), out[:1])
    assert 0 <= out[0] < 1e-37
