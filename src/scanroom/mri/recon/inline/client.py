"""Let somebody else's server reconstruct: raw data out over a connection, images back.

The other side may be Scanroom, Gadgetron, python-ismrmrd-server or anything that speaks MRD
messages. Where its images carry the counters of the raw data they are put together to the volumes
that `pipeline.reconstruct` would make; others are kept as they come.
"""

import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from scanroom.core.errors import DeviceError, FormatError, ProtocolError
from scanroom.core.result import Result
from scanroom.core.units import Second
from scanroom.mri.raw.apart import load_apart
from scanroom.mri.raw.header import read_header
from scanroom.mri.raw.messages import Image, config_message, read_message
from scanroom.mri.raw.reader import assemble
from scanroom.mri.raw.stream import CLOSE, acquisition_message, header_message
from scanroom.mri.recon.describe import describe
from scanroom.mri.recon.inline.exchange import from_image, steps_of
from scanroom.mri.recon.noise import Measurement, whiten
from scanroom.mri.recon.sort import FRAME, Frame, Stack, stacks

TIMEOUT: Second = 600.0
"""Longest silence of the other side."""


def reconstruct_via(
    raw: Path,
    address: str,
    *,
    config: str = "scanroom",
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Result, ...]:
    """Have an MRD file reconstructed by the server at ``host:port``.

    ``config`` names the reconstruction wanted, which other servers heed; ``tell`` gets what the
    server says.

    Raises
    ------
    ProtocolError
        If the address is none.
    DeviceError
        If nobody answers there, or the connection breaks before images came.
    FormatError
        If the file is damaged, or the answer is.
    """
    host, port = address_of(address)
    first = config_message(config)
    xml, heads, bodies = load_apart(Path(raw))
    measurement = whiten(assemble(Path(raw), read_header(xml), heads, bodies))
    try:
        connection = socket.create_connection((host, port), timeout=TIMEOUT)
    except OSError as error:
        raise DeviceError(
            f"no reconstruction server answers at {host}:{port} ({error.strerror or error}). Start "
            "one there (scanroom mri recon --serve) or reconstruct here, without --via."
        ) from error
    with connection, connection.makefile("rb") as incoming:
        answer = _Answer(incoming, tell)
        with suppress(OSError):  # the answer tells why the other side let go
            connection.sendall(first + header_message(xml))
            for head, (trajectory, signal) in zip(heads, bodies, strict=True):
                connection.sendall(acquisition_message(head, trajectory, signal))
            connection.sendall(CLOSE)
        images = answer.images()
    return _together(images, measurement)


def address_of(text: str) -> tuple[str, int]:
    """Split ``host:port``.

    Raises
    ------
    ProtocolError
        If it is not that.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) < 1 << 16:
        raise ProtocolError(
            f"the address is {text!r}; it may be host:port, the port 0 to 65535 (TCP). Write for "
            "instance 127.0.0.1:9002."
        )
    return host.strip("[]"), int(port)


class _Answer:
    """Read what comes back while the raw data still go out, or both sides wait for ever."""

    def __init__(self, incoming: BufferedIOBase, tell: Callable[[str], None]) -> None:
        self._incoming, self._tell = incoming, tell
        self._images: list[Image] = []
        self._end: queue.Queue[Exception | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def images(self) -> list[Image]:
        """Wait for the end; what was sent until then."""
        error = self._end.get()
        if error is not None and not self._images:
            raise error
        if error is not None:
            self._tell(str(error))
        return self._images

    def _read(self) -> None:
        try:
            while (message := read_message(self._incoming)) is not None:
                if message.image is not None:
                    self._images.append(message.image)
                elif message.text:
                    self._tell(message.text.decode(errors="replace")[:2000])
        except FormatError as error:
            self._end.put(error)
        except OSError as error:
            self._end.put(DeviceError(f"the server fell silent ({error}). Ask it, or try again."))
        else:
            self._end.put(None)


def _together(images: list[Image], measurement: Measurement) -> tuple[Result, ...]:
    """Stack slices of one image as the raw data order them; keep apart what does not fit."""
    if not images:
        raise FormatError(
            f"the server sent no image of {measurement.encoding.protocol_name or 'the file'}; what "
            "it said stands above. Ask for another configuration, or reconstruct here."
        )
    left = {(int(image.head["slice"]), *_counter(image)): image for image in images}
    results: list[Result] = []
    every = stacks(measurement.encoding)
    for number, stack in enumerate(every):
        suffix = f"stack-{number + 1}" if len(every) > 1 else ""
        for frame in stack.frames:
            result = _volume(left, measurement, stack, frame, suffix)
            if result is not None:
                results.append(result)
    for index, image in enumerate(left.values()):
        results.append(from_image(image, f"image-{index + 1}", measurement.encoding))
    return tuple(results)


def _counter(image: Image) -> tuple[int, ...]:
    return tuple(int(image.head[name]) for name in FRAME)


def _volume(
    left: dict[tuple[int, ...], Image],
    measurement: Measurement,
    stack: Stack,
    frame: Frame,
    suffix: str,
) -> Result | None:
    """Take the slices of one image out of those left, if all are there and alike."""
    keys = [(number, *frame.counter) for number in stack.slices]
    found = [left[key] for key in keys if key in left]
    shapes = {image.pixels.shape for image in found}
    if len(found) < len(keys) or len(shapes) > 1 or len(found[0].pixels) > 1:
        return None
    array = np.concatenate([image.pixels[0] for image in found])
    array = array.astype(np.complex64 if np.iscomplexobj(array) else np.float32)
    result = describe(array, measurement, stack, frame, suffix, steps_of(found[0]))
    expected = np.linalg.norm(result.affine[:3, :3], axis=0)[:2] * array.shape[:0:-1]
    given = found[0].head["field_of_view"][:2] * 1e-3
    if not np.allclose(given, expected, rtol=1e-3):
        return None
    for key in keys:
        del left[key]
    unit = found[0].attributes.get("scanroom_unit", "a.u.")
    return replace(result, unit=unit, array=array)
