"""Compiled trains against the readable phase graph and against closed forms."""

import numpy as np
import pytest

from scanroom.physics.epg import refocused_train, spoiled_train
from scanroom.physics.epg_trains import echo_train, gradient_train


@pytest.mark.parametrize("angle", [180.0, 150.0, 120.0, 60.0])
def test_echoes_are_those_of_the_readable_graph(angle):
    flip = np.radians(angle)
    readable = refocused_train(16, flip, 10e-3, 1.0, 0.08)
    made = echo_train(np.pi / 2, np.full(16, flip), 10e-3, 1.0, 0.08)
    np.testing.assert_allclose(np.abs(made), readable, atol=1e-14)


def test_perfect_refocusing_decays_with_t2():
    made = echo_train(np.pi / 2, np.full(12, np.pi), 10e-3, 1.0, 0.08)
    np.testing.assert_allclose(made, np.exp(-10e-3 * np.arange(1, 13) / 0.08), rtol=1e-12)


def test_the_first_echo_is_sine_squared_of_half_the_refocusing():
    made = echo_train(0.7, np.array([2.0, 2.5]), 10e-3, 1e9, 1e9)
    assert made[0] == pytest.approx(np.sin(0.7) * np.sin(1.0) ** 2, rel=1e-8)


def test_spoiled_trains_are_those_of_the_readable_graph():
    n, flip, step = 40, np.radians(20.0), np.radians(117.0)
    readable = spoiled_train(n, flip, step, 10e-3, (1.0, 0.1))
    shot = np.arange(n)
    none = (0.0, 0.0, 0.0, 0.0)
    phases = step * shot * (shot + 1) / 2
    made = gradient_train(
        np.full(n, flip), phases, np.full(n, 10e-3), none, (1.0, 0.1, 1.0, 0.0), n + 1
    )
    np.testing.assert_allclose(np.abs(made), readable, atol=1e-13)


def test_an_inversion_recovers_until_the_first_pulse():
    made = gradient_train(
        np.array([0.3]), np.zeros(1), np.array([0.01]), (2e-3, 0.4, 1.0, 0.9),
        (1.0, 0.1, 1.0, 0.0), 8,
    )  # fmt: skip
    truth = np.sin(0.3) * (1 - 1.9 * np.exp(-0.4)) * np.exp(-2e-3 / 0.1)
    assert abs(made[0]) == pytest.approx(abs(truth), rel=1e-12)


def test_orders_that_are_not_followed_do_not_matter_where_t2_is_short():
    shot = np.arange(100)
    given = (np.radians(20 + 20 * np.sin(shot / 9)), np.zeros(100), np.full(100, 12e-3))
    more = ((3e-3, 0.02, 1.0, 1.0), (0.8, 0.06, 1.0, 0.0))
    few, all_of_them = gradient_train(*given, *more, 48), gradient_train(*given, *more, 101)
    # Order 48 has decayed for half a second: exp(-8), met by small flip angles twice.
    np.testing.assert_allclose(few, all_of_them, atol=1e-5)
