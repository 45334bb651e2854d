"""Pulses under gradients, skipped pulses, stretches: the engine against plainer ways."""

import dataclasses

import numpy as np

from scanroom.physics.spins import layout
from scanroom.physics.spins.engine import Settings, largest_tilt, simulate
from scanroom.physics.spins.ensemble import Spins
from validation.mri_bloch_truths import Timeline, signals, sinc, spins

SLICE = np.array([0.0, 1e4, 2.6e5])


def _column(n=4000, half=0.05):
    place = np.zeros((n, 3))
    place[:, 2] = np.linspace(-half, half, n)
    place[:, 1] = np.linspace(-0.02, 0.02, n)
    return spins(n, position=place, offset=np.linspace(-40, 40, n), transmit=0.9 + 0.2j)


def _echoes(n=3):
    line, envelope = Timeline(), sinc()
    for i in range(n):
        line.pulse(1.2, 0.4 * i, envelope, gradient=SLICE, frequency=400.0)
        line.free(1e-3, -SLICE * 1.5e-3).window(64, 1e-5, (1e5, 0, 2e4)).free(5e-3, (0, 0, 800))
    return line


def _error(found, truth):
    return np.linalg.norm(np.array(found) - truth) / np.linalg.norm(truth)


def test_tabulated_pulses_agree_with_stepped_pulses():
    program, who = _echoes().program(), _column()
    kind, envelope = program.pulses[0], program.envelopes[0]
    stepped = dataclasses.replace(kind, moment=np.outer(envelope.edge, kind.gradient))
    truth = np.array(list(simulate(dataclasses.replace(program, pulses=(stepped,)), who)))
    assert _error(list(simulate(program, who)), truth) < 1e-5  # table: 1e-6; single precision


def test_skipping_faint_pulses_costs_less_than_the_tolerance():
    program, who = _echoes().program(), _column()
    truth = np.array(list(simulate(program, who, Settings(tolerance=0.0, silence=0.0))))
    found = np.array(list(simulate(program, who, Settings(tolerance=1e-5))))
    assert not np.array_equal(found, truth)  # something was skipped
    # Signal is a mean over spins of unit magnetisation: three pulses of at most 1e-5 each.
    assert np.abs(found - truth).max() < 3e-5


def test_spins_left_out_beforehand_change_less_than_the_tolerance():
    program, who = _echoes().program(), _column()
    points = (who.position, who.offset, np.abs(who.transmit).astype(float))
    kept = largest_tilt(program, points, (1e-4, 1.0)) > 1e-5
    assert 0.05 < kept.mean() < 0.9
    few = Spins(**{f.name: getattr(who, f.name)[kept] for f in dataclasses.fields(who)})
    truth = np.array(list(simulate(program, who, Settings(tolerance=0.0))))
    found = simulate(program, few, Settings(tolerance=0.0))
    assert np.abs(np.array(list(found)) - truth).max() < 3e-5


def test_cutting_the_programme_into_stretches_changes_nothing(monkeypatch):
    line, who = _echoes(6), _column(800)
    whole = signals(line, who)
    monkeypatch.setattr(layout, "STRETCH_WINDOWS", 2)
    assert np.array_equal(np.array(signals(line, who)), np.array(whole))


def test_transmit_phase_turns_the_signal_by_as_much():
    line = Timeline().pulse(0.8, 0.0, sinc()).window(1, 1e-6)
    plain, turned = (signals(line, spins(1, transmit=np.exp(1j * p)))[0] for p in (0.0, 0.9))
    assert np.abs(turned - plain * np.exp(0.9j)).max() < 1e-6


def test_nothing_to_play_to_is_silence():
    line = _echoes()
    nobody = spins(3, position=np.full((3, 3), 0.4))
    assert all(not s.any() for s in signals(line, nobody))
