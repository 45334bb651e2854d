"""The MRD message protocol, which reconstruction servers and clients speak over a connection.

A message is its number in two bytes and what the number says; all little endian. Acquisitions and
the header are those of `stream`; images go the other way. Lengths are bounded before anything is
read: whoever is at the other end may be broken.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from io import BufferedIOBase
from xml.etree import ElementTree as Xml

import numpy as np
from jaxtyping import Shaped

from scanroom.core.errors import FormatError
from scanroom.mri.raw.acquisition import HEAD
from scanroom.mri.raw.header import MAX_HEADER
from scanroom.mri.raw.stream import Acquisition

CONFIG_BYTES = 1024
MAX_BODY = 1 << 31
"""Longest acquisition or image we agree to read [bytes]."""
MAX_AXES = 8
WAVEFORM_HEAD_BYTES = 40


class Kind(IntEnum):
    """Numbers of messages."""

    CONFIG_FILE = 1
    CONFIG_TEXT = 2
    HEADER = 3
    CLOSE = 4
    TEXT = 5
    ACQUISITION = 1008
    IMAGE = 1022
    WAVEFORM = 1026
    ARRAY = 1030


IMAGE_HEAD = np.dtype(
    [
        ("version", "<u2"),
        ("data_type", "<u2"),
        ("flags", "<u8"),
        ("measurement_uid", "<u4"),
        ("matrix_size", "<u2", (3,)),
        ("field_of_view", "<f4", (3,)),
        ("channels", "<u2"),
        ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)),
        ("phase_dir", "<f4", (3,)),
        ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)),
        ("average", "<u2"),
        ("slice", "<u2"),
        ("contrast", "<u2"),
        ("phase", "<u2"),
        ("repetition", "<u2"),
        ("set", "<u2"),
        ("acquisition_time_stamp", "<u4"),
        ("physiology_time_stamp", "<u4", (3,)),
        ("image_type", "<u2"),
        ("image_index", "<u2"),
        ("image_series_index", "<u2"),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
        ("attribute_string_len", "<u4"),
    ]
)
"""MRD's image header (ISMRMRD 1.x)."""

