"""Few samples stand for all: tried on spins that had no part in the choice."""

import numpy as np
import pytest

from scanroom.physics.spins.skeletons import examples, skeleton, values

TIME = (np.arange(900) + 0.5) * 3e-5


def _spins(n=20_000, seed=1):
    chance = np.random.default_rng(seed)
    place = np.stack([chance.normal(0, 25, n).clip(-90, 90), chance.uniform(0, 0.02, n)])
    return place, chance.choice([0.7, 12.0, 25.0, 300.0], n).astype(np.float32)


def _moments():
    return np.stack([TIME, 40 * np.sin(TIME * 300)], axis=1)


@pytest.mark.parametrize("allowed", [1e-3, 1e-5, 1e-7])
def test_every_spin_follows_from_the_samples_chosen(allowed):
    place, r2 = _spins()
    found = skeleton((_moments(), TIME), examples(place, r2), allowed)
    fresh = slice(None, None, 7)
    truth = values(_moments(), TIME, place[:, fresh].T, r2[fresh].astype(float))
    error = np.abs(found.mixed @ truth[found.chosen] - truth)
    # What a sum over spins misses is at most the mean; rare spins at the rims may miss more.
    assert error.mean(axis=1).max() < allowed
    assert error.max() < 100 * allowed
    assert len(found.chosen) < 40


def test_decay_alone_needs_few_terms_and_nothing_at_all_needs_one():
    place, r2 = _spins()
    none = np.zeros((len(TIME), 0))
    found = skeleton((none, TIME), examples(place[:0], r2.clip(5, 20)), 1e-5)
    assert 1 < len(found.chosen) < 6
    alike = skeleton((none, TIME), examples(place[:0], np.full_like(r2, 12.0)), 1e-5)
    assert len(alike.chosen) == 1


def test_more_terms_than_allowed_are_refused():
    place, r2 = _spins()
    assert skeleton((_moments(), TIME), examples(place, r2), 1e-6, most=5) is None
