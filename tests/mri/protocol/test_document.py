"""TOML in and out: the same protocol again; every wrong text one line a fault."""

import dataclasses
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanroom.core.errors import ProtocolError
from scanroom.mri.protocol import (
    dump_protocol,
    load_protocol,
    parse_protocol,
    preset_names,
)
from scanroom.mri.protocol.document import MAX_BYTES

GOOD = dump_protocol(load_protocol("brain-t2-tse"))
NUMBERS = [line.split(" = ")[0] for line in GOOD.splitlines() if line[-1:].isdigit()]


@pytest.mark.parametrize("name", preset_names())
def test_presets_name_their_source_and_survive_a_round_trip(name):
    protocol = load_protocol(name)
    assert protocol.name == name
    assert len(protocol.source) > 20
    assert parse_protocol(dump_protocol(protocol), name) == protocol


def test_acr_preset_is_the_published_one():
    # ACR Large and Medium Phantom Test Guidance: TR 500, TE 20, FOV 25 cm, 256 x 256, 11 x 5 mm.
    protocol = load_protocol("acr-t1-se")
    geometry = protocol.geometry
    assert (protocol.repetition_time, protocol.echo_time) == (0.5, 0.02)
    assert (geometry.field_of_view_read, geometry.field_of_view_phase) == (0.25, 0.25)
    assert (geometry.matrix_read, geometry.matrix_phase, geometry.n_slices) == (256, 256, 11)
    assert (geometry.slice_thickness, geometry.slice_gap) == (5e-3, 5e-3)


@given(
    echo_time=st.floats(1e-3, 0.02),
    flip_angle=st.floats(0.01, 2.0),
    thickness=st.floats(1e-3, 0.02),
    angles=st.tuples(*[st.floats(-math.pi, math.pi)] * 3),
)
def test_any_float_comes_back_bit_for_bit(echo_time, flip_angle, thickness, angles):
    protocol = load_protocol("brain-t1-gre")
    geometry = dataclasses.replace(protocol.geometry, slice_thickness=thickness, angles=angles)
    protocol = dataclasses.replace(
        protocol, geometry=geometry, echo_time=echo_time, flip_angle=flip_angle
    )
    assert parse_protocol(dump_protocol(protocol), "again") == protocol


def test_milliseconds_are_read_as_the_nearest_second():
    assert load_protocol("brain-t1-gre").echo_time == 0.0049


def with_value(key, text):
    lines = [
        f"{key} = {text}" if line.startswith(f"{key} =") else line for line in GOOD.split("\n")
    ]
    return "\n".join(lines)


WRONG = [
    "nan", "inf", "-inf", "-1", "-0.001", "0.0", "1e300", "-1e300", '"5"', "true", "[1, 2]", "{}",
    "1979-05-27", "9223372036854775807", '""', "[]",
]  # fmt: skip
FINE = {("slice_gap_mm", "0.0"), ("dummies", "0")}


@pytest.mark.parametrize(
    ("key", "text"),
    [pair for pair in itertools.product(NUMBERS, WRONG) if pair not in FINE],
)
def test_wrong_value_is_refused_in_one_clear_line(key, text):
    with pytest.raises(ProtocolError) as caught:
        parse_protocol(with_value(key, text), "wrong")
    lines = str(caught.value).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("protocol wrong: ")
    assert len(lines[0]) < 400


def test_unknown_key_is_named_with_the_nearest_known_one():
    with pytest.raises(
        ProtocolError, match=r"'echo_tim_ms' is not a key. Did you mean echo_time_ms"
    ):
        parse_protocol("echo_tim_ms = 3\n" + GOOD, "wrong")


@pytest.mark.parametrize("value", ["nan", "3", "true", "[]", "{}"])
def test_a_name_that_is_no_text_is_refused(value):
    with pytest.raises(ProtocolError, match=r"name is .* it must be a text in quotes"):
        parse_protocol(with_value("name", value), "wrong")


def test_missing_key_is_named():
    text = "\n".join(line for line in GOOD.splitlines() if not line.startswith("echo_spacing"))
    with pytest.raises(ProtocolError, match="echo_spacing_ms is missing"):
        parse_protocol(text, "wrong")


def test_all_that_is_wrong_stands_in_one_line():
    kept = ("echo_time_ms", "echo_spacing_ms")
    text = "\n".join(line for line in GOOD.splitlines() if not line.startswith(kept))
    with pytest.raises(ProtocolError) as caught:
        parse_protocol("nonsense = 1\n" + text, "wrong")
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    for part in ("'nonsense' is not", "echo_time_ms is missing.", "echo_spacing_ms is missing."):
        assert part in said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "family",
        "family = 3",
        'family = "epi"',
        'family = "spin-echo"',
        "\x00",
        "[[[",
        "a = " * 999,
    ],
)
def test_text_that_is_no_protocol_is_refused_in_one_line(text):
    with pytest.raises(ProtocolError) as caught:
        parse_protocol(text, "wrong")
    assert len(str(caught.value).splitlines()) == 1


@given(st.text(max_size=200))
def test_no_text_does_anything_but_parse_or_refuse(text):
    with pytest.raises(ProtocolError):
        parse_protocol(text, "noise")


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_one_changed_byte_parses_or_is_refused(place, byte):
    text = GOOD[:place] + chr(byte) + GOOD[place + 1 :]
    try:
        parse_protocol(text, "mutant")
    except ProtocolError as error:
        assert str(error)  # noqa: PT017 - both ways out are right


def test_unknown_name_lists_the_presets():
    with pytest.raises(ProtocolError, match="Did you mean brain-t1-gre"):
        load_protocol("brain-t1-gr")


def test_files_are_read_by_path_and_named_after_it(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace('name = "brain-t2-tse"\n', ""))
    assert load_protocol(path).name == "mine"


def test_missing_huge_and_binary_files_are_refused(tmp_path):
    with pytest.raises(ProtocolError, match="cannot be read"):
        load_protocol(tmp_path / "none.toml")
    (tmp_path / "huge.toml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ProtocolError, match="more than 65536 bytes"):
        load_protocol(tmp_path / "huge.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProtocolError, match="not UTF-8"):
        load_protocol(tmp_path / "binary.toml")
