"""Regridding one line against the exact sums it inverts."""

import numpy as np
import pytest

from scanroom.operators.fourier import to_kspace
from scanroom.operators.regrid import RCOND, line, line_inverse, line_matrix
from tests.truth import assert_adjoint

RNG = np.random.default_rng(5)
N = 48


def trapezoid(n_samples, ramp, extent):
    """Places passed at even times under a trapezoidal gradient, in cycles per field of view."""
    time = (np.arange(n_samples) + 0.5) / n_samples
    speed = np.minimum(1, np.minimum(time, 1 - time) / ramp)
    place = np.cumsum(speed) - speed / 2
    return extent * (place / speed.sum() - 0.5)


@pytest.mark.parametrize("batch", [(), (3, 2)])
def test_adjoint(batch):
    assert_adjoint(line(trapezoid(70, 0.2, N), N, batch=batch))


def test_even_samples_make_the_centred_transform():
    profile = RNG.normal(size=(N, 2)) @ [1, 1j]
    # rounding of 48-term sums
    np.testing.assert_allclose(
        line(np.arange(N) - N // 2.0, N)(profile), to_kspace(profile, (0,)), atol=1e-13
    )


def test_ramp_sampled_line_gives_the_exact_profile():
    """Samples on the flat top are closer than one cycle per field of view: nothing is lost."""
    place = trapezoid(72, 0.25, N)
    assert np.abs(np.diff(place)).max() < 1
    profile = RNG.normal(size=N) * np.exp(1j * np.linspace(0, 2, N))
    profile[:3] = profile[-3:] = 0
    samples = line(place, N)(profile)
    inverse = line_inverse(place, N, rcond=1e-9)
    # condition number of this trapezoid (~1e3) times double rounding, with room
    np.testing.assert_allclose(inverse @ samples, profile, atol=1e-9)


def test_truncation_bounds_the_growth_of_noise():
    place = trapezoid(60, 0.3, N)
    forward = np.linalg.norm(line_matrix(place, N), 2)
    inverse = np.linalg.norm(line_inverse(place, N), 2)
    assert np.linalg.cond(line_matrix(place, N)) > 1 / RCOND
    assert inverse * forward <= 1 / RCOND


def test_samples_that_do_not_reach_the_edge_are_zero_filled():
    place = np.arange(-12.0, 12.0)
    profile = line_inverse(place, N) @ np.ones(24)
    kspace = to_kspace(profile, (0,))
    np.testing.assert_allclose(kspace[N // 2 - 12 : N // 2 + 12], 1, atol=1e-12)
    np.testing.assert_allclose(kspace[: N // 2 - 12], 0, atol=1e-12)
