"""Convolution with a point spread against the two transforms that it stands for."""

import numpy as np
import pytest

from scanroom.operators.nufft import nufft, point_spread, toeplitz
from scanroom.operators.toeplitz import convolution, eigenvalues
from tests.truth import assert_adjoint

RNG = np.random.default_rng(21)
BAR = {np.complex64: 1e-4, np.complex128: 1e-9}


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(16, 9), (11,), (5, 6, 8)])
def test_it_is_the_normal_operator(shape, dtype):
    place = RNG.uniform(-0.5, 0.5, (200, len(shape)))
    weight = RNG.uniform(0.2, 2, 200)
    image = (RNG.normal(size=(*shape, 2)) @ [1, 1j]).astype(dtype)
    encode = nufft(place, shape, weight=weight)
    both = encode.H(encode(image.astype(complex)))
    once = encode.N(image)
    assert once.dtype == dtype
    assert np.linalg.norm(once - both) < BAR[dtype] * np.linalg.norm(both)


def test_weights_may_be_negative():
    place = RNG.uniform(-0.5, 0.5, (60, 2))
    weight = RNG.normal(size=60)
    encode = nufft(place, (9, 8))
    image = RNG.normal(size=(9, 8, 2)) @ [1, 1j]
    truth = encode.H(weight * encode(image))
    found = toeplitz(place, (9, 8), weight=weight, dtype=image.dtype)(image)
    np.testing.assert_allclose(found, truth, atol=1e-8 * np.abs(truth).max())


def test_it_is_its_own_adjoint():
    gains = eigenvalues(point_spread(RNG.uniform(-0.5, 0.5, (40, 2)), (7, 10)).astype(complex))
    assert_adjoint(convolution(gains), rtol=1e-12)


def test_a_cartesian_grid_is_the_identity():
    n = 8
    grid = np.stack(np.meshgrid(*[(np.arange(n) - n // 2) / n] * 2, indexing="ij"), axis=-1)
    image = RNG.normal(size=(n, n, 2)) @ [1, 1j]
    found = toeplitz(grid.reshape(-1, 2), (n, n), dtype=image.dtype)(image)
    np.testing.assert_allclose(found, image, atol=1e-8)


def test_the_image_handed_in_stays():
    place = RNG.uniform(-0.5, 0.5, (30, 2))
    image = np.ones((6, 6), np.complex64)
    toeplitz(place, (6, 6))(image)
    np.testing.assert_array_equal(image, 1)
