"""Velocity of a pipe flow against Poiseuille's parabola and its rate."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.velocity import flow_rate, velocity, venc_of

N, PIXEL = 64, 1e-3
Y, X = (np.mgrid[:N, :N].astype(float)[:, None] - N / 2 + 0.5) * PIXEL
RADIUS, PEAK = 10e-3, 0.9
INSIDE = X**2 + Y**2 < RADIUS**2
SPEED = np.where(INSIDE, PEAK * (1 - (X**2 + Y**2) / RADIUS**2), 0.0)
TISSUE = np.hypot(X, Y) < 28e-3
EDDY = 0.3 + 12 * X - 7 * Y


def pair(venc, snr, seed):
    noise = np.random.default_rng(seed).normal(size=(4, *X.shape))
    coil = np.exp(1j * (1.3 + 90 * X))
    base = snr * TISSUE * coil
    turned = base * np.exp(1j * (np.pi * SPEED / venc + EDDY))
    return base + noise[0] + 1j * noise[1], turned + noise[2] + 1j * noise[3]


@pytest.mark.parametrize("venc", [1.2, 0.6, -1.2])
def test_parabola_is_found_beyond_venc_and_through_eddy_currents(venc):
    found = [velocity(*pair(venc, 40.0, seed), venc) for seed in range(10)]
    away = np.stack([one.array - SPEED for one in found])[:, TISSUE]
    error = found[0].error[TISSUE]
    score = away / error
    # background and parabola: the mean of ten seeds within a third of an error in any part
    assert abs(score.mean()) < 0.1
    assert score.std() == pytest.approx(1.0, abs=0.05)


def test_rate_is_that_of_poiseuille():
    truth = np.pi * RADIUS**2 * PEAK / 2
    rates, errors = zip(
        *[flow_rate(velocity(*pair(1.2, 40.0, seed), 1.2), INSIDE, (PIXEL, PIXEL))
          for seed in range(10)], strict=True,
    )  # fmt: skip
    # pixels on the rim: 316 of them make up the circle to a few tenths of a percent
    assert np.mean(rates) == pytest.approx(truth, rel=0.01)
    assert np.std(rates, ddof=1) < 2 * errors[0]


def test_still_tissue_may_be_given_where_flow_prevails():
    still = TISSUE & ~INSIDE & (X > 0)
    found = velocity(*pair(0.7, 60.0, 1), 0.7, still=still)
    assert np.abs((found.array - SPEED)[INSIDE].mean()) < 5e-3


def test_moment_says_venc_with_the_sign_of_raw_data():
    moment = 0.4  # cycles s / m
    assert venc_of(moment) == pytest.approx(-1.25)
    phase = -2 * np.pi * moment * 0.2
    assert phase * venc_of(moment) / np.pi == pytest.approx(0.2)
    with pytest.raises(ProtocolError, match="other than 0"):
        venc_of(0.0)


def test_air_is_not_valid():
    found = velocity(*pair(1.2, 40.0, 0), 1.2)
    assert not found.valid[~TISSUE].any()
    with pytest.raises(ProtocolError, match="venc"):
        velocity(*pair(1.2, 40.0, 0), 0.0)
