"""The comparison finds widths, takes out shading, and tells which scan is of which file."""

import numpy as np
import pytest

from validation import mri_slice_profiles as slices


def test_width_is_that_of_a_gaussian():
    sigma = 9e-3
    gauss = np.exp(-((slices.PLACE - 3e-4) ** 2) / (2 * sigma**2))
    # straight lines between pixels of 2 mm err by pixel^2 / (8 sigma) at most
    allowed = slices.PIXEL**2 / (8 * sigma)
    assert slices.width(gauss) == pytest.approx(2 * np.sqrt(2 * np.log(2)) * sigma, abs=allowed)


def test_difference_knows_no_scale_but_shape():
    one = np.exp(-((slices.PLACE / 0.01) ** 2))
    assert slices.difference(3 * one, one) == pytest.approx(0.0, abs=1e-12)
    assert slices.difference(one, one + 0.1) > 0.05


def test_shading_and_coils_fall_out_of_a_profile():
    rng = np.random.default_rng(3)
    shape = (64, 4, slices.N_PIXELS)
    reference = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    truth = np.exp(-((slices.PLACE / 0.02) ** 2))
    found = slices.relative(reference * truth, reference, slices.ROWS)
    np.testing.assert_allclose(found, truth, rtol=1e-12)


def test_every_scan_finds_its_file(shared_data):
    """The scans were made in the order of the pulses, after the one without a slice."""
    paths = sorted((shared_data / slices.TUTORIAL).glob("*.dat"))
    whole = slices.reference_of(paths)
    assert whole == paths[0]
    reference = slices.image(whole)[0]
    scans = {path.name: slices.measured(path, reference) for path in paths[1:]}
    profiles = slices.simulated(shared_data, 1.0)
    names = slices.matched(scans, profiles)
    assert [names[pulse] for pulse in slices.PULSES] == [path.name for path in paths[1:]]
    for pulse in ("sinc", "apodised sinc"):
        scan = scans[names[pulse]].profile
        error = slices.width(profiles[pulse]) - slices.width(scan)
        assert abs(error) <= slices.WIDTH_ALLOWED
