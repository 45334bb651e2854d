"""The comparison tells causes apart, knows how sure it is, and looks where one tissue is."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from scanroom.mri.protocol import load_protocol
from validation import mri_brain_contrast as contrast

ONE = contrast.Contrast(
    preset="x",
    tissue="csf",
    n_pixels=(50, 1000),
    found=1.5,
    error=0.01,
    expected={"plain": 1.0, "slice": 1.2, "played": 1.45},
)


def test_parts_add_up_to_the_deviation():
    assert ONE.parts == pytest.approx((0.2, 0.25, 0.05))
    assert sum(ONE.parts) == pytest.approx(ONE.deviation("plain"))


def test_a_claim_is_judged_by_its_own_truth():
    assert [row["passes"] for row in contrast.judged(ONE)] == [False, False, True]


def test_few_pixels_prove_nothing():
    few = dataclasses.replace(ONE, n_pixels=(contrast.LEAST_PIXELS - 1, 1000))
    assert not any(row["passes"] for row in contrast.judged(few))


def test_error_of_a_median_is_that_of_repeated_draws():
    draws = 5 + np.random.default_rng(1).normal(size=(4000, 81))
    error = np.median([contrast.median(draw)[1] for draw in draws])
    # 1 % by the number of draws, 2 % because 81 values are few
    assert error == pytest.approx(np.median(draws, axis=1).std() / 5, rel=0.04)


@pytest.mark.parametrize("name", contrast.TISSUES)
def test_the_slice_holds_enough_of_each_tissue(name):
    """Counted in pixels of the presets, before any scan."""
    protocol = load_protocol(contrast.PRESETS[0])
    place, n = protocol.geometry, protocol.geometry.matrix_read
    pixel = place.field_of_view_read / n
    affine = np.diag([pixel, pixel, place.slice_thickness, 1.0])
    affine[:3, 3] = (-n / 2 * pixel, -n / 2 * pixel - 0.015, contrast.HEIGHT)
    image = SimpleNamespace(array=np.zeros((1, n, n)), affine=affine)
    assert contrast.uniform(name, image).sum() >= contrast.LEAST_PIXELS


def test_truths_agree_where_nothing_tells_them_apart():
    """White matter in a gradient echo: T2 is a quarter of TR, so spoiling is perfect."""
    protocol = load_protocol("brain-t1-gre")
    place = dataclasses.replace(protocol.geometry, n_slices=1)
    white = contrast.expected(dataclasses.replace(protocol, geometry=place))["white"]
    assert white["played"] == pytest.approx(white["slice"], rel=1e-3)
    assert abs(white["slice"] / white["plain"] - 1) > contrast.BOUND
