"""Loops against the closed form on the axis, Biot-Savart sums, Stokes; B1+ against Helmholtz."""

import numpy as np
import pytest
from scipy.special import ellipe, ellipk

from scanroom.core.errors import ProtocolError
from scanroom.physics.coils import (
    VACUUM_PERMEABILITY,
    VACUUM_PERMITTIVITY,
    Former,
    LoopArray,
    _elliptic,
    head_array,
    loop_field,
    loop_potential,
    receive_sensitivity,
    transmit_field,
)

SINGLE = 3e-7  # float32 output: half a unit in the last place, and the sum of two components


def one_loop(radius=0.05, centre=(0.01, -0.02, 0.03), normal=(1.0, 2.0, -2.0)):
    normal = np.array(normal) / np.linalg.norm(normal)
    return LoopArray(
        centre=np.array([centre]), normal=normal[None], radius=np.array([radius]), wire_radius=1e-3
    )


def wire(array, n=2000):
    """Midpoints and elements of a fine polygon of the circle's own length."""
    normal, radius = array.normal[0], array.radius[0]
    first = np.cross(normal, [0.0, 0.0, 1.0])
    first /= np.linalg.norm(first)
    second = np.cross(normal, first)
    angle = 2 * np.pi * (np.arange(n) + 0.5) / n
    place = array.centre[0] + radius * (
        np.outer(np.cos(angle), first) + np.outer(np.sin(angle), second)
    )
    element = (2 * np.pi * radius / n) * (
        np.outer(-np.sin(angle), first) + np.outer(np.cos(angle), second)
    )
    return place, element


def random_points(n=40, seed=0):
    points = np.random.default_rng(seed).uniform(-0.15, 0.15, (n, 3))
    place, _ = wire(one_loop())
    clear = np.linalg.norm(points[:, None] - place[None], axis=2).min(axis=1) > 0.01
    return points[clear]


@pytest.mark.parametrize("m", [0.0, 1e-9, 0.3, 0.9, 1 - 1e-6])
def test_elliptic_integrals_match_scipy(m):
    assert _elliptic(m) == pytest.approx((ellipk(m), ellipe(m)), rel=1e-13)  # a few roundings


def test_field_on_the_axis_of_a_loop_matches_the_closed_form():
    array, height = one_loop(), np.linspace(-0.2, 0.2, 21)
    field = loop_field(array, 0, array.centre + height[:, None] * array.normal)
    truth = VACUUM_PERMEABILITY * 0.05**2 / 2 / (0.05**2 + height**2) ** 1.5
    np.testing.assert_allclose(field, truth[:, None] * array.normal, rtol=SINGLE, atol=1e-16)


def test_field_off_the_axis_matches_a_biot_savart_sum():
    array, points = one_loop(), random_points()
    place, element = wire(array)
    away = points[:, None] - place[None]
    cube = np.linalg.norm(away, axis=2, keepdims=True) ** 3
    truth = VACUUM_PERMEABILITY / (4 * np.pi) * (np.cross(element[None], away) / cube).sum(axis=1)
    error = np.abs(loop_field(array, 0, points) - truth).max(axis=1) / np.linalg.norm(truth, axis=1)
    assert error.max() < SINGLE  # the trapezoid rule is exact to rounding for a periodic integrand


def test_potential_matches_a_sum_along_the_wire():
    array, points = one_loop(), random_points()
    place, element = wire(array)
    distance = np.linalg.norm(points[:, None] - place[None], axis=2)
    truth = VACUUM_PERMEABILITY / (4 * np.pi) * (element[None] / distance[..., None]).sum(axis=1)
    error = np.abs(loop_potential(array, 0, points) - truth).max(axis=1)
    assert (error / np.linalg.norm(truth, axis=1)).max() < 1e-9


@pytest.mark.parametrize("offset", [1e-7, 1e-5, 5e-4, 2e-3])
def test_field_near_the_axis_has_no_seam(offset):
    array = one_loop(normal=(0.0, 0.0, 1.0), centre=(0.0, 0.0, 0.0))
    field = loop_field(array, 0, np.array([[offset, 0.0, 0.03]]))[0]
    square = 0.05**2 + 0.03**2 + offset**2
    paraxial = 0.75 * VACUUM_PERMEABILITY * 0.05**2 * 0.03 * offset / square**2.5
    # The next term of the series is (35/8) (a rho / r^2)^2, 4e-3 at 2 mm.
    assert field[0] == pytest.approx(paraxial, rel=1e-6 + 5 * (0.05 * offset / square) ** 2)


