"""Pulses cut in parts: nothing is lost, and frequencies are those of the parts."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from scanroom.physics.spins.ensemble import arrays_of
from scanroom.physics.spins.parts import saturation_of
from scanroom.physics.spins.rotations import Envelope
from validation.mri_bloch_truths import Timeline, sinc, spins
from validation.mri_magnetisation_transfer import tissue


def _saturation(line, who, runs=(0, 1)):
    program = line.program()
    arrays = arrays_of(who, np.arange(len(who)))
    with ThreadPoolExecutor(1) as pool:
        return saturation_of(program, arrays, np.array(runs), 1e-3, pool)


@pytest.mark.parametrize("duration", [0.3e-3, 1e-3, 17e-3])
def test_parts_and_pieces_have_the_duration_and_power_of_the_pulse(duration):
    line = Timeline().pulse(2.0, 0.0, sinc(duration, 130), frequency=-700.0)
    found, kind = _saturation(line, tissue()), line.pulses[0]
    envelope = line.envelopes[0]
    energy = np.square(np.abs(envelope.step)) @ np.diff(envelope.edge) * kind.strength**2
    for pieces in (found.parts, found.coarse):
        assert pieces.duration.sum() == pytest.approx(duration, rel=1e-12)
        assert pieces.power.sum() == pytest.approx(4 * np.pi**3 * energy, rel=1e-12)
        assert pieces.frequency == pytest.approx(-700.0)
    assert found.parts.duration.max() <= 5e-4 + 1e-12
    assert found.coarse.duration.max() <= 1e-3 + 1e-12


def test_a_block_is_cut_within_its_only_step():
    block = Envelope(edge=np.array([0.0, 4e-3]), step=np.array([1.0 + 0j]))
    found = _saturation(Timeline().pulse(1.0, 0.0, block), tissue())
    assert found.parts.duration == pytest.approx(np.full(8, 5e-4))
    assert found.parts.power == pytest.approx(np.full(8, found.parts.power[0]))


def test_parts_of_a_sweep_have_its_frequency():
    edge = np.linspace(0, 8e-3, 2001)
    middle = (edge[1:] + edge[:-1]) / 2
    rate = 2e6  # Hz/s; b turns as exp(-i 2 pi f t)
    sweep = Envelope(edge=edge, step=np.exp(-1j * np.pi * rate * (middle - 4e-3) ** 2))
    found = _saturation(Timeline().pulse(1.0, 0.0, sweep, frequency=50.0), tissue())
    centre = (np.arange(16) + 0.5) * 5e-4 - 4e-3
    # Steps of 4 us: the sine of a step's turn is 0.6 % short of it at 7.5 kHz.
    assert found.parts.frequency == pytest.approx(50.0 + rate * centre, rel=7e-3, abs=5.0)


def test_runs_are_saturated_only_by_what_reaches_bound_protons():
    who = tissue(2)
    who = replace(who, bound=who.bound * np.float32([[1.0], [0.0]]))
    line = Timeline().pulse(1.0, 0.0, sinc(), frequency=3e3).pulse(1.0, 0.0, sinc(), frequency=1e6)
    acts = _saturation(line, who, (0, 1, 2)).acts
    assert np.array_equal(acts, [[1, 0], [0, 0]])


def test_without_bound_protons_nothing_is_cut():
    assert _saturation(Timeline().pulse(1.0, 0.0, sinc()), spins()) is None
