"""T1 and B1 from flip angles against stepwise steady states."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.flip_angles import actual_flip_angle, double_angle, variable_flip_angle
from validation import map_laws as laws
from validation import mri_maps_relaxation as validation

FLIPS, TR = validation.FLIPS, validation.TR


def test_ernst_signals_give_their_t1_under_any_b1():
    assert validation.flip_angles() <= 1e-6


def test_double_angles_give_b1_beyond_90_degrees():
    assert validation.angle_doubled() <= 1e-6


def test_the_actual_flip_angle_is_right_to_first_order_of_interval_over_t1():
    assert validation.angle_actual() <= 0.01
    found = []
    for share in (1.0, 0.5):
        pair = laws.alternating(np.radians(55.0), (20e-3 * share, 0.1 * share), 1.0)
        made = actual_flip_angle(
            np.array([pair[0]]), np.array([pair[1]]), (20e-3, 0.1), np.radians(55.0)
        )
        found.append(abs(made.array[0] - 1))
    # The first order is what the formula leaves: half the intervals, half the error or less.
    assert found[1] < 0.55 * found[0]


@pytest.mark.parametrize("method", ["double", "actual"])
def test_errors_of_b1_are_those_of_the_noise(method):
    rng = np.random.default_rng(1)
    n, nominal, b1 = 20000, np.radians(60.0), 0.9
    if method == "double":
        pair = 100 * np.sin(nominal * b1), 100 * np.sin(2 * nominal * b1)
    else:
        pair = tuple(1000 * s for s in laws.alternating(nominal * b1, (20e-3, 0.1), 1.0))
    noisy = [value + rng.normal(size=n) for value in pair]
    if method == "double":
        made = double_angle(*noisy, nominal, noise=1.0)
    else:
        made = actual_flip_angle(*noisy, (20e-3, 0.1), nominal, noise=1.0)
    # A spread of 20000 is known to half a percent, the error is of first order in the noise.
    assert made.array.std() == pytest.approx(made.error.mean(), rel=0.05)


def test_a_cosine_beyond_one_is_not_an_angle():
    made = double_angle(np.array([1.0, 0.0]), np.array([2.5, 1.0]), 1.0)
    assert not made.valid.any()


def test_what_cannot_be_is_refused():
    with pytest.raises(ProtocolError, match="180"):
        variable_flip_angle(np.ones((2, 1)), np.array([0.1, 4.0]), 0.01)
    with pytest.raises(ProtocolError, match="second is the longer"):
        actual_flip_angle(np.ones(1), np.ones(1), (0.1, 0.02), 1.0)
    with pytest.raises(ProtocolError, match="nominal"):
        double_angle(np.ones(1), np.ones(1), 0.0)
    with pytest.raises(ProtocolError, match="b1 has the shape"):
        variable_flip_angle(np.ones((2, 3)), np.array([0.1, 0.2]), 0.01, b1=np.ones(2))
