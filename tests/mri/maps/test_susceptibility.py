"""Background fields and susceptibility against spheres, whose field is known in closed form."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.background import boundary_value, mean_value, projected
from scanroom.mri.maps.dipole import convolved, field_direction, kernel, padded
from scanroom.mri.maps.susceptibility import Local, total_variation, truncated
from validation.spheres import VOXEL, N, X, Y, Z, outside, phantom, slope, sphere

OBLIQUE = (0.9, 0.1, 0.42)
ERROR = 0.004


def local(direction, seed=0, field=None, mask=None):
    full, own, _, _ = phantom(direction)
    noise = np.random.default_rng(seed).normal(size=Z.shape)
    data = own + ERROR * noise if field is None else field
    return Local(
        field=data.astype(np.float32),
        error=np.full(Z.shape, ERROR, np.float32),
        mask=full if mask is None else mask,
        voxel=VOXEL,
        direction=direction,
    )


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), OBLIQUE])
def test_kernel_makes_the_field_of_a_sphere(direction):
    field, inside = sphere((0.0, 0.0, 0.0), 0.016, direction)
    shape = padded(Z.shape, N)
    made = convolved(inside.astype(np.float32), kernel(shape, VOXEL, direction), shape)
    away = binary_erosion(~inside, iterations=2) | binary_erosion(inside, iterations=2)
    # stairs of the voxels' edge: a hundredth of the largest field
    assert np.abs(made - field)[away].mean() < 0.01 * np.abs(field).max()
    assert np.corrcoef(made[away], field[away])[0, 1] > 0.995


def test_direction_of_the_field_follows_the_affine():
    angle = 0.3
    turned = np.eye(4)
    turned[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turned @ np.diag([2e-3, 2e-3, 3e-3, 1.0])
    np.testing.assert_allclose(
        field_direction(affine), (np.cos(angle), np.sin(angle), 0.0), atol=1e-12
    )
    with pytest.raises(ProtocolError, match="right angles"):
        field_direction(np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), OBLIQUE])
def test_background_goes_and_the_local_field_stays(direction):
    mask, own, _, _ = phantom(direction)
    total = own + outside(direction)
    core = binary_erosion(mask, iterations=2)
    before = outside(direction)[core].std()
    first = projected(total, mask, VOXEL, direction)
    second, known = mean_value(total, mask, VOXEL)
    third, inner = boundary_value(total, mask, VOXEL)
    # what a local source makes on the edge of the region cannot be told from the background
    for found, where, share in (
        (first, core, 0.35),
        (second, core & known, 0.35),
        (third, core & inner, 0.2),
    ):
        left = (found - own)[where]
        assert left.std() < share * own[where].std()
        assert left.std() < 0.05 * before
    assert known.sum() > 0.6 * mask.sum()
    assert inner.sum() > 0.8 * mask.sum()


def test_harmonic_field_goes_whole_by_its_boundary():
    """A shim's field of second order is harmonic: nothing is left, whatever the mask."""
    mask = phantom(OBLIQUE)[0]
    shim = 30 * X * Y + 100 * (Z**2 - (X**2 + Y**2) / 2) + 4 * Z
    found, known = boundary_value(shim, mask, VOXEL)
    # second differences of second order are exact; the solver stops at 1e-6 of its right side
    assert np.abs(found[known]).max() < 1e-4 * np.abs(shim[mask]).max()


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), OBLIQUE])
def test_truncated_division_has_the_right_slope_and_error(direction):
    mask, own, chi, regions = phantom(direction)
    quiet = truncated(local(direction, field=own))
    assert slope(quiet.array, chi, regions, mask) == pytest.approx(1.0, abs=0.08)
    away = [truncated(local(direction, seed)).array - quiet.array for seed in range(10)]
    spread = np.sqrt(np.mean(np.square(away), axis=0))[mask]
    # linear: the error is exact; 10 seeds of 20000 voxels that hang together
    assert np.sqrt((spread**2).mean()) == pytest.approx(
        np.sqrt((quiet.error[mask] ** 2).mean()), rel=0.03
    )


def test_total_variation_has_a_slope_near_one_and_less_noise():
    mask, _, chi, regions = phantom(OBLIQUE)
    found = total_variation(local(OBLIQUE), n_replicas=2)
    true = chi - chi[mask].mean()
    assert slope(found.array, chi, regions, mask) == pytest.approx(1.0, abs=0.08)
    rough = truncated(local(OBLIQUE))
    worse, better = (np.linalg.norm((one.array - true)[mask]) for one in (rough, found))
    assert better < 0.5 * worse


def test_reference_is_zero_on_average_and_is_kept_inside():
    region = Z > 0.02
    found = truncated(local(OBLIQUE), reference=region)
    mask = phantom(OBLIQUE)[0]
    assert found.array[region & mask].mean() == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(ProtocolError, match="reference region"):
        truncated(local(OBLIQUE), reference=np.zeros(Z.shape, bool))


def test_threshold_out_of_range_is_refused():
    with pytest.raises(ProtocolError, match="above 0 and below 2/3"):
        truncated(local(OBLIQUE), threshold=0.9)
