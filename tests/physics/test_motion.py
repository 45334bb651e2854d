"""Poses: what they do to a point, and what is refused."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.physics.motion import Motion, breathing, knots, pose

REST = {
    "time": np.array([0.0, 1.0]),
    "shift": np.zeros((2, 3)),
    "rotation": np.zeros((2, 3)),
    "stretch": np.ones((2, 3)),
}


def test_a_turn_about_a_centre_leaves_the_centre():
    centre = np.array([0.01, 0.02, 0.03])
    motion = Motion(**REST | {"rotation": np.array([[0, 0, 0], [0, 0, np.pi / 2]])},
                    centre=(0.01, 0.02, 0.03))  # fmt: skip
    matrix, shift = pose(motion, np.array([1.0]))
    assert matrix[0] @ centre + shift[0] == pytest.approx(centre)
    beside = matrix[0] @ (centre + np.array([1e-2, 0, 0])) + shift[0]
    assert beside == pytest.approx(centre + np.array([0, 1e-2, 0]))


def test_stretch_acts_before_the_turn():
    motion = Motion(**REST | {"stretch": np.array([[1, 1, 1], [1, 1, 1.2]])})
    matrix, shift = pose(motion, np.array([0.5, 2.0]))
    assert matrix[:, 2, 2] == pytest.approx([1.1, 1.2])
    assert not shift.any()


def test_breathing_rests_at_its_ends_and_repeats():
    motion = breathing((0.0, 3e-3, 12e-3), 4.0)
    _, shift = pose(motion, np.array([0.0, 2.0, 4.0, 6.0, 9.0]))
    assert shift[:, 2] == pytest.approx([0, 12e-3, 0, 12e-3, 12e-3 * np.sin(np.pi / 4) ** 4])
    assert shift[:, 1] == pytest.approx(shift[:, 2] / 4)


def test_knots_of_a_period_lie_where_the_course_bends():
    motion = breathing((0.0, 0.0, 1e-2), 2.0, n_poses=5)
    assert knots(motion, 3.2) == pytest.approx(np.arange(0.5, 3.2, 0.5))


@pytest.mark.parametrize(
    "bad",
    [
        {"time": np.array([1.0, 0.0])},
        {"shift": np.full((2, 3), 2.0)},
        {"stretch": np.zeros((2, 3))},
        {"period": 0.5},
        {"period": 1.0, "shift": np.array([[0.0, 0, 0], [0, 0, 0.1]])},
        {"rotation": np.full((2, 3), np.nan)},
    ],
)
def test_impossible_motions_are_refused_in_one_line(bad):
    with pytest.raises(ProtocolError, match="motion") as caught:
        Motion(**REST | bad)
    assert "\n" not in str(caught.value)
