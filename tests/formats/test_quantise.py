"""Stored numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanroom.core.errors import FormatError
from scanroom.formats.quantise import LARGEST, quantise


@given(peak=st.floats(1e-25, 1e30), seed=st.integers(0, 99), signed=st.booleans())
def test_values_are_exact_products_within_half_a_step(peak, seed, signed):
    array = peak * np.random.default_rng(seed).uniform(-1 if signed else 0, 1, (2, 3, 4))
    result = quantise(array)
    exact = result.stored.astype(np.float64) * result.slope
    assert np.array_equal(result.values.astype(np.float64), exact)
    assert np.abs(exact - array).max() <= result.slope / 2
    top = np.abs(result.stored.astype(int)).max()
    assert top <= LARGEST
    assert top >= LARGEST // 2  # at least 14 bits are used


def test_quantising_twice_changes_nothing():
    array = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    once = quantise(array)
    again = quantise(once.values)
    assert np.array_equal(once.values, again.values)


def test_nothing_but_zeros_is_stored_as_zeros():
    assert quantise(np.zeros((1, 2, 2), np.float32)).values.max() == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39, 1j])
def test_what_has_no_stored_number_is_refused(bad):
    with pytest.raises(FormatError):
        quantise(np.array([1.0, bad]))


def test_the_window_follows_the_object_not_its_bright_rim_nor_the_air():
    picture = np.random.default_rng(0).uniform(0, 0.01, (64, 64))  # air
    picture[16:48, 16:48] = 1.0  # the object
    picture[16:17, 16:48] = 9.0  # a thirty-second of it shines
    result = quantise(picture)
    low, high = np.array(result.window) * result.slope
    assert low == 0
    assert 1.0 < high < 1.3  # white just above the object


def test_a_rim_of_a_tenth_of_the_object_does_not_darken_the_rest():
    image = np.zeros((20, 100), np.float32)
    image[:10], image[:, :10] = 100.0, 900.0
    result = quantise(image)
    low, high = np.array(result.window) * result.slope
    assert low == 0.0
    assert high == pytest.approx(220.0, rel=0.01)  # twice the middle, and a little


def test_the_window_of_a_signed_image_is_symmetric():
    low, high = quantise(np.random.default_rng(0).uniform(-3, 3, (8, 8))).window
    assert low == -high
