"""Phantoms of closed geometry against their volumes."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.subject.shapes import asymmetric, plane_share, sphere


def volume(mixture, tissue):
    edges = np.linalg.norm(mixture.affine[:3, :3], axis=0)
    return mixture.fraction(tissue).sum(dtype=np.float64) * edges.prod()


@pytest.mark.parametrize("resolution", [2e-3, (2e-3, 3e-3, 5e-3)])
@pytest.mark.parametrize("centre", [(0.0, 0.0, 0.0), (0.0123, -0.004, 0.031)])
def test_volume_of_the_sphere(resolution, centre):
    made = sphere(radius=0.05, centre=centre, resolution=resolution)
    # surface taken plane in a voxel: (5 mm / 50 mm) ** 2 / 8, and shares in steps of 1/255
    assert volume(made, "water") == pytest.approx(4 / 3 * np.pi * 0.05**3, rel=2e-3)


def test_centre_of_the_sphere_is_where_it_was_asked_for():
    made = sphere(radius=0.03, centre=(0.02, -0.01, 0.005), resolution=2e-3)
    share = made.fraction("water").astype(np.float64)
    index = np.stack(np.indices(share.shape), axis=-1)
    place = (index * share[..., None]).sum(axis=(0, 1, 2)) / share.sum()
    where = made.affine[:3, :3] @ place + made.affine[:3, 3]
    assert where == pytest.approx([0.02, -0.01, 0.005], abs=1e-6)  # a 2000th of a voxel


def test_share_of_a_box_below_a_plane_is_that_of_many_points():
    rng = np.random.default_rng(0)
    points = rng.random((200_000, 3)) - 0.5
    for _ in range(20):
        normal = rng.normal(size=3)
        normal /= np.linalg.norm(normal)
        depth = 0.6 * (rng.random() - 0.5)
        inside = (points @ normal <= depth).mean()
        part = plane_share(
            np.full((1, 1, 1), depth), [np.full((1, 1, 1), abs(n)) for n in normal], (1.0, 1.0, 1.0)
        )
        # counting 200 000 points scatters by 1/sqrt(4 n) = 1.1e-3; four of these
        assert part.item() == pytest.approx(inside, abs=4.5e-3)


def test_no_mirror_and_no_turn_maps_the_asymmetric_phantom_onto_itself():
    fat = asymmetric(resolution=4e-3).fraction("fat")
    for axes in [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]:
        assert np.abs(fat - np.flip(fat, axes)).sum() > 0.2 * fat.sum()
    assert np.abs(fat - fat.transpose(1, 0, 2)).sum() > 0.2 * fat.sum()


def test_the_thick_rod_of_the_asymmetric_phantom_is_on_the_right():
    made = asymmetric(resolution=4e-3)
    x = made.affine[0, 0] * np.arange(made.first.shape[0]) + made.affine[0, 3]
    fat = made.fraction("fat").sum(axis=(1, 2))
    assert fat[x > 0.03].sum() > 10 * fat[x < -0.03].sum()


def test_rods_of_the_asymmetric_phantom_have_their_volumes():
    made = asymmetric(resolution=2e-3)
    rods = np.pi * (0.015**2 * 0.12 + 0.010**2 * 0.06)
    ball = 4 / 3 * np.pi * 0.012**3
    # edges are blurred over a voxel: 2 mm against 10 mm, symmetric to first order
    assert volume(made, "fat") == pytest.approx(rods + ball, rel=0.03)


@pytest.mark.parametrize("resolution", [0.0, 1.0, -1e-3, (1e-3, 1e-3, float("nan")), 5e-5])
def test_impossible_grids_are_refused(resolution):
    with pytest.raises(ProtocolError):
        sphere(resolution=resolution)


def test_impossible_spheres_are_refused():
    with pytest.raises(ProtocolError, match="positive"):
        sphere(radius=-0.1)
