"""Unwrapped phase against the phase it was made of."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.unwrapping import TURN, unwrap, unwrap_echoes, unwrap_in_time, wrapped

Z, Y, X = np.mgrid[:12, :48, :48].astype(float)
BOWL = 0.03 * (X - 24) ** 2 + 0.02 * (Y - 20) * (X - 12) + 0.4 * Z
DISC = (X - 24) ** 2 + (Y - 24) ** 2 < 21**2


def noisy(phase, snr, seed):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, *phase.shape))
    return snr * np.exp(1j * phase) + noise[0] + 1j * noise[1]


def test_bowl_of_many_turns_comes_back_but_for_whole_turns():
    found = unwrap(wrapped(BOWL), mask=DISC)
    away = (found.phase - BOWL)[DISC] / TURN
    np.testing.assert_allclose(away, np.round(away[0]), atol=1e-9)  # rounding
    assert found.region[DISC].max() == 1


@pytest.mark.parametrize("seed", range(10))
def test_noisy_bowl_has_no_voxel_a_turn_off(seed):
    image = noisy(BOWL, 8.0, seed)
    found = unwrap(np.angle(image), mask=DISC, magnitude=np.abs(image))
    away = np.round((found.phase - BOWL)[DISC] / TURN)
    assert np.ptp(away) == 0


def test_cut_through_an_object_is_gone_round():
    """A true jump by half a turn across a cut that ends: paths lead round it."""
    phase = np.where((Y > 24) & (X < 24), 3.0, 0.0) * np.clip((24 - X) / 12, 0, 1)
    quality = np.where(np.abs(Y - 24.5) < 1.1, 0.2, 1.0)
    image = quality * np.exp(1j * phase)
    found = unwrap(np.angle(image), mask=DISC, magnitude=np.abs(image))
    np.testing.assert_allclose(found.phase[DISC], phase[DISC], atol=1e-9)


def test_later_echo_says_which_pairs_are_good():
    """Decoherent voxels of single echo look smooth by chance; two echoes disagree there."""
    rng = np.random.default_rng(1)
    bad = (X > 20) & (X < 26) & (Y > 4)
    first = np.where(bad, rng.uniform(-np.pi, np.pi, X.shape), wrapped(BOWL))
    second = np.where(bad, rng.uniform(-np.pi, np.pi, X.shape), wrapped(2 * BOWL))
    good = DISC & ~bad
    found = unwrap(first, mask=DISC, later=second, ratio=2.0)
    away = np.round((found.phase - BOWL)[good] / TURN)
    values, counts = np.unique(away, return_counts=True)
    assert counts.max() / counts.sum() > 0.995
    assert len(values) <= 3


def test_two_objects_each_have_their_mean_near_zero():
    mask = np.abs(X - 24) > 2
    found = unwrap(wrapped(BOWL), mask=mask)
    assert set(np.unique(found.region)) == {0, 1, 2}
    for number in (1, 2):
        assert abs(found.phase[found.region == number].mean()) <= np.pi


def test_time_and_echoes_follow_a_line():
    rate = np.linspace(-400, 400, 50)
    times = np.array([2e-3, 5e-3, 9e-3])
    line = rate * times[:, None]
    first = wrapped(line)
    found = unwrap_echoes(first, times, rate + 40)
    np.testing.assert_allclose(np.diff(found, axis=0), np.diff(line, axis=0), atol=1e-9)
    slow = np.linspace(0, 20, 30)[:, None] * np.ones(3)
    np.testing.assert_allclose(unwrap_in_time(wrapped(slow)), slow, atol=1e-9)


def test_phase_that_is_no_number_is_refused():
    with pytest.raises(ProtocolError, match="1 phases that are not finite"):
        unwrap(np.where((X == 5) & (Y == 5) & (Z == 5), np.nan, 0.0), mask=np.ones(X.shape, bool))
