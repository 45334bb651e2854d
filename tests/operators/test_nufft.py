"""The non-uniform transform against direct sums."""

import numpy as np
import pytest

from scanroom.operators.fourier import to_kspace
from scanroom.operators.nufft import density, nufft
from tests.truth import assert_adjoint

RNG = np.random.default_rng(11)


def radial(n_spokes, n):
    angle = np.pi * np.arange(n_spokes) / n_spokes
    radius = (np.arange(2 * n) - n) / (2 * n)
    return np.stack(
        [np.outer(np.sin(angle), radius).ravel(), np.outer(np.cos(angle), radius).ravel()], axis=1
    )


@pytest.mark.parametrize(("shape", "n_images"), [((12, 9), 1), ((8, 10), 3), ((5, 6, 8), 2)])
def test_adjoint(shape, n_images):
    place = RNG.uniform(-0.5, 0.5, (50, len(shape)))
    assert_adjoint(nufft(place, shape, n_images=n_images), rtol=1e-11)


@pytest.mark.parametrize("shape", [(12, 9), (6, 8, 5)])
def test_direct_sum(shape):
    place = RNG.uniform(-0.5, 0.5, (40, len(shape)))
    image = RNG.normal(size=(*shape, 2)) @ [1, 1j]
    index = np.stack(
        np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij"), axis=-1
    ).reshape(-1, len(shape))
    exact = np.exp(-2j * np.pi * place @ index.T) @ image.ravel() / np.sqrt(image.size)
    # FINUFFT was asked for 1e-9
    np.testing.assert_allclose(nufft(place, shape)(image), exact, atol=1e-8)


def test_cartesian_samples_make_the_centred_transform():
    shape = (8, 6)
    grid = np.stack(
        np.meshgrid(*[(np.arange(n) - n // 2) / n for n in shape], indexing="ij"), axis=-1
    ).reshape(-1, 2)
    image = RNG.normal(size=(*shape, 2)) @ [1, 1j]
    samples = nufft(grid, shape)(image).reshape(shape)
    np.testing.assert_allclose(samples, to_kspace(image, (0, 1)), atol=1e-8)


def test_cartesian_density_is_one():
    n = 8
    grid = np.stack(np.meshgrid(*[(np.arange(n) - n // 2) / n] * 2, indexing="ij"), axis=-1)
    weight = density(grid.reshape(-1, 2), (n, n), n_iterations=30).reshape(n, n)
    # the lattice repeats at the border of k-space, so that every sample has the same neighbours
    np.testing.assert_allclose(weight, 1, rtol=1e-6)


def test_radial_density_grows_with_radius():
    n = 16
    place = radial(50, n)
    weight = density(place, (n, n)).reshape(50, 2 * n).mean(axis=0)
    radius = np.abs(np.arange(2 * n) - n) / (2 * n)
    middle = (radius > 0.1) & (radius < 0.4)
    # area of a ring cell: pi |r| dr / spokes; 10 % for ripples of the finite kernel
    np.testing.assert_allclose(
        weight[middle] / weight[middle].sum(), radius[middle] / radius[middle].sum(), rtol=0.1
    )
