"""Ways to transform a shot: which there are, what they cost, what they give."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from scanroom.physics.spins.gridding import columns_of
from scanroom.physics.spins.nonuniform import (
    LEAST_ERROR,
    Course,
    Ensemble,
    cost,
    cost_of_sum,
    layouts,
    samples_of_shot,
)

N = 3000
TIME = (np.arange(1500) + 0.5) * 8e-6


def _ensemble(offset=60.0):
    chance = np.random.default_rng(2)
    place = chance.uniform(-0.1, 0.1, (4, N))
    place[3] *= 10 * offset
    r2 = chance.uniform(1, 30, N).astype(np.float32)
    weight = (chance.normal(size=(N, 2)) + 1).astype(np.complex64)
    return Ensemble(place, r2, columns_of(weight), place.min(axis=1), place.max(axis=1)), weight


def _course(*axes):
    """Moments along these axes, each of its own frequency."""
    moment = np.zeros((len(TIME), 4))
    for axis in axes:
        moment[:, axis] = (150, 110, 60)[axis] * np.sin((400 + 270 * axis) * TIME + axis)
    moment[:, 3] = TIME
    return Course(moment)


def _samples(layout, spins, chosen):
    transverse = (np.full(N, 0.6, np.float32), np.full(N, -0.8, np.float32))
    with ThreadPoolExecutor(2) as pool:
        return samples_of_shot(layout, spins, transverse, chosen, 2, pool)[:2]


@pytest.mark.parametrize("axes", [(0,), (0, 1), (0, 1, 2), (2,)])
def test_every_layout_gives_the_sum_over_spins(axes):
    spins, weight = _ensemble()
    course, chosen = _course(*axes), np.arange(0, N, 3)
    turns = course.moment @ spins.place[:, chosen]
    decay = np.outer(course.time, spins.r2[chosen])
    waves = (0.6 - 0.8j) * np.exp(-2j * np.pi * turns - decay)
    truth = (waves @ weight[chosen].astype(complex)).T
    found = layouts(course, spins, 1e-5)
    assert found
    for layout in found:
        error = np.linalg.norm(_samples(layout, spins, chosen) - truth) / np.linalg.norm(truth)
        assert error < 1e-5  # as asked for


def test_moments_that_run_along_are_sheared_into_those_transformed():
    spins, _ = _ensemble()
    moment = _course(0).moment
    moment[:, 1] = -0.7 * moment[:, 0]
    moment[:, 2] = 0.2 * moment[:, 0]
    plain, sheared = layouts(_course(0), spins, 1e-5)[0], layouts(Course(moment), spins, 1e-5)[0]
    assert len(sheared.shape) == len(plain.shape)
    assert len(sheared.time) == len(plain.time)


def test_what_is_out_of_reach_has_no_layout():
    spins, _ = _ensemble()
    assert layouts(_course(0, 1), spins, LEAST_ERROR / 2) == []
    wild = Course(np.column_stack([_course(0, 1, 2).moment[:, :3] * 40, TIME]))
    assert layouts(wild, spins, 1e-5) == []


def test_the_sum_is_dearer_the_more_spins_there_are():
    spins, _ = _ensemble()
    layout = layouts(_course(0, 1), spins, 1e-5)[0]
    ratio = [cost_of_sum(n, len(TIME), 8) / cost(layout, n, 8) for n in (100, 10_000, 1_000_000)]
    assert ratio[0] < 1 < ratio[2]
    assert ratio == sorted(ratio)
