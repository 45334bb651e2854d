"""Drives become moments and kinds of events."""

import numpy as np
import pytest
from scipy.integrate import quad

from scanroom.core.errors import ProtocolError
from scanroom.mri.twin.courses import Moments
from scanroom.mri.twin.programme import programme
from validation.drives import DWELL, drive, gradient

WAVE = gradient((1e-3, 0.0), (1.3e-3, 2e5), (3e-3, 2e5), (3e-3, -1e5), (4e-3, 0.0))


def _value(gradient, time):
    return np.interp(time, gradient.time, gradient.amplitude, left=0, right=0)


def test_moments_are_the_integral_of_the_waveform():
    moments = Moments((WAVE, gradient(), WAVE), (0.0, 0.0, 20e-6))
    for time in (0.5e-3, 1.1e-3, 2e-3, 2.999e-3, 3.5e-3, 6e-3):
        truth = [
            quad(lambda t: _value(WAVE, t), 0, late, points=[1e-3, 1.3e-3, 3e-3, 4e-3], limit=200)[
                0
            ]
            for late in (time, time - 20e-6)
        ]
        # quad stops at 1.5e-8 relative, and at the step of 3e5 Hz/m somewhat before
        assert moments(np.array(time)) == pytest.approx([truth[0], 0, truth[1]], abs=1e-3)


def test_window_on_a_plateau_is_steady_and_on_a_ramp_is_not():
    flat, ramp = 1.4e-3, 0.9e-3
    program = programme(
        drive(pulses=[(5e-3, 0, 0)], windows=[(ramp, 40), (flat, 100)], gradients=(WAVE,) * 3)
    )
    assert [program.windows[kind].steady for kind in program.kind[:2]] == [False, True]
    assert program.windows[program.kind[1]].gradient == pytest.approx([2e5] * 3)


def test_a_delayed_gradient_moves_the_moment_by_gradient_times_delay():
    made = drive(pulses=[(5e-3, 0, 0)], windows=[(1.4e-3, 100)], gradients=(WAVE, WAVE, WAVE))
    on_time, late = programme(made), programme(made, Moments(made.gradients, (2e-6, 0.0, 0.0)))
    difference = late.moment[0, 2] - on_time.moment[0, 2]
    assert difference == pytest.approx([-2e5 * 2e-6, 0, 0], abs=1e-9)


def test_equal_pulses_are_one_kind_and_phases_follow_the_frequency():
    made = drive(pulses=[(0, 300, 0.1), (4e-3, 300, 0.7), (8e-3, 0, 0)], windows=[(12e-3, 4)])
    program = programme(made)
    assert len(program.envelopes) == 1
    assert program.kind[:3].tolist() == [0, 0, 1]
    assert program.turns[1] == pytest.approx([0.7 / 2 / np.pi, 0.7 / 2 / np.pi + 300 * 2e-3])


def test_pulse_on_a_ramp_keeps_its_course():
    made = drive(pulses=[(0.5e-3, 0, 0)], windows=[(5e-3, 4)], gradients=(WAVE,) * 3)
    kind = programme(made).pulses[0]
    assert kind.moment is not None
    assert kind.moment[-1] == pytest.approx(np.full(3, 0.3e-3 * 1e5 + 1.2e-3 * 2e5))


def test_overlap_of_pulse_and_window_is_refused():
    with pytest.raises(ProtocolError, match=r"overlap by 500 us at 0\.001500 s"):
        programme(drive(pulses=[(0, 0, 0)], windows=[(1.5e-3, 10)]))


def test_samples_sit_in_the_middle_of_their_dwell():
    program = programme(drive(pulses=[(0, 0, 0)], windows=[(3e-3, 5)]))
    assert program.time[1] == pytest.approx([3e-3, 3e-3 + 5 * DWELL, 3e-3 + 2.5 * DWELL])
