"""Isochromats and boxes: their places, their share of T2', their columns."""

import itertools

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.twin.sampling import cut, isochromats, lattice, rate, voxel_size
from scanroom.subject.model import Subject

AFFINE = np.array([[0, -1e-3, 0, 0.01], [2e-3, 0, 0, -0.02], [0, 0, 5e-3, 0], [0, 0, 0, 1.0]])


def _grains(n, shape=(6, 5, 4), seed=0):
    density = np.ones(shape, np.float32)
    subject = Subject(name="block", field=3.0, affine=AFFINE, maps={"proton_density": density})
    return isochromats(subject, density > 0, n, seed)


@pytest.mark.parametrize("n", [4, 8, 12])
def test_whole_turns_across_a_voxel_add_up_to_nothing_along_every_axis(n):
    within = _grains(n).within.reshape(-1, n, 3).astype(float)
    for turns in range(1, n):
        left = np.abs(np.exp(2j * np.pi * turns * within).mean(axis=1))
        assert left.max() < 1e-5  # single precision of the places


def test_turns_that_the_lattice_cannot_see_do_not_add_up_across_voxels():
    within = _grains(8, (12, 12, 12)).within
    left = abs(np.exp(2j * np.pi * 8 * within[:, 0]).mean())
    assert left < 5 / np.sqrt(12**3)  # random phases of 1728 voxels


def test_places_lie_in_their_voxels_and_follow_the_affine():
    grains = _grains(8)
    assert np.abs(grains.within).max() <= 0.5
    index = (grains.position - AFFINE[:3, 3]) @ np.linalg.inv(AFFINE[:3, :3]).T
    assert np.array_equal(np.rint(index - grains.within + 1e-9), grains.voxel)


def test_quantiles_are_those_of_a_lorentzian():
    spread = _grains(8, (20, 20, 20)).spread
    # A Lorentzian's quartiles lie at one half width; 8000 voxels, stratified.
    assert np.quantile(spread, [0.25, 0.5, 0.75]) == pytest.approx([-1, 0, 1], abs=0.02)


def test_the_same_seed_gives_the_same_places():
    a, b, other = _grains(8), _grains(8), _grains(8, seed=1)
    assert np.array_equal(a.position, b.position)
    assert not np.array_equal(a.position, other.position)


@pytest.mark.parametrize("n", [7, 11, 13, 31])
def test_lattice_of_prime_count_sees_single_turns_along_any_two_axes(n):
    generator = np.array(lattice(n)[:3])
    for wave in itertools.product((-1, 0, 1), repeat=3):
        if 0 < np.abs(wave).sum() < 3:
            assert generator @ wave % n != 0


def test_voxel_size_and_rates():
    subject = Subject(name="s", field=3.0, affine=AFFINE, maps={})
    assert voxel_size(subject) == pytest.approx((2e-3, 1e-3, 5e-3))
    assert rate(np.array([0.5, np.inf, 0.0])) == pytest.approx([2.0, 0.0, 1e6])


def test_too_many_isochromats_are_refused():
    with pytest.raises(ProtocolError, match="65 isochromats per voxel; there may be 1 to 64"):
        _grains(65)


def _cut(across, axis, shape=(3, 4, 2)):
    density = np.ones(shape, np.float32)
    density[1, 2, 0] = 0.0
    subject = Subject(name="block", field=3.0, affine=AFFINE, maps={"proton_density": density})
    return cut(subject, density > 0, across, axis)


def test_boxes_fill_every_chosen_voxel_without_gap_or_overlap():
    across = (2, 1, 3)
    boxes, _ = _cut(across, 2)
    assert len(boxes.voxel) == 23 * 6
    assert boxes.n_per_voxel == 6
    centre = boxes.voxel + boxes.within + 0.5
    cells = np.floor(centre * across).astype(int)
    assert np.abs(centre * across - cells - 0.5).max() < 1e-6  # in the middle of its cell
    assert len(np.unique(cells, axis=0)) == len(cells)
    assert np.array_equal(cells // np.array(across), boxes.voxel.astype(int))


def test_centres_of_boxes_follow_the_affine():
    boxes, _ = _cut((2, 1, 3), 2)
    truth = (boxes.voxel + boxes.within) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    assert boxes.position == pytest.approx(truth)
    assert not boxes.spread.any()  # T2' is the box's own


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_column_holds_what_lies_one_behind_another(axis):
    boxes, column = _cut((2, 1, 3), axis)
    place = np.round((boxes.voxel + boxes.within) * 6).astype(int)
    beside = np.delete(place, axis, axis=1)
    for number in np.unique(column):
        assert len(np.unique(beside[column == number], axis=0)) == 1
    assert len(np.unique(column)) == len(np.unique(beside, axis=0))
