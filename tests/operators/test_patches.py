"""Blocks against their places in the images."""

import numpy as np
import pytest

from scanroom.operators.patches import Patches

RNG = np.random.default_rng(5)


def noise(*shape):
    return RNG.normal(size=(*shape, 2)) @ [1, 1j]


@pytest.mark.parametrize("shift", [(0, 0, 0), (1, 2, 3)])
@pytest.mark.parametrize("block", [(2, 4, 4), (1, 3, 5)])
def test_cutting_is_an_isometry_that_joining_undoes(block, shift):
    patches, x = Patches((3, 4, 10, 9), block), noise(3, 4, 10, 9)
    cut = patches.cut(x, shift)
    assert cut.shape[1:] == (np.prod(block), 3)
    np.testing.assert_array_equal(patches.join(cut, shift), x)
    y = noise(*cut.shape)
    assert np.vdot(cut, y) == pytest.approx(np.vdot(x, patches.join(y, shift)), rel=1e-12)


def test_a_block_is_a_neighbourhood_of_all_frames():
    x = np.arange(2 * 8 * 8).reshape(2, 1, 8, 8).astype(complex)
    cut = Patches((2, 1, 8, 8), (1, 4, 4)).cut(x)
    np.testing.assert_array_equal(cut[1, :, 0], x[0, 0, :4, 4:].ravel())
    np.testing.assert_array_equal(cut[1, :, 1], x[1, 0, :4, 4:].ravel())
