"""Dictionaries: splines, compression, places between grid points."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.dictionary import Axis, build, match, signals_at

TIME = np.linspace(0.01, 1.0, 30)
ONE = Axis(name="a", unit="s", low=0.1, high=2.0, n_points=40)
TWO = Axis(name="b", unit="1", low=-1.0, high=1.0, n_points=30, geometric=False)


def signal(a, b):
    return np.exp(-TIME / a) * np.exp(1j * b * 3 * TIME)


@pytest.fixture(scope="module")
def dictionary():
    return build((ONE, TWO), signal)


def places(n=50):
    rng = np.random.default_rng(0)
    return np.stack([rng.uniform(1, 38, n), rng.uniform(1, 28, n)], axis=1)


def test_splines_pass_through_signals_between_the_grid_points(dictionary):
    at = places()
    a, b = ONE.at(at[:, 0])[0], TWO.at(at[:, 1])[0]
    truth = np.stack([signal(x, y) for x, y in zip(a, b, strict=True)], axis=1)
    found = dictionary.basis @ signals_at(dictionary, at)
    # Fourth order of a grid of 0.08 in the logarithm, and 1e-4 for the compression.
    assert np.abs(found - truth).max() < 2e-4


def test_the_error_of_splines_falls_with_the_fourth_power_of_the_grid():
    errors = []
    for n in (20, 39):
        axes = (
            Axis(name="a", unit="s", low=0.1, high=2.0, n_points=n),
            Axis(name="b", unit="1", low=-1.0, high=1.0, n_points=n, geometric=False),
        )
        made = build(axes, signal, lost=1e-15)
        at = (places() - 1) / 37 * (n - 9) + 4  # away from the ends
        a, b = axes[0].at(at[:, 0])[0], axes[1].at(at[:, 1])[0]
        truth = np.stack([signal(x, y) for x, y in zip(a, b, strict=True)], axis=1)
        errors.append(np.abs(made.basis @ signals_at(made, at) - truth).max())
    assert errors[0] / errors[1] > 2**3.3


def test_a_match_ends_where_the_signal_is(dictionary):
    at = places()
    a, b = ONE.at(at[:, 0])[0], TWO.at(at[:, 1])[0]
    amplitude = 7 * np.exp(2j * a)
    data = np.stack([signal(x, y) for x, y in zip(a, b, strict=True)], axis=1) * amplitude
    found = match(dictionary.compressed(data), dictionary)
    np.testing.assert_allclose(ONE.at(found.place[:, 0])[0], a, rtol=1e-4)
    np.testing.assert_allclose(TWO.at(found.place[:, 1])[0], b, atol=1e-4)
    np.testing.assert_allclose(found.amplitude, amplitude, rtol=1e-4)
    assert found.ended.all()


def test_an_end_of_the_range_is_not_inside(dictionary):
    data = np.stack([signal(3.0, 0.2), signal(0.5, 0.2)], axis=1)
    found = match(dictionary.compressed(data), dictionary)
    np.testing.assert_array_equal(found.inside[:, 0], [False, True])
    assert np.isinf(found.covariance()[0, 0])
    assert np.isfinite(found.covariance()[1]).all()


def test_what_cannot_be_is_refused(dictionary):
    with pytest.raises(ProtocolError, match="run from 2 to 1"):
        Axis(name="T1", unit="s", low=2.0, high=1.0, n_points=9)
    with pytest.raises(ProtocolError, match="30 samples"):
        dictionary.compressed(np.ones((4, 2)))
