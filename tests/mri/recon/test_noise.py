"""Whitening against the algebra of covariance."""

from dataclasses import replace

import numpy as np
import pytest

from scanroom.core.errors import FormatError
from scanroom.mri.raw.reader import read_raw
from scanroom.mri.recon.noise import covariance, whiten, whitener
from scanroom.physics.receiver import Receiver, droop, noise_bandwidth
from tests.mri.recon.scanner import cartesian, white, write

RNG = np.random.default_rng(8)


def test_covariance_of_the_real_part():
    mix = white(RNG, 3, 3)
    n = 100000
    found = covariance(mix @ white(RNG, 3, n))
    # elements fluctuate by about |C| / sqrt(n), |C| < 20; five of them
    np.testing.assert_allclose(found, mix @ mix.conj().T, atol=5 * 20 / np.sqrt(n))


def test_whitened_noise_has_unit_covariance(tmp_path):
    mix, n = white(RNG, 4, 4), 64 * 24
    encoding = cartesian()
    signals = [mix @ white(RNG, 4, 64) for _ in range(encoding.n_windows)]
    raw = read_raw(write(tmp_path / "raw.h5", encoding, signals, mix @ white(RNG, 4, 60000)))
    samples = np.concatenate(whiten(raw).signal, axis=1)
    # an element of the sample covariance fluctuates by 1 / sqrt(n); five of them
    np.testing.assert_allclose(covariance(samples), np.eye(4), atol=5 / np.sqrt(n))


def test_noise_in_the_middle_of_the_band_is_one_behind_any_filter(tmp_path):
    """The noise scan has lost what the filter takes at the edges, an image's middle has not."""
    chain = Receiver(full_scale=1.0, flat=0.5, edge_gain=0.0)
    encoding = replace(cartesian(matrix=(64, 128, 1)), noise_bandwidth=noise_bandwidth(chain))
    signals = [droop(chain, white(RNG, 4, 128)) for _ in range(encoding.n_windows)]
    noise = droop(chain, white(RNG, 4, 60000))
    raw = read_raw(write(tmp_path / "raw.h5", encoding, signals, noise))
    spectra = np.fft.fft(np.stack(whiten(raw).signal), axis=-1, norm="ortho")
    middle = np.concatenate([spectra[..., :32], spectra[..., -32:]], axis=-1)
    # 4 x 128 x 64 points of two parts fluctuate by 0.3 %, the noise scan by 0.2 % a channel
    assert np.sqrt(np.mean(np.abs(middle) ** 2) / 2) == pytest.approx(1.0, abs=0.015)


def test_whitener_inverts_covariance():
    mix = white(RNG, 5, 5)
    matrix = mix @ mix.conj().T
    w = whitener(matrix)
    np.testing.assert_allclose(w @ matrix @ w.conj().T, np.eye(5), atol=1e-10)


def test_dead_channel_stays_silent():
    matrix = np.diag([1.0, 0.0, 4.0]).astype(complex)
    np.testing.assert_allclose(whitener(matrix), np.diag([1, 0, 0.5]))


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_noise_scan_without_noise_is_refused(value):
    with pytest.raises(FormatError, match="zero or not finite"):
        whitener(np.full((2, 2), value, dtype=complex))


def test_file_without_noise_scan_says_so(tmp_path):
    encoding = cartesian()
    raw = read_raw(write(tmp_path / "raw.h5", encoding, [np.ones((1, 64))] * encoding.n_windows))
    measurement = whiten(raw)
    assert not measurement.white
    assert any("no noise scan" in note for note in measurement.notes)
