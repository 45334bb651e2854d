"""Phase graphs against closed forms."""

import numpy as np
import pytest

from scanroom.physics.epg import refocused_train, spoiled_train


def test_perfect_refocusing_leaves_t2_decay_alone():
    echoes = refocused_train(8, np.pi, 10e-3, 1.0, 0.1)
    assert echoes == pytest.approx(np.exp(-0.1 * np.arange(1, 9)), rel=1e-12)


def test_first_echo_of_imperfect_refocusing_is_sine_squared_of_half_the_flip():
    flip = np.radians(120.0)
    echo = refocused_train(1, flip, 1e-9, 1.0, 1.0)[0]
    assert echo == pytest.approx(np.sin(flip / 2) ** 2, rel=1e-6)


def test_spoiled_train_of_short_t2_approaches_ernst_1966():
    flip, repetition, t1 = 0.4, 20e-3, 0.8
    e1 = np.exp(-repetition / t1)
    ernst = np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip))
    signal = spoiled_train(300, flip, np.radians(117), repetition, (t1, 1e-3))
    assert signal[-1] == pytest.approx(ernst, rel=1e-5)  # exp(-TR / T2) is 2e-9
