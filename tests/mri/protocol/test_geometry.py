"""Orientations are rotations that DICOM viewers expect."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanroom.core.errors import ProtocolError
from scanroom.mri.protocol import Geometry
from scanroom.mri.protocol.geometry import turn

PLANE = Geometry(
    field_of_view_read=0.24,
    field_of_view_phase=0.24,
    matrix_read=64,
    matrix_phase=64,
    slice_thickness=5e-3,
)
RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


@pytest.mark.parametrize(
    ("orientation", "row", "column"),
    [
        ("transverse", (1, 0, 0), (0, 1, 0)),
        ("sagittal", (0, 1, 0), (0, 0, -1)),
        ("coronal", (1, 0, 0), (0, 0, -1)),
    ],
)
def test_presets_are_the_direction_cosines_of_standard_views(orientation, row, column):
    frame = dataclasses.replace(PLANE, orientation=orientation).rotation
    assert np.array_equal(RAS_TO_LPS * frame[:, 0], row)
    assert np.array_equal(RAS_TO_LPS * frame[:, 1], column)


ANGLE = st.floats(-math.pi, math.pi)


@given(
    orientation=st.sampled_from(["transverse", "sagittal", "coronal"]),
    angles=st.tuples(ANGLE, ANGLE, ANGLE),
    swap=st.booleans(),
)
def test_any_orientation_is_a_rotation(orientation, angles, swap):
    geometry = dataclasses.replace(PLANE, orientation=orientation, angles=angles, swap_phase=swap)
    frame = geometry.rotation
    assert np.abs(frame.T @ frame - np.eye(3)).max() < 1e-14  # a few roundings of a double
    assert np.linalg.det(frame) == pytest.approx(1, abs=1e-14)


def test_turn_is_right_handed():
    assert turn(2, math.pi / 2) @ [1, 0, 0] == pytest.approx([0, 1, 0], abs=1e-15)
    assert turn(0, math.pi / 2) @ [0, 1, 0] == pytest.approx([0, 0, 1], abs=1e-15)
    assert turn(1, math.pi / 2) @ [0, 0, 1] == pytest.approx([1, 0, 0], abs=1e-15)


def test_swapping_phase_keeps_the_slice_and_exchanges_the_plane():
    frame = PLANE.rotation
    swapped = dataclasses.replace(PLANE, swap_phase=True).rotation
    assert np.array_equal(swapped[:, 2], frame[:, 2])
    assert np.array_equal(swapped[:, 0], frame[:, 1])
    assert np.array_equal(swapped[:, 1], -frame[:, 0])


def test_directions_give_the_frame_as_written():
    directions = tuple(dataclasses.replace(PLANE, angles=(0.1, 0.2, 0.3)).rotation.T.ravel())
    oblique = dataclasses.replace(PLANE, orientation="oblique", directions=directions)
    assert np.array_equal(oblique.rotation.T.ravel(), directions)


@pytest.mark.parametrize(
    ("directions", "word"),
    [
        ((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0), "left-handed"),
        ((1.0, 0.0, 0.0, 0.1, 0.9, 0.0, 0.0, 0.0, 1.0), "orthonormal"),
        ((0.5, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.5), "orthonormal"),
    ],
)
def test_directions_that_are_no_rotation_are_refused(directions, word):
    with pytest.raises(ProtocolError, match=word):
        dataclasses.replace(PLANE, orientation="oblique", directions=directions)


def test_directions_without_oblique_are_refused_and_the_other_way_round():
    with pytest.raises(ProtocolError, match="Give both or neither"):
        dataclasses.replace(PLANE, orientation="oblique")
    with pytest.raises(ProtocolError, match="Give both or neither"):
        dataclasses.replace(PLANE, directions=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def test_slices_lie_symmetric_about_the_centre():
    offsets = dataclasses.replace(PLANE, n_slices=4, slice_gap=1e-3).slice_offsets
    assert offsets == pytest.approx([-9e-3, -3e-3, 3e-3, 9e-3])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"matrix_read": 63}, "even"),
        ({"matrix_phase": 7}, "8 to 1024"),
        ({"field_of_view_read": math.nan}, "finite"),
        ({"field_of_view_phase": -0.2}, "10 mm to 600 mm"),
        ({"slice_gap": -1e-3}, "0 mm to 500 mm"),
        ({"n_partitions": 3}, "1 or even"),
        ({"n_partitions": 8, "n_slices": 2}, "one slab"),
        ({"n_slices": 256, "slice_gap": 0.1}, "1000 mm"),
        ({"centre": (0.0, 0.0, 0.7)}, "-500 mm to 500 mm"),
        ({"centre": (0.0, math.inf, 0.0)}, "finite"),
        ({"orientation": "diagonal"}, "transverse, sagittal, coronal, oblique"),
        ({"angles": (0.0, 4.0, 0.0)}, "-180 deg to 180 deg"),
    ],
)
def test_impossible_geometry_is_refused_in_one_line(changes, word):
    with pytest.raises(ProtocolError) as caught:
        dataclasses.replace(PLANE, **changes)
    assert word in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
