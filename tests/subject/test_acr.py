"""The ACR phantom against the lengths, areas and volumes of its parts."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.subject.acr import (
    CONTRASTS,
    DISC_DIAMETERS,
    HOLE_DIAMETERS,
    HOLE_PLACES,
    PARTS,
    RADIUS,
    SHEET_CENTRE,
    SHEET_RADIUS,
    SLICES,
    WEDGE_BASE,
    WEDGE_TOP,
    WEDGE_WIDTH,
    acr,
    acr_solution,
    hole_centres,
)


def slab(centre, half, resolution):
    """Solution in a slab of the phantom."""
    made = acr(
        resolution=resolution, lower=(-1.0, -1.0, centre - half), upper=(1.0, 1.0, centre + half)
    )
    return made.fraction("acr_solution").astype(np.float64), made.affine


def test_slices_are_a_hundred_millimetres_apart_end_to_end():
    assert len(SLICES) == 11
    assert SLICES[-1] - SLICES[0] == pytest.approx(0.1)


def test_inside_length_is_148_mm_and_diameter_190_mm():
    made = acr(resolution=2e-3)
    share = made.fraction("acr_solution").astype(np.float64)
    edge = made.affine[0, 0]
    middle = share.shape[0] // 2
    free = share[middle + 10, middle + 30]  # a line beside all inserts
    assert free.sum() * edge == pytest.approx(0.148, abs=1e-4)
    layer, affine = slab(0.01, 1e-3, (0.5e-3, 0.5e-3, 1e-3))
    area = layer[..., 0].sum() * affine[0, 0] * affine[1, 1]
    # points on a lattice of 0.125 mm in a circle of 95 mm
    bar = 2 * WEDGE_WIDTH * (WEDGE_TOP - WEDGE_BASE)
    assert area == pytest.approx(np.pi * 0.095**2 - bar, rel=2e-4)


@pytest.mark.parametrize("n", range(4))
def test_a_sheet_takes_its_contrast_of_a_slice_and_its_holes_nothing(n):
    share, affine = slab(SLICES[7 + n], 2.5e-3, (1e-3, 1e-3, 1e-3))
    x, y = (affine[i, i] * np.arange(share.shape[i]) + affine[i, 3] for i in range(2))
    on = np.hypot(x[:, None] - SHEET_CENTRE[0], y[None] - SHEET_CENTRE[1]) < SHEET_RADIUS - 1e-3
    taken = (1 - share[on]).sum() * 1e-9
    holes = 3 * np.pi / 4 * sum(d**2 for d in DISC_DIAMETERS)
    # stored shares are rounded to 1/255: 0.07 mm in a voxel of 1 mm is 17.85 steps
    assert taken == pytest.approx(CONTRASTS[n] * 5e-3 * (on.sum() * 1e-6 - holes), rel=0.03)


def test_the_bar_lengths_of_the_wedges_differ_by_twice_the_displacement():
    y = np.arange(0.05, 0.080, 1e-5)
    for at in (SLICES[0], SLICES[10]):
        for shift in (-4e-3, 0.0, 1e-3, 5e-3):
            ends = []
            for x in (-4e-3, 4e-3):
                line = np.stack([np.full_like(y, x), y, np.full_like(y, at + shift)], axis=1)
                ends.append((acr_solution(line) == 0).sum() * 1e-5)
            left, right = ends  # of the patient
            assert left - right == pytest.approx(2 * shift, abs=3e-5)


def test_a_ramp_of_one_in_ten_shows_ten_times_the_slice():
    x = np.arange(-0.078, 0.078, 1e-4)
    z = SLICES[0] + np.linspace(-2.5e-3, 2.5e-3, 201)
    for y in (2.0e-3, -3.0e-3):
        grid = np.stack(np.broadcast_arrays(x[:, None], y, z[None]), axis=-1).reshape(-1, 3)
        profile = acr_solution(grid).reshape(len(x), len(z)).mean(axis=1)
        wide = (profile > profile.max() / 2).sum() * 1e-4
        assert wide == pytest.approx(0.05, abs=3e-4)
        assert x[profile > profile.max() / 2].mean() == pytest.approx(0.0, abs=2e-4)


def test_the_two_ramps_cross():
    # 2 mm above the slice each ramp has moved by 20 mm, in opposite directions
    for y, sign in ((2.0e-3, 1), (-3.0e-3, -1)):
        place = np.array([[sign * 0.02, y, SLICES[0] + 2e-3], [-sign * 0.02, y, SLICES[0] + 2e-3]])
        assert acr_solution(place).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(("diameter", "place"), list(zip(HOLE_DIAMETERS, HOLE_PLACES, strict=True)))
def test_holes_of_an_array_are_two_diameters_apart_and_staggered(diameter, place):
    holes = np.array(hole_centres(diameter))
    assert len(holes) == 31  # two arrays of sixteen share one
    gaps = np.linalg.norm(holes[:, None] - holes[None], axis=-1) + 10 * np.eye(31)
    assert gaps.min() == pytest.approx(2 * diameter, rel=1e-9)
    points = np.column_stack(
        [place[0] - holes[:, 0], place[1] + holes[:, 1], np.full(31, SLICES[0])]
    )
    assert np.all(acr_solution(points) == 1)
    beside = points + np.array([diameter, 0, 0])  # midway between holes of a row
    upper = holes[:, 1] > diameter / 2
    assert np.all(acr_solution(beside[upper]) == 0)


def test_area_of_the_holes():
    made = acr(
        resolution=(0.2e-3, 0.2e-3, 1e-3),
        lower=(-0.0395, -0.0545, SLICES[0]),
        upper=(0.0300, -0.0255, SLICES[0]),
        supersample=5,
    )
    area = made.fraction("acr_solution").sum(dtype=np.float64) * 0.2e-3**2
    expected = 31 * np.pi / 4 * sum(d**2 for d in HOLE_DIAMETERS)
    assert area == pytest.approx(expected, rel=0.01)  # points 0.04 mm apart, hole of 0.9 mm


def test_the_grid_of_slice_5_is_square_and_centred():
    x = np.arange(-0.0730, 0.0730, 1e-5)
    line = np.stack([x, np.full_like(x, 0.007), np.full_like(x, SLICES[4])], axis=1)
    other = line[:, [1, 0, 2]]
    solid = acr_solution(line) == 0
    assert np.array_equal(solid, acr_solution(other) == 0)
    starts = x[1:][np.diff(solid.astype(int)) == 1]
    assert np.diff(starts) == pytest.approx(0.0144, abs=2e-5)


def test_the_uniform_slice_is_uniform():
    share, affine = slab(SLICES[6], 2.5e-3, 2e-3)
    x = affine[0, 0] * np.arange(share.shape[0]) + affine[0, 3]
    y = affine[1, 1] * np.arange(share.shape[1]) + affine[1, 3]
    inside = np.hypot(x[:, None], y[None]) < RADIUS - 3e-3
    bar = (np.abs(x[:, None]) < WEDGE_WIDTH + 2e-3) & (y[None] > WEDGE_BASE - 2e-3)
    assert np.all(share[inside & ~bar] == 1)


def test_points_and_voxels_agree():
    made = acr(resolution=1e-3, lower=(-0.03, -0.05, -0.053), upper=(0.0, 0.01, -0.047))
    fine = np.stack(np.meshgrid(*[np.arange(4) / 4 - 0.375] * 3, indexing="ij"), -1).reshape(-1, 3)
    rng = np.random.default_rng(1)
    for _ in range(200):
        index = rng.integers(0, made.first.shape)
        points = (index + fine) @ made.affine[:3, :3].T + made.affine[:3, 3]
        voxel = made.fraction("acr_solution")[tuple(index)]
        assert voxel == pytest.approx(acr_solution(points).mean(), abs=0.003)  # half of 1/255


def test_walls_are_plastic_and_beyond_is_air():
    made = acr(resolution=3e-3)
    assert made.pure("acrylic").any()
    assert made.pure("air")[0, 0, 0]


def test_a_grid_too_large_is_refused():
    with pytest.raises(ProtocolError, match="voxels"):
        acr(resolution=1e-4)


def test_parts_share_no_point():
    # otherwise a voxel would lose more than it holds
    x, y = np.arange(-0.095, 0.095, 0.5e-3)[:, None], np.arange(-0.095, 0.095, 0.5e-3)[None]
    for z in np.arange(-0.0739, 0.0739, 1.3e-3):
        taken = np.zeros((x.size, y.size), int)
        for part in PARTS:
            if part.z[0] <= z <= part.z[1]:
                taken += part.solid(x, y, np.full((1, 1), z))
        assert taken.max() <= 1


def test_the_vial_stands_only_in_the_first_slices_on_the_right_in_front():
    # that is how a reader tells slice 1 from slice 11, and the picture's left from its right
    tube = np.array([[0.0455 + 0.0155, 0.0453, z] for z in SLICES])
    mirror = tube * np.array([-1, 1, 1])
    assert acr_solution(tube)[:4].tolist() == [0, 0, 0, 0]
    assert np.all(acr_solution(tube)[5:] > 0)
    assert np.all(acr_solution(mirror)[:4] == 1)
