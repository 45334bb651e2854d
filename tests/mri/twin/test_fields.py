"""Fields of the twin against the closed form of a magnetised sphere."""

import numpy as np
import pytest

from scanroom.mri.system import system
from scanroom.mri.twin import Faults
from scanroom.mri.twin.fields import shim_volume, slope, static_field
from scanroom.subject import load_subject
from scanroom.subject.model import Subject

RADIUS = 0.04


@pytest.fixture(scope="module")
def ball() -> Subject:
    return load_subject("sphere", 3.0, radius=RADIUS, tissue="white", resolution=0.0025)


def depth(subject: Subject) -> np.ndarray:
    index = np.indices(subject.maps["t1"].shape).reshape(3, -1).T
    place = index @ subject.affine[:3, :3].T + subject.affine[:3, 3]
    return np.linalg.norm(place, axis=1).reshape(subject.maps["t1"].shape)


@pytest.mark.parametrize("order", [-1, 0, 1, 2])
def test_a_sphere_stays_as_uniform_within_under_any_shim_as_theory_has_it(
    ball: Subject, order: int
) -> None:
    faults = Faults(shim_order=order, shim_error=(0.0, 0.0, 0.0, 0.0))
    within = static_field(ball, system("3T"), faults)[depth(ball) < 0.8 * RADIUS]
    # The field inside a magnetised sphere is uniform and, Lorentz' sphere counted, zero; 3 Hz is
    # 0.25 % of chi B0 (9.4 ppm of 128 MHz), what voxels of a sixteenth of the radius leave.
    assert np.abs(within.mean()) < 1.0
    assert within.std() < 3.0


def test_no_voxel_that_is_mostly_air_is_shimmed(ball: Subject) -> None:
    chosen = shim_volume(ball)
    filled = ball.maps["proton_density"] > 0
    assert not chosen[~filled].any()
    part = filled & (ball.maps["proton_density"] < 0.5 * ball.maps["proton_density"].max())
    assert part.any()
    assert not chosen[part].any()


def test_a_subject_of_few_voxels_is_shimmed_whole() -> None:
    maps = {"proton_density": np.ones((3, 3, 3), np.float32)}
    tiny = Subject(name="cube", field=3.0, affine=np.eye(4), maps=maps)
    assert shim_volume(tiny).all()


def test_a_slope_is_that_within_a_voxel_not_the_jump_beside_it():
    field = np.array([0.0, 1.0, 2.0, 3.0, 13.0, 14.0, 14.5, 14.0], np.float32)
    volume = np.broadcast_to(field[:, None, None], (8, 2, 1)).copy()
    assert slope(volume, 0)[:, 1, 0].tolist() == [0, 1, 1, 1, 1, 0.5, 0, 0]
    assert not slope(volume, 1).any()
    assert not slope(volume, 2).any()
