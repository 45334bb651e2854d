"""Wavelets against Daubechies' conditions, Haar's sums and their own algebra."""

import numpy as np
import pytest

from scanroom.operators.proximal import group_soft, soft
from scanroom.operators.wavelets import daubechies, linear, padded, shrink_groups, wavelet
from tests.truth import assert_adjoint

RNG = np.random.default_rng(14)
SHAPES = [(64,), (4, 8), (48, 40), (8, 12, 20), (16, 9, 6)]


def noise(*shape):
    return RNG.normal(size=(*shape, 2)) @ [1, 1j]


def test_four_taps_are_those_daubechies_published():
    root = np.sqrt(3)
    published = np.array([1 + root, 3 + root, 3 - root, 1 - root]) / (4 * np.sqrt(2))
    np.testing.assert_allclose(daubechies(2), published, atol=1e-15)


@pytest.mark.parametrize("moments", range(1, 11))
def test_filters_are_orthonormal_to_their_even_shifts_and_have_their_moments(moments):
    low = daubechies(moments)
    for shift in range(moments):
        inner = (low[2 * shift :] * low[: len(low) - 2 * shift]).sum()
        assert inner == pytest.approx(float(shift == 0), abs=1e-13)
    high = low[::-1] * (-1.0) ** np.arange(len(low))
    place = np.arange(len(low)) / len(low)
    for power in range(moments):
        # a root of multiplicity ten of the filter's polynomial costs digits
        assert (high * place**power).sum() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("moments", [1, 2, 4])
@pytest.mark.parametrize("shift", [(0, 0, 0), (3, 5, 1)])
def test_unitary(shape, moments, shift):
    transform = linear(wavelet(shape, moments=moments, n_levels=2), shift)
    assert_adjoint(transform)
    x = noise(*shape)
    np.testing.assert_allclose(transform.H(transform(x)), x, atol=1e-12)
    np.testing.assert_allclose(transform(transform.H(x)), x, atol=1e-12)


def test_haar_makes_sums_and_differences_of_neighbours():
    x = noise(8)
    found = wavelet((8,), moments=1, n_levels=1).forward(x)
    np.testing.assert_allclose(found[:4], (x[::2] + x[1::2]) / np.sqrt(2), atol=1e-15)
    np.testing.assert_allclose(np.abs(found[4:]), np.abs(x[::2] - x[1::2]) / np.sqrt(2), atol=1e-15)


def test_polynomials_below_the_moments_have_no_details_away_from_the_seam():
    ramp = np.arange(64.0) ** 3 * (1 + 2j)
    details = wavelet((64,), moments=4, n_levels=1).forward(ramp)[32:]
    assert np.abs(details[:-3]).max() < 1e-9 * np.abs(ramp).max()
    assert np.abs(details[-3:]).max() > 1e-3 * np.abs(ramp).max()


def test_shift_is_a_turn_of_the_circle():
    transform, x = wavelet((16, 24), n_levels=2), noise(16, 24)
    turned = transform.forward(np.roll(x, (-3, -5), (0, 1)))
    np.testing.assert_allclose(transform.forward(x, (0, 3, 5)), turned, atol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_bands_and_the_coarse_corner_cover_every_coefficient_once(shape):
    transform = wavelet(shape, n_levels=2)
    seen = np.zeros(shape, int)
    for _, band in transform.bands():
        seen[band] += 1
    levels = transform.levels[3 - len(shape) :]
    corner = tuple(slice(n >> level) for n, level in zip(shape, levels, strict=True))
    seen[corner] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
def test_shrinking_is_the_soft_threshold_of_every_band(kind):
    transform, x = wavelet((24, 32), n_levels=2), noise(24, 32).astype(kind)
    thresholds = np.linspace(0.2, 2, len(transform.bands()))
    coefficients = transform.forward(x)
    for (_, band), threshold in zip(transform.bands(), thresholds, strict=True):
        coefficients[band] = soft(float(threshold))(coefficients[band], 1.0)
    found = transform.shrunk(x, thresholds)
    assert found.dtype == kind
    np.testing.assert_allclose(found, transform.inverse(coefficients), atol=1e-5)


def test_groups_shrink_by_their_norm():
    transform, sets = wavelet((16, 16), n_levels=1), [noise(16, 16) for _ in range(3)]
    given = np.stack(sets)
    shrink_groups(transform, sets, np.full(3, 1.5))
    for _, (z, y) in transform.bands():
        expected = group_soft(1.5)(given[:, z, y], 1.0)
        np.testing.assert_allclose(np.stack(sets)[:, z, y], expected, atol=1e-14)
    np.testing.assert_array_equal(np.stack(sets)[:, :8, :8], given[:, :8, :8])


def test_same_bytes_with_any_number_of_threads(monkeypatch: pytest.MonkeyPatch):
    transform, x = wavelet((8, 16, 24), n_levels=2), noise(8, 16, 24).astype(np.complex64)
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("SCANROOM_THREADS", threads)
        found.append(transform.shrunk(x, [0.3] * len(transform.bands())).tobytes())
    assert found[0] == found[1]


def test_what_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="halved"):
        wavelet((7, 9))
    with pytest.raises(ValueError, match="axes"):
        wavelet((4, 4, 4, 4))
    with pytest.raises(ValueError, match="moments"):
        daubechies(11)


def test_padded_sizes_can_be_halved():
    assert [padded(n, 4) for n in (1, 230, 240)] == [16, 240, 240]
