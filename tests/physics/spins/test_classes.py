"""Nodes of classes: which there are, and what voxels are mixed of."""

import numpy as np
import pytest

from scanroom.physics.spins.classes import classes_of, masses, tissues
from tests.physics.spins.test_classwise import _train, _voxels


def test_a_tissue_between_two_frequent_ones_is_mixed_in_the_logarithm():
    ends = np.float32([[1.0, 10.0], [1.15, 11.5]])
    between = np.sqrt(ends[0] * ends[1])
    rates = np.vstack([np.repeat(ends, 5, axis=0), between[None]]).astype(np.float32)
    zero = np.zeros(len(rates), np.float32)
    found, kind, tissue, share, rates_of_kinds = tissues(rates[:, 0], rates[:, 1], zero)
    assert {tuple(row) for row in found.tolist()} == {tuple(row) for row in ends.tolist()}
    logs = np.log(found)[tissue[kind[-1]]] * share[kind[-1]][:, None]
    np.testing.assert_allclose(logs.sum(axis=0), np.log(between), atol=1e-5)  # single precision
    np.testing.assert_allclose(rates_of_kinds[kind, 0], rates[:, 1], rtol=1e-6)


def test_voxels_of_other_reversible_decay_are_of_other_kinds_but_of_one_tissue():
    same = np.ones(4, np.float32)
    found, kind, _, _, rates = tissues(same, same, np.float32([1.0, 2.0, 1.0, 2.0]))
    assert len(found) == 1
    assert kind.tolist() == [0, 1, 0, 1]
    assert rates[:, 1].tolist() == [1.0, 2.0]


def test_every_voxel_finds_all_nodes_it_needs_and_all_its_energy_hangs_on_them():
    voxels = _voxels()
    classes = classes_of(_train().program(), voxels, 2)
    field = classes.nodes.spins
    assert classes.number.max() + 1 == len(field)
    assert np.sort(classes.number[classes.number >= 0]).tolist() == list(range(len(field)))
    assert field.offset.min() <= voxels.offset.min()
    assert field.offset.max() >= voxels.offset.max()


def test_the_energy_of_one_voxel_hangs_on_the_nodes_about_it_and_on_no_other():
    voxels = _voxels()
    classes = classes_of(_train().program(), voxels, 2)
    loudness, one = np.zeros(len(voxels.index), np.float32), 123
    loudness[one] = 3.0
    mass = masses(classes, voxels, loudness)
    spins, step = classes.nodes.spins, classes.step
    seen = classes.height_of_nodes() + classes.shift * spins.offset
    reach = 0.5 * (classes.high[one] - classes.low[one]) + step[0] * (1 + 1e-9)
    strength = np.abs(voxels.transmit[one])
    near = (
        (np.abs(seen - 0.5 * (classes.low[one] + classes.high[one])) <= reach)
        & (np.abs(spins.offset - voxels.offset[one]) <= step[1])
        & (np.abs(np.abs(spins.transmit) - strength) <= 0.5 * step[2] * (1 + 1e-6))
        & (spins.r1 == voxels.r1[one])
        & (spins.r2 == voxels.r2[one])
    )
    assert 0 < near.sum() < 0.05 * len(mass)
    assert (mass[~near] == np.float32(1e-3)).all()  # the least that any node has
    # One on the average: all that there is hangs on those few.
    assert float(mass[mass > 2e-3].sum()) == pytest.approx(len(mass), rel=2e-3)


def test_tissues_are_told_apart_by_their_bound_protons():
    alike, rates = np.float32([1.0, 1.0, 1.0]), np.zeros((3, 4), np.float32)
    rates[:2] = [3.2, 23.0, 1.0, 1e-5], [1.6, 23.0, 1.0, 1e-5]
    found, kind, tissue, share, _ = tissues(alike, alike, 0 * alike, bound=rates)
    assert len(found) == 3
    mixed = found[tissue[kind], 2] * share[kind]
    assert mixed.sum(axis=1) == pytest.approx([3.2, 1.6, 0.0], abs=1e-4)


def test_bound_protons_that_recover_otherwise_make_another_tissue():
    alike, rates = np.float32([1.0, 1.0]), np.float32([[3.2, 23.0, 1.0, 1e-5]] * 2)
    rates[1, 2] = 4.0
    assert len(tissues(alike, alike, 0 * alike, bound=rates)[0]) == 2
