"""The power amplifier: limits of its curve."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.physics.amplifier import Amplifier, amplify

EDGE = np.linspace(0, 2e-3, 101)


def test_small_pulses_pass_and_large_ones_stop_at_saturation():
    amplifier = Amplifier(saturation=500.0)
    small, large = (np.full(100, size + 0j) for size in (5.0, 5e4))
    # 1 - u^4 / 4 at a hundredth; 1 - 1 / (4 u^4) of saturation at a hundredfold.
    assert amplify(amplifier, EDGE, small) == pytest.approx(small, rel=1e-8)
    assert amplify(amplifier, EDGE, large) == pytest.approx(np.full(100, 500.0), rel=1e-8)


def test_droop_follows_the_energy_spent():
    amplifier = Amplifier(saturation=1e3, droop=50.0, knee=50.0)
    found = amplify(amplifier, EDGE, np.full(100, 500.0 + 0j))
    middle = (EDGE[1:] + EDGE[:-1]) / 2
    assert np.abs(found) == pytest.approx(500 * np.exp(-50 * 0.25 * middle), rel=1e-9)


def test_phase_turns_with_power():
    found = amplify(Amplifier(saturation=1e3, turn=0.4), EDGE, np.full(100, 500.0 + 0j))
    assert np.angle(found) == pytest.approx(0.1)


@pytest.mark.parametrize("bad", [{"saturation": 0.0}, {"saturation": 1.0, "droop": -1.0}])
def test_impossible_amplifiers_are_refused(bad):
    with pytest.raises(ProtocolError, match="amplifier"):
        Amplifier(**bad)
