"""The nearest circulant against the mean of diagonals, and what it does for conjugate gradients."""

import numpy as np
import pytest

from scanroom.operators.circulant import circulant, preconditioned_gradients, undoing
from scanroom.operators.nufft import nufft, point_spread, toeplitz
from scanroom.operators.solvers import conjugate_gradients

RNG = np.random.default_rng(6)
SHAPE = (6, 5)
PLACE = RNG.uniform(-0.5, 0.5, (70, 2))


def smooth_maps(shape, n_coils=3):
    y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    turn = 2 * np.pi * np.arange(n_coils) / n_coils
    maps = np.stack([np.exp(1j * t + 0.6 * (np.cos(t) * x + np.sin(t) * y)) for t in turn])
    return maps / np.sqrt((np.abs(maps) ** 2).sum(axis=0))


def dense(normal, shape):
    size = int(np.prod(shape))
    columns = [normal(unit.reshape(shape)).ravel() for unit in np.eye(size, dtype=complex)]
    return np.stack(columns, axis=1)


def test_it_is_the_mean_of_each_wrapped_diagonal():
    """That is what makes it the nearest in the sum of squares (Chan 1988)."""
    maps = smooth_maps(SHAPE)
    spread = point_spread(PLACE, SHAPE, dtype=np.dtype(complex))
    convolve = toeplitz(PLACE, SHAPE, dtype=np.dtype(complex))
    matrix = dense(lambda x: sum(m.conj() * convolve(m * x) for m in maps), SHAPE)
    blocks = matrix.reshape(*SHAPE, *SHAPE)
    column = np.zeros(SHAPE, complex)
    for row in np.ndindex(*SHAPE):
        for col in np.ndindex(*SHAPE):
            apart = tuple((a - b) % n for a, b, n in zip(row, col, SHAPE, strict=True))
            column[apart] += blocks[*row, *col] / np.prod(SHAPE)
    truth = np.fft.fftn(column)
    np.testing.assert_allclose(truth.imag, 0, atol=1e-8)
    np.testing.assert_allclose(circulant(spread, maps), truth.real, atol=1e-8)


def test_undoing_is_the_inverse_of_the_circulant():
    eigen = RNG.uniform(1, 2, SHAPE)
    image = RNG.normal(size=(*SHAPE, 2)) @ [1, 1j]
    wound = np.fft.ifftn(eigen * np.fft.fftn(image))
    np.testing.assert_allclose(undoing(eigen, floor=0.01)(wound), image, atol=1e-12)


def test_it_leads_to_the_same_solution():
    convolve = toeplitz(PLACE, SHAPE, dtype=np.dtype(complex))
    spread = point_spread(PLACE, SHAPE, dtype=np.dtype(complex))
    undo = undoing(circulant(spread, np.ones((1, *SHAPE), complex)), floor=0.1)
    right = RNG.normal(size=(*SHAPE, 2)) @ [1, 1j]
    found = preconditioned_gradients(convolve.forward, right, undo, n_iterations=60)
    np.testing.assert_allclose(
        found.ravel(), np.linalg.solve(dense(convolve, SHAPE), right.ravel()), rtol=1e-6
    )


def test_it_needs_half_the_steps_for_a_crowded_middle():
    n, n_spokes = 32, 24
    angle = np.pi * np.arange(n_spokes) / n_spokes
    radius = (np.arange(2 * n) - n) / (2 * n)
    place = np.stack([np.outer(f(angle), radius).ravel() for f in (np.sin, np.cos)], axis=1)
    maps = smooth_maps((n, n), 6)
    image = np.exp(-((np.indices((n, n)) - n / 2) ** 2).sum(axis=0) / 30) + 0j
    image[10:14, 12:20] += 1
    plane = nufft(place, (n, n))
    convolve = toeplitz(place, (n, n), dtype=np.dtype(complex))
    right = sum(m.conj() * plane.H(plane(m * image)) for m in maps)
    spread = point_spread(place, (n, n), dtype=np.dtype(complex))
    undo = undoing(circulant(spread, maps), floor=0.3)

    def normal(x):
        return sum(m.conj() * convolve(m * x) for m in maps)

    slow = conjugate_gradients(normal, right, n_iterations=16, tolerance=0.0)
    quick = preconditioned_gradients(normal, right, undo, n_iterations=8)
    assert np.linalg.norm(quick - image) < np.linalg.norm(slow - image)


def test_tolerance_stops_early():
    calls = []

    def identity(v):
        calls.append(1)
        return v

    preconditioned_gradients(
        identity, np.ones(4, complex), lambda v: v, n_iterations=9, tolerance=1e-3
    )
    assert len(calls) == 1


@pytest.mark.parametrize("shape", [(150, 9), (4, 70, 6)])
def test_one_even_map_leaves_the_circulant_of_the_spread(shape):
    """Long axes take the likeness of maps on fewer points: of an even map it is 1 everywhere."""
    spread = point_spread(RNG.uniform(-0.5, 0.5, (900, len(shape))), shape, dtype=np.dtype(complex))
    column = spread
    for axis, n in enumerate(shape):
        side = 1 - np.abs(np.arange(-n, n)) / n
        column = column * side.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        column = sum(np.split(column, [n], axis=axis))
    truth = np.fft.fftn(column).real
    even = np.ones((1, *shape), complex)
    np.testing.assert_allclose(circulant(spread, even), truth, atol=1e-9 * np.abs(truth).max())
