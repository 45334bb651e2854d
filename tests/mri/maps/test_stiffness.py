"""Stiffness of plane waves whose speed and damping are known."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.stiffness import DENSITY, inverted, local_frequency, phase_gradient
from scanroom.mri.maps.waves import Field, band, curl, directed, eroded, harmonic

EDGE, NZ, N, HERTZ = 2e-3, 14, 48, 50.0
VOXEL = (EDGE, EDGE, EDGE)
Z, Y, X = (
    np.mgrid[:NZ, :N, :N].astype(float) - np.array([NZ, N, N]).reshape(3, 1, 1, 1) / 2
) * EDGE
DIRECTIONS = ((0.0, 0.6, 0.8), (0.0, -1.0, 0.0), (0.48, 0.6, -0.64))


def number(modulus):
    """Wave number [rad/m] of exp(2 pi i f t - i k r)."""
    return 2 * np.pi * HERTZ * np.sqrt(DENSITY / modulus)


def waves(modulus, directions=DIRECTIONS, peak=2.0):
    rows = []
    for z, y, x in directions:
        wave = np.exp(-1j * number(modulus) * (z * Z + y * Y + x * X))
        rows.append(peak * wave / np.abs(wave).max())
    return np.stack(rows)


def images(field, snr, seed, n_times=8):
    steps = np.exp(2j * np.pi * np.arange(n_times) / n_times)[None, :, None, None, None]
    phase = (field[:, None] * steps).real + 20 * X + 300 * Y
    noise = np.random.default_rng(seed).normal(size=(2, *phase.shape))
    return snr * np.exp(1j * phase) + noise[0] + 1j * noise[1]


def clean(field, error=1e-6):
    shape = field.shape[1:]
    return Field(waves=field, error=np.full(field.shape, error), valid=np.ones(shape, bool))


@pytest.mark.parametrize("peak", [0.5, 3.5])
def test_harmonic_is_found_through_wraps_with_the_error_stated(peak):
    truth = waves(3000 + 500j, peak=peak)
    found = harmonic(images(truth, 30.0, 1))
    away = (found.waves - truth) / found.error
    assert np.abs(away.mean()) < 0.02
    assert away.real.std() == pytest.approx(1.0, abs=0.02)
    assert away.imag.std() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("modulus", [2000 + 0j, 2000 + 800j, 5000 + 1500j])
def test_inversion_finds_storage_and_loss(modulus):
    found = inverted(clean(waves(modulus)), VOXEL, HERTZ)
    assert found.storage.array[found.storage.valid].mean() == pytest.approx(modulus.real, rel=0.005)
    assert found.loss.array[found.loss.valid].mean() == pytest.approx(
        modulus.imag, abs=0.005 * modulus.real
    )
    speed = 2 * np.pi * HERTZ / number(modulus).real
    assert found.speed.array[found.speed.valid].mean() == pytest.approx(speed, rel=0.003)


def test_noise_leaves_no_bias_over_ten_seeds_and_the_error_is_the_spread():
    modulus = 3000 + 600j
    found = [
        inverted(harmonic(images(waves(modulus, peak=1.0), 20.0, seed)), VOXEL, HERTZ)
        for seed in range(10)
    ]
    valid = np.logical_and.reduce([one.storage.valid for one in found])
    storage = np.stack([one.storage.array for one in found])[:, valid]
    assert storage.mean() == pytest.approx(3000, rel=0.02)
    inner = eroded(valid, 3)[valid]
    error = found[0].storage.error[valid]
    for part, closeness in ((inner, 0.1), (~inner, 0.3)):
        spread = np.sqrt(storage[:, part].var(axis=0, ddof=1).mean())
        # the edge of what is known is not part of the noise's closed form
        assert np.sqrt((error[part] ** 2).mean()) == pytest.approx(spread, rel=closeness)


@pytest.mark.parametrize("method", [local_frequency, phase_gradient])
def test_speed_of_elastic_waves(method):
    found = method(clean(waves(2500 + 0j)), VOXEL, HERTZ, n_replicas=2)
    inner = eroded(found.valid, 4)
    assert found.array[inner].mean() == pytest.approx(np.sqrt(2.5), rel=0.03)


def test_in_the_slice_waves_of_two_speeds_are_told_apart():
    soft, hard = (waves(m, ((0.0, 0.0, 1.0),)) for m in (1500 + 0j, 4000 + 0j))
    found = inverted(clean(np.where(Y < 0, soft, hard)), VOXEL, HERTZ, flat=True)
    upper, lower = Y < -0.02, Y > 0.02
    assert found.storage.array[found.storage.valid & upper].mean() == pytest.approx(1500, rel=0.01)
    assert found.storage.array[found.storage.valid & lower].mean() == pytest.approx(4000, rel=0.01)


def test_rotation_has_no_compression_and_all_of_the_shear():
    """A gradient field has no curl; a shear wave's curl is k times its size."""
    k = number(3000 + 0j).real
    shear = np.zeros((3, NZ, N, N), complex)
    shear[1] = np.exp(-1j * k * X)  # along y, running along x
    push = np.zeros_like(shear)
    push[2] = np.exp(-1j * 20 * X)
    found = curl(clean(shear + push), VOXEL, radius=1)
    inside = found.valid
    # the difference over two voxels is short by (k h)^2 / 6
    size = k * np.sinc(k * EDGE / np.pi)
    np.testing.assert_allclose(np.abs(found.waves[0])[inside], size, rtol=1e-6)
    np.testing.assert_allclose(np.abs(found.waves[1:])[:, inside], 0, atol=1e-9)


def test_directed_keeps_one_of_two_waves():
    both = waves(2000 + 0j, ((0.0, 0.0, 1.0),)) + waves(2000 + 0j, ((0.0, 0.0, -1.0),))
    kept = directed(clean(both), VOXEL, (0.0, 0.0, 1.0)).waves
    truth = waves(2000 + 0j, ((0.0, 0.0, 1.0),))
    middle = (slice(None), slice(None), slice(12, 36), slice(12, 36))
    overlap = np.abs(np.vdot(kept[middle], truth[middle])) / np.linalg.norm(kept[middle])
    assert overlap / np.linalg.norm(truth[middle]) > 0.98


def test_band_takes_long_waves_away():
    slow = np.ones((1, NZ, N, N), complex)
    kept = band(
        clean(slow + waves(2000 + 0j, ((0.0, 0.0, 1.0),))), VOXEL, lowest=15.0, highest=90.0
    )
    assert np.abs(kept.waves.mean()) < 0.05
    with pytest.raises(ProtocolError, match="0 or above"):
        band(clean(slow), VOXEL, lowest=90.0, highest=15.0)


def test_wrong_input_is_refused():
    with pytest.raises(ProtocolError, match="three at least"):
        harmonic(images(waves(2000 + 0j), 30.0, 0, n_times=2))
    with pytest.raises(ProtocolError, match="three on"):
        curl(clean(waves(2000 + 0j, DIRECTIONS[:2])), VOXEL)
    with pytest.raises(ProtocolError, match="above 0"):
        inverted(clean(waves(2000 + 0j)), VOXEL, 0.0)
    with pytest.raises(ProtocolError, match="too few"):
        inverted(clean(waves(2000 + 0j)), VOXEL, HERTZ, radius=9)
