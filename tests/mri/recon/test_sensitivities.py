"""Estimated maps against maps that are known."""

import numpy as np
import pytest

from scanroom.mri.recon.sensitivities import combine, inati, root_sum_of_squares, sensitivities
from tests.mri.recon.scanner import white

RNG = np.random.default_rng(12)
N, N_COILS = 64, 6


def known_maps(n=N):
    """Smooth coils round the object, each with a phase of its own that turns across it."""
    y, x = (np.mgrid[:n, :n] - n // 2) / n
    angle = 2 * np.pi * np.arange(N_COILS)[:, None, None] / N_COILS
    far = (x - 0.8 * np.cos(angle)) ** 2 + (y - 0.8 * np.sin(angle)) ** 2
    maps = np.exp(1j * (angle + 1.5 * x * np.cos(angle) + 1.5 * y * np.sin(angle))) / (0.2 + far)
    return maps / np.linalg.norm(maps, axis=0)


def disc(n=N):
    y, x = (np.mgrid[:n, :n] - n // 2) / n
    return 1.0 * (x**2 + y**2 < 0.17) + 0.6 * ((x - 0.1) ** 2 + y**2 < 0.02)


def images(noise=0.0):
    object_ = disc() * np.exp(0.8j)
    seen = known_maps() * object_ + noise * white(RNG, N_COILS, N, N)
    return seen[:, None].astype(np.complex64)


@pytest.mark.parametrize("estimate", [sensitivities, inati])
def test_maps_are_those_that_made_the_images(estimate):
    """Equal up to one phase per pixel: the projection onto the truth is one."""
    found, inside = estimate(images())[:, 0], disc() > 0
    likeness = np.abs((found.conj() * known_maps()).sum(axis=0))[inside]
    # neighbourhoods of 1/13 of the field of view blur maps that turn by a radian over half of it
    assert likeness.min() > 0.98
    assert likeness.mean() > 0.999


@pytest.mark.parametrize("estimate", [sensitivities, inati])
def test_combined_image_is_the_object_and_keeps_its_phase(estimate):
    seen = images()
    combined = combine(seen, estimate(seen))[0]
    inside = disc() > 0
    np.testing.assert_allclose(np.abs(combined)[inside], disc()[inside], rtol=0.02)
    turn = np.angle(combined[inside])
    # the virtual coil is one smooth combination of coils: no jumps, small spread in the middle
    assert np.abs(np.angle(np.exp(1j * (turn - np.median(turn))))).max() < 1.0


@pytest.mark.parametrize("estimate", [sensitivities, inati])
def test_maps_have_unit_norm(estimate):
    norm = root_sum_of_squares(estimate(images(0.05)))
    np.testing.assert_allclose(norm, 1, atol=1e-5)


def test_adaptive_combination_has_less_background_than_root_sum_of_squares():
    seen = images(0.05)
    outside = disc() == 0
    adaptive = np.abs(combine(seen, sensitivities(seen)))[0][outside].mean()
    # the mean magnitude of one channel's noise against that of six: sqrt(pi / 2) to 3.4
    assert adaptive < 0.6 * root_sum_of_squares(seen)[0][outside].mean()


def test_volume_has_maps_too():
    flat = images()[:, 0]
    volume = np.repeat(flat[:, None], 5, axis=1)
    found = sensitivities(volume)
    likeness = np.abs((found.conj() * known_maps()[:, None]).sum(axis=0))[:, disc() > 0]
    assert likeness.min() > 0.97


@pytest.mark.parametrize("n_coils", [1, 2])
def test_silence_gives_even_maps(n_coils):
    maps = sensitivities(np.zeros((n_coils, 1, 8, 8), dtype=np.complex64))
    np.testing.assert_allclose(np.abs(maps), 1 / np.sqrt(n_coils), rtol=1e-6)
