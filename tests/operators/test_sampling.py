"""Weights against their algebra."""

import numpy as np
import pytest

from scanroom.operators.sampling import weighted
from tests.truth import assert_adjoint

RNG = np.random.default_rng(11)


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 5, 7)])
def test_adjoint(shape):
    assert_adjoint(weighted(RNG.uniform(size=7), shape))


def test_choosing_twice_is_choosing_once():
    chosen = weighted(RNG.uniform(size=(5, 1)) > 0.5, (2, 5, 7))
    data = RNG.normal(size=(2, 5, 7, 2)) @ [1, 1j]
    np.testing.assert_array_equal(chosen(chosen(data)), chosen(data))
