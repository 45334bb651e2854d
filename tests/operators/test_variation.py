"""Total (generalized) variation against closed forms and another solver."""

import numpy as np
import pytest

from scanroom.operators.differences import gradient, symmetrised
from scanroom.operators.first_order import Iterations, primal_dual
from scanroom.operators.linear import Linear
from scanroom.operators.proximal import ball
from scanroom.operators.variation import RATIO, GeneralizedVariation, TotalVariation

RNG = np.random.default_rng(9)


def noise(*shape):
    return RNG.normal(size=(*shape, 2)) @ [1, 1j]


def stepped(n_left, n_right, height, n_rows=3):
    line = np.concatenate([np.zeros(n_left), np.full(n_right, height)])
    return np.tile(line, (1, n_rows, 1)) * np.exp(0.6j)


@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_the_plateaus_of_a_step_move_by_strength_over_their_width(strength):
    n_left, n_right, height = 6, 10, 3.0
    found = TotalVariation((1, 3, 16), n_iterations=400)(stepped(n_left, n_right, height), strength)
    left, right = strength / n_left, height - strength / n_right
    expected = np.concatenate([np.full(n_left, left), np.full(n_right, right)])
    np.testing.assert_allclose(found[0], np.tile(expected, (3, 1)) * np.exp(0.6j), atol=1e-4)


def test_a_step_below_the_strength_becomes_its_mean():
    found = TotalVariation((1, 3, 16), n_iterations=3000)(stepped(6, 10, 1.0), 5.0)
    np.testing.assert_allclose(found, np.full((1, 3, 16), 10 / 16 * np.exp(0.6j)), atol=1e-4)


def test_a_plane_loses_less_to_bending_than_to_slope():
    y, x = np.mgrid[:24.0, :24.0]
    plane = (0.5 * (x + y))[None].astype(complex)
    smooth = GeneralizedVariation((1, 24, 24), n_iterations=1500)(plane, 1.0)
    plain = TotalVariation((1, 24, 24), n_iterations=500)(plane, 1.0)
    inside = (0, slice(8, 16), slice(8, 16))
    # the last differences are zero, so a plane bends at the border: its middle is what stays
    assert np.abs(smooth - plane)[inside].max() < 0.1 * np.abs(plain - plane).max()


@pytest.mark.parametrize("shape", [(1, 12, 14), (5, 6, 7)])
def test_total_variation_is_the_minimum_that_another_solver_finds(shape):
    image, axes = noise(*shape), tuple(a for a in (0, 1, 2) if shape[a] > 1)
    found = TotalVariation(shape, n_iterations=600)(image, 0.4)
    other = primal_dual(
        gradient(shape, tuple(a - 3 for a in axes)), ball(0.4), image,
        norm=2 * np.sqrt(len(axes)), iterations=Iterations(1000),
        proximal=lambda x, step: (x + step * image) / (1 + step),
    )  # fmt: skip
    np.testing.assert_allclose(found, other, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 7, 8), (3, 4, 5)])
def test_generalized_variation_is_the_minimum_that_another_solver_finds(shape):
    image, strength = noise(*shape), 0.4
    axes = tuple(a - 3 for a in (0, 1, 2) if shape[a] > 1)
    n = len(axes)
    slope, bend = gradient(shape, axes), symmetrised(shape, axes)
    both = Linear(
        lambda s: np.concatenate([slope(s[0]) - s[1:], bend(s[1:])]),
        lambda d: np.concatenate([slope.H(d[:n])[None], bend.H(d[n:]) - d[:n]]),
        (1 + n, *shape),
        (n + n * (n + 1) // 2, *shape),
    )

    def project(dual, step):
        return np.concatenate(
            [ball(strength)(dual[:n], step), ball(RATIO * strength)(dual[n:], step)]
        )

    def toward(s, step):
        return np.concatenate([(s[:1] + step * image) / (1 + step), s[1:]])

    start = np.concatenate([image[None], np.zeros((n, *shape), complex)])
    other = primal_dual(
        both, project, start, norm=np.sqrt(8 * n), iterations=Iterations(1500), proximal=toward
    )
    found = GeneralizedVariation(shape, n_iterations=3000)(image, strength)
    # both solvers approach with one over the number of iterations
    np.testing.assert_allclose(found, other[0], atol=2e-3)


@pytest.mark.parametrize("kind", [TotalVariation, GeneralizedVariation])
def test_calls_go_on_where_the_last_ended(kind):
    image = noise(1, 16, 16)
    converged = kind((1, 16, 16), n_iterations=3000)(image, 0.5)
    few = kind((1, 16, 16), n_iterations=20)
    errors = [np.linalg.norm(few(image, 0.5) - converged) for _ in range(30)]
    assert errors[-1] < 0.1 * errors[0]


@pytest.mark.parametrize("kind", [TotalVariation, GeneralizedVariation])
def test_same_bytes_with_any_number_of_threads(kind, monkeypatch: pytest.MonkeyPatch):
    image, found = noise(6, 8, 9).astype(np.complex64), []
    for threads in ("1", "3"):
        monkeypatch.setenv("SCANROOM_THREADS", threads)
        found.append(kind((6, 8, 9))(image, 0.3))
    assert found[0].dtype == np.complex64
    assert found[0].tobytes() == found[1].tobytes()
