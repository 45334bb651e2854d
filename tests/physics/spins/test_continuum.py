"""Boxes whose orders of dephasing are followed: closed forms, invariants, the other engine."""

import dataclasses

import numpy as np
import pytest

from scanroom.physics.spins import layout
from scanroom.physics.spins.configurations import RUN
from scanroom.physics.spins.continuum import Boxes, Lost, boxes_across, simulate_boxes
from scanroom.physics.spins.engine import Control, Settings
from scanroom.physics.spins.ensemble import Spins
from validation.mri_bloch_truths import EXACT, INSTANT, Timeline, signals, sinc, spins
from validation.mri_order_truths import ORDERS, box_signals, boxes, one_box

SLICE = np.array([0.0, 1e4, 1.6e5])
SKEW = np.array([[2e-3, 0.3e-3, 0.0], [-0.2e-3, 1e-3, 0.4e-3], [0.0, 0.5e-3, 3e-3]])


@pytest.mark.parametrize(("case", "bound"), [c[1:3] for c in ORDERS], ids=[c[0] for c in ORDERS])
def test_orders_of_dephasing_agree_with(case, bound):
    assert case() <= bound  # the bounds stand beside the cases; measured errors are 2-10 x less


def _train(n=6, **window):
    """Echoes of a slice, with spoilers, seen through a readout gradient."""
    line, envelope = Timeline(), sinc()
    gradient = window.get("gradient", (1e5, 0, 2e4))
    for i in range(n):
        line.pulse(1.2, 0.4 * i, envelope, gradient=SLICE, frequency=400.0)
        line.free(1e-3, -SLICE * 1.5e-3).window(64, 1e-5, gradient).free(5e-3, (1e3, 0, 800))
    return line


def _columns(depth=40, n=15, offsets=12.0):
    """Columns across the slice, field and decay not quite alike in each."""
    rng = np.random.default_rng(3)
    place = np.zeros((n, depth, 3))
    place[:, :, 0] = np.linspace(-0.02, 0.02, n)[:, None]
    place[:, :, 2] = (np.arange(depth) - depth / 2) * 1e-3
    count = n * depth
    who = boxes(
        count,
        position=place.reshape(-1, 3),
        offset=rng.uniform(-offsets, offsets, count),
        t2=rng.uniform(0.06, 0.1, count),
        transmit=rng.uniform(0.9, 1.1, count),
        t2_prime=0.05,
    )
    return dataclasses.replace(who, column=np.repeat(np.arange(n), depth))


def _part(who, chosen):
    spins = {f.name: getattr(who.spins, f.name)[chosen] for f in dataclasses.fields(Spins)}
    return Boxes(
        spins=Spins(**spins),
        edges=who.edges,
        r2_prime=who.r2_prime[chosen],
        column=who.column[chosen],
    )


def _error(found, truth):
    return np.linalg.norm(np.array(found) - np.array(truth)) / np.linalg.norm(np.array(truth))


@pytest.mark.parametrize("edges", [np.eye(3) * 1e-3, SKEW], ids=["cube", "skew"])
def test_a_readout_shows_the_fourier_transform_of_the_box(edges):
    gradient, place = np.array([4e5, 1e5, -2e5]), np.array([[3e-3, -1e-3, 2e-3]])
    line = Timeline().pulse(np.pi / 2, 0.0, INSTANT).free(1e-9, -gradient * 3.2e-3)
    line.window(640, 1e-5, gradient)
    who = dataclasses.replace(boxes(1, position=place, t1=1e6, t2=1e6), edges=edges)
    k = np.outer((np.arange(640) + 0.5) * 1e-5 - 3.2e-3, gradient)
    truth = 1j * np.sinc(k @ edges.T).prod(axis=1) * np.exp(-2j * np.pi * k @ place[0])
    assert np.abs(k @ edges.T).max() > 1.2  # zeros of the transform lie within the window
    # Kernel of the grid, of a signal at most 1.
    assert np.abs(box_signals(line, who)[0][0] - truth).max() < 1e-4


@pytest.mark.parametrize("t2", [2e-3, 0.3e-3])
def test_decay_faster_than_the_window_is_exponential_too(t2):
    line = Timeline().pulse(np.pi / 2, 0.0, INSTANT).window(256, 1e-5)
    time = (np.arange(256) + 0.5) * 1e-5
    truth = 1j * np.exp(-time / t2 - 2j * np.pi * 150.0 * time)
    # Samples are added up in single precision.
    assert np.abs(one_box(line, t2=t2, offset=150.0)[0][0] - truth).max() < 1e-4


def test_orders_of_other_times_decay_apart_as_a_lorentzian_line():
    t2_prime, n = 10e-3, 20_001
    line = Timeline()
    for i, wait in enumerate((3e-3, 5e-3, 3e-3, 7e-3)):
        line.pulse(1.7, 0.8 * i, INSTANT).free(wait).window(1, 1e-6)
    quantile = (np.arange(n) + 0.5) / n
    offset = np.tan(np.pi * (quantile - 0.5)) / (2 * np.pi * t2_prime)
    truth = np.array(signals(line, spins(n, offset=offset)))
    found = np.array(one_box(line, t2_prime=t2_prime))
    # The tails beyond the last quantile, times of an order taken for one: some 1e-4 each.
    assert np.abs(found - truth).max() < 1e-3


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_cutting_the_programme_into_stretches_changes_nothing(monkeypatch, limit):
    line, who = _train(), _columns()
    whole = np.array(box_signals(line, who))
    monkeypatch.setattr(layout, "STRETCH_WINDOWS", limit)
    assert np.array_equal(np.array(box_signals(line, who)), whole)


