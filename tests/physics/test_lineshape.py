"""The super-Lorentzian line against quadrature and its own area."""

import numpy as np
import pytest
from scipy.integrate import quad

from scanroom.physics.lineshape import CENTRE, super_lorentzian
from validation import two_pools


@pytest.mark.parametrize("t2", [6e-6, 10e-6, 40e-6])
@pytest.mark.parametrize("offset", [0.0, -900.0, 1500.0, 4e3, 2.5e4, 8e4])
def test_the_line_is_that_of_adaptive_quadrature(offset, t2):
    found = super_lorentzian(np.array([offset]), t2)[0]
    assert found == pytest.approx(two_pools.line(offset, t2), rel=1e-5, abs=1e-25)


def test_outside_its_centre_the_line_holds_what_the_whole_one_does_not_hold_inside():
    t2, offset = 10e-6, np.linspace(CENTRE, 150e3, 50_001)
    outside = np.trapezoid(super_lorentzian(offset, t2), offset)
    inside, _ = quad(lambda f: t2 * two_pools.bare_line(2 * np.pi * f * t2), 0, CENTRE, epsrel=1e-5)
    # Of the angular frequency the line is a density.
    assert 4 * np.pi * (inside + outside) == pytest.approx(1.0, abs=1e-4)


def test_value_and_slope_have_no_step_where_the_centre_is_filled():
    offset = CENTRE + np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    slopes = np.diff(super_lorentzian(offset, 10e-6))
    assert slopes == pytest.approx(slopes[0], rel=3e-3)


def test_far_away_nothing_is_absorbed():
    assert super_lorentzian(np.array([1e6]), 10e-6)[0] == 0.0
