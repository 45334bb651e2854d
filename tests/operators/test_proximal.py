"""Proximal maps against their definition."""

import numpy as np
import pytest

from scanroom.operators.proximal import (
    ball,
    conjugate,
    data_ball,
    group_soft,
    singular_soft,
    soft,
)

RNG = np.random.default_rng(6)
STEP = 0.7


def noise(*shape):
    return RNG.normal(size=(*shape, 2)) @ [1, 1j]


def nuclear(z):
    return np.linalg.svd(z, compute_uv=False).sum()


SUMS = {
    "soft": (soft(0.8), lambda z: 0.8 * np.abs(z).sum()),
    "group": (group_soft(0.8), lambda z: 0.8 * np.linalg.norm(z, axis=0).sum()),
    "singular": (singular_soft(0.8), lambda z: 0.8 * nuclear(z)),
}


@pytest.mark.parametrize("name", SUMS)
def test_nothing_near_the_result_is_lower(name):
    """The objective is convex: what beats all small changes is the minimum."""
    proximal, penalty = SUMS[name]
    x = noise(6, 5)
    found = proximal(x, STEP)

    def cost(z):
        return 0.5 * np.linalg.norm(z - x) ** 2 + STEP * penalty(z)

    least = cost(found)
    for size in (1e-1, 1e-3):
        assert all(cost(found + size * noise(6, 5)) > least for _ in range(50))
    assert all(cost(found + 1e-3 * (x - found)) >= least for _ in range(1))


@pytest.mark.parametrize("name", SUMS)
def test_moreau(name):
    """A point is the sum of what a map and its conjugate leave."""
    proximal, _ = SUMS[name]
    x = noise(6, 5)
    whole = proximal(x, STEP) + STEP * conjugate(proximal)(x / STEP, 1 / STEP)
    np.testing.assert_allclose(whole, x, atol=1e-13)


def test_soft_keeps_the_phase_and_takes_the_threshold():
    x = np.array([3 * np.exp(0.4j), 0.5j, 0, -1])
    np.testing.assert_allclose(soft(2.0)(x, 0.5), [2 * np.exp(0.4j), 0, 0, 0], atol=1e-15)


def test_conjugate_of_a_norm_projects_onto_the_ball_of_its_dual():
    x = noise(2, 40)
    np.testing.assert_allclose(conjugate(group_soft(1.3))(x, STEP), ball(1.3)(x, STEP), atol=1e-14)
    assert np.linalg.norm(ball(1.3)(x, STEP), axis=0).max() <= 1.3 * (1 + 1e-15)


@pytest.mark.parametrize("shape", [(9, 4), (4, 9), (3, 8, 5), (5, 5)])
def test_singular_values_shrink_and_vectors_stay(shape):
    x = noise(*shape)
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    exact = (u * np.maximum(s - 1.4 * STEP, 0)[..., None, :]) @ vh
    # the Gram matrix squares the condition number, of kept values it is small
    np.testing.assert_allclose(singular_soft(1.4)(x, STEP), exact, atol=1e-12)


def test_singular_threshold_of_zeros_is_zero():
    assert (singular_soft(1.0)(np.zeros((2, 4, 3), complex), 1.0) == 0).all()


def test_points_outside_a_ball_of_data_come_to_its_surface():
    centre, x = noise(7), noise(7)
    near = data_ball(centre, 0.5)(x, STEP)
    assert np.linalg.norm(near - centre) == pytest.approx(0.5)
    np.testing.assert_allclose(
        np.vdot(near - centre, x - centre), 0.5 * np.linalg.norm(x - centre), rtol=1e-12
    )
    np.testing.assert_array_equal(data_ball(centre, 100.0)(x, STEP), x)


@pytest.mark.parametrize("name", SUMS)
def test_single_precision_stays_single(name):
    x = noise(6, 5).astype(np.complex64)
    assert SUMS[name][0](x, STEP).dtype == np.complex64
    assert conjugate(SUMS[name][0])(x, STEP).dtype == np.complex64
