"""Fat in peaks, water left alone."""

import numpy as np
import pytest

from scanroom.physics.fat import MAIN, PEAKS, split


def test_fat_becomes_six_and_water_stays_one():
    rows, more, share = split(np.array([0.0, -3.4e-6, 1e-7]))
    assert rows.tolist() == [0, *[1] * 6, 2]
    assert share[[0, -1]].tolist() == [1, 1]
    assert share[1:-1].sum() == pytest.approx(1)
    assert not more[[0, -1]].any()
    assert more[1:-1] == pytest.approx(PEAKS - MAIN)
    assert more[1:-1][share[1:-1].argmax()] == 0  # the main peak stays
