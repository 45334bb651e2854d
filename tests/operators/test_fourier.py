"""The centred transform against closed forms."""

import numpy as np
import pytest

from scanroom.operators.fourier import fourier, resize, to_image, to_kspace, window
from tests.truth import assert_adjoint

RNG = np.random.default_rng(3)


def noise(*shape):
    return RNG.normal(size=(*shape, 2)) @ [1, 1j]


@pytest.mark.parametrize(
    ("shape", "axes"), [((12, 10), (-2, -1)), ((4, 7, 9), (-1,)), ((5, 4, 6), (0, 1, 2))]
)
def test_adjoint(shape, axes):
    assert_adjoint(fourier(shape, axes))


@pytest.mark.parametrize("n", [8, 9])
@pytest.mark.parametrize("m", [8, 10, 11, 5])
def test_adjoint_of_a_window(n, m):
    assert_adjoint(window((3, n), m, -1))


@pytest.mark.parametrize("n", [8, 9])
def test_point_at_pixel_p_has_phase_minus_two_pi_k_r(n):
    k = np.arange(n) - n // 2
    for pixel in range(n):
        point = np.zeros(n, complex)
        point[pixel] = 1
        wave = np.exp(-2j * np.pi * k * (pixel - n // 2) / n) / np.sqrt(n)
        # double rounding of an n-point transform
        np.testing.assert_allclose(to_kspace(point, (0,)), wave, atol=1e-14)


def test_parseval():
    image = noise(16, 15)
    energy = np.linalg.norm(image)
    assert np.linalg.norm(to_kspace(image, (0, 1))) == pytest.approx(energy, rel=1e-13)


def test_single_precision_stays_single():
    image = noise(8, 8).astype(np.complex64)
    assert to_image(to_kspace(image, (0, 1)), (0, 1)).dtype == np.complex64


@pytest.mark.parametrize("sizes", [(8, 12), (8, 11), (9, 12), (9, 15)])
def test_zero_padding_keeps_the_origin_and_interpolates(sizes):
    """A wave that both grids hold has the same value at the origin after interpolation."""
    n, m = sizes
    flat = np.zeros(n, complex)
    flat[n // 2 + 1] = 1
    fine = to_image(resize(flat, m, 0), (0,)) * np.sqrt(m)
    place = (np.arange(m) - m // 2) / m
    np.testing.assert_allclose(fine, np.exp(2j * np.pi * place), atol=1e-13)


def test_cropping_undoes_padding():
    line = noise(3, 9)
    np.testing.assert_array_equal(resize(resize(line, 14, 1), 9, 1), line)
