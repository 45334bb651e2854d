"""What is written of orders: bare amplitudes and keys in closed form, pages read back whole."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba.typed import List

from scanroom.physics.spins import classwise
from scanroom.physics.spins.classes import classes_of
from scanroom.physics.spins.continuum import Lost
from scanroom.physics.spins.engine import Control
from scanroom.physics.spins.layout import events_of
from scanroom.physics.spins.recording import Notes, energies, joined_notes, notes_of
from tests.physics.spins.test_classwise import FINE, _voxels
from validation.mri_bloch_truths import INSTANT, Timeline


def _written(line, voxels):
    program = line.program()
    classes = classes_of(program, voxels, 2)
    with ThreadPoolExecutor(1) as pool:
        ready = classwise._ready(program, classes, FINE, pool)
        events, _ = events_of(program, 0, len(program.event), 2, classwise._needs(ready))
        notes = classwise._played(ready, events, Control(), Lost(), pool)
    return notes, ready, classes


def test_a_pulse_is_written_bare_of_place_and_offset():
    flip, phase, moment, late = 1.1, 0.4, np.array([310.0, -120.0, 75.0]), 6e-3
    line = Timeline().pulse(flip, phase, INSTANT).free(late, moment).window(4, 1e-5)
    notes, ready, classes = _written(line, _voxels())
    np.testing.assert_allclose(notes.key[:, :3], np.tile(moment, (len(notes.run), 1)), atol=1e-6)
    np.testing.assert_allclose(notes.key[:, 3], late, rtol=1e-3)  # the pulse itself takes a while
    spins, edge = classes.nodes.spins, ready.stage.runs.edge
    seen = 0
    for entry, run in enumerate(notes.run.tolist()):
        node = ready.order[edge[run] : edge[run + 1]]
        found = notes.amplitude[notes.edge[entry] : notes.edge[entry + 1]]
        # A pulse of phase phi is the field exp(-i phi) in the frame of the signal.
        truth = 1j * np.sin(flip * np.abs(spins.transmit[node])) * np.exp(-1j * phase)
        truth = truth * np.exp(-spins.r2[node] * late)
        np.testing.assert_allclose(found, truth, atol=2e-4)  # tabulated rotations
        seen += len(node)
    assert seen == len(spins)


def test_moment_and_time_of_an_echo_are_those_since_its_excitation_less_those_turned_back():
    line = Timeline().pulse(np.pi / 2, 0.0, INSTANT).free(3e-3, (100.0, 0, 900.0))
    line.pulse(np.pi, 0.5 * np.pi, INSTANT).free(5e-3, (160.0, 0, 900.0)).window(4, 1e-5)
    notes, *_ = _written(line, _voxels(transmit=np.ones(420, np.complex64)))
    strongest = notes.key[np.argmax(energies(notes))]
    np.testing.assert_allclose(strongest, [60.0, 0.0, 0.0, 2e-3], atol=1e-5)


def test_pages_are_read_back_entry_by_entry(monkeypatch):
    """Entries of runs of 4 and 3 nodes on pages of ten: none crosses to the next page."""
    monkeypatch.setattr("scanroom.physics.spins.recording._VALUES", 10)
    runs, sizes = np.array([0, 4, 7]), [4, 3, 4, 4, 3]  # 4 + 3, then 4 + 4, then 3
    whose = [0, 1, 0, 0, 1]
    heads, values = List(), List()
    rows = np.array([[run, 10 + i, i, 2 * i, 3 * i, 4 * i] for i, run in enumerate(whose)], float)
    heads.append(rows[:3])
    heads.append(np.vstack([rows[3:], np.full((2, 6), np.nan)]))
    numbers = iter(np.arange(18) * (1 + 1j))
    pages = []
    for counts in ([4, 3], [4, 4], [3]):
        page = np.full(10, np.nan, np.complex64)
        page[: sum(counts)] = [next(numbers) for _ in range(sum(counts))]
        values.append(page)
        pages.append(page[: sum(counts)])
    notes = notes_of((heads, values, np.array([2, 3])), runs)
    assert notes.run.tolist() == whose
    assert notes.at.tolist() == [10, 11, 12, 13, 14]
    assert np.diff(notes.edge).tolist() == sizes
    assert np.array_equal(notes.amplitude, np.concatenate(pages))
    assert np.array_equal(notes.key, rows[:, 2:])


def _some(rng, runs, n):
    whose = rng.integers(0, len(runs) - 1, n)
    edge = np.concatenate([[0], np.cumsum(np.diff(runs)[whose])])
    amplitude = rng.standard_normal(edge[-1]) + 1j * rng.standard_normal(edge[-1])
    return Notes(
        whose, rng.integers(0, 9, n), rng.random((n, 4)), edge, amplitude.astype(np.complex64)
    )


@pytest.mark.parametrize("weighed", [False, True])
def test_energies_are_sums_of_squares_weighed_by_mass(weighed):
    rng, runs = np.random.default_rng(8), np.array([0, 5, 7, 20])
    notes = joined_notes([_some(rng, runs, 6), _some(rng, runs, 4)])
    mass = rng.random(20).astype(np.float32)
    found = energies(notes, mass, runs) if weighed else energies(notes)
    for entry, run in enumerate(notes.run.tolist()):
        squares = np.abs(notes.amplitude[notes.edge[entry] : notes.edge[entry + 1]]) ** 2
        heavy = mass[runs[run] : runs[run + 1]] if weighed else 1.0
        assert found[entry] == pytest.approx(float((squares * heavy).sum()), rel=1e-5)
