"""Patterns that are known are found; patterns that are none are not."""

import numpy as np
import pytest

from scanroom.mri.recon.lattice import Lattice, lattice_of

SHAPE = (24, 36)
CENTRE = (slice(8, 16), slice(14, 22))


def pattern(step_z, step_y, shift, origin):
    """Lines of a lattice, written out place by place."""
    sampled = np.zeros(SHAPE, bool)
    for z in range(SHAPE[0]):
        for y in range(SHAPE[1]):
            row, off = divmod(z - origin[0], step_z)
            sampled[z, y] = off == 0 and (y - origin[1] - row * shift) % step_y == 0
    return sampled


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize(
    ("step_z", "step_y", "shift"),
    [(1, 2, 0), (2, 1, 0), (2, 2, 0), (2, 2, 1), (3, 2, 1), (1, 4, 0), (2, 3, 2), (3, 3, 1)],
)
@pytest.mark.parametrize("origin", [(0, 0), (1, 1)])
def test_what_was_left_out_is_found(step_z, step_y, shift, origin, centre):
    made = pattern(step_z, step_y, shift, origin)
    sampled = made.copy()
    if centre:
        sampled[CENTRE] = True
    found = lattice_of(sampled)
    assert found.factor == step_z * step_y
    np.testing.assert_array_equal(found.on(SHAPE), made)


@pytest.mark.parametrize(("first", "last"), [(20, 44), (20, 45), (19, 44), (17, 47)])
def test_centre_of_any_width_stands_aside(first, last):
    """Also one with a line more on one side."""
    line = np.arange(64)
    sampled = ((line % 4 == 1) | ((line >= first) & (line < last)))[None]
    found = lattice_of(sampled)
    assert found.factor == 4
    np.testing.assert_array_equal(found.on((1, 64))[0], line % 4 == 1)


def test_partial_fourier_has_a_lattice_where_it_was_measured():
    line = np.arange(64)
    sampled = (((line % 3 == 0) | (np.abs(line - 32) < 8)) & (line >= 15))[None]
    found = lattice_of(sampled)
    assert found.factor == 3
    np.testing.assert_array_equal(
        (found.on((1, 64)) & (line >= 15))[0], (line % 3 == 0) & (line >= 15)
    )


def test_lattice_reaches_beyond_the_grid():
    found = Lattice(step_z=2, step_y=3, shift=1, origin=(0, 0))
    z, y = np.array([-2, -2, 0, 2, 3]), np.array([-1, 0, -3, 1, 1])
    np.testing.assert_array_equal(found.holds(z, y), [True, False, True, True, False])


@pytest.mark.parametrize("seed", [0, 1])
def test_irregular_lines_have_none(seed):
    sampled = np.random.default_rng(seed).random((1, 64)) < 0.4
    sampled[0, 24:40] = True
    assert lattice_of(sampled) is None


def test_one_line_missing_of_the_pattern_is_no_lattice():
    line = np.arange(64)
    sampled = ((line % 2 == 0) | (np.abs(line - 32) < 8))[None]
    sampled[0, 8] = False
    assert lattice_of(sampled) is None


@pytest.mark.parametrize("sampled", [np.ones((1, 32), bool), np.zeros((1, 32), bool)])
def test_all_or_nothing_has_none(sampled):
    assert lattice_of(sampled) is None


def test_centre_alone_has_none():
    sampled = np.zeros(SHAPE, bool)
    sampled[CENTRE] = True
    assert lattice_of(sampled) is None
