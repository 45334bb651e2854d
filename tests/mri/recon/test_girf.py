"""Measured responses of gradients, against waveforms whose answer has a closed form."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.girf import corrected, response_of

RASTER = 1e-5
N_MEASURED = 20000
FREQUENCY = (np.arange(N_MEASURED) - N_MEASURED // 2) / (N_MEASURED * RASTER)
MEASURED = "mri_raw/mrphysics-bonn+python-ismrmrd-reco/dependency/girf_10us.npy"


def response(**gains):
    """Straight but for what is given as x=..., xy=..., x0=... (0: uniform)."""
    gain = np.zeros((3, 4, N_MEASURED), complex)
    for asked, name in enumerate("xyz"):
        gain[asked, asked + 1] = 1
        for made, other in enumerate("0xyz"):
            if name + other in gains:
                gain[asked, made] = gains[name + other]
    return response_of(gain, RASTER, "made up")


def lobe(n=400):
    """A smooth bump of Hz/m, well within its room."""
    time = (np.arange(n) + 0.5) * RASTER
    return 1e5 * np.exp(-((time - 1.8e-3) ** 2) / (2 * 2e-4**2)), time


def area(time, late=0.0):
    from scipy.special import erf  # noqa: PLC0415

    return 1e5 * 2e-4 * np.sqrt(np.pi / 2) * (1 + erf((time - late - 1.8e-3) / (2e-4 * np.sqrt(2))))


def test_a_perfect_response_gives_the_integral():
    wave, _ = lobe()
    at = np.linspace(1e-4, 3.9e-3, 50)
    place, turns = corrected(np.stack([wave, 0 * wave]), RASTER, at, response())
    # means over the raster, joined by straight lines: (10 us / 200 us)^2 / 8 of the peak
    np.testing.assert_allclose(place[:, 0], area(at), atol=1e-3 * area(1.0))
    np.testing.assert_allclose(place[:, 1], 0, atol=1e-9)
    np.testing.assert_allclose(turns, 0, atol=1e-9)


def test_delay_and_coupling_and_uniform_field():
    late = 2.3e-5
    delayed = np.exp(-2j * np.pi * FREQUENCY * late)
    wave, _ = lobe()
    at = np.linspace(1e-4, 3.9e-3, 50)
    given = response(xx=delayed, xy=np.full(N_MEASURED, 0.02), x0=np.full(N_MEASURED, 3e-3))
    place, turns = corrected(np.stack([wave, 0 * wave]), RASTER, at, given)
    np.testing.assert_allclose(place[:, 0], area(at, late), atol=1e-3 * area(1.0))
    np.testing.assert_allclose(place[:, 1], 0.02 * area(at), atol=1e-3 * 0.02 * area(1.0))
    np.testing.assert_allclose(turns, 3e-3 * area(at), atol=1e-3 * 3e-3 * area(1.0))


def test_rows_follow_their_directions():
    wave, _ = lobe()
    at = np.array([3.9e-3])
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # read along y, phase along -x
    given = response(yy=np.full(N_MEASURED, 0.9))
    place, _ = corrected(np.stack([wave, wave]), RASTER, at, given, directions=turn)
    np.testing.assert_allclose(place[0] / area(at), [0.9, 1.0], rtol=1e-6)


def test_times_outside_the_waveform_are_refused():
    wave, _ = lobe()
    with pytest.raises(ProtocolError, match="waveform lasts"):
        corrected(np.stack([wave, wave]), RASTER, np.array([0.01]), response())


def test_a_measured_response_keeps_slow_gradients_and_delays_fast_ones(shared_data):
    """Of a Siemens 3 T gradient system: what gradients of 1 ms do is known within a per cent."""
    gain = np.load(shared_data / MEASURED)
    given = response_of(gain, RASTER, MEASURED)
    wave, _ = lobe()
    at = np.array([3.9e-3])
    for axis in range(3):
        waves = np.zeros((3, len(wave)))
        waves[axis] = wave
        place, turns = corrected(waves, RASTER, at, given)
        assert place[0, axis] == pytest.approx(area(3.9e-3), rel=0.01)
        assert np.abs(np.delete(place[0], axis)).max() < 0.01 * area(3.9e-3)
        assert abs(turns[0]) < 0.01
