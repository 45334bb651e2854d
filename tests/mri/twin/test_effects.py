"""Effects that can be switched on: each against its truth, and what may not be mixed."""

import dataclasses

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.twin import IDEAL, Effort, Faults, Twin
from scanroom.physics.gradient_fields import Eddy, Nonlinearity, Response
from scanroom.physics.motion import breathing
from validation.drives import drive
from validation.mri_effects import CASES, PLACE, SYSTEM, after, lobe, play, points


@pytest.mark.parametrize(
    ("case", "bound"), [pytest.param(case[1], case[2], id=case[0]) for case in CASES]
)
def test_effect_meets_its_truth(case, bound):
    assert case() <= bound


RESPONSE = Response(gain=np.ones((3, 4, 8), complex), spacing=5.0, source="made up")


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        ({"motion": breathing((0.0, 0.0, 0.01), 4.0), "concomitant": True}, "at rest only"),
        ({"response": RESPONSE, "eddy": (Eddy(axis=0, time=1e-3, share=0.01),)}, "one of the two"),
        ({"spikes": 1.5}, "0 to 1"),
        ({"field_drift": 50.0}, "by 10 at most"),
    ],
)
def test_impossible_faults_are_refused_in_one_line(faults, told):
    with pytest.raises(ProtocolError, match=told) as caught:
        Faults(**faults)
    assert "\n" not in str(caught.value)


def test_a_dead_channel_that_does_not_exist_is_refused():
    with pytest.raises(ProtocolError, match="there are 0 to 1"):
        Twin(points(PLACE), system=SYSTEM, faults=Faults(dead=(2,)), n_coils=2)


@pytest.mark.parametrize("engine", ["classes", "continuum"])
def test_engines_that_do_not_follow_an_effect_say_so(engine):
    faults = dataclasses.replace(IDEAL, nonlinearity=Nonlinearity(third=(0.01, 0.01, 0.01)))
    with pytest.raises(ProtocolError, match="isochromats follows those"):
        Twin(points(PLACE), system=SYSTEM, faults=faults, effort=Effort(engine=engine))


def test_a_dead_channel_is_silent_and_the_others_are_not():
    found = play(after(lobe(2.5e-3, 8e5)), dataclasses.replace(IDEAL, dead=(1,)), None, 3)[0]
    assert not found[1].any()
    assert np.abs(found[[0, 2]]).min() > 0


def test_spikes_strike_as_often_as_asked_and_alike_for_a_seed():
    what = drive(pulses=[(0.0, 0.0, 0.0)], windows=[(0.01 + 0.002 * i, 32) for i in range(200)])
    faults = dataclasses.replace(IDEAL, spikes=0.2)
    plain, found, again = (np.array(play(what, f)) for f in (IDEAL, faults, faults))
    assert np.array_equal(found, again)
    struck = np.abs(found - plain).max(axis=(1, 2)) > 0
    # Binomial: 200 draws at 0.2 have a standard deviation of 0.028.
    assert struck.mean() == pytest.approx(0.2, abs=0.085)
    # One sample of each window that is struck.
    assert (np.abs(found - plain)[struck] > 1e-12 * np.abs(plain).max()).sum() == struck.sum()


def test_what_is_switched_off_changes_no_byte():
    what = after(lobe(2.5e-3, 8e5))
    still = points(PLACE, velocity_x=0.0)
    assert np.array_equal(play(what, IDEAL)[0], play(what, IDEAL, still)[0])
