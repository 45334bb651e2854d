"""Trajectories that are no grid: closed forms, and other programs' data."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from scanroom.mri.recon import reconstruct
from tests.mri.recon.scanner import cartesian, point_signal, white, write

RNG = np.random.default_rng(3)
SPIRALS = "mri_sim_truth/mrphysics-bonn+python-ismrmrd-reco"


def peak(result):
    """Voxel index (x, y, z) of the largest voxel."""
    z, y, x = np.unravel_index(np.argmax(result.array), result.array.shape)
    return np.array([x, y, z])


def spokes(n_spokes=40, n=32, fov=0.2):
    radius = (np.arange(2 * n) - n) / (2 * fov)
    trajectory = []
    for angle in np.pi * np.arange(n_spokes) / n_spokes:
        direction = np.array([np.cos(angle), np.sin(angle), 0])
        trajectory.append(np.outer(radius, direction).astype(np.float32))
    lines = cartesian(matrix=(n, n_spokes, 1), fov=(fov, fov, 0.005), kind="radial")
    return replace(
        lines,
        encoded_matrix=(2 * n, n, 1),
        recon_matrix=(n, n, 1),
        trajectory=tuple(trajectory),
    )


def test_radial_point_lands_on_its_voxel(tmp_path):
    encoding = spokes(n_spokes=60)
    encoding.position[:] = [0.02, 0, 0.01]
    place = [0.02 - 5 * 0.2 / 32, 7 * 0.2 / 32, 0.01]
    signals = [point_signal(encoding, i, place) for i in range(encoding.n_windows)]
    (result,) = reconstruct(write(tmp_path / "raw.h5", encoding, signals))
    assert result.array.shape == (1, 32, 32)
    np.testing.assert_array_equal(peak(result), [11, 23, 0])
    np.testing.assert_allclose((result.affine @ [11, 23, 0, 1])[:3], place, atol=1e-8)


def test_radial_noise_has_unit_deviation(tmp_path):
    encoding = spokes(n_spokes=50)
    signals = [white(RNG, 1, 64) for _ in range(encoding.n_windows)]
    raw = write(tmp_path / "raw.h5", encoding, signals, white(RNG, 1, 50000))
    (result,) = reconstruct(raw, complex_images=True)
    # 1024 voxels: standard error 2.2 %, three of them
    assert result.array.real.std() == pytest.approx(1, rel=0.07)


def test_stack_of_stars_takes_its_third_axis_from_the_counter(tmp_path):
    n_levels, place = 4, np.array([0.2 * 3 / 32, -0.2 * 5 / 32, 0.01])
    flat = spokes(n_spokes=50)
    every = flat.take(np.tile(np.arange(50), n_levels))
    every.kspace_encode_step_2[:] = np.repeat(np.arange(n_levels), 50)
    level = (every.kspace_encode_step_2 - n_levels // 2) / 0.04
    signals = [
        point_signal(every, i, place * [1, 1, 0]) * np.exp(-2j * np.pi * level[i] * place[2])
        for i in range(every.n_windows)
    ]
    stack = replace(
        every,
        encoded_matrix=(64, 32, n_levels),
        recon_matrix=(32, 32, n_levels),
        encoded_fov=(0.4, 0.2, 0.04),
        recon_fov=(0.2, 0.2, 0.04),
        centre_step_2=n_levels // 2,
        trajectory=tuple(k[:, :2] for k in every.trajectory),
    )
    (result,) = reconstruct(write(tmp_path / "raw.h5", stack, signals))
    np.testing.assert_array_equal(peak(result), [19, 11, 3])


@pytest.mark.parametrize("case", ["clean", "CS"])
def test_jemris_spirals_look_as_bart_made_them(shared_data, case):
    folder = shared_data / SPIRALS
    (result,) = reconstruct(folder / f"example_data/simu/signals_spiralout_{case}_slc30.h5")
    with h5py.File(folder / f"recon/simu/reco_spiralout_{case}_slc30.h5") as file:
        theirs = file["images/image_1/data"][0, 0, 0]
    # gridding against their iterative reconstruction with its own scaling
    assert np.corrcoef(result.array[0].ravel(), theirs.ravel())[0, 1] > 0.99


def test_koma_epi_of_a_brain_is_bright_inside_and_dark_outside(shared_data):
    path = shared_data / "mri_sim_truth/JuliaHealth+KomaMRI.jl/test/test_files/Koma_signal.mrd"
    (result,) = reconstruct(path)
    image = result.array[0]
    corners = np.concatenate([image[:10, :10], image[-10:, -10:], image[:10, -10:]])
    assert corners.mean() < 0.05 * image[30:70, 30:70].mean()
