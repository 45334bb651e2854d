"""First-order solvers against closed forms."""

import numpy as np
import pytest

from scanroom.operators.differences import gradient
from scanroom.operators.first_order import (
    Iterations,
    Smooth,
    Term,
    admm,
    fista,
    largest_eigenvalue,
    primal_dual,
)
from scanroom.operators.linear import Linear
from scanroom.operators.proximal import conjugate, group_soft, soft

RNG = np.random.default_rng(21)


def noise(*shape):
    return RNG.normal(size=(*shape, 2)) @ [1, 1j]


def dense(matrix):
    return Linear(
        lambda x: matrix @ x, lambda y: matrix.conj().T @ y, matrix.shape[1:], matrix.shape[:1]
    )


def identity(n):
    return Linear(lambda x: x, lambda y: y, (n,), (n,))


MATRIX, DATA = noise(12, 7), noise(12)
NORMAL = MATRIX.conj().T @ MATRIX
SEEN = MATRIX.conj().T @ DATA
NORM = float(np.linalg.norm(NORMAL, 2))
RIDGE = np.linalg.solve(NORMAL + 0.5 * np.eye(7), SEEN)


def square(strength):
    """``g = strength |z|^2 / 2``."""
    return lambda x, step: x / (1 + step * strength)


def test_largest_eigenvalue_of_a_random_matrix():
    found = largest_eigenvalue(lambda x: NORMAL @ x, (7,), n_iterations=200)
    assert found == pytest.approx(NORM, rel=1e-5)
    assert largest_eigenvalue(lambda x: 0 * x, (7,)) == 0


def test_ridge_by_every_solver():
    start = np.zeros(7, complex)

    def slope(x):
        return NORMAL @ x - SEEN

    steps = {"step": 1 / NORM, "iterations": Iterations(2000)}
    np.testing.assert_allclose(fista(slope, square(0.5), start, **steps), RIDGE, atol=1e-10)
    terms = [Term(identity(7), square(0.5))]
    found = admm(dense(MATRIX), DATA, terms, start, penalty=2.0, iterations=Iterations(500))
    np.testing.assert_allclose(found, RIDGE, atol=1e-8)
    found = primal_dual(
        identity(7), conjugate(square(0.5)), start, norm=1.0, iterations=Iterations(3000),
        smooth=Smooth(slope, NORM),
    )  # fmt: skip
    np.testing.assert_allclose(found, RIDGE, atol=1e-8)


def test_lasso_of_an_orthonormal_design_is_the_soft_threshold():
    unitary, _ = np.linalg.qr(noise(12, 7))
    seen = unitary.conj().T @ DATA
    exact = soft(0.6)(seen, 1.0)
    start = np.zeros(7, complex)

    def slope(x):
        return unitary.conj().T @ (unitary @ x) - seen

    np.testing.assert_allclose(
        fista(slope, soft(0.6), start, step=1.0, iterations=Iterations(5)), exact, atol=1e-14
    )
    terms = [Term(identity(7), soft(0.6))]
    found = admm(dense(unitary), DATA, terms, start, penalty=1.0, iterations=Iterations(300))
    np.testing.assert_allclose(found, exact, atol=1e-9)
    found = primal_dual(
        identity(7), conjugate(soft(0.6)), start, norm=1.0, iterations=Iterations(500),
        smooth=Smooth(slope, 1.0),
    )  # fmt: skip
    np.testing.assert_allclose(found, exact, atol=1e-9)


def test_lasso_of_any_design_meets_its_optimality_condition():
    found = fista(
        lambda x: NORMAL @ x - SEEN, soft(4.0), np.zeros(7, complex), step=1 / NORM,
        iterations=Iterations(5000),
    )  # fmt: skip
    slope = SEEN - NORMAL @ found
    kept = np.abs(found) > 1e-9
    assert 0 < kept.sum() < 7
    np.testing.assert_allclose(slope[kept], 4.0 * found[kept] / np.abs(found[kept]), atol=1e-6)
    assert np.abs(slope[~kept]).max() <= 4.0


def test_variation_of_a_step_by_splitting():
    """Plateaus move by strength over their width."""
    step = np.concatenate([np.zeros(4), np.full(8, 2.0)]).astype(complex)
    exact = np.concatenate([np.full(4, 0.8 / 4), np.full(8, 2 - 0.8 / 8)])
    d = gradient((12,), (-1,))
    terms = [Term(d, group_soft(0.8))]
    found = admm(identity(12), step, terms, step, penalty=1.0, iterations=Iterations(400))
    np.testing.assert_allclose(found, exact, atol=1e-6)
    found = primal_dual(
        d, conjugate(group_soft(0.8)), step, norm=2.0, iterations=Iterations(5000),
        proximal=lambda x, t: (x + t * step) / (1 + t),
    )  # fmt: skip
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_all_end_early_where_nothing_changes():
    calls = []

    def counted(x):
        calls.append(1)
        return x - SEEN

    start = np.zeros(7, complex)
    fista(counted, square(0.0), start, step=1.0, iterations=Iterations(99, 0, 1e-6))
    assert len(calls) <= 3
    calls.clear()
    primal_dual(
        identity(7), conjugate(soft(0.1)), start, norm=1.0,
        iterations=Iterations(99, 0, 1e-3), smooth=Smooth(counted, 1.0),
    )  # fmt: skip
    assert len(calls) < 60
    calls.clear()

    def close(x, _step):
        calls.append(1)
        return x

    terms = [Term(identity(7), close)]
    admm(identity(7), SEEN, terms, SEEN, penalty=1.0, iterations=Iterations(99, 0, 1e-3))
    assert len(calls) < 20


def test_where_the_penalty_still_falls_iterations_go_on():
    """A penalty that first wipes everything out must not end the iterations."""
    strengths = iter([100.0, 100.0, 100.0] + [0.1] * 7)

    def falling(x, step):
        return soft(next(strengths))(x, step)

    found = fista(
        lambda x: x - SEEN, falling, np.zeros(7, complex),
        step=1.0, iterations=Iterations(10, 4, 1e-3),
    )  # fmt: skip
    np.testing.assert_allclose(found, soft(0.1)(SEEN, 1.0), atol=1e-12)


def test_a_start_at_the_minimum_of_one_term_is_no_solution():
    """The first step of the image is zero there, that of the dual is not."""
    found = primal_dual(
        identity(7), conjugate(soft(0.5)), SEEN, norm=1.0, iterations=Iterations(2000, 0, 1e-9),
        smooth=Smooth(lambda x: x - SEEN, 1.0),
    )  # fmt: skip
    np.testing.assert_allclose(found, soft(0.5)(SEEN, 1.0), atol=1e-6)


def test_momentum_beats_plain_descent():
    start = np.zeros(7, complex)
    exact = np.linalg.solve(NORMAL, SEEN)
    x = start
    for _ in range(60):
        x = x - (NORMAL @ x - SEEN) / NORM
    fast = fista(
        lambda v: NORMAL @ v - SEEN, square(0.0), start, step=1 / NORM, iterations=Iterations(60)
    )
    assert np.linalg.norm(fast - exact) < 0.5 * np.linalg.norm(x - exact)
