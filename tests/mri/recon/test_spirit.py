"""SPIRiT where its kernel is exact, and on any pattern."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.spirit import calibrate_spirit, spirit
from scanroom.operators.fourier import to_kspace
from tests.mri.recon.coil_scenes import N, away, every, hybrid, pictures, same_with_threads, scene


def scattered(n=N, share=0.4, centre=20):
    """Both axes phase-encoded, random places and a full centre."""
    sampled = np.random.default_rng(4).random((n, n)) < share
    middle = slice(n // 2 - centre // 2, n // 2 + centre // 2)
    sampled[middle, middle] = True
    return sampled


def test_kernel_predicts_harmonic_coils_exactly():
    """Coil c is exp(2 pi i c y / N): each sample stands in its neighbour's neighbour."""
    y, x = (np.mgrid[:N, :N] - N // 2) / N
    blob = np.exp(-60 * (x**2 + (y - 0.05) ** 2))
    images = np.stack([np.exp(2j * np.pi * c * y) for c in range(3)]) * blob
    kspace = hybrid(images[:, None].astype(np.complex64))
    kernel = calibrate_spirit(kspace[:, :, 20:44], regularisation=1e-6)
    pixels = kernel.pixels((1, N, N), slice(0, N))  # x target source z y
    seen = np.fft.ifftshift(np.moveaxis(images, -1, 0), 2)[:, :, None]
    predicted = np.einsum("xtszy,xszy->xtzy", pixels, seen)
    assert away(predicted, seen) < 1e-2
    full = to_kspace(kspace, (3,))
    assert np.isfinite(full).all()


def test_sample_is_never_made_of_itself():
    _, _, kspace = scene()
    weights = calibrate_spirit(kspace[:, :, 20:44]).weights
    middle = tuple(n // 2 for n in weights.shape[:3])
    assert not np.diagonal(weights[middle]).any()


@pytest.mark.parametrize(("step", "bound"), [(2, 0.02), (4, 0.05)])
def test_lines_left_out_come_back(step, bound):
    _, _, kspace = scene(noise=1e-3)
    sampled = every(step, centre=20)
    filled = spirit(kspace * sampled[..., None], sampled)
    assert away(pictures(filled), pictures(kspace)) < bound
    assert away(pictures(kspace * sampled[..., None]), pictures(kspace)) > 1.5 * bound


def test_random_pattern():
    maps, image, _ = scene()
    kspace = hybrid(maps.transpose(0, 2, 3, 1) * image.transpose(1, 2, 0))
    sampled = scattered()
    filled = spirit(kspace * sampled[..., None], sampled, n_iterations=40)
    assert away(filled, kspace) < 0.03


def test_measured_samples_stay():
    _, _, kspace = scene(noise=0.01)
    sampled = every(3, centre=20)
    filled = spirit(kspace, sampled)
    np.testing.assert_array_equal(filled[:, sampled], kspace[:, sampled])


def test_everything_measured_stays_as_it_is():
    _, _, kspace = scene(noise=0.01)
    np.testing.assert_array_equal(spirit(kspace, np.ones((1, N), bool)), kspace)


def test_bytes_and_precision(monkeypatch):
    _, _, kspace = scene(noise=0.01)
    sampled = every(3, centre=20)
    same_with_threads(monkeypatch, lambda: spirit(kspace, sampled))
    assert spirit(kspace, sampled).dtype == np.complex64


def test_what_cannot_be_is_refused():
    _, _, kspace = scene()
    with pytest.raises(ProtocolError, match="SPIRiT kernel"):
        spirit(kspace, every(4, centre=4))
    with pytest.raises(ProtocolError, match="0 measured lines"):
        spirit(kspace, np.zeros((1, N), bool))
