"""Exponentials: closed forms, the floor of magnitudes, auto-regression."""

import numpy as np
import pytest
from scipy.special import ive
from scipy.stats import rice

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.decay import _bessel, arlo, decay, rician_information
from validation import mri_maps_relaxation as validation

TE = validation.TE


def test_exponentials_give_their_time_with_and_without_an_offset():
    assert validation.exponential() <= 1e-6


def test_arlo_errs_as_simpson_does():
    assert validation.exponential_by_arlo() <= 1e-9


def test_bessel_functions_are_those_of_scipy():
    z = np.geomspace(1e-3, 1e5, 300)
    found = np.array([_bessel(value) for value in z])
    # Abramowitz and Stegun promise 1.9e-7 and 2.2e-7 of sqrt(z) exp(-z) I, which is near 0.4.
    np.testing.assert_allclose(found[:, 0], ive(1, z) / ive(0, z), rtol=1.03e-6)
    np.testing.assert_allclose(found[:, 1], np.log(ive(0, z)), atol=5e-7)


def test_information_of_a_magnitude_is_that_of_the_distribution():
    level, step = 1.5, 1e-4
    m = np.linspace(1e-6, 12, 200001)
    slope = (rice.logpdf(m, level + step) - rice.logpdf(m, level - step)) / (2 * step)
    truth = np.trapezoid(slope**2 * rice.pdf(m, level), m)
    assert rician_information()[75] == pytest.approx(truth, rel=1e-3)
    assert rician_information()[-1] == pytest.approx(1.0, abs=3e-3)


def test_magnitudes_that_fall_to_the_noise_keep_their_rate_with_rice_alone():
    bias = validation.floors()
    assert abs(bias["rician"]) < 0.05
    assert abs(bias["none"]) > 2 * abs(bias["rician"])


def test_the_spread_under_rice_is_the_error_reported():
    rng = np.random.default_rng(5)
    level = 20.0 * np.exp(-TE / 15e-3)[:, None]
    data = np.hypot(level + rng.normal(size=(8, 20000)), rng.normal(size=(8, 20000)))
    found = decay(data, TE, floor="rician", noise=1.0).rate
    # The rate's own error is of second order in the noise: a few percent at this SNR.
    assert found.array[found.valid].std() == pytest.approx(found.error[found.valid].mean(), rel=0.1)


def test_errors_of_arlo_are_those_of_the_noise():
    rng = np.random.default_rng(6)
    data = 100 * np.exp(-TE / 20e-3)[:, None] + rng.normal(size=(8, 20000))
    found = arlo(data, TE, noise=1.0).rate
    assert found.array.std() == pytest.approx(found.error.mean(), rel=0.03)


def test_rate_and_time_are_each_others_inverse():
    found = decay(100 * np.exp(-TE / 20e-3)[:, None], TE, noise=1.0)
    assert (found.time.name, found.rate.name) == ("T2*", "R2*")
    assert found.time.array[0] * found.rate.array[0] == pytest.approx(1.0)
    relative = found.time.error / found.time.array
    np.testing.assert_allclose(relative, found.rate.error / found.rate.array)


def test_what_cannot_be_is_refused():
    with pytest.raises(ProtocolError, match="needs the noise"):
        decay(np.ones((8, 1)), TE, floor="rician")
    with pytest.raises(ProtocolError, match="floor is 'high'"):
        decay(np.ones((8, 1)), TE, floor="high")
    with pytest.raises(ProtocolError, match="complex"):
        decay(np.ones((8, 1), complex), TE)
    with pytest.raises(ProtocolError, match="even ones"):
        arlo(np.ones((3, 1)), np.array([1.0, 2.0, 4.0]))
