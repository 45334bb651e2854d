"""Factors miss no more than they may; orders brought together add up at every node."""

import numpy as np
import pytest

from scanroom.physics.spins.classes import classes_of
from scanroom.physics.spins.images import Rows
from scanroom.physics.spins.lots import Table, Told, factors_of, shares_of_lots, table_of
from scanroom.physics.spins.program import WINDOW
from scanroom.physics.spins.recording import Notes
from tests.physics.spins.test_classwise import _train, _voxels


def _complex(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def _table(amplitude):
    n_rows, n_columns = amplitude.shape
    whole = np.zeros(n_rows, np.int64)
    rows = Rows(np.arange(n_rows), whole, np.zeros((n_rows, 4)))
    return Table(rows, amplitude, np.arange(n_columns))


def _left_out(table, mass, factors):
    """Squares per row of what factors miss, nodes weighed by their mass."""
    missed = table.amplitude - factors.left @ factors.right.T
    return float((np.abs(missed) ** 2 * mass[table.node]).sum()) / len(missed)


@pytest.mark.parametrize("n_columns", [30, 5000])
def test_factors_of_a_table_of_rank_three_are_three_and_give_it_back(n_columns):
    rng = np.random.default_rng(3)
    table = _table(_complex(rng, 12, 3) @ _complex(rng, 3, n_columns))
    mass = rng.uniform(0.1, 2.0, n_columns).astype(np.float32)
    allowed = 1e-4 * float((np.abs(table.amplitude) ** 2 * mass).sum()) / 12
    factors = factors_of(table, mass, allowed)
    assert factors.right.shape == (n_columns, 3)
    assert _left_out(table, mass, factors) < allowed


@pytest.mark.parametrize("n_columns", [60, 6000])
@pytest.mark.parametrize("share", [1e-1, 1e-3, 1e-5])
def test_factors_miss_no_more_than_is_allowed(n_columns, share):
    rng = np.random.default_rng(4)
    falling = (0.5 ** np.arange(20)).astype(np.float32)
    table = _table((_complex(rng, 20, 20) * falling) @ _complex(rng, 20, n_columns))
    mass = rng.uniform(0.1, 2.0, n_columns).astype(np.float32)
    allowed = share * float((np.abs(table.amplitude) ** 2 * mass).sum()) / 20
    factors = factors_of(table, mass, allowed)
    assert factors.right.shape[1] < 20
    assert _left_out(table, mass, factors) < allowed * (1 + 1e-3)  # single precision


def test_a_column_that_no_sample_looked_at_is_not_lost():
    """Of thousands of columns some are looked at; a loud one between them has its own factor."""
    rng = np.random.default_rng(5)
    amplitude = np.outer(_complex(rng, 30), _complex(rng, 9000))
    odd = _complex(rng, 30)
    amplitude[:, 4321] += 200 * odd
    table, mass = _table(amplitude.astype(np.complex64)), np.ones(9000, np.float32)
    allowed = 1e-3 * float((np.abs(amplitude) ** 2).sum()) / 30
    factors = factors_of(table, mass, allowed)
    assert _left_out(table, mass, factors) < allowed


def test_what_is_all_fainter_than_allowed_has_no_factors():
    table = _table(np.full((4, 10), 1e-3, np.complex64))
    assert factors_of(table, np.ones(10, np.float32), 1.0) is None


def _at_nodes(keys, amplitudes, classes):
    """Signal of orders at the place and offset of every node, without relaxation."""
    spins = classes.nodes.spins
    turns = keys[:, :3] @ spins.position.T + np.outer(keys[:, 3], spins.offset)
    return amplitudes * np.exp(-2j * np.pi * turns)


@pytest.mark.parametrize(
    ("away", "n_rows", "n_lots"),
    [
        ((0.0, 0.0, 2.0, 0.0), 1, 1),  # across the slice: one row
        ((0.0, 0.0, 0.0, 1e-5), 1, 1),  # in time: one row
        ((7.0, 0.0, 2.0, 1e-5), 2, 1),  # also in the plane: two rows of one lot
        ((0.0, 0.0, 400.0, 0.0), 2, 2),  # far across the slice: images of their own
    ],
)
def test_orders_brought_together_add_up_to_the_same_at_every_node(away, n_rows, n_lots):
    program, voxels = _train().program(), _voxels()
    classes = classes_of(program, voxels, 2)
    n, rng = len(classes.nodes.spins), np.random.default_rng(6)
    window = int(np.flatnonzero(program.event == WINDOW)[1])
    keys = np.array([[100.0, -50.0, 800.0, 2.0e-3]]) + np.outer([0.0, 1.0], away)
    amplitudes = _complex(rng, 2, n)
    notes = Notes(
        np.zeros(2, np.int64),
        np.full(2, window),
        keys,
        np.array([0, n, 2 * n]),
        amplitudes.ravel(),
    )
    told = Told(program.kind, notes, np.array([0, n]), np.arange(n))
    tables = [table_of(told, classes, part) for part in shares_of_lots(program, told, classes)]
    assert len(tables) == n_lots
    assert sum(len(table.rows.at) for table in tables) == n_rows
    assert all((table.rows.at == window).all() for table in tables)
    found = sum(
        _at_nodes(table.rows.key, table.amplitude, classes)[:, np.argsort(table.node)].sum(axis=0)
        for table in tables
    )
    truth = _at_nodes(keys, amplitudes, classes).sum(axis=0)
    # Keys count as one within 1e-3 1/m, some 1e-4 turns over the slice.
    np.testing.assert_allclose(found, truth, atol=5e-3)
