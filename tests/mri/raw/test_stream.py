"""A stream gives back what was put in, up to where it was cut."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from scanroom.core.errors import FormatError
from scanroom.mri.raw.acquisition import HEAD
from scanroom.mri.raw.stream import (
    CLOSE,
    acquisition_message,
    header_message,
    read_acquisitions,
    read_header_message,
)

TRAJECTORY = np.arange(10, dtype=np.float32).reshape(5, 2)
SIGNAL = (np.arange(15) + 1j).astype(np.complex64).reshape(3, 5)


@contextmanager
def stream_of(tmp_path: Path, content: bytes) -> Iterator[BinaryIO]:
    (tmp_path / "stream").write_bytes(content)
    with (tmp_path / "stream").open("rb") as stream:
        yield stream


def message() -> bytes:
    head = np.zeros(1, dtype=HEAD)
    head["number_of_samples"], head["trajectory_dimensions"], head["active_channels"] = 5, 2, 3
    return acquisition_message(head, TRAJECTORY, SIGNAL)


def test_what_goes_in_comes_out(tmp_path):
    content = header_message(b"<a/>") + message() + message() + CLOSE + message()
    with stream_of(tmp_path, content) as stream:
        assert read_header_message(stream, "x") == b"<a/>"
        found = list(read_acquisitions(stream))
    assert len(found) == 2  # nothing is read behind the close message
    for _, trajectory, signal in found:
        assert np.array_equal(trajectory.reshape(5, 2), TRAJECTORY)
        assert np.array_equal(signal.view(np.complex64).reshape(3, 5), SIGNAL)


@pytest.mark.parametrize("cut", [0, 1, 2, 100, 341, len(message()) - 1])
def test_a_torn_acquisition_is_left_out(tmp_path, cut):
    with stream_of(tmp_path, message() + message()[:cut]) as stream:
        assert len(list(read_acquisitions(stream))) == 1


@pytest.mark.parametrize("start", [b"", b"\x03\x00\x04\x00", header_message(b"<a/>")[:-1]])
def test_a_torn_header_is_refused(tmp_path, start):
    with (
        stream_of(tmp_path, start) as stream,
        pytest.raises(FormatError, match=r"raw\.h5\.part does not begin"),
    ):
        read_header_message(stream, "raw.h5.part")
