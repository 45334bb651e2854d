"""MRD messages against the ISMRMRD package's own reading and writing."""

import ctypes
import io

import ismrmrd
import ismrmrd.serialization as theirs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ismrmrd.image import ImageHeader
from ismrmrd.waveform import WaveformHeader

from scanroom.core.errors import FormatError
from scanroom.mri.raw.messages import (
    DATA_TYPES,
    IMAGE_HEAD,
    MAX_BODY,
    WAVEFORM_HEAD_BYTES,
    Image,
    Kind,
    config_message,
    image_message,
    read_message,
    text_message,
)
from scanroom.mri.raw.stream import CLOSE, acquisition_message, header_message

RNG = np.random.default_rng(3)


def _image(data_type=5, shape=(2, 3, 5, 7)):
    head = np.zeros((), IMAGE_HEAD)
    head["data_type"], head["channels"], head["matrix_size"] = data_type, shape[0], shape[:0:-1]
    head["position"], head["slice"] = (1.5, -2.0, 3.25), 4
    pixels = RNG.integers(0, 100, shape).astype(DATA_TYPES[data_type])
    return Image(head=head, attributes={"name": "a < b & c", "unit": "SNR"}, pixels=pixels)


def test_headers_have_the_layout_of_the_library():
    assert ctypes.sizeof(ImageHeader) == IMAGE_HEAD.itemsize
    assert ctypes.sizeof(WaveformHeader) == WAVEFORM_HEAD_BYTES
    for name in IMAGE_HEAD.names:
        assert getattr(ImageHeader, name).offset == IMAGE_HEAD.fields[name][1], name


@pytest.mark.parametrize("data_type", [1, 2, 3, 5, 6, 7, 8])
def test_the_library_reads_our_images(data_type):
    ours = _image(data_type)
    with theirs.ProtocolDeserializer(io.BytesIO(image_message(ours) + CLOSE)) as reader:
        (found,) = reader.deserialize()
    np.testing.assert_array_equal(found.data, ours.pixels)
    assert found.slice == 4
    assert found.meta["name"] == "a < b & c"


@pytest.mark.parametrize("dtype", ["float32", "uint16", "complex64"])
def test_we_read_the_images_of_the_library(dtype):
    pixels = RNG.integers(0, 100, (1, 2, 4, 6)).astype(dtype)
    image = ismrmrd.Image.from_array(pixels)
    image.meta = {"unit": "SNR"}
    stream = io.BytesIO()
    with theirs.ProtocolSerializer(stream) as writer:
        writer.serialize(image)
    stream.seek(0)
    message = read_message(stream)
    assert message is not None
    assert message.image is not None
    np.testing.assert_array_equal(message.image.pixels, pixels)
    assert message.image.attributes == {"unit": "SNR"}
    assert read_message(stream) is None


def test_we_read_all_else_that_the_library_writes():
    acquisition = ismrmrd.Acquisition.from_array(
        (RNG.normal(size=(3, 8, 2)) @ [1, 1j]).astype(np.complex64),
        RNG.normal(size=(8, 2)).astype(np.float32),
    )
    waveform = ismrmrd.Waveform.from_array(RNG.integers(0, 9, (2, 5)).astype(np.uint32))
    stream = io.BytesIO()
    with theirs.ProtocolSerializer(stream) as writer:
        writer.serialize(theirs.ConfigFile("simple.xml"))
        writer.serialize(theirs.ConfigText("{}"))
        writer.serialize(waveform)
        writer.serialize(RNG.normal(size=(2, 3)))
        writer.serialize("hello")
        writer.serialize(acquisition)
    stream.seek(0)
    found = []
    while (message := read_message(stream)) is not None:
        found.append(message)
    assert [int(message.kind) for message in found] == [1, 2, 1026, 1030, 5, 1008]
    assert [message.text for message in found[:2]] == [b"simple.xml", b"{}"]
    head, trajectory, samples = found[-1].acquisition
    assert int(head["active_channels"]) == 3
    np.testing.assert_array_equal(trajectory.reshape(8, 2), acquisition.traj)
    np.testing.assert_array_equal(samples.view(np.complex64).reshape(3, 8), acquisition.data)
    assert acquisition_message(head, trajectory, samples)[2:] == acquisition.to_bytes()


def test_the_library_reads_configurations_and_texts():
    stream = io.BytesIO(config_message("scanroom") + text_message("größer") + CLOSE)
    with theirs.ProtocolDeserializer(stream) as reader:
        assert list(reader.deserialize()) == ["scanroom", "größer"]


def test_a_long_name_is_refused():
    with pytest.raises(FormatError, match="up to 1023"):
        config_message("x" * 1024)


@pytest.mark.parametrize("cut", [1, 3, 100, 205, 300])
def test_a_cut_message_is_refused(cut):
    whole = image_message(_image())
    with pytest.raises(FormatError, match=r"cut|protocol"):
        read_message(io.BytesIO(whole[:cut]))


def test_lengths_are_refused_before_they_are_read():
    image = _image()
    image.head["matrix_size"] = 65535
    whole = image_message(image)
    with pytest.raises(FormatError, match=f"up to {MAX_BODY}"):
        read_message(io.BytesIO(whole))
    with pytest.raises(FormatError, match="announces 4294967295"):
        read_message(io.BytesIO(b"\x05\x00\xff\xff\xff\xff"))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([int(kind) for kind in Kind]))
def test_bytes_at_random_are_messages_or_refused(noise, number):
    stream = io.BytesIO(number.to_bytes(2, "little") + noise)
    try:
        read_message(stream)
    except FormatError as error:
        assert str(error)  # noqa: PT017 - either is right


def test_header_message_is_read():
    message = read_message(io.BytesIO(header_message(b"<x/>")))
    assert message is not None
    assert (message.kind, message.text) == (Kind.HEADER, b"<x/>")
