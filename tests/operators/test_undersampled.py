"""Undersampled k-space of several coils against the operators it is made of."""

import numpy as np
import pytest

from scanroom.operators.coils import coils
from scanroom.operators.fourier import fourier
from scanroom.operators.sampling import weighted
from scanroom.operators.undersampled import undersampled
from tests.truth import assert_adjoint

RNG = np.random.default_rng(8)
SHAPES = [(1, 30, 20), (6, 10, 19), (9, 25, 16), (1, 14, 40), (3, 16, 1)]


def noise(*shape):
    return RNG.normal(size=(*shape, 2)) @ [1, 1j]


def scene(shape, n_coils=3):
    return noise(n_coils, *shape), RNG.uniform(size=shape[:2]) < 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_adjoint(shape):
    assert_adjoint(undersampled(*scene(shape)))


@pytest.mark.parametrize("shape", SHAPES)
def test_composition_of_plain_operators(shape):
    maps, sampled = scene(shape)
    plain = (
        weighted(sampled[None, :, :, None], maps.shape) @ fourier(maps.shape, (1, 2)) @ coils(maps)
    )
    image, data = noise(*shape), noise(*maps.shape)
    np.testing.assert_allclose(undersampled(maps, sampled)(image), plain(image), atol=1e-13)
    np.testing.assert_allclose(undersampled(maps, sampled).H(data), plain.H(data), atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weights", [False, True])
def test_normal_operator_is_adjoint_after_forward(shape, weights):
    maps, sampled = scene(shape)
    if weights:
        sampled = RNG.uniform(size=shape[:2])
    fast, image = undersampled(maps.astype(np.complex64), sampled), noise(*shape)
    found = fast.N(image.astype(np.complex64))
    exact = undersampled(maps, sampled)
    exact = exact.H(exact(image))
    assert found.dtype == np.complex64
    # single rounding of two transforms, the weights rounded once more
    np.testing.assert_allclose(found, exact, atol=2e-6 * np.abs(exact).max())


def test_all_lines_and_maps_of_unit_norm_make_the_identity():
    maps = noise(4, 1, 24, 32)
    maps /= np.linalg.norm(maps, axis=0)
    encode, image = (
        undersampled(maps.astype(np.complex64), np.ones((1, 24), bool)),
        noise(1, 24, 32),
    )
    np.testing.assert_allclose(encode.N(image.astype(np.complex64)), image, atol=2e-6)


def test_same_bytes_with_any_number_of_threads(monkeypatch: pytest.MonkeyPatch):
    maps, sampled = scene((4, 20, 70))
    maps, image = maps.astype(np.complex64), noise(4, 20, 70).astype(np.complex64)
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("SCANROOM_THREADS", threads)
        encode = undersampled(maps, sampled)
        found.append((encode.N(image).tobytes(), encode.H(encode(image)).tobytes()))
    assert found[0] == found[1]
