"""A programme in arrays: stretches and their sums."""

import numpy as np
import pytest

from scanroom.physics.spins import layout
from scanroom.physics.spins.layout import events_of, stretches
from scanroom.physics.spins.program import WINDOW
from validation.mri_bloch_truths import Timeline


def _program(n=7):
    line = Timeline()
    for _ in range(n):
        line.pulse(1.0).window(64, 1e-5).window(16, 1e-5, (1e4, 0, 0)).free(1e-3)
    return line.pulse(1.0).program()


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_stretches_follow_one_another_to_the_end(monkeypatch, limit):
    monkeypatch.setattr(layout, "STRETCH_WINDOWS", limit)
    program = _program()
    ends = list(stretches(program, 16))
    assert [a for a, _ in ends] == [0, *(b for _, b in ends[:-1])]
    counts = [int((program.event[a:b] == WINDOW).sum()) for a, b in ends]
    assert sum(counts) == 14
    assert max(counts) <= limit


def test_a_stretch_ends_when_its_sums_are_full(monkeypatch):
    monkeypatch.setattr(layout, "STRETCH", 10_000)
    program = _program()
    needs = (np.ones(2, bool), np.ones(2, bool))
    sizes = [events_of(program, *ends, 16, needs)[1] for ends in stretches(program, 16)]
    assert len(sizes) > 2
    assert max(sizes) < 10_000 + 6_000  # the last window may pass the bound


def test_every_window_has_sums_of_its_own():
    program = _program()
    needs = (np.ones(2, bool), np.array([True, False]))
    events, size = events_of(program, 0, len(program.event), 16, needs)
    windows = program.event == WINDOW
    assert (events.grid_place[windows] >= 0).all()
    assert (events.direct_place[program.kind[windows].nonzero()] >= -1).all()
    places = np.concatenate([events.grid_place, events.direct_place])
    taken = np.sort(places[places >= 0])
    assert len(np.unique(taken)) == len(taken) == 14 + 7
    assert taken[-1] < size
    assert (events.grid_place[~windows] == -1).all()


@pytest.mark.parametrize("shots", [1, 2, 5])
def test_a_stretch_holds_no_more_shots_than_asked_and_cuts_none(shots):
    program = _program()
    ends = list(stretches(program, 16, None, shots))
    counts = [int((program.event[a:b] == WINDOW).sum()) for a, b in ends]
    assert sum(counts) == 14
    assert max(counts) == 2 * shots  # two windows between pulses


def test_windows_of_shots_have_no_sums():
    program = _program()
    needs = (np.ones(2, bool), np.ones(2, bool))
    taken = program.event == WINDOW
    taken[: len(taken) // 2] = False
    events, _ = events_of(program, 0, len(program.event), 16, needs, taken)
    windows = program.event == WINDOW
    assert ((events.direct_place >= 0) == (windows & ~taken)).all()
    assert (events.grid_place[windows] >= 0).all()
