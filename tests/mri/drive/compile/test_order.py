"""Slices and echoes come in the order they should."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanroom.mri.drive.compile.order import NO_LINE, slice_order, train_table
from scanroom.mri.protocol import Geometry, TurboSpinEcho


def turbo(n_lines, train, effective, **changes):
    geometry = Geometry(
        field_of_view_read=0.24,
        field_of_view_phase=0.24,
        matrix_read=64,
        matrix_phase=n_lines,
        slice_thickness=5e-3,
    )
    return TurboSpinEcho(
        geometry=geometry,
        echo_time=effective * 0.01,
        repetition_time=10.0,
        bandwidth=250.0,
        echo_train_length=train,
        echo_spacing=0.01,
        **changes,
    )


def test_even_slices_come_before_odd_ones():
    assert slice_order(5) == [0, 2, 4, 1, 3]


@given(
    half=st.integers(10, 64),  # so that the longest train finds a line for every echo
    train=st.integers(2, 12),
    effective=st.integers(1, 12),
    share=st.floats(0.6, 1.0),
)
def test_every_line_is_measured_once_and_the_effective_echo_lands_at_the_centre(
    half, train, effective, share
):
    effective = min(effective, train)
    protocol = turbo(2 * half, train, effective, partial_fourier=share)
    table = train_table(protocol)
    measured = table[table != NO_LINE]
    assert np.array_equal(np.sort(measured), protocol.lines)
    assert half in table[:, effective - 1]
    assert table.shape == (-(-protocol.lines.size // train), train)


def test_nearest_echoes_lie_nearest_to_the_centre():
    table = train_table(turbo(64, 8, 1))
    distance = [np.abs(table[:, echo] - 32).mean() for echo in range(8)]
    # Bands alternate sides, so a pair may swap by the width of one line.
    assert np.all(np.diff(distance) > -1.0)


@pytest.mark.parametrize("effective", [1, 4, 8])
def test_neighbouring_lines_of_the_inner_half_are_at_most_two_echoes_apart(effective):
    table = train_table(turbo(64, 8, effective))
    echo_of = np.zeros(64, int)
    for echo in range(8):
        echo_of[table[:, echo]] = echo
    inner = echo_of[16:48]
    assert np.abs(np.diff(inner)).max() <= 2
