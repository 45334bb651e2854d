"""Fat fractions from 0 to 100 % in a field that winds by more than fat is away from water."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.water_fat import water_fat
from scanroom.physics.fat import PEAKS, SHARES

LARMOR = 127.728e6
N = 66
Y, X = np.mgrid[:N, :N].astype(float)[:, None]
GRID = np.floor(X / N * 11) / 10
R, D = (X - N / 2) / (N / 2), (Y - N / 2) / (N / 2)
BODY = R**2 + D**2 < 0.95
HERTZ = 260 * R**3 + 240 * D * np.abs(D) + 130 * R
DECAY = 40 + 25 * D
TIMES = 1.2e-3 + 1.0e-3 * np.arange(6)


def images(snr, seed, times=TIMES, body=BODY, twist=0.0):
    t = times[:, None, None, None]
    fat = np.exp(-2j * np.pi * LARMOR * t[..., None] * PEAKS) @ (SHARES / SHARES.sum())
    signal = (1 - GRID + GRID * fat) * np.exp(-(DECAY + 2j * np.pi * HERTZ) * t + 1j * (1 + R))
    signal[0] *= np.exp(1j * twist)
    noise = np.random.default_rng(seed).normal(size=(2, *signal.shape))
    return snr * body * signal + noise[0] + 1j * noise[1]


def test_fractions_within_two_points_and_no_swap_over_ten_seeds():
    assert np.ptp(HERTZ[BODY]) > 1.5 * 434  # the field winds by more than fat's shift
    away, swaps = [], 0
    for seed in range(10):
        found = water_fat(images(30.0, seed), TIMES, LARMOR, mask=BODY)
        assert found.fraction.valid[BODY].mean() > 0.999
        swaps += int((np.abs(found.field.array - HERTZ)[BODY] > 100).sum())
        away.append((found.fraction.array - GRID)[BODY])
    assert swaps == 0
    mean = np.mean(away, axis=0)
    columns = [mean[np.isclose(GRID[BODY], level)].mean() for level in np.arange(11) / 10]
    assert np.abs(columns).max() < 0.02


@pytest.mark.parametrize("n_magnitude", [0, 1])
def test_errors_are_the_spread(n_magnitude):
    found = water_fat(images(50.0, 3), TIMES, LARMOR, mask=BODY, n_magnitude=n_magnitude)
    for one, truth in ((found.fraction, GRID), (found.r2_star, DECAY), (found.field, HERTZ)):
        score = ((one.array - truth) / one.error)[one.valid]
        # 3000 voxels: the spread is known to 1.3 %
        assert score.std() == pytest.approx(1.0, abs=0.05)
        assert abs(score.mean()) < 0.1


def test_first_echo_may_be_twisted_where_its_phase_does_not_count():
    twisted = images(400.0, 5, twist=0.5)
    plain = water_fat(twisted, TIMES, LARMOR, mask=BODY)
    mixed = water_fat(twisted, TIMES, LARMOR, mask=BODY, n_magnitude=1)
    away = [np.abs(one.fraction.array - GRID)[BODY].mean() for one in (plain, mixed)]
    assert away[1] < 0.002
    assert away[0] > 5 * away[1]


def test_two_islands_and_uneven_echoes():
    body = BODY & (np.abs(R) > 0.08)
    times = np.array([1.1, 2.0, 3.2, 4.1, 5.6, 6.3]) * 1e-3
    found = water_fat(images(30.0, 7, times, body), times, LARMOR)
    assert (np.abs(found.field.array - HERTZ)[body & found.field.valid] > 100).sum() == 0
    assert not found.fraction.valid[~body].any()


def test_too_few_echoes_are_refused():
    with pytest.raises(ProtocolError, match="at least 4"):
        water_fat(images(30.0, 0, TIMES[:3]), TIMES[:3], LARMOR)
    with pytest.raises(ProtocolError, match="keep their phase"):
        water_fat(images(30.0, 0), TIMES, LARMOR, n_magnitude=4)
