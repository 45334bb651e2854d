"""Lines of k-space are found where they were laid."""

import numpy as np
import pytest

from scanroom.mri.drive import lines


@pytest.mark.parametrize("step", [2.5, 4.1667, 10.0])
@pytest.mark.parametrize("n", [31, 64, 256])
def test_spacing_and_extent_of_a_full_grid(step, n):
    coordinate = (np.arange(n) - n // 2) * step
    coordinate += np.random.default_rng(1).normal(0, 1e-3, n)
    found = lines.spacing(coordinate)
    assert found == pytest.approx(step, rel=1e-4)
    assert lines.extent(lines.numbered(coordinate, found)) == (n, n // 2, False)


def test_a_grid_half_a_line_off_centre_keeps_its_size():
    coordinate = (np.arange(64) - 31.5) * 4.0
    number = lines.numbered(coordinate, lines.spacing(coordinate))
    assert (number.min(), number.max()) == (-32, 31)


def test_partial_fourier_is_completed():
    assert lines.extent(np.arange(-16, 48)) == (96, 48, False)
    assert lines.extent(np.arange(-48, 17)) == (96, 48, False)


def test_lines_that_end_one_further_ask_for_the_other_direction():
    assert lines.extent(np.arange(-63, 65)) == (128, 64, True)


def test_gaps_of_acceleration_do_not_hide_the_spacing_of_the_centre():
    number = np.unique(np.concatenate([np.arange(-64, 64, 3), np.arange(-8, 8)]))
    assert lines.spacing(number * 5.0) == pytest.approx(5.0, rel=1e-6)


def test_a_turned_lattice_is_found():
    angle = 0.3
    phase = np.array([np.cos(angle), np.sin(angle), 0.0])
    points = (np.arange(-32, 32) * 4.0)[:, None] * phase
    found = lines.lattice(points, np.array([-np.sin(angle), np.cos(angle), 0.0]))
    assert found.shape == (1, 3)
    assert abs(found[0] @ phase) == pytest.approx(1.0)


def test_a_three_dimensional_lattice_has_two_axes():
    y, z = np.meshgrid(np.arange(-16, 16) * 4.0, np.arange(-8, 8) * 6.0)
    points = np.stack([0 * y, y, z], axis=-1).reshape(-1, 3)
    found = lines.lattice(points, np.array([1.0, 0, 0]))
    assert np.allclose(np.abs(found), [[0, 1, 0], [0, 0, 1]])


def test_ranks_count_earlier_equals():
    keys = np.array([[1, 2], [1, 2], [0, 5], [1, 2], [0, 5]])
    assert lines.ranks(keys).tolist() == [0, 1, 0, 2, 1]
