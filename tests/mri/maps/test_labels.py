"""Choices that cost least, against every choice there is."""

import itertools

import numpy as np
import pytest

from scanroom.mri.maps.labels import chosen


def whole_cost(value, cost, label, pairs, stiffness):
    own = sum(cost[voxel, one] for voxel, one in enumerate(label))
    return own + stiffness * sum(abs(value[a, label[a]] - value[b, label[b]]) for a, b in pairs)


@pytest.mark.parametrize("seed", range(10))
def test_a_row_is_solved_exactly(seed):
    """On a tree messages are exact."""
    rng = np.random.default_rng(seed)
    value, cost = rng.normal(size=(2, 7, 3)).astype(np.float32)
    cost[2, 1] = np.inf
    pairs = [(n, n + 1) for n in range(6)]
    label = chosen(value, cost, np.ones((1, 1, 7), bool), stiffness=0.8)
    least = min(
        whole_cost(value, cost, every, pairs, 0.8)
        for every in itertools.product(range(3), repeat=7)
    )
    assert whole_cost(value, cost, label, pairs, 0.8) == pytest.approx(least, abs=1e-5)


def test_a_small_grid_comes_within_a_hundredth():
    rng = np.random.default_rng(2)
    pairs = [(3 * y + x, 3 * y + x + 1) for y in range(3) for x in range(2)]
    pairs += [(3 * y + x, 3 * y + x + 3) for y in range(2) for x in range(3)]
    for _ in range(5):
        value, cost = rng.normal(size=(2, 9, 2)).astype(np.float32)
        label = chosen(value, cost, np.ones((1, 3, 3), bool), stiffness=0.5)
        every = [
            whole_cost(value, cost, one, pairs, 0.5)
            for one in itertools.product(range(2), repeat=9)
        ]
        found = whole_cost(value, cost, label, pairs, 0.5)
        # loops are not solved exactly in general
        assert found <= min(every) + 0.01 * (max(every) - min(every))