def test_circulation_of_the_potential_is_the_flux_of_the_field():
    source = one_loop()
    ring = one_loop(radius=0.03, centre=(-0.04, 0.05, -0.02), normal=(0.3, -1.0, 0.5))
    place, element = wire(ring, 400)
    circulation = (loop_potential(source, 0, place) * element).sum()
    node, weight = np.polynomial.legendre.leggauss(24)
    flux = 0.0
    for rho, w in zip(0.015 * (node + 1), 0.015 * weight, strict=True):
        circle = ring.centre[0] + (place - ring.centre[0]) * rho / 0.03
        flux += w * 2 * np.pi * rho * (loop_field(source, 0, circle) @ ring.normal[0]).mean()
    assert circulation == pytest.approx(flux, rel=1e-6)  # float32 field, 24-point rule


def test_two_loops_have_the_same_mutual_flux_either_way():
    a = one_loop()
    b = one_loop(radius=0.03, centre=(-0.04, 0.05, -0.02), normal=(0.3, -1.0, 0.5))
    place_a, element_a = wire(a, 400)
    place_b, element_b = wire(b, 400)
    forward = (loop_potential(a, 0, place_b) * element_b).sum()
    assert forward == pytest.approx((loop_potential(b, 0, place_a) * element_a).sum(), rel=1e-9)


def test_points_in_the_wire_stay_finite():
    array = head_array(8)
    on_wire = array.centre + array.radius[:, None] * np.array([0.0, 0.0, 1.0])
    values = receive_sensitivity(array, np.concatenate([on_wire, array.centre]))
    assert np.isfinite(values).all()


def test_no_points_and_points_that_are_no_numbers_end_at_once():
    array = head_array(2)
    assert receive_sensitivity(array, np.zeros((0, 3))).shape == (2, 0)
    assert np.isnan(receive_sensitivity(array, np.full((1, 3), np.nan))).all()


def test_sensitivity_is_bx_minus_i_by():
    array, points = one_loop(), random_points()
    field = loop_field(array, 0, points)
    np.testing.assert_array_equal(
        receive_sensitivity(array, points)[0], field[:, 0] - 1j * field[:, 1]
    )


@pytest.mark.parametrize("n_coils", [1, 2, 5, 8, 16, 20, 32, 64])
def test_loops_lie_on_the_helmet_and_clear_the_acr_phantom(n_coils):
    array, former = head_array(n_coils), Former()
    assert array.n_coils == n_coils
    x, y, z = array.centre.T
    above = np.maximum(z - former.dome_start, 0) / former.dome_height
    on_surface = (x / former.half_width) ** 2 + (y / former.half_depth) ** 2 + above**2
    np.testing.assert_allclose(on_surface, 1, atol=1e-6)  # chords of 4096 per turn
    np.testing.assert_allclose(np.linalg.norm(array.normal, axis=1), 1, rtol=1e-12)
    assert ((array.centre * array.normal).sum(axis=1) < 0).all()
    assert (np.hypot(x, y)[np.abs(z) < 0.074] > 0.102).all()


def test_eight_loops_overlap_their_neighbours():
    array = head_array(8)
    gap = np.linalg.norm(array.centre - np.roll(array.centre, 1, axis=0), axis=1)
    assert (gap < 2 * array.radius).all()
    assert (gap > array.radius).all()


@pytest.mark.parametrize("n_coils", [0, -1, 65])
def test_impossible_arrays_are_refused(n_coils):
    with pytest.raises(ProtocolError, match="1 to 64"):
        head_array(n_coils)


def test_transmit_field_solves_the_helmholtz_equation():
    frequency, permittivity, conductivity, h = 127.7e6, 60.0, 0.55, 1e-3
    centre = np.array([0.03, 0.02, 0.0])
    cross = centre + h * np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    b = transmit_field(
        cross, frequency=frequency, permittivity=permittivity, conductivity=conductivity
    )
    laplacian = (b[1:].sum() - 4 * b[0]) / h**2
    omega = 2 * np.pi * frequency
    square = omega**2 * VACUUM_PERMEABILITY * permittivity * VACUUM_PERMITTIVITY
    square = square - 1j * omega * VACUUM_PERMEABILITY * conductivity
    # second-order differences: (k h)^2 / 16 = 1e-4
    assert laplacian == pytest.approx(-square * b[0], rel=1e-4)


def test_transmit_field_is_bright_inside_at_3_tesla_and_flat_at_50_millitesla():
    edge, omega = 0.08, 2 * np.pi * 127.7e6
    low = transmit_field(np.array([[edge, 0.0, 0.0]]), frequency=2.13e6)[0]
    assert np.abs(low) == pytest.approx(1, abs=2e-3)
    square = omega * VACUUM_PERMEABILITY * (omega * 60 * VACUUM_PERMITTIVITY - 0.55j)
    u = square * edge**2 / 4  # power series of J0 in u, terms of (-u)^n / n!^2
    series = 1 - u + u**2 / 4 - u**3 / 36 + u**4 / 576 - u**5 / 14400
    high = transmit_field(np.array([[edge, 0.0, 0.0]]), frequency=127.7e6)[0]
    assert high == pytest.approx(series, rel=1e-4)  # next term 1e-5
    assert np.abs(high) < 0.85
