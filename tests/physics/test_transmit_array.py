"""The transmit array: its symmetry, its centre, and Maxwell's equations (validation's truths)."""

import numpy as np
import pytest
from scipy.special import jv

from scanroom.core.errors import ProtocolError
from scanroom.physics.transmit_array import (
    TransmitArray,
    array_field,
    circular,
    waves,
    worst_absorption,
)
from validation.mri_parallel_transmit import CASES, places

OF_ARRAY = CASES[:8]


@pytest.mark.parametrize(
    ("case", "bound"), [pytest.param(case[1], case[2], id=case[0]) for case in OF_ARRAY]
)
def test_array_meets_its_truth(case, bound):
    assert case() <= bound


@pytest.mark.parametrize("n", [1, 2, 5, 8])
@pytest.mark.parametrize("frequency", [2.1e6, 128e6, 298e6])
def test_circular_mode_is_one_in_the_centre(n, frequency):
    array = TransmitArray(n_channels=n)
    found = array_field(array, np.zeros((1, 3)), circular(n)[None], frequency=frequency)
    # Half a unit in the last place of single precision, real and imaginary.
    assert found == pytest.approx(np.ones((1, 1)), abs=1e-7)


def test_each_channel_is_the_one_before_turned_by_its_angle():
    array, where = TransmitArray(n_channels=8), places(50)
    c, s = np.cos(np.pi / 4), np.sin(np.pi / 4)
    back = where @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    one_each = np.eye(8, dtype=complex)
    here = array_field(array, where, one_each, frequency=298e6)
    turned = array_field(array, back, one_each, frequency=298e6)
    # Bx - i By of a field turned by 45 degrees; 3e-7 is what the table's splines err by.
    assert np.abs(here[:, 1:] - turned[:, :-1] * np.exp(-0.25j * np.pi)).max() < 1e-6


def test_table_agrees_with_the_series():
    array, where = TransmitArray(n_channels=8), places(300, 5)
    rho, phi = np.hypot(where[:, 0], where[:, 1]), np.arctan2(where[:, 1], where[:, 0])
    series = waves(array, 298e6)
    both = (series.field(rho, tissue=tissue) for tissue in (True, False))
    orders = np.where((rho <= array.load)[:, None], *both)
    truth = (orders * np.exp(1j * np.outer(phi, series.m - 1))).sum(axis=1)
    truth /= series.field(np.zeros(1), tissue=True)[0, series.m == 1] * np.sqrt(8)
    weights = np.eye(8, dtype=complex)[:1]
    found = array_field(array, where, weights, frequency=298e6)[:, 0]
    assert np.abs(found - truth).max() < 5e-7


def test_low_field_is_flat_and_high_field_bends():
    where = np.array([[0.08, 0.0, 0.0]])
    array = TransmitArray(n_channels=8)
    low, high = (
        abs(array_field(array, where, circular(8)[None], frequency=f)[0, 0]) for f in (2.1e6, 298e6)
    )
    # Orders that eight loops alias: (80 mm / 140 mm)^8 is 1 %.
    assert low == pytest.approx(1.0, abs=0.02)
    assert high == pytest.approx(abs(jv(0, array.wavenumber(298e6) * 0.08)), abs=0.02)


def test_worst_absorption_is_at_least_that_of_the_circular_mode():
    # At 3 T no mode of a head deposits more than the circular one, at 7 T others do.
    assert worst_absorption(TransmitArray(n_channels=8), 128e6) == pytest.approx(1.0, abs=1e-12)
    assert worst_absorption(TransmitArray(n_channels=8), 298e6) > 1.5


@pytest.mark.parametrize("n", [0, 9])
def test_too_few_and_too_many_channels_are_refused(n):
    with pytest.raises(ProtocolError, match=f"has {n} channels; it may have 1 to 8"):
        TransmitArray(n_channels=n)
