"""Filter against tones, converter against Bennett's law, demodulation against a pure tone."""

import dataclasses

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.physics.receiver import (
    Receiver,
    demodulation,
    droop,
    filter_gain,
    full_scale_for,
    noise_bandwidth,
    quantisation_step,
    quantise,
)

CHANNEL = Receiver(full_scale=1.0, n_bits=8, converter_rate=1e6)
DWELL = 1e-6  # one converter sample each: no averaging


def test_filter_is_one_inside_and_half_at_the_edge():
    gain = filter_gain(CHANNEL, np.array([0.0, 0.4, 0.45, 0.5, -0.5]))
    np.testing.assert_allclose(gain, [1, 1, 0.75, 0.5, 0.5], atol=1e-12)


@pytest.mark.parametrize("cycle", [0, 17, -60, 62, 64])
def test_a_tone_leaves_the_filter_with_its_gain_and_phase(cycle):
    tone = np.exp(2j * np.pi * cycle * np.arange(128) / 128)[None]
    gain = filter_gain(CHANNEL, np.array([cycle / 128]))[0]
    np.testing.assert_allclose(droop(CHANNEL, tone), gain * tone, atol=2e-6)  # float32 transform


def test_white_noise_keeps_the_noise_bandwidth_of_its_power():
    # closed form: flat part, and the mean of (1 - c (1 - cos)/2)^2 over the fall, c = 1/2
    assert noise_bandwidth(CHANNEL) == pytest.approx(0.8 + 0.2 * (1 - 0.5 + 0.25 * 3 / 8), abs=1e-6)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(64, 4096, 2)) @ [1, 1j]
    kept = np.mean(np.abs(droop(CHANNEL, noise)) ** 2) / np.mean(np.abs(noise) ** 2)
    assert kept == pytest.approx(noise_bandwidth(CHANNEL), rel=0.01)  # 5e5 samples: 0.2 %


def test_quantisation_error_is_a_twelfth_of_the_step_squared():
    rng = np.random.default_rng(1)
    signal = 0.2 * (rng.normal(size=(4, 50_000, 2)) @ [1, 1j])
    found, n_clipped = quantise(CHANNEL, signal, DWELL)
    step = quantisation_step(CHANNEL, DWELL)
    assert step == 2 / 256
    inside = np.maximum(np.abs(signal.real), np.abs(signal.imag)) < 1 - step
    error = (found - signal)[inside]
    # 4e5 parts of a uniform law: 0.2 %
    assert np.mean(np.abs(error) ** 2) == pytest.approx(2 * step**2 / 12, rel=0.01)
    assert n_clipped == (np.abs(signal.real) > 1).sum() + (np.abs(signal.imag) > 1).sum()


def test_four_times_the_averaging_is_worth_one_bit():
    assert quantisation_step(CHANNEL, 16e-6) == pytest.approx(quantisation_step(CHANNEL, 4e-6) / 2)
    more = dataclasses.replace(CHANNEL, n_bits=9)
    assert quantisation_step(CHANNEL, 4e-6) == pytest.approx(quantisation_step(more, 1e-6))


def test_clipping_holds_at_full_scale_and_is_counted():
    found, n_clipped = quantise(CHANNEL, np.array([[3.0 - 2.0j, 0.5 + 0.25j]]), DWELL)
    assert n_clipped == 2
    np.testing.assert_array_equal(found, [[1.0 - 1.0j, 0.5 + 0.25j]])


def test_demodulation_brings_a_tone_to_rest():
    # spins precess as exp(-i 2 pi f t)
    t = (np.arange(256) + 0.5) * 10e-6
    tone = np.exp(-2j * np.pi * 3e3 * t - 0.7j - 1j * t)
    rest = tone * demodulation(256, 10e-6, frequency=3e3, phase=0.7, modulation=t)
    np.testing.assert_allclose(rest, 1, atol=1e-6)  # float32 phasor


@pytest.mark.parametrize(
    "wrong",
    [
        {"full_scale": 0.0},
        {"n_bits": 1},
        {"flat": 1.0},
        {"edge_gain": -0.1},
        {"converter_rate": float("nan")},
    ],
)
def test_impossible_receivers_are_refused(wrong):
    with pytest.raises(ProtocolError, match="receiver is"):
        dataclasses.replace(CHANNEL, **wrong)


def test_gain_needs_a_signal():
    assert full_scale_for(0.1) == pytest.approx(0.2)
    with pytest.raises(ProtocolError, match="largest signal"):
        full_scale_for(0.0)
