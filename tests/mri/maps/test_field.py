"""Field maps against the field the echoes were made of."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.field import field_map

Z, Y, X = np.mgrid[:6, :40, :40].astype(float)
BODY = (X - 20) ** 2 + (Y - 20) ** 2 < 17**2
HERTZ = 3.0 * (X - 20) + 0.4 * (Y - 18) ** 2 - 60
SPUN = 0.1 * X + 1.0


def echoes(times, snr, seed, r2_star=25.0):
    rng = np.random.default_rng(seed)
    t = np.asarray(times)[:, None, None, None]
    signal = snr * BODY * np.exp(-2j * np.pi * HERTZ * t - r2_star * t + 1j * SPUN)
    noise = rng.normal(size=(2, *signal.shape))
    return signal + noise[0] + 1j * noise[1]


@pytest.mark.parametrize("times", [[2e-3, 4.3e-3], [2e-3, 4e-3, 6e-3, 9e-3, 14e-3]])
def test_field_is_unbiased_and_spreads_as_its_error_says(times):
    found = [field_map(echoes(times, 60.0, seed), np.array(times)) for seed in range(10)]
    inside = np.logical_and.reduce([one.valid for one in found])
    assert inside[BODY].mean() > 0.99
    away = np.stack([one.array - HERTZ for one in found])[:, inside]
    error = found[0].error[inside]
    # 10 seeds of 5000 voxels: the mean is known to 1/200 of an error, the spread to 0.3 %
    assert abs((away / error).mean()) < 0.03
    assert (away / error).std() == pytest.approx(1.0, abs=0.02)


def test_dark_and_incoherent_voxels_are_not_trusted():
    times = np.array([2e-3, 4e-3, 6e-3, 8e-3])
    images = echoes(times, 60.0, 3)
    rng = np.random.default_rng(4)
    images[:, 2, 15:20, 15:20] *= np.exp(1j * rng.uniform(-np.pi, np.pi, (4, 5, 5)))
    found = field_map(images, times)
    assert not found.valid[~BODY].any()
    assert found.valid[2, 15:20, 15:20].mean() < 0.2
    assert np.isinf(found.error[~BODY]).all()


def test_times_that_do_not_rise_are_refused():
    with pytest.raises(ProtocolError, match="one rising time"):
        field_map(echoes([4e-3, 2e-3], 60.0, 0), np.array([4e-3, 2e-3]))
