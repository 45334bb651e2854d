"""Displacement of a push against the micrometres that were put in."""

import numpy as np
import pytest
from scipy.integrate import quad

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.displacement import displacement, encoding

N = 48
Y, X = (np.mgrid[:N, :N].astype(float)[:, None] - N / 2) / (N / 2)
PUSHED = 6e-6 * np.exp(-(X**2 / 0.02 + Y**2 / 0.1))
CYCLES = 42.576e6 * 60e-3 * 3e-3  # 60 mT/m for 3 ms, in cycles per metre
BODY = X**2 + Y**2 < 0.9


def image(sign, push, seed, snr=40.0, drift=0.0):
    turn = -2 * np.pi * sign * CYCLES * push + sign * (0.4 + 0.3 * X) + sign * drift * Y + 2 * X
    noise = np.random.default_rng(seed).normal(size=(2, *X.shape))
    return snr * BODY * np.exp(1j * turn) + noise[0] + 1j * noise[1]


def test_push_is_found_with_the_error_stated_and_eddy_currents_go():
    away, error = [], None
    for seed in range(10):
        pushed = [image(s, PUSHED, 4 * seed + n) for n, s in enumerate((1, -1))]
        rest = (image(1, 0.0, 4 * seed + 2), image(-1, 0.0, 4 * seed + 3))
        found = displacement(*pushed, CYCLES, rest=rest)
        away.append((found.array - PUSHED)[BODY])
        error = found.error[BODY]
    score = np.array(away) / error
    assert abs(score.mean()) < 0.05
    assert score.std() == pytest.approx(1.0, abs=0.03)


def test_drift_of_eddy_currents_goes_with_still_tissue():
    pushed = [image(s, PUSHED, n, drift=0.2) for n, s in enumerate((1, -1))]
    rest = (image(1, 0.0, 2), image(-1, 0.0, 3))
    still = BODY & (PUSHED < 1e-8)
    found = displacement(*pushed, CYCLES, rest=rest, still=still, order=1)
    assert np.abs((found.array - PUSHED)[BODY].mean()) < 2e-8


def test_encoding_is_the_integral_with_the_response():
    time = np.linspace(0.0, 10e-3, 4001)
    lobe = np.where((time >= 4e-3) & (time <= 9e-3), 2.5e6, 0.0)
    rise = np.where(time > 5e-3, -np.expm1(-(time - 5e-3) / 2e-3), 0.0)
    truth = 2.5e6 * quad(lambda t: -np.expm1(-(t - 5e-3) / 2e-3), 5e-3, 9e-3)[0]
    # the lobe ends with a ramp of one sample, an eighth of a percent of it
    assert encoding(time, lobe, rise) == pytest.approx(truth, rel=2e-3)
    with pytest.raises(ProtocolError, match="other than 0"):
        encoding(time, np.zeros(4001))
