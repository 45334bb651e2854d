"""Sums with a field map against the exact sum over voxels and samples."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.off_resonance import METHODS, TOLERANCE, factors, off_resonance
from tests.truth import assert_adjoint

SHAPE = (14, 12)
RNG = np.random.default_rng(8)
PLACE = RNG.uniform(-0.5, 0.5, (300, 2))
TIME = np.tile(np.linspace(2e-3, 22e-3, 100), 3)
Y, X = np.meshgrid(np.linspace(-1, 1, SHAPE[0]), np.linspace(-1, 1, SHAPE[1]), indexing="ij")
FIELD = 120 * X**2 - 80 * Y + 20
IMAGE = RNG.normal(size=(*SHAPE, 2)) @ [1, 1j]


def exact():
    index = np.stack(
        np.meshgrid(*[np.arange(n) - n // 2 for n in SHAPE], indexing="ij"), axis=-1
    ).reshape(-1, 2)
    turns = PLACE @ index.T + np.outer(TIME, FIELD.ravel())
    return np.exp(-2j * np.pi * turns) / np.sqrt(IMAGE.size)


@pytest.mark.parametrize("method", METHODS)
def test_adjoint(method):
    # both directions take the same terms: only FINUFFT's 1e-9 is left
    assert_adjoint(off_resonance(PLACE, TIME, FIELD, n_terms=5, method=method), rtol=1e-7)


@pytest.mark.parametrize("method", METHODS[:3])
def test_the_error_against_the_exact_sum_is_the_one_stated(method):
    matrix = exact()
    truth = matrix @ IMAGE.ravel()
    found = {}
    for n_terms in (8, 10, 12):
        stated = factors(TIME, FIELD, n_terms=n_terms, method=method).error
        samples = off_resonance(PLACE, TIME, FIELD, n_terms=n_terms, method=method)(IMAGE)
        found[n_terms] = np.linalg.norm(samples - truth) / np.linalg.norm(truth)
        # the random image weighs voxels as the histogram does, within a fifth
        assert found[n_terms] == pytest.approx(stated, rel=0.25)
    assert found[12] < 1e-2 * found[8]


def test_singular_vectors_err_least():
    errors = {m: factors(TIME, FIELD, n_terms=9, method=m).error for m in METHODS}
    assert errors["svd"] == min(errors.values())
    assert errors["segments"] < errors["hann"]


@pytest.mark.parametrize("method", METHODS[:3])
def test_as_many_terms_as_the_tolerance_asks_for(method):
    samples = off_resonance(PLACE, TIME, FIELD, method=method)(IMAGE)
    truth = exact() @ IMAGE.ravel()
    assert np.linalg.norm(samples - truth) < 1.3 * TOLERANCE * np.linalg.norm(truth)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_normal_operator(dtype):
    matrix = exact()
    weight = RNG.uniform(0.5, 1.5, len(PLACE))
    truth = matrix.conj().T @ (weight * (matrix @ IMAGE.ravel()))
    encode = off_resonance(PLACE, TIME, FIELD, weight=weight)
    found = encode.N(IMAGE.astype(dtype))
    assert found.dtype == dtype
    assert np.linalg.norm(found.ravel() - truth) < 1.5 * TOLERANCE * np.linalg.norm(truth)


def test_an_even_field_is_one_term():
    stated = factors(TIME, np.full(SHAPE, 50.0))
    assert len(stated.of_time) == 1
    turns = np.exp(-2j * np.pi * 50.0 * TIME)
    np.testing.assert_allclose(stated.of_time[0] * stated.of_place[0, 0, 0], turns, atol=1e-3)


def test_what_is_no_number_is_refused():
    with pytest.raises(ProtocolError, match="no numbers"):
        factors(TIME, np.full(SHAPE, np.nan))
    with pytest.raises(ProtocolError, match="more than"):
        factors(TIME, 1e4 * FIELD)
    with pytest.raises(ProtocolError, match="method"):
        factors(TIME, FIELD, method="magic")
