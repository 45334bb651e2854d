"""Orders of dephasing against the magnetisation that they stand for, place by place."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scanroom.physics.spins.configurations import (
    MOST,
    begin,
    list_seen,
    mix,
    new_work,
    restore,
    save,
    shift,
)

LENGTH = 16
NEAR = (1.0, 1.0, 1.0)
FOREVER = ((NEAR, np.inf), 0.0, 0.0)
PLACE = np.random.default_rng(0).uniform(-1e-3, 1e-3, (200, 3))


def _maps(rng):
    """Rotations, one a box, and vectors that recover what a pulse lets relax."""
    turn = Rotation.random(LENGTH, random_state=rng).as_matrix()
    vector = rng.normal(size=(LENGTH, 3))
    maps = np.concatenate([turn.reshape(LENGTH, 9), vector], axis=1).T
    return turn, vector, np.ascontiguousarray(maps, np.float32)


def _orders(work):
    """Kind, wave number and complex value in each box of every configuration."""
    for at in range(work.tally[0]):
        low = work.slot[at] * 2 * LENGTH
        both = work.banks[work.tally[1], low : low + 2 * LENGTH].reshape(2, LENGTH).astype(float)
        yield work.kind[at], work.key[at, :3].copy(), both[0] + 1j * both[1]


def _field(work):
    """Magnetisation of every box at every place within it."""
    field = np.zeros((LENGTH, len(PLACE), 3))
    for kind, key, value in _orders(work):
        wave = np.multiply.outer(value, np.exp(-2j * np.pi * PLACE @ key))
        if kind == 0:
            field[:, :, 0] += wave.real
            field[:, :, 1] += wave.imag
        elif kind == 1:  # of k and -k, whose values are conjugate
            field[:, :, 2] += 2 * wave.real
        else:
            field[:, :, 2] += wave.real
    return field


def _played(n=4, rng=None, limits=FOREVER):
    """A run after several pulses and gradients, and the field it should stand for."""
    rng = rng or np.random.default_rng(1)
    work = new_work(LENGTH)
    begin(work, LENGTH)
    field = _field(work)
    for _ in range(n):
        turn, vector, maps = _maps(rng)
        mix(work, maps.reshape(-1), LENGTH, limits)
        field = np.einsum("bij,bpj->bpi", turn, field) + vector[:, None]
        moment = rng.integers(-600, 600, 3).astype(float)
        shift(work, tuple(moment), 1e-3)
        wave = np.exp(-2j * np.pi * PLACE @ moment) * (field[..., 0] + 1j * field[..., 1])
        field[..., 0], field[..., 1] = wave.real, wave.imag
    return work, field


def test_pulses_and_gradients_act_as_on_the_magnetisation_at_every_place():
    work, field = _played()
    assert work.tally[0] > 30
    # Single precision; the vectors make magnetisations of about 4.
    assert np.abs(_field(work) - field).max() < 1e-5


def test_orders_that_meet_become_one():
    rng, work = np.random.default_rng(2), new_work(LENGTH)
    begin(work, LENGTH)
    counts = []
    for _ in range(6):
        mix(work, _maps(rng)[2].reshape(-1), LENGTH, FOREVER)
        shift(work, (100.0, 0.0, 0.0), 1e-3)
        counts.append(int(work.tally[0]))
    # Even gradients: n pulses leave orders up to n - 1; of each F, F of the opposite, Z.
    assert counts == [2, 5, 8, 11, 14, 17]


def test_orders_of_other_times_stay_apart_only_where_t2_prime_tells_them_apart():
    counts = []
    for longest in (np.inf, 1e-4):
        rng, work = np.random.default_rng(2), new_work(LENGTH)
        begin(work, LENGTH)
        for wait in (1e-3, 3e-3, 5e-3):
            mix(work, _maps(rng)[2].reshape(-1), LENGTH, ((NEAR, longest), 0.0, 0.0))
            shift(work, (0.0, 0.0, 0.0), wait)
        counts.append(int(work.tally[0]))
    assert counts[0] == 2  # transverse, longitudinal
    assert counts[1] == 14  # times 0, 1, 3, 3 + 1, 3 - 1 ms: nothing meets


def test_what_is_let_go_is_below_the_faintest():
    exact, _ = _played(4)
    faintest = float(np.median(exact.size[: exact.tally[0]]))
    fewer, _ = _played(4, limits=((NEAR, np.inf), faintest, 0.0))
    assert 1 < fewer.tally[0] < exact.tally[0]
    kept = [np.abs(value).max() for *_, value in _orders(fewer)]
    assert sorted(kept)[1] > faintest  # all but the undephased order


def test_where_room_ends_the_smallest_go_and_are_reported():
    work, _ = _played(8)
    assert work.tally[0] <= MOST
    assert work.clock[6] > 0


def test_saved_and_restored_is_the_same():
    work, _ = _played()
    bank, table = np.zeros((work.tally[0], 2 * LENGTH), np.float32), np.zeros((work.tally[0], 6))
    save(work, LENGTH, bank, table)
    other = new_work(LENGTH)
    restore(other, LENGTH, bank, table)
    assert np.array_equal(_field(work), _field(other))


@pytest.mark.parametrize("begin_at", [-3e-3, 2e-3])
def test_a_receiver_sees_the_fourier_transform_of_the_box(begin_at):
    edges = np.array([[1e-3, 2e-4, 0.0], [0.0, 2e-3, 0.0], [3e-4, 0.0, 1e-3]])
    work, _ = _played(3)
    work.key[: work.tally[0], 3] = begin_at
    moment = (150.0, -40.0, 260.0)
    share = np.zeros(len(work.share))
    states = (work.key, work.kind, work.size, share)
    view = (moment, edges, (1e-3, 0.5e-3), 0.0, False)
    best, largest, side = list_seen(states, int(work.tally[0]), view)
    node = (np.arange(40) + 0.5) / 40 - 0.5
    within = np.stack(np.meshgrid(node, node, node), axis=-1).reshape(-1, 3) @ edges
    for at, (kind, key, _) in enumerate(_orders(work)):
        truth = np.exp(-2j * np.pi * within @ (key + moment)).mean() if kind == 0 else 0.0
        assert share[at] == pytest.approx(truth.real, abs=3e-3)  # 40 points along each edge
    assert largest == np.abs(share * work.size).max() > 0
    assert work.kind[best] == 0
    assert side == np.sign(begin_at + 1e-3)


def test_an_echo_within_the_window_has_no_side():
    work, _ = _played(1)
    work.key[: work.tally[0], 3] = -0.9e-3
    states = (work.key, work.kind, work.size, work.share)
    view = ((0.0, 0.0, 0.0), 1e-6 * np.eye(3), (1e-3, 0.5e-3), 0.0, False)
    assert list_seen(states, int(work.tally[0]), view)[2] == 0
