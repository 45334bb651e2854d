"""Solvers against direct solution."""

import numpy as np

from scanroom.operators.solvers import conjugate_gradients

RNG = np.random.default_rng(2)


def test_conjugate_gradients_end_after_as_many_steps_as_unknowns():
    a = RNG.normal(size=(9, 6, 2)) @ [1, 1j]
    normal = a.conj().T @ a
    right = RNG.normal(size=(6, 2)) @ [1, 1j]
    x = conjugate_gradients(lambda v: normal @ v, right, n_iterations=6, tolerance=0.0)
    # the condition number of a random 9 x 6 normal matrix is below 1e4
    np.testing.assert_allclose(x, np.linalg.solve(normal, right), rtol=1e-8)


def test_tolerance_stops_early():
    calls = []

    def identity(v):
        calls.append(1)
        return v

    conjugate_gradients(identity, np.ones(4, complex), n_iterations=50)
    assert len(calls) == 1
