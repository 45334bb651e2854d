"""Sphere and cylinder against magnetostatics; shims against Laplace and exact recovery."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.physics.susceptibility import dipole_field, shim, solid_harmonics


def grid(n, voxel):
    axes = [
        (np.arange(count) - (count - 1) / 2) * size for count, size in zip(n, voxel, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def filled(inside_of, n, voxel, sub=4):
    """Fraction of each voxel inside, by sub^3 samples: a voxel map of a smooth body."""
    fraction, centre = np.zeros(n), grid(n, voxel)
    for shift in grid((sub,) * 3, np.array(voxel) / sub).reshape(-1, 3):
        fraction += inside_of(centre + shift)
    return fraction / sub**3


@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (1.0, -2.0, 0.5)])
def test_sphere_matches_magnetostatics_for_any_field_direction_and_voxel(direction):
    n, voxel, radius, chi = (64, 60, 48), (2e-3, 2.1e-3, 2.6e-3), 0.025, 9.4e-6
    centre = grid(n, voxel)
    distance = np.linalg.norm(centre, axis=-1)
    body = filled(lambda r: np.linalg.norm(r, axis=-1) < radius, n, voxel)
    field = dipole_field(chi * body, voxel, direction=direction, background=0.0)
    cosine = centre @ (np.array(direction) / np.linalg.norm(direction)) / distance
    outside = chi / 3 * (radius / distance) ** 3 * (3 * cosine**2 - 1)
    inside = distance < radius - 6e-3
    # Lorentz: exactly no shift inside a sphere. The voxels at its edge ring (Gibbs) within 1 %.
    assert np.abs(field[inside]).max() < 0.01 * chi
    far = (distance > radius + 6e-3) & (distance < 0.06)
    assert np.abs(field - outside)[far].max() < 0.02 * chi / 3 * 2
    assert np.sqrt(np.mean((field - outside)[far] ** 2) / np.mean(outside[far] ** 2)) < 0.02


@pytest.mark.parametrize("tilt", [np.pi / 2, 0.6])
def test_long_cylinder_matches_magnetostatics(tilt):
    n, voxel, radius, chi = (96, 96, 8), (1e-3, 1e-3, 1e-3), 0.012, -9.05e-6
    # A cylinder through the whole period in z is endless: pad in x and y by an empty rim only.
    centre = grid(n, voxel)
    body = filled(lambda r: np.hypot(r[..., 0], r[..., 1]) < radius, n, voxel)
    direction = (np.sin(tilt), 0.0, np.cos(tilt))
    field = dipole_field(chi * body, voxel, direction=direction, background=0.0, padding=1.0)
    rho = np.hypot(centre[..., 0], centre[..., 1])
    cos_2phi = (centre[..., 0] ** 2 - centre[..., 1] ** 2) / rho**2
    inside = chi / 6 * (3 * np.cos(tilt) ** 2 - 1)
    # copies of the cylinder 8 radii away, and k = 0 set to zero, shift the whole by < 3 % of chi
    fill = np.pi * radius**2 / (96e-3) ** 2
    assert np.abs(field[rho < radius - 4e-3] - inside).max() < 1.5 * fill * abs(chi)
    outside = chi / 2 * np.sin(tilt) ** 2 * (radius / rho) ** 2 * cos_2phi
    ring = (rho > radius + 4e-3) & (rho < 0.03)
    assert np.abs((field - outside)[ring]).max() < 1.5 * fill * abs(chi)


def test_background_is_what_the_body_stands_in():
    field = dipole_field(np.full((8, 8, 8), -9e-6), (1e-3, 1e-3, 1e-3), background=-9e-6)
    np.testing.assert_array_equal(field, 0)


def test_field_is_linear_and_follows_a_shift_of_the_body():
    rng = np.random.default_rng(0)
    chi = np.zeros((24, 24, 24))
    chi[6:12, 7:12, 8:13] = rng.normal(size=(6, 5, 5)) * 1e-6
    field = dipole_field(chi, (1e-3,) * 3, background=0.0)
    moved = dipole_field(3 * np.roll(chi, (4, 3, 2), (0, 1, 2)), (1e-3,) * 3, background=0.0)
    part = moved[4:, 3:, 2:] - 3 * field[:-4, :-3, :-2]
    assert np.abs(part).max() < 1e-6 * np.abs(moved).max() * 10  # float32 transforms


def test_solid_harmonics_solve_laplace():
    centre, h = np.array([0.03, -0.05, 0.04]), 1e-3
    steps = np.concatenate([np.zeros((1, 3)), h * np.eye(3), -h * np.eye(3)])
    terms = solid_harmonics(centre + steps)
    laplacian = terms[1:].sum(axis=0) - 6 * terms[0]
    np.testing.assert_allclose(laplacian, 0, atol=1e-12)  # exact for quadratics


def test_shim_recovers_a_field_of_its_own_order_and_leaves_a_higher_one():
    rng = np.random.default_rng(1)
    points = rng.uniform(-0.1, 0.1, (400, 3))
    inside = np.linalg.norm(points, axis=1) < 0.09
    truth = rng.normal(size=9) / 0.1 ** np.array([0, 1, 1, 1, 2, 2, 2, 2, 2])
    field = solid_harmonics(points) @ truth
    np.testing.assert_allclose(shim(field, points, inside=inside), -truth, rtol=1e-9)
    cubic = 5 * points[:, 2] ** 3 - 3 * points[:, 2] * (points**2).sum(axis=1)
    left = cubic + solid_harmonics(points) @ shim(cubic, points, inside=inside)
    assert 0 < np.std(left[inside]) <= np.std(cubic[inside])


def test_impossible_requests_are_refused_in_one_line():
    points = np.zeros((5, 3))
    with pytest.raises(ProtocolError, match="5 points"):
        shim(np.zeros(5), points, inside=np.ones(5, bool))
    with pytest.raises(ProtocolError, match="order is 3"):
        solid_harmonics(points, order=3)
    with pytest.raises(ProtocolError, match="64 values"):
        dipole_field(np.full((4, 4, 4), np.nan), (1e-3,) * 3)
    with pytest.raises(ProtocolError, match="padding"):
        dipole_field(np.zeros((4, 4, 4)), (1e-3,) * 3, padding=float("nan"))
