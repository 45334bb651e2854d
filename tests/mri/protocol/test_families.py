"""Protocols are refused in full and give the lines they promise."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanroom.core.errors import ProtocolError
from scanroom.mri.protocol import Geometry, GradientEcho, SpinEcho, TurboSpinEcho, family_of

PLANE = Geometry(
    field_of_view_read=0.24,
    field_of_view_phase=0.24,
    matrix_read=64,
    matrix_phase=64,
    slice_thickness=5e-3,
)


def gradient_echo(**changes):
    values = {
        "geometry": PLANE,
        "echo_time": 5e-3,
        "repetition_time": 0.05,
        "flip_angle": 0.5,
        "bandwidth": 250.0,
    }
    return GradientEcho(**(values | changes))


def turbo_spin_echo(**changes):
    values = {
        "geometry": PLANE,
        "echo_time": 0.08,
        "repetition_time": 3.0,
        "bandwidth": 250.0,
        "echo_train_length": 8,
        "echo_spacing": 0.01,
    }
    return TurboSpinEcho(**(values | changes))


def refusal(make, **values):
    with pytest.raises(ProtocolError) as caught:
        make(**values)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e9])
@pytest.mark.parametrize("name", ["echo_time", "repetition_time", "bandwidth", "flip_angle"])
def test_impossible_number_is_refused_in_one_line_with_its_name(name, value):
    lines = refusal(gradient_echo, **{name: value})
    assert len(lines) == 1
    assert lines[0].startswith(f"{name} is ")


def test_every_wrong_value_has_its_own_line():
    lines = refusal(gradient_echo, echo_time=math.nan, bandwidth=-3.0, averages=0, dummies=-1)
    assert [line.split()[0] for line in lines] == ["echo_time", "bandwidth", "averages", "dummies"]


def test_echo_after_repetition_is_refused():
    (line,) = refusal(gradient_echo, echo_time=0.06)
    assert "below repetition_time, 50 ms" in line


def test_effective_echo_must_be_an_echo_of_the_train():
    (line,) = refusal(turbo_spin_echo, echo_time=0.084)
    assert "Choose 80 ms" in line
    (line,) = refusal(turbo_spin_echo, echo_time=0.2)
    assert "Choose 80 ms" in line


def test_3d_spin_echo_is_refused():
    slab = dataclasses.replace(PLANE, n_partitions=8)
    (line,) = refusal(turbo_spin_echo, geometry=slab)
    assert "n_partitions is 8" in line


def test_line_break_in_a_name_is_refused():
    (line,) = refusal(gradient_echo, name="a\nb")
    assert "line break" in line


def test_partial_fourier_leaves_lines_out_at_the_start_alone():
    lines = gradient_echo(partial_fourier=0.75).lines
    assert np.array_equal(lines, np.arange(16, 64))


def test_acceleration_keeps_every_nth_line_through_the_centre_and_the_calibration_in_full():
    protocol = gradient_echo(acceleration=3, acs_lines=9)
    expected = {line for line in range(64) if (line - 32) % 3 == 0} | set(range(28, 37))
    assert set(protocol.lines.tolist()) == expected


def test_accelerated_scan_without_calibration_is_refused():
    (line,) = refusal(gradient_echo, acceleration=2)
    assert "acs_lines is 0" in line


@given(
    half=st.integers(8, 256),
    share=st.floats(0.55, 1.0),
    factor=st.integers(1, 8),
)
def test_centre_line_is_always_measured(half, share, factor):
    plane = dataclasses.replace(PLANE, matrix_phase=2 * half)
    protocol = gradient_echo(
        geometry=plane, partial_fourier=share, acceleration=factor, acs_lines=8
    )
    assert half in protocol.lines
    assert np.all(np.diff(protocol.lines) > 0)


def test_partial_fourier_along_slice_keeps_the_centre_partition():
    slab = dataclasses.replace(PLANE, n_partitions=16)
    protocol = gradient_echo(geometry=slab, partial_fourier_slice=0.75)
    assert protocol.partitions.tolist() == list(range(4, 16))


def test_each_family_knows_its_name():
    assert family_of(gradient_echo()) == "gradient-echo"
    assert family_of(turbo_spin_echo()) == "turbo-spin-echo"
    spin_echo = SpinEcho(geometry=PLANE, echo_time=0.02, repetition_time=0.5, bandwidth=200.0)
    assert family_of(spin_echo) == "spin-echo"


def test_protocol_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        gradient_echo().echo_time = 1.0
