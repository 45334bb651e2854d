"""Two pools between pulses: eigenvalues, closed forms, limits."""

import numpy as np
import pytest
from scipy.linalg import expm

from scanroom.core.errors import ProtocolError
from scanroom.physics.spins.pools import bound_arrays, free_rate, recover_both
from validation.mri_magnetisation_transfer import CASES

RATES = np.array(
    [[3.2, 23.0, 1.0, 1e-5], [2.0, 40.0, 1.0, 9e-6], [0.0, 23.0, 1.0, 1e-5], [0.0, 0.0, 2.0, 1e-5]]
)
R1 = np.array([1.1, 0.6, 0.9, 3.0])


def _matrix(rates, r1):
    to_bound, to_free, bound, _ = rates
    return np.array([[r1 + to_bound, -to_bound], [-to_free, bound + to_free]])


@pytest.mark.parametrize("time", [1e-4, 0.02, 0.7, 5.0])
def test_deviations_decay_as_the_exponential_of_their_matrix(time):
    arrays = bound_arrays(RATES.astype(np.float32), R1.astype(np.float32))
    free, bound = np.float32([-1.0, 0.3, 0.5, 0.0]), np.float32([0.2, -0.4, 1.0, 0.6])
    start = np.stack([free, bound], axis=1)
    recover_both(free, bound, arrays, time, 1.0)
    for i in range(4):
        truth = 1 - expm(-time * _matrix(RATES[i], R1[i])) @ (1 - start[i])
        assert [free[i], bound[i]] == pytest.approx(truth, abs=1e-6)  # single precision


def test_equilibrium_rests():
    arrays = bound_arrays(RATES.astype(np.float32), R1.astype(np.float32))
    free, bound = np.ones(4, np.float32), np.ones(4, np.float32)
    recover_both(free, bound, arrays, 0.1, 1.0)
    assert np.array_equal([free, bound], np.ones((2, 4)))


def test_the_slower_rate_of_both_pools_is_the_observed_one():
    to_bound, to_free, bound, _ = RATES.T
    free = free_rate(R1, bound, to_bound, to_free)
    for i in range(3):
        slow = np.linalg.eigvals(_matrix(RATES[i], free[i])).min()
        assert slow == pytest.approx(R1[i], rel=1e-9)
    assert np.array_equal(free[2:], R1[2:])


def test_a_t1_that_exchange_forbids_is_refused_in_one_line():
    with pytest.raises(ProtocolError, match="leaves no relaxation") as caught:
        free_rate(np.array([1e-3]), np.ones(1), np.array([3.2]), np.array([23.0]))
    assert "\n" not in str(caught.value)


QUICK = ("recovery after", "balanced steady", "no bound", "no exchange")


@pytest.mark.parametrize(
    ("case", "bound"),
    [pytest.param(*c[1:3], id=c[0]) for c in CASES if c[0].startswith(QUICK)],
)
def test_isochromats_of_two_pools_agree_with(case, bound):
    assert case() <= bound
