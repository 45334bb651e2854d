"""Operators side by side against themselves one by one."""

import numpy as np
import pytest

from scanroom.operators.blocks import block_diagonal
from scanroom.operators.coils import coils
from tests.truth import assert_adjoint

RNG = np.random.default_rng(5)


def noise(*shape):
    return RNG.normal(size=(*shape, 2)) @ [1, 1j]


def test_each_item_meets_its_own_operator():
    parts = [coils(noise(3, 4, 5)) for _ in range(2)]
    both, x = block_diagonal(parts), noise(2, 4, 5)
    assert_adjoint(both)
    np.testing.assert_array_equal(both(x)[1], parts[1](x[1]))
    np.testing.assert_allclose(both.N(x), both.H(both(x)), atol=1e-13)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="diagonal"):
        block_diagonal([coils(noise(3, 4, 5)), coils(noise(3, 4, 6))])
