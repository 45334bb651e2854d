"""A reconstruction server: raw data arrive over a connection, images go back while they do.

Every readout is appended to ``<folder>/<time>_<number>.h5.part`` before anything else happens to
it, as a scan's own are (`raw.writer`), and every 64 acknowledged by a text message ``stored <n>``:
whatever ends the connection, what was acknowledged becomes a raw file. Protocol: ISMRMRD messages;
any configuration asked for is answered by the options the server was started with.
"""

import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from io import BufferedIOBase
from pathlib import Path

from scanroom.core.errors import DeviceError, FormatError, ScanroomError
from scanroom.mri.raw.messages import Kind, image_message, read_message, text_message
from scanroom.mri.raw.stream import CLOSE, Acquisition, acquisition_message, header_message
from scanroom.mri.raw.writer import part_of, recover
from scanroom.mri.recon.inline.exchange import to_image
from scanroom.mri.recon.inline.live import Finished, Live
from scanroom.mri.recon.options import Options

ACKNOWLEDGE = 64
"""Readouts after which what is on disk is acknowledged."""
MAX_CONNECTIONS = 4
PORT = 9002
"""Where MRD servers listen, unless told otherwise."""


class Server:
    """Listen on an address; each connection is one scan.

    ``options`` are those of `Options`; ``tell`` gets a line for people now and then.

    Raises
    ------
    DeviceError
        If the address cannot be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        folder: Path,
        options: Options,
        *,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder, self._options, self._tell = Path(folder), options, tell
        self.folder.mkdir(parents=True, exist_ok=True)
        self._number, self._lock = 0, threading.Lock()
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        try:
            self._listener = socket.create_server((host, port))
        except OSError as error:
            raise DeviceError(
                f"{host}:{port} cannot be listened on ({error.strerror or error}); a server needs "
                "a free port of this machine. Name another with --serve host:port."
            ) from error
        self.address: tuple[str, int] = self._listener.getsockname()[:2]

    def serve(self) -> None:
        """Accept connections until `close`."""
        self._tell(f"listening on {self.address[0]}:{self.address[1]}, raw data to {self.folder}")
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(
                target=self._attend, args=(connection, f"{peer[0]}:{peer[1]}"), daemon=True
            ).start()

    def close(self) -> None:
        """Stop listening; scans that run go on to their end."""
        self._listener.close()

    def _attend(self, connection: socket.socket, peer: str) -> None:
        with connection, self._places, connection.makefile("rb") as incoming:
            scan = Scan(self._path(), connection, self._options)
            try:
                scan.run(incoming)
            except (ScanroomError, OSError) as error:
                scan.say(str(error))
            finally:
                kept = scan.end()
        self._tell(f"{peer}: {scan.n_stored} readouts, {scan.n_images} images; {kept}")

    def _path(self) -> Path:
        with self._lock:
            self._number += 1
            number = self._number
        stamp = time.strftime("%Y%m%d-%H%M%S")
        return self.folder / f"{stamp}_{os.getpid()}-{number}.h5"


class Scan:
    """One connection: a thread that stores what arrives, another that makes images of it."""

    def __init__(self, path: Path, connection: socket.socket, options: Options) -> None:
        self.path, self.n_stored, self.n_images = path, 0, 0
        self._connection, self._options = connection, options
        self._part = -1
        self._live: Live | None = None
        self._work: queue.Queue[Acquisition | None] = queue.Queue()
        self._maker = threading.Thread(target=self._make, daemon=True)
        self._sending = threading.Lock()
        self._said: set[str] = set()

    def run(self, incoming: BufferedIOBase) -> None:
        """Take messages until the other side closes; then make what images are left, and close.

        Raises
        ------
        FormatError
            If what arrives is not MRD, or was cut within a message.
        OSError
            If the disk is full.
        """
        while (message := read_message(incoming)) is not None:
            if message.kind is Kind.HEADER:
                self._begin(message.text)
            elif message.acquisition is not None:
                self._store(message.acquisition)
        if self._part >= 0:
            self._write(CLOSE)
            self.say(f"stored {self.n_stored}")
        self._finish()
        self._send(CLOSE)

    def end(self) -> str:
        """Wait for images under way; leave a raw file of what was stored, and say where."""
        self._finish()
        if self._part < 0:
            return "nothing to keep"
        os.close(self._part)
        self._part = -1
        try:
            return f"kept as {recover(part_of(self.path))}"
        except ScanroomError as error:
            return str(error)

    def say(self, text: str) -> None:
        """Tell the other side something, once, if it still listens."""
        if text not in self._said:
            self._said.add(text)
            self._send(text_message(text))

    def _begin(self, xml: bytes) -> None:
        if self._part >= 0:
            raise FormatError(
                "a second MRD header arrived on one connection; one scan has one (MRD message 3). "
                "Open a connection for each scan."
            )
        self._live = Live(xml, self._options, name=self.path.name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        self._part = os.open(part_of(self.path), flags, 0o644)
        self._write(header_message(xml))
        self._maker.start()

    def _store(self, acquisition: Acquisition) -> None:
        if self._part < 0:
            raise FormatError(
                "an acquisition arrived before the MRD header (message 3); images need it first. "
                "Send configuration, header, acquisitions, close, in that order."
            )
        self._write(acquisition_message(*acquisition))
        self.n_stored += 1
        self._work.put(acquisition)
        if self.n_stored % ACKNOWLEDGE == 0:
            self.say(f"stored {self.n_stored}")

    def _write(self, message: bytes) -> None:
        done = 0
        while done < len(message):
            done += os.write(self._part, memoryview(message)[done:])

    def _finish(self) -> None:
        if self._maker.is_alive():
            self._work.put(None)
            self._maker.join()

    def _make(self) -> None:
        """Make images of what comes in; an image that cannot be made stops nothing else."""
        live = self._live
        while live is not None:
            acquisition = self._work.get()
            try:
                for finished in live.rest() if acquisition is None else live.add(acquisition):
                    self._send_images(finished)
            except ScanroomError as error:
                self.say(str(error))
            if acquisition is None:
                return

    def _send_images(self, finished: Finished) -> None:
        for result in finished.results:
            self.n_images += 1
            image = to_image(result, finished.slice, finished.counter, self.n_images)
            self._send(image_message(image))

    def _send(self, message: bytes) -> None:
        """Send if the other side is there: one that is gone keeps no raw data from being stored."""
        with self._sending, suppress(OSError):
            self._connection.sendall(message)