def test_the_number_of_threads_changes_no_byte():
    line, who = _train(), _columns()
    one, *more = (
        np.array(box_signals(line, who, Settings(threads=n))).tobytes() for n in (1, 2, 3)
    )
    assert more == [one, one]


def test_boxes_of_one_column_share_a_line_of_the_spectrum_within_its_bound():
    line, who = _train(gradient=(1e5, 0, 0)), _columns(offsets=60.0)
    apart = dataclasses.replace(who, column=np.arange(len(who.column)))
    truth, found = (np.array(box_signals(line, w, EXACT)) for w in (apart, who))
    assert not np.array_equal(found, truth)  # some were brought together
    # A phase of at most 0.005 turns at the window's ends, of either sign, zero in its middle.
    assert _error(found, truth) < 2 * np.pi * 0.005 / 6


def test_pulses_under_a_varying_gradient_agree_with_constant_ones():
    program, who = _train().program(), _columns()
    kind, envelope = program.pulses[0], program.envelopes[0]
    moment = np.outer(envelope.edge, kind.gradient)
    stepped = dataclasses.replace(kind, moment=moment, gradient=np.zeros(3))
    other = dataclasses.replace(program, pulses=(stepped,))
    truth, found = (list(simulate_boxes(p, [who], EXACT)) for p in (other, program))
    assert _error(found, truth) < 1e-5  # table: 1e-6; single precision


def test_two_halves_give_what_the_whole_gives():
    program, who = _train().program(), _columns()
    low = np.arange(len(who.column)) < 2 * RUN  # runs, and columns in them, stay as they are
    halves = [_part(who, low), _part(who, ~low)]
    truth, found = (list(simulate_boxes(program, parts, EXACT)) for parts in ([who], halves))
    # The dimming along the readout comes from each part's dominant order: it is the same one.
    assert _error(found, truth) < 1e-5


def test_finer_boxes_of_one_piece_of_tissue_change_nothing_where_no_slice_is_selected():
    line = Timeline()
    for i in range(4):
        line.pulse(1.0, 0.9 * i).free(3e-3, (700, 300 * i, 0)).window(16, 1e-5).free(2e-3)
    eight = np.stack(np.meshgrid(*[[-2.5e-4, 2.5e-4]] * 3), axis=-1).reshape(-1, 3)
    whole = box_signals(line, boxes(1), EXACT)
    parts = box_signals(line, boxes(8, 5e-4, position=eight), EXACT)
    assert np.abs(np.array(whole) - np.array(parts)).max() < 1e-5  # single precision, 64 orders


def test_letting_faint_orders_go_costs_a_few_times_the_faintest():
    line, who = _train(12), _columns()
    truth = np.array(box_signals(line, who, EXACT))
    found = np.array(box_signals(line, who))
    assert not np.array_equal(found, truth)
    assert np.abs(found - truth).max() < 5 * Settings().faintest  # signal: a mean over boxes


def test_a_stopped_simulation_ends_early(monkeypatch):
    monkeypatch.setattr(layout, "STRETCH_WINDOWS", 2)
    program, who, control = _train().program(), _columns(), Control()
    playing = simulate_boxes(program, [who], control=control)
    received = [next(playing)]
    control.stop[0] = 1
    received.extend(playing)
    assert len(received) == 2  # what the first stretch had ready
    assert list(simulate_boxes(program, [who], control=control)) == []


def test_progress_ends_at_one():
    seen = []
    list(simulate_boxes(_train().program(), [_columns()], control=Control(progress=seen.append)))
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)


def test_more_orders_than_there_is_room_for_are_reported():
    line, rng = Timeline(), np.random.default_rng(5)
    sizes = []
    for _ in range(9):
        line.pulse(1.3, rng.uniform(0, 6)).window(1, 1e-6).free(1e-3, rng.integers(500, 9999, 3))
        lost = Lost()
        list(simulate_boxes(line.program(), [boxes()], EXACT, lost=lost))
        sizes.append(lost.size)
    assert sizes[:3] == [0.0, 0.0, 0.0]
    assert 0.0 < sizes[-1] < 0.1


def test_nobody_and_nobody_excited_are_silent():
    line = _train(2)
    far = boxes(3, position=np.full((3, 3), 0.4))
    nobody = _part(far, np.zeros(3, bool))
    for who in (nobody, far):
        signals = box_signals(line, who)
        assert len(signals) == 2
        assert not any(s.any() for s in signals)


def test_boxes_across_follow_from_the_phase_that_a_pulse_winds_up():
    line = Timeline().pulse(1.0, 0.0, sinc(2e-3), gradient=(0, 1e5, 5e5)).pulse(1.0)
    edges = np.diag([1e-3, 2e-3, 3e-3])
    # 1e5/m/s x 2 mm x 2 ms = 0.4 turns, 5e5 x 3 mm x 2 ms = 3 turns.
    assert boxes_across(line.program(), edges, 0.5) == (1, 1, 6)
    assert boxes_across(line.program(), edges, 0.12) == (1, 4, 25)
    kind = dataclasses.replace(
        line.pulses[0], moment=np.outer(line.envelopes[0].edge, (3e5, 0.0, 0.0))
    )
    varying = dataclasses.replace(line.program(), pulses=(kind, line.pulses[1]))
    assert boxes_across(varying, edges, 0.5) == (2, 1, 1)
