"""Differences against their definition."""

import numpy as np
import pytest

from scanroom.operators.differences import gradient, symmetrised
from tests.truth import assert_adjoint

RNG = np.random.default_rng(3)
CASES = [((7, 9), (-2, -1)), ((4, 5, 6), (-3, -2, -1)), ((2, 5, 6), (-2, -1)), ((8,), (-1,))]


@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_adjoint(shape, axes):
    assert_adjoint(gradient(shape, axes))
    assert_adjoint(symmetrised(shape, axes))


@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_norms_are_below_two_per_root_of_an_axis(shape, axes):
    for operator in (gradient(shape, axes), symmetrised(shape, axes)):
        n = int(np.prod(operator.domain))
        columns = [operator(e.reshape(operator.domain)).ravel() for e in np.eye(n)]
        assert np.linalg.norm(np.array(columns), 2) < 2 * np.sqrt(len(axes))


def test_a_plane_has_a_constant_gradient_and_no_bending():
    y, x = np.mgrid[:6.0, :8.0]
    slope = gradient((6, 8))(2 * y - 3 * x)
    np.testing.assert_allclose(slope[0, :-1], 2)
    np.testing.assert_allclose(slope[1, :, :-1], -3)
    assert (slope[0, -1] == 0).all()
    assert (slope[1, :, -1] == 0).all()
    even = np.stack([np.full((6, 8), 2.0), np.full((6, 8), -3.0)])
    assert (symmetrised((6, 8))(even) == 0).all()


def test_a_rotation_has_no_symmetric_derivative():
    y, x = np.mgrid[:6.0, :8.0]
    tensor = symmetrised((6, 8))(np.stack([x, -y]))
    assert np.abs(tensor[:, 1:, 1:]).max() == 0
