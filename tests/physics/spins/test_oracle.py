"""The oracle itself: closed form and order of convergence."""

import numpy as np
import pytest

from scanroom.physics.spins.oracle import integrate

RATES = (np.array([1.0]), np.array([10.0]))


def _turned(n_steps):
    start = np.array([[0.0, 0.0, 1.0]])

    def field(time):
        return np.array([400.0 * np.exp(2j * np.pi * 150 * time)]), np.array([220.0])

    return integrate(start, field, RATES, 2e-3, n_steps)


def test_free_decay_matches_closed_form():
    start = np.array([[1.0, 0.0, 0.0]])
    out = integrate(start, lambda _: (np.zeros(1, complex), np.array([100.0])), RATES, 5e-3, 400)
    m = np.exp(-10 * 5e-3 - 2j * np.pi * 100 * 5e-3)
    assert out[0] == pytest.approx([m.real, m.imag, 1 - np.exp(-5e-3)], abs=1e-9)


def test_error_falls_with_the_fourth_power_of_the_step():
    exact = _turned(1280)
    errors = [np.abs(_turned(n) - exact).max() for n in (40, 80, 160)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx([4, 4], abs=0.3)  # classical Runge-Kutta
