"""Grids and places against hand calculation."""

import numpy as np
import pytest

from scanroom.mri.recon.geometry import Ladder, axes_of
from tests.mri.recon.scanner import cartesian, oblique


def test_pixels_have_the_size_asked_for():
    encoding = cartesian(
        matrix=(32, 24, 1), fov=(0.2, 0.15, 0.005), recon_matrix=(64, 48, 1), oversampling=2
    )
    read, phase, _ = axes_of(encoding)
    assert (read.n_grid, read.n_pixels) == (128, 64)
    assert read.pixel == pytest.approx(0.2 / 64, rel=1e-12)
    assert phase.pixel == pytest.approx(0.15 / 48, rel=1e-12)


@pytest.mark.parametrize("n", [7, 8])
def test_voxel_n_half_lies_at_the_centre(n):
    encoding = cartesian(matrix=(n, n + 3, 1), oversampling=1)
    turn, centre = oblique(), np.array([0.1, -0.2, 0.3])
    ladder = Ladder(centres=centre[None], directions=turn, thickness=0.005)
    affine = ladder.affine(*axes_of(encoding))
    np.testing.assert_allclose((affine @ [n // 2, (n + 3) // 2, 0, 1])[:3], centre, atol=1e-15)
    np.testing.assert_allclose(affine[:3, 2], turn[:, 2] * 0.005, atol=1e-15)


def test_uneven_slices_are_no_ladder():
    up = np.array([0.0, 0.0, 1.0])
    even = Ladder(centres=np.outer([0, 0.01, 0.02], up), directions=np.eye(3), thickness=0.01)
    uneven = Ladder(centres=np.outer([0, 0.01, 0.025], up), directions=np.eye(3), thickness=0.01)
    same = Ladder(centres=np.outer([0, 0, 0], up), directions=np.eye(3), thickness=0.01)
    assert even.is_even
    assert not uneven.is_even
    assert not same.is_even
