"""Magnetisation transfer in the twin: switched, refused, alike in all engines."""

from dataclasses import replace

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.drive.model import Shims
from scanroom.mri.twin import IDEAL, Effort, Twin
from scanroom.mri.twin.transfer import longitudinal
from scanroom.physics.spins.engine import Settings
from scanroom.physics.transmit_array import circular
from scanroom.subject.mixture import BOUND, MAGNETIC
from scanroom.subject.tissue import tissue
from validation import two_pools
from validation.drives import cleared, drive
from validation.drives import sinc as shape_of
from validation.mri_bloch_truths import HARD, Timeline, sinc
from validation.mri_effects import PLACE, SYSTEM, play, points
from validation.mri_magnetisation_transfer import SHOT
from validation.mri_magnetisation_transfer import tissue as isochromat
from validation.mri_parallel_transmit import SYSTEM as ARRAY
from validation.mri_parallel_transmit import N

ON = replace(IDEAL, transfer=True)
WHITE = {name: tissue("white", 3.0)[name] for name in ("t1", "t2", *BOUND)}


def _twin(subject, faults=ON, engine="auto", scanner=SYSTEM):
    fine = Settings(tolerance=1e-7, silence=0.0, faintest=1e-7)
    effort = Effort(engine=engine, isochromats=1, faint=1e-6, settings=fine)
    return Twin(subject, system=scanner, faults=faults, n_coils=1, effort=effort)


def _train(n=6):
    starts = [0.05 * i for i in range(n)]
    return drive(
        pulses=[(start, 0.0, 0.3 * i) for i, start in enumerate(starts)],
        windows=[(start + 4e-3, 4) for start in starts],
        shape=shape_of(1.9),
    )


def _played(what, **given):
    twin = _twin(**given)
    twin.arm(cleared(what))
    return np.array([readout.signal for readout in twin.play()])


def test_maps_of_bound_protons_change_no_byte_until_transfer_is_asked_for():
    bare, known = points(PLACE, t1=WHITE["t1"], t2=WHITE["t2"]), points(PLACE, **WHITE)
    plain = play(_train(), IDEAL, bare)
    assert np.array_equal(play(_train(), IDEAL, known), plain)
    assert not np.array_equal(play(_train(), ON, known), plain)
    nobody = points(PLACE, **(WHITE | {"bound_fraction": 0.0, "exchange_rate": 0.0}))
    assert np.array_equal(play(_train(), ON, nobody), plain)


def test_the_continuum_agrees_with_isochromats():
    what, subject = _train(), points(PLACE, **WHITE)
    found = _played(what, subject=subject, engine="continuum")
    truth = _played(what, subject=subject, engine="isochromats")
    assert np.abs(found - truth).max() < 1e-5 * np.abs(truth).max()


def test_a_saturation_pulse_takes_most_off_white_matter_and_nothing_off_liquid():
    ratios = {}
    for name in ("white", "grey", "csf"):
        values = {key: tissue(name, 3.0)[key] for key in ("t1", "t2", *BOUND)}
        voxel = points(PLACE, **values)
        rates = longitudinal(voxel, tuple(np.zeros((3, 1), int)), wanted=True)
        who = replace(isochromat(t2=values["t2"]), **rates)
        line, shape = Timeline(), sinc(12e-3, 60)
        for _ in range(12):
            line.pulse(25.0, 0.0, shape, frequency=4e3).free(8e-3)
        line.pulse(np.pi / 2, 0.0, HARD).window(1, SHOT)
        ratios[name] = 1 - abs(two_pools.played(line.program(), who)[0, 0])
    assert ratios["white"] > ratios["grey"] + 0.02 > 0.1
    assert ratios["csf"] < 0.02


def test_free_and_bound_protons_recover_at_the_t1_of_the_subject():
    voxel = points(PLACE, **WHITE)
    rates = longitudinal(voxel, tuple(np.zeros((3, 1), int)), wanted=True)
    to_bound, to_free, bound, _ = rates["bound"][0].astype(float)
    both = np.array([[rates["r1"][0] + to_bound, -to_bound], [-to_free, bound + to_free]])
    assert np.linalg.eigvals(both).min() == pytest.approx(1 / WHITE["t1"], rel=1e-5)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "no map of bound_fraction"),
        (WHITE | {"t2_bound": 0.0}, "have no T2"),
        (WHITE | {"bound_fraction": 0.0}, "without being there"),
        (WHITE | {"t1": 1e5}, "leaves no relaxation"),
    ],
)
def test_bound_protons_that_cannot_be_are_refused_in_one_line(given, told):
    with pytest.raises(ProtocolError, match=told) as caught:
        _twin(points(PLACE, **given))
    assert "\n" not in str(caught.value)


def test_transfer_and_diffusion_at_once_are_refused_in_one_line():
    with pytest.raises(ProtocolError, match="one of the two in a scan") as caught:
        _twin(points(PLACE, **WHITE, diffusion=7e-10), faults=replace(ON, diffusion=True))
    assert "\n" not in str(caught.value)


def test_nobody_has_to_know_bound_protons_where_none_are_asked_for():
    assert not set(BOUND) & set(MAGNETIC)
    assert list(longitudinal(points(PLACE), tuple(np.zeros((3, 1), int)), wanted=False)) == ["r1"]


def test_two_sets_of_channel_weights_saturate_alike_in_continuum_and_isochromats():
    weights = np.stack([circular(N), circular(N) ** 2 * np.sqrt(N)])
    # The last pulse reads; those before it turn the carrier's neighbours little and saturate.
    starts = [0.02 * i for i in range(5)]
    plain = drive(
        pulses=[(start, 0.0 if i == 4 else 2500.0, 0.2 * i) for i, start in enumerate(starts)],
        windows=[(starts[-1] + 4e-3, 4)],
        shape=shape_of(1.6),
    )
    what = replace(plain, shims=Shims(weight=weights, of_pulse=np.array([0, 1, 1, 0, 1])))
    subject = replace(points(PLACE, **WHITE), field=ARRAY.field)
    found = {}
    for name, faults, engine in (
        ("boxes", ON, "continuum"), ("points", ON, "isochromats"), ("one pool", IDEAL, "continuum"),
    ):  # fmt: skip
        twin = _twin(subject, faults=replace(faults, b1=True), engine=engine, scanner=ARRAY)
        twin.arm(cleared(what))
        found[name] = np.array([readout.signal for readout in twin.play()])
    largest = np.abs(found["points"]).max()
    assert np.abs(found["boxes"] - found["points"]).max() < 1e-5 * largest
    assert np.abs(found["one pool"] - found["points"]).max() > 0.01 * largest  # it must matter