DATA_TYPES: Mapping[int, str] = {
    1: "<u2", 2: "<i2", 3: "<u4", 4: "<i4", 5: "<f4", 6: "<f8", 7: "<c8", 8: "<c16",
}  # fmt: skip
MAGNITUDE, COMPLEX = 1, 5
"""Types of images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image message: header, attributes, pixels ``(channel, z, y, x)``."""

    head: Shaped[np.ndarray, ""]
    attributes: dict[str, str]
    pixels: Shaped[np.ndarray, "channel z y x"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What arrived: text of configurations, headers and texts, or one of the larger things."""

    kind: Kind
    text: bytes = b""
    acquisition: Acquisition | None = None
    image: Image | None = None


def config_message(name: str) -> bytes:
    """Ask for a reconstruction by name.

    Raises
    ------
    FormatError
        If the name does not fit the 1024 bytes it has.
    """
    encoded = name.encode()
    if len(encoded) >= CONFIG_BYTES:
        raise FormatError(
            f"the configuration's name has {len(encoded)} bytes; up to {CONFIG_BYTES - 1} fit (MRD "
            "message 1). Use a shorter name."
        )
    return struct.pack("<H", Kind.CONFIG_FILE) + encoded.ljust(CONFIG_BYTES, b"\0")


def text_message(text: str) -> bytes:
    """Say something that is for people."""
    encoded = text.encode()
    return struct.pack("<HI", Kind.TEXT, len(encoded)) + encoded


def image_message(image: Image) -> bytes:
    """One image with its attributes."""
    xml = _attributes_to_xml(image.attributes)
    head = image.head.copy()
    head["attribute_string_len"] = len(xml)
    parts = (
        struct.pack("<H", Kind.IMAGE),
        head.tobytes(),
        struct.pack("<Q", len(xml)),
        xml,
        np.ascontiguousarray(image.pixels, DATA_TYPES[int(head["data_type"])]).tobytes(),
    )
    return b"".join(parts)


def read_message(stream: BufferedIOBase) -> Message | None:
    """Read the next message; nothing at the end of the stream or at the message that closes it.

    Raises
    ------
    FormatError
        If the stream ends within a message, or holds what is none.
    """
    start = stream.read(2)
    number = int.from_bytes(start, "little") if len(start) == 2 else -1
    if not start or number == Kind.CLOSE:
        return None
    if number not in {int(kind) for kind in Kind}:
        raise FormatError(
            f"a message has the number {number}; MRD has {', '.join(str(int(k)) for k in Kind)}. "
            "The other side speaks another protocol, or lost its place in the stream."
        )
    return _body(stream, Kind(number))


def _body(stream: BufferedIOBase, kind: Kind) -> Message:
    if kind is Kind.CONFIG_FILE:
        return Message(kind=kind, text=_exactly(stream, CONFIG_BYTES, kind).rstrip(b"\0"))
    if kind in {Kind.CONFIG_TEXT, Kind.HEADER, Kind.TEXT}:
        length = int.from_bytes(_exactly(stream, 4, kind), "little")
        return Message(kind=kind, text=_exactly(stream, _bounded(length, MAX_HEADER, kind), kind))
    if kind is Kind.ACQUISITION:
        return Message(kind=kind, acquisition=_acquisition(stream))
    if kind is Kind.IMAGE:
        return Message(kind=kind, image=_image(stream))
    _skip(stream, kind)
    return Message(kind=kind)


def _exactly(stream: BufferedIOBase, n_bytes: int, kind: Kind) -> bytes:
    """Read so many bytes or refuse: a buffered reader returns less only at the end."""
    found = stream.read(n_bytes)
    if len(found) < n_bytes:
        raise FormatError(
            f"the stream ended within a message {int(kind)} ({kind.name.lower()}), "
            f"{n_bytes - len(found)} bytes short. The connection was cut."
        )
    return found


def _bounded(n_bytes: int, most: int, kind: Kind) -> int:
    if n_bytes > most:
        raise FormatError(
            f"a message {int(kind)} ({kind.name.lower()}) announces {n_bytes} bytes; up to {most} "
            "are read (scanroom.mri.raw.messages). It is damaged."
        )
    return n_bytes


def _acquisition(stream: BufferedIOBase) -> Acquisition:
    kind = Kind.ACQUISITION
    head = np.frombuffer(_exactly(stream, HEAD.itemsize, kind), dtype=HEAD)[0]
    n_samples = int(head["number_of_samples"])
    n_trajectory = 4 * n_samples * int(head["trajectory_dimensions"])
    n_signal = 8 * n_samples * int(head["active_channels"])
    body = _exactly(stream, _bounded(n_trajectory + n_signal, MAX_BODY, kind), kind)
    return (
        head,
        np.frombuffer(body[:n_trajectory], dtype="<f4"),
        np.frombuffer(body[n_trajectory:], dtype="<f4"),
    )


def _image(stream: BufferedIOBase) -> Image:
    kind = Kind.IMAGE
    head = np.frombuffer(_exactly(stream, IMAGE_HEAD.itemsize, kind), dtype=IMAGE_HEAD)[0]
    if int(head["data_type"]) not in DATA_TYPES:
        raise FormatError(
            f"an image has the data type {int(head['data_type'])}; MRD has 1 to 8. It is damaged."
        )
    length = int.from_bytes(_exactly(stream, 8, kind), "little")
    xml = _exactly(stream, _bounded(length, MAX_HEADER, kind), kind)
    x, y, z = (int(n) for n in head["matrix_size"])
    shape = (int(head["channels"]), z, y, x)
    dtype = np.dtype(DATA_TYPES[int(head["data_type"])])
    n_bytes = _bounded(math.prod(shape) * dtype.itemsize, MAX_BODY, kind)
    pixels = np.frombuffer(_exactly(stream, n_bytes, kind), dtype).reshape(shape)
    return Image(head=np.asarray(head), attributes=_attributes(xml), pixels=pixels)


def _skip(stream: BufferedIOBase, kind: Kind) -> None:
    """Read past physiological traces and arrays, which images are not made of."""
    if kind is Kind.WAVEFORM:
        head = _exactly(stream, WAVEFORM_HEAD_BYTES, kind)
        # version, flags, uid, counter, time stamp, samples, channels, time per sample, id
        n_samples, n_channels = struct.unpack_from("<HH", head, 28)
        _exactly(stream, 4 * n_samples * n_channels, kind)
        return
    data_type, _, n_axes = struct.unpack("<HHH", _exactly(stream, 6, kind))
    if data_type not in DATA_TYPES or n_axes > MAX_AXES:
        raise FormatError(
            f"an array has the data type {data_type} and {n_axes} axes; MRD has the types 1 to 8, "
            f"up to {MAX_AXES} axes are read. It is damaged."
        )
    sizes = struct.unpack(f"<{n_axes}Q", _exactly(stream, 8 * n_axes, kind))
    n_bytes = math.prod(sizes) * np.dtype(DATA_TYPES[data_type]).itemsize
    _exactly(stream, _bounded(n_bytes, MAX_BODY, kind), kind)


def _attributes_to_xml(attributes: Mapping[str, str]) -> bytes:
    """Spell MRD's meta attributes."""
    root = Xml.Element("ismrmrdMeta")
    for name, value in attributes.items():
        meta = Xml.SubElement(root, "meta")
        Xml.SubElement(meta, "name").text = name
        Xml.SubElement(meta, "value").text = value
    text: bytes = Xml.tostring(root, encoding="us-ascii")
    return text


def _attributes(xml: bytes) -> dict[str, str]:
    """Names and first values; an image of others may have none, or some that are no XML."""
    xml = xml.strip(b"\0 \n")
    if not xml or b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        return {}
    try:
        root = Xml.fromstring(xml)  # noqa: S314 -- entities are refused above
    except Xml.ParseError:
        return {}
    return {
        meta.findtext("name", ""): meta.findtext("value", "") or "" for meta in root.iter("meta")
    }
