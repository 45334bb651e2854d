"""The binary MRD stream: a header message, acquisition messages, a close message.

A stream may be cut at any byte; what came before the cut reads whole.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from jaxtyping import Shaped

from scanroom.core.errors import FormatError
from scanroom.mri.raw.acquisition import HEAD
from scanroom.mri.raw.header import MAX_HEADER

_HEADER, _CLOSE, _ACQUISITION = 3, 4, 1008
"""Message numbers of the MRD stream."""
CLOSE = struct.pack("<H", _CLOSE)
Acquisition = tuple[np.void, Shaped[np.ndarray, " _"], Shaped[np.ndarray, " _"]]
"""Header, and trajectory and samples as flat lists of float32."""


def header_message(xml: bytes) -> bytes:
    """Begin a stream."""
    return struct.pack("<HI", _HEADER, len(xml)) + xml


def acquisition_message(
    head: Shaped[np.ndarray, ""] | np.void | Shaped[np.ndarray, "1"],
    trajectory: np.ndarray,
    signal: np.ndarray,
) -> bytes:
    """One readout; trajectory ``(sample, axis)`` and samples ``(coil, sample)`` as MRD has them.

    Samples may also be the flat list of float32 that `Acquisition` holds.
    """
    if not np.iscomplexobj(signal):
        signal = np.ascontiguousarray(signal, dtype="<f4").view("<c8")
    return b"".join(
        (
            struct.pack("<H", _ACQUISITION),
            head.tobytes(),
            np.ascontiguousarray(trajectory, dtype="<f4").data,
            np.ascontiguousarray(signal, dtype="<c8").data,
        )
    )


def read_header_message(stream: BinaryIO, name: str) -> bytes:
    """Read the header text with which a stream begins.

    Raises
    ------
    FormatError
        If the stream begins otherwise or ends within it.
    """
    start = stream.read(6)
    kind, length = struct.unpack("<HI", start) if len(start) == 6 else (0, 0)
    xml = stream.read(length) if kind == _HEADER and length <= MAX_HEADER else b""
    if not length or len(xml) != length:
        raise FormatError(
            f"{name} does not begin with a whole MRD header message; a stream of ours does "
            "(MRD stream, message 3). Nothing was acknowledged in it: delete it."
        )
    return xml


def read_acquisitions(stream: BinaryIO) -> Iterator[Acquisition]:
    """Yield whole acquisitions up to the end, the close message or a torn one."""
    while stream.read(2) == struct.pack("<H", _ACQUISITION):
        raw = stream.read(HEAD.itemsize)
        if len(raw) < HEAD.itemsize:
            return
        head = np.frombuffer(raw, dtype=HEAD)[0]
        n_samples = int(head["number_of_samples"])
        n_trajectory = 4 * n_samples * int(head["trajectory_dimensions"])
        n_signal = 8 * n_samples * int(head["active_channels"])
        body = stream.read(n_trajectory + n_signal)
        if len(body) < n_trajectory + n_signal:
            return
        yield (
            head,
            np.frombuffer(body[:n_trajectory], dtype="<f4"),
            np.frombuffer(body[n_trajectory:], dtype="<f4"),
        )
