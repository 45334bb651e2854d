"""Sixteen lines at once against the discrete Fourier sums of NumPy."""

import numpy as np
import pytest

from scanroom.operators import lanes

RNG = np.random.default_rng(4)


def lines(n):
    return (RNG.normal(size=(n, lanes.LANES, 2)) @ [1, 1j]).astype(np.complex64)


def as_lines(rows):
    parts = rows.reshape(-1, 2, lanes.LANES)
    return parts[:, 0] + 1j * parts[:, 1]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 12, 30, 64, 75, 180, 256, 320])
def test_forward_is_the_discrete_fourier_transform_in_its_own_order(n):
    given, plan = lines(n), lanes.plan(n)
    work = lanes.as_rows(given)[0].ravel()
    lanes.forward(work, 0, n, plan.stages, plan.twiddles)
    exact = np.fft.fft(given.astype(complex), axis=0)[plan.frequencies]
    # single rounding of log2(n) stages
    np.testing.assert_allclose(as_lines(work), exact, atol=2e-6 * np.sqrt(n) * np.log2(n + 1))


@pytest.mark.parametrize("n", [2, 9, 20, 256])
def test_inverse_undoes_forward_but_for_the_length(n):
    given, plan = lines(n), lanes.plan(n)
    work = lanes.as_rows(given)[0].ravel()
    lanes.forward(work, 0, n, plan.stages, plan.twiddles)
    lanes.inverse(work, 0, n, plan.stages, plan.twiddles)
    np.testing.assert_allclose(as_lines(work) / n, given, atol=2e-6)


def test_every_frequency_comes_once():
    for n in (1, 6, 16, 45, 160):
        np.testing.assert_array_equal(np.sort(lanes.plan(n).frequencies), np.arange(n))


def test_other_primes_are_refused():
    assert not lanes.can_transform(7 * 16)
    with pytest.raises(ValueError, match="2, 3 and 5"):
        lanes.plan(14)
