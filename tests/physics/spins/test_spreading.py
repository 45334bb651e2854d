"""Spreading against the sum it stands for, its kernel against quadrature."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.integrate import quad

from scanroom.physics.spins.gridding import columns_of
from scanroom.physics.spins.spreading import kernel, kernel_at, spread_of, spread_plane
from scanroom.physics.spins.vector import LANES
from scanroom.physics.spins.vector_rows import ROW


def _spread(n_dimensions, n=700):
    chance = np.random.default_rng(n_dimensions)
    shape = np.array([24, 18, 20][:n_dimensions])
    scale = np.zeros((n_dimensions, 4))
    scale[:, 0] = ROW / 2 + 1
    scale[np.arange(n_dimensions), np.arange(n_dimensions)[::-1] + 1] = 2.0
    place = chance.uniform(0, 3, (3, n))
    m = np.exp(2j * np.pi * chance.uniform(size=n))
    r2 = chance.uniform(0, 50, n).astype(np.float32)
    weight = (chance.normal(size=(n, 11)) + 1j * chance.normal(size=(n, 11))).astype(np.complex64)
    middle = chance.uniform(-0.3, 0.3, n_dimensions)
    spins = (m.real.astype(np.float32), m.imag.astype(np.float32), r2, place, columns_of(weight))
    return spins, m, weight, (shape, scale, middle)


@pytest.mark.parametrize("n_dimensions", [1, 2, 3])
def test_nodes_hold_every_spin_as_it_is_at_an_instant(n_dimensions):
    spins, m, weight, grid = _spread(n_dimensions)
    shape, scale, middle = grid
    chosen = np.arange(0, len(m), 2)
    moment, time = np.array([0.7]), 0.01
    with ThreadPoolExecutor(2) as pool:
        spread = spread_of(spins, chosen, np.array([2]), grid, pool)
    found = np.zeros((int(shape.prod()), LANES), np.float32)
    spread_plane(spread, moment, time, 16, shape, found)  # the second block: coils 8 to 10
    r2, rows = spins[2], spins[3]
    place = scale[:, :1] + scale[:, 1:] @ rows[:, chosen]
    turns = middle @ place + moment[0] * rows[2, chosen]
    now = m[chosen] * np.exp(-2j * np.pi * turns - r2[chosen] * time)
    taps = np.ones((len(chosen), 1))
    for d, length in enumerate(shape):
        apart = np.arange(length) - place[d][:, None]
        own = np.where(np.abs(apart) <= ROW / 2, kernel(apart), 0.0)
        taps = (taps[:, :, None] * own[:, None]).reshape(len(chosen), -1)
    truth = taps.T @ (now[:, None] * weight[chosen, 8:])
    error = np.abs(found[:, :3] + 1j * found[:, 8:11] - truth).max()
    assert error < 3e-6 * np.abs(truth).max()  # single precision
    assert not found[:, 3:8].any()


def test_the_kernels_transform_is_its_integral():
    for frequency in (0.0, 0.1, 0.25):
        found, _ = quad(
            lambda x, f=frequency: kernel(np.array(x)) * np.cos(2 * np.pi * f * x), -3.5, 3.5
        )
        assert kernel_at(np.array(frequency)) == pytest.approx(found, rel=1e-7)
