"""Temperatures against a warm spot that was put in, through drift, breathing and wraps."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.temperature import (
    Unheated,
    hertz_per_kelvin,
    referenceless,
    temperature_change,
)

LARMOR, N = 127.728e6, 48
RATE = hertz_per_kelvin(LARMOR)
Y, X = (np.mgrid[:N, :N].astype(float)[:, None] - N / 2) / (N / 2)
BODY = X**2 + Y**2 < 0.9
SPOT = np.exp(-(X**2 + Y**2) / (2 * 0.12**2))
AWAY = BODY & (X**2 + Y**2 > 0.5**2)
ONE, MANY = np.array([12e-3]), np.array([4e-3, 8e-3, 12e-3, 16e-3])


def images(times, kelvin, seed, snr=50.0, drift=0.0, still=0.0):
    """Field of the subject, a warm spot, drift [Hz] with a slope, phase of the coil."""
    t = times[:, None, None, None]
    hertz = 30 * X * Y + 20 * X + still + drift * (1 + 0.3 * X) + RATE * kelvin
    signal = snr * BODY * np.exp(-(2j * np.pi * hertz + 30.0) * t + 0.7j)
    noise = np.random.default_rng(seed).normal(size=(2, *signal.shape))
    return signal + noise[0] + 1j * noise[1]


@pytest.mark.parametrize("times", [ONE, MANY])
def test_heating_through_drift_is_unbiased_with_the_error_stated(times):
    rises = [10.0, 25.0, 45.0]
    unheated = Unheated(region=AWAY, order=1)
    away, errors = [], []
    for seed in range(10):
        frames = np.stack(
            [images(times, r * SPOT, 100 * seed + n, drift=2.0 * n) for n, r in enumerate(rises)]
        )
        base = np.stack([images(times, 0.0, 100 * seed + 50 + n) for n in range(4)])
        found = temperature_change(frames, base, times, RATE, unheated=unheated)
        truth = np.stack([r * SPOT for r in rises])
        away.append((found.array - truth)[:, BODY])
        errors.append(found.error[:, BODY])
    score = np.array(away) / np.array(errors)
    assert abs(score.mean()) < 0.05
    assert score.std() == pytest.approx(1.0, abs=0.05)
    # wraps lie at 32 K for the 12 ms echo: the last frame has gone beyond
    assert rises[-1] > 1 / abs(RATE * 12e-3) / 2


def test_several_echoes_are_surer_than_one():
    base = images(MANY, 0.0, 1)[None]
    frame = images(MANY, 5 * SPOT, 2)[None]
    many = temperature_change(frame, base, MANY, RATE)
    single = temperature_change(frame[:, 2:3], base[:, 2:3], ONE, RATE)
    assert (many.error[0][BODY] < 0.8 * single.error[0][BODY]).all()


def test_nearest_baseline_follows_breathing():
    states = [0.0, 25.0, 50.0]
    base = np.stack([images(ONE, 0.0, n, still=s * X[0]) for n, s in enumerate(states)])
    frames = np.stack([images(ONE, 8 * SPOT, 10 + n, still=s * X[0]) for n, s in enumerate(states)])
    unheated = Unheated(region=AWAY)
    found = temperature_change(frames, base, ONE, RATE, unheated=unheated, baseline="nearest")
    mixed = temperature_change(frames, base, ONE, RATE, unheated=unheated, baseline="mean")
    assert np.abs((found.array - 8 * SPOT)[:, BODY].mean(axis=1)).max() < 0.3
    assert np.abs(mixed.array[0] - 8 * SPOT)[BODY].mean() > 1.0


def test_without_a_baseline_surroundings_say_what_was():
    frames = np.stack([images(ONE, 12 * SPOT, seed) for seed in range(10)])
    ring = BODY & (np.hypot(X, Y) > 0.45)
    found = referenceless(frames, ONE, RATE, unheated=Unheated(region=ring, order=3))
    middle = np.hypot(X, Y) < 0.2
    away = (found.array - 12 * SPOT)[:, middle]
    # a frame's polynomial errs as a whole: ten frames, its own share is a fifth of the noise
    assert abs(away.mean()) < 0.15
    assert away.std() == pytest.approx(float(found.error[0][middle].mean()), rel=0.1)


def test_fat_is_not_valid_and_wrong_shapes_are_refused():
    fat = X > 0.4
    base, frame = images(ONE, 0.0, 1)[None], images(ONE, 3 * SPOT, 2)[None]
    found = temperature_change(frame, base, ONE, RATE, unheated=Unheated(region=AWAY, fat=fat))
    assert not found.valid[0][fat].any()
    with pytest.raises(ProtocolError, match="do not match"):
        temperature_change(frame, base, -ONE, RATE)
    with pytest.raises(ProtocolError, match="mean, nearest"):
        temperature_change(frame, base, ONE, RATE, baseline="last")
