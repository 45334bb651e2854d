"""The truth of the benchmarks against closed forms and pypulseq's own trajectory."""

import numpy as np
import pypulseq
import pytest

from benchmarks.isochromats import signal, steps_of, thinned
from benchmarks.mri_simulation import SYSTEM, _block, _phase, _read
from benchmarks.mri_spiral import echo_planar, spiral

WATER = {
    "proton_density": np.array([0.7]),
    "t1": np.array([1.1]),
    "t2": np.array([0.08]),
    "off_resonance": np.array([0.0]),
}


def line(flip=0.3, number=40):
    sequence, (gx, adc, before) = pypulseq.Sequence(SYSTEM), _read(20e-6)
    adc.phase_offset = 0.4
    sequence.add_block(_block(flip, 0.4))
    sequence.add_block(before, _phase(number))
    sequence.add_block(gx, adc)
    return sequence


def test_one_spin_writes_pypulseqs_trajectory_with_the_closed_form_amplitude():
    sequence, place = line(), np.array([[0.031, -0.017, 0.0]])
    found = signal(steps_of(sequence), place, WATER)
    k, _, _, _, t = sequence.calculate_kspace()
    # 0.3 rad in 200 us, T2 acts on half of it: from the middle of the pulse, 100 + 100 us
    truth = 0.7 * np.sin(0.3) * np.exp(-(t - 200e-6) / 0.08)
    truth = truth * np.exp(-2j * np.pi * (place[0] @ k)) * 1j
    assert found == pytest.approx(truth, rel=2e-4)  # relaxation during the pulse, T1 and T2


@pytest.mark.parametrize("flip", [0.5, np.pi / 2, 2.0])
def test_off_resonant_block_pulse_is_a_rotation_about_the_tilted_axis(flip):
    offset, slow = 700.0, {"t1": np.array([1e9]), "t2": np.array([1e9])}
    found = signal(
        steps_of(line(flip, 64)),
        np.zeros((1, 3)),
        WATER | slow | {"off_resonance": np.array([offset])},
    )
    b1 = flip / (2 * np.pi * 200e-6)
    rabi = np.hypot(b1, offset)
    half = np.pi * rabi * 200e-6
    # |Mxy| of a spin turned by 2 half about an axis at angle atan(b1 / offset): Rabi
    sine = b1 / rabi * np.sin(half)
    truth = 0.7 * 2 * sine * np.sqrt(1 - sine**2)
    assert np.abs(found) == pytest.approx(np.full(len(found), truth), rel=1e-6)


def test_steps_fill_the_sequence_and_keep_every_sample():
    steps = steps_of(line())
    assert steps.value[:, 0].sum() == pytest.approx(line().duration()[0])
    assert steps.sampled.sum() == 128


def test_thinned_steps_give_the_same_samples():
    steps, place = steps_of(line(np.pi / 2)), np.array([[0.03, -0.02, 0.0]])
    wanted = np.array([0, 1, 40, 127])
    few = thinned(steps, wanted)
    assert len(few.value) < len(steps.value)
    assert signal(few, place, WATER) == pytest.approx(signal(steps, place, WATER)[wanted], rel=1e-9)


def test_spiral_and_ramps_write_pypulseqs_trajectory():
    place = np.array([[0.05, 0.03, 0.0]])
    for design in (spiral, echo_planar):
        sequence = design()
        found = signal(thinned(steps_of(sequence), np.arange(0, 6000, 500)), place, WATER)
        k = sequence.calculate_kspace()[0][:, :6000:500]
        turns = np.angle(found * np.exp(2j * np.pi * (place[0] @ k)))
        assert np.abs(np.angle(np.exp(1j * (turns - turns[0])))).max() < 2e-3
