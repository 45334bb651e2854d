"""Coil weighting against its algebra."""

import numpy as np
import pytest

from scanroom.operators.coils import coils
from tests.truth import assert_adjoint

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("image", [(12, 10), (3, 5, 4), (9,)])
def test_adjoint(image):
    assert_adjoint(coils(RNG.normal(size=(4, *image, 2)) @ [1, 1j]))


def test_unit_norm_maps_give_the_image_back():
    maps = RNG.normal(size=(4, 12, 10, 2)) @ [1, 1j]
    maps /= np.linalg.norm(maps, axis=0)
    image = RNG.normal(size=(12, 10, 2)) @ [1, 1j]
    operator = coils(maps)
    # rounding of a sum of four products
    np.testing.assert_allclose(operator.H(operator(image)), image, rtol=1e-13)
