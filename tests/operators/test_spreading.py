"""Quick neighbourhood sums against the sum over all pairs."""

import numpy as np
import pytest

from scanroom.operators.spreading import neighbourhood

RNG = np.random.default_rng(9)


def triangle(n):
    return np.maximum(0.0, 1 - np.abs(np.arange(n) - n // 2) / (n // 2))


@pytest.mark.parametrize("shape", [(24, 16), (16, 12, 20)])
def test_it_is_the_sum_over_all_pairs(shape):
    place = RNG.uniform(-0.5, 0.5, (60, len(shape)))
    values = RNG.uniform(0.5, 2, 60).astype(np.float32)
    windows = [triangle(n) for n in shape]
    kernel = np.ones((60, 60))
    for axis, window in enumerate(windows):
        pixel = np.arange(len(window)) - len(window) // 2
        apart = place[:, None, axis] - place[None, :, axis]
        turns = np.exp(2j * np.pi * apart[..., None] * pixel)
        kernel = kernel * (turns @ window).real / len(window)
    found = neighbourhood(place, windows)(values)
    assert found.dtype == np.float32
    # four points on a grid a quarter finer: parts in a thousand
    np.testing.assert_allclose(found, kernel @ values, atol=5e-3 * np.abs(kernel @ values).max())
