"""Images of voxels: courses against the exponential, samples against the plain Fourier sum."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from scanroom.physics.spins.classes import classes_of
from scanroom.physics.spins.images import (
    Factors,
    Lot,
    Rows,
    at_once,
    courses,
    ground_of,
    samples_of,
)
from scanroom.physics.spins.program import WINDOW
from tests.physics.spins.test_classwise import EDGE, _train, _voxels

OPENING = -1.3e-3
TIMES = (np.arange(200) + 0.5) * 1e-5


@pytest.fixture(scope="module")
def laid():
    program, voxels = _train().program(), _voxels()
    return program, voxels, classes_of(program, voxels, 2)


def _late(within, kind, offset):
    """Tabulated courses, a straight line between offsets, as the projection reads them."""
    at = (offset - within.first) / within.step
    row = np.floor(at).astype(int)
    above = (at - row)[:, None]
    return (1 - above) * within.late[kind, row] + above * within.late[kind, row + 1]


@pytest.mark.parametrize("left_out", [1e-2, 1e-3])
def test_courses_multiply_to_turn_and_decay_within_a_window(laid, left_out):
    _, voxels, classes = laid
    loud = np.linalg.norm(voxels.weight, axis=1).astype(float)
    within = courses(voxels, classes, loud, (OPENING, TIMES), left_out)
    found = _late(within, classes.kind, voxels.offset) @ within.along
    r2, r2_prime = classes.rates[classes.kind].T
    truth = np.exp(
        -2j * np.pi * np.outer(voxels.offset, TIMES)
        - np.outer(r2, TIMES)
        - r2_prime[:, None] * np.abs(OPENING + TIMES)
    )
    error = np.linalg.norm(loud[:, None] * (found - truth))
    # Besides what is left out: offsets 0.03 rad apart, and |t| has a corner at the echo.
    assert error < (left_out + 5e-4) * np.linalg.norm(loud[:, None] * truth)


def test_more_courses_leave_less_out(laid):
    _, voxels, classes = laid
    loud = np.ones(len(voxels.offset))
    few, many = (courses(voxels, classes, loud, (OPENING, TIMES), share) for share in (3e-2, 1e-4))
    assert len(few.size) < len(many.size)
    assert (np.diff(many.size) <= 0).all()  # strongest first


def test_a_window_at_one_instant_has_the_one_course_of_that_instant(laid):
    _, voxels, classes = laid
    within = at_once(voxels, classes, OPENING, 2e-3)
    r2, r2_prime = classes.rates[classes.kind].T
    truth = np.exp(-2j * np.pi * voxels.offset * 2e-3 - r2 * 2e-3 - r2_prime * abs(OPENING + 2e-3))
    found = _late(within, classes.kind, voxels.offset)[:, 0] * within.along[0, 0]
    np.testing.assert_allclose(found, truth, atol=2e-4)  # a chord of 0.03 rad: 1.1e-4


def test_every_voxel_stands_in_one_column_with_those_above_and_below_it(laid):
    _, voxels, classes = laid
    ground = ground_of(voxels, classes)
    assert np.sort(ground.order).tolist() == list(range(len(voxels.index)))
    places = []
    for first, last in zip(ground.edge[:-1], ground.edge[1:], strict=True):
        column = voxels.index[ground.order[first:last]][:, :2]
        assert (column == column[0]).all()
        places.append(np.ravel_multi_index(tuple(column[0] - ground.low), ground.shape))
    assert places == ground.place.tolist()


def test_samples_of_equal_nodes_are_the_fourier_sum_of_the_voxels(laid):
    """All nodes transverse alike: what is left is weight, place, extent, offset and decay."""
    program, voxels, classes = laid
    slope = np.random.default_rng(1).uniform(-20, 20, voxels.slope.shape).astype(np.float32)
    voxels = dataclasses.replace(voxels, slope=slope)
    ground = ground_of(voxels, classes)
    at = np.flatnonzero(program.event == WINDOW)[:2]
    kind = program.kind[at]
    keys = np.array([[-310.0, 90.0, 33.0, 4e-3], [-300.0, -170.0, 33.0, 4e-3]])
    window = program.windows[kind[0]]
    times = (np.arange(window.n_samples) + 0.5) * window.dwell
    within = courses(voxels, classes, np.abs(ground.loudness).astype(float), (4e-3, times), 1e-4)
    n_nodes = len(classes.nodes.spins)
    left = np.array([[1.0], [0.5j]])
    factors = Factors(left, np.ones((n_nodes, 1), np.complex64), np.arange(n_nodes))
    pairs = np.array([[0, c] for c in range(len(within.size))])
    lot = Lot(Rows(at, kind, keys), factors, within, pairs)
    with ThreadPoolExecutor(2) as pool:
        found = samples_of(program, voxels, classes, ground, lot, pool)
    middle = 4e-3 + 0.5 * (times[0] + times[-1])
    r2, r2_prime = classes.rates[classes.kind].T
    phase = voxels.transmit / np.abs(voxels.transmit)
    place = voxels.index @ voxels.affine[:3, :3].T + voxels.affine[:3, 3]
    truth = np.zeros_like(found, complex)
    for row, key in enumerate(keys):
        k = key[:3] + window.moment
        seen = np.exp(-2j * np.pi * (place @ k.T)) * np.sinc(k[:, :2] * EDGE).prod(axis=1)
        # A slope across the slice winds up together with the moment; in the plane it dims.
        seen *= np.sinc(key[2] * EDGE + slope[:, 2] * middle)[:, None]
        seen *= (np.sinc(slope[:, 0] * middle) * np.sinc(slope[:, 1] * middle))[:, None]
        late = 4e-3 + times
        seen *= np.exp(-2j * np.pi * np.outer(voxels.offset, late) - np.outer(r2_prime, late))
        seen *= np.exp(-np.outer(r2, times))
        truth[row] = left[row] * ((voxels.weight * phase[:, None]).T @ seen)
    # FFT 1e-4, courses 1e-4 and the chords of their table, pieces of the integral.
    assert np.linalg.norm(found - truth) < 1e-3 * np.linalg.norm(truth)
