"""Raw data to disk such that no death of the process loses a readout that was acknowledged.

While a scan runs its readouts are appended to ``<name>.part``, a binary MRD stream; each `write`
returns when the kernel has all bytes, which no kill of the process can take back. On `close` the
stream becomes a standard ISMRMRD HDF5 file, written aside and renamed. Why so:
``docs/decisions/0002-append-only-raw.md``.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import h5py
import numpy as np

from scanroom.core.errors import DeviceError, FormatError
from scanroom.mri.raw.acquisition import HEAD, TIME_STAMP, heads
from scanroom.mri.raw.encoding import Encoding, Flag
from scanroom.mri.raw.header import write_header
from scanroom.mri.raw.model import Readout
from scanroom.mri.raw.stream import (
    CLOSE,
    Acquisition,
    acquisition_message,
    header_message,
    read_acquisitions,
    read_header_message,
)

_SAMPLES = h5py.vlen_dtype(np.dtype("<f4"))
ACQUISITION = np.dtype([("head", HEAD), ("traj", _SAMPLES), ("data", _SAMPLES)])
_BATCH = 64
"""Acquisitions converted at a time, and per HDF5 chunk: holds some 10 MB at 8 coils x 512."""


class RawWriter:
    """Append readouts of one scan; leave a standard MRD file at ``path`` on `close`.

    As a context manager it closes at the end of the block; when the block raises it leaves the
    ``.part`` alone, for `recover` to make what was measured readable.

    Raises
    ------
    FormatError
        If the ``.part`` of an earlier, killed run is still there.
    """

    def __init__(self, path: Path, encoding: Encoding, *, n_coils: int) -> None:
        self.path = Path(path)
        self.part = part_of(self.path)
        self._encoding = encoding
        self._n_coils = n_coils
        self._heads = heads(encoding, n_coils)
        self._noise_head = _noise_head(encoding, n_coils)
        xml = write_header(encoding, n_coils)
        self._file = _open_new(self.part)
        self._length = 0
        self._append(header_message(xml))

    def write(self, readout: Readout) -> None:
        """Store one window's samples; once this returns no kill of the process loses them.

        Raises
        ------
        FormatError
            If the encoding describes no such window, or one of another shape.
        DeviceError
            If the disk refuses; what was acknowledged before stays readable.
        """
        if not 0 <= readout.index < self._encoding.n_windows:
            raise FormatError(
                f"readout {readout.index} was received; the encoding describes windows 0 to "
                f"{self._encoding.n_windows - 1} (drive). Encode the drive that was played."
            )
        trajectory = self._encoding.trajectory[readout.index]
        self._store(self._heads[readout.index : readout.index + 1].copy(), trajectory, readout)

    def write_noise(self, readout: Readout) -> None:
        """Store samples received without any pulse, sampled every ``encoding.noise_dwell``."""
        head = self._noise_head.copy()
        head["number_of_samples"] = min(readout.signal.shape[1], (1 << 16) - 1)
        head["scan_counter"] = readout.index
        self._store(head, np.zeros((readout.signal.shape[1], 0), dtype=np.float32), readout)

    def _store(self, head: np.ndarray, trajectory: np.ndarray, readout: Readout) -> None:
        expected = (self._n_coils, int(head["number_of_samples"][0]))
        if readout.signal.shape != expected:
            raise FormatError(
                f"readout {readout.index} has (coils, samples) = {readout.signal.shape}; the "
                f"encoding says {expected} (at most 65535 samples, MRD). "
                "Encode the drive that was played."
            )
        seconds = int(readout.time)
        head["acquisition_time_stamp"] = int(readout.time / TIME_STAMP)
        head["user_int"][0, :2] = seconds, round((readout.time - seconds) * 1e9)
        self._append(acquisition_message(head, trajectory, readout.signal))

    def _append(self, message: bytes) -> None:
        """Hand all bytes to the kernel, or take back what it accepted of them."""
        if self._file < 0:
            raise DeviceError(f"{self.path} is closed; a closed raw file takes no more readouts.")
        try:
            done = 0
            while done < len(message):
                done += os.write(self._file, memoryview(message)[done:])
        except OSError as error:
            os.ftruncate(self._file, self._length)
            os.lseek(self._file, self._length, os.SEEK_SET)
            raise DeviceError(
                f"{self.part} takes no more than {self._length} bytes ({error.strerror}); the "
                "readouts acknowledged so far are kept. Make room and recover the file."
            ) from error
        self._length += len(message)

    def close(self) -> Path:
        """Turn the stream into a standard file under the name asked for; idempotent."""
        if self._file >= 0:
            self._append(CLOSE)
            self.abandon()
            _convert(self.part, self.path)
        return self.path

    def abandon(self) -> None:
        """Let go of the stream without converting it; `recover` still can."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> "RawWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def part_of(path: Path) -> Path:
    """Name of the stream that grows while ``path`` is being measured."""
    return path.with_name(path.name + ".part")


def need_free(path: Path) -> None:
    """Refuse a name under which a run was cut short or is still going.

    Raises
    ------
    FormatError
        If its ``.part`` is there.
    """
    if part_of(path).exists():
        raise _taken(part_of(path))


def _taken(part: Path) -> FormatError:
    return FormatError(
        f"{part} is there already, left by a run that was cut short or is still going; it is "
        "never overwritten. Recover it (scanroom mri recover) or delete it."
    )


def recover(part: Path) -> Path:
    """Turn what a killed process left behind into a standard MRD file beside it.

    Every acknowledged readout is in it, bit for bit; the torn end of one that was not is dropped.

    Raises
    ------
    FormatError
        If it is no stream of ours, or not even its header was acknowledged.
    """
    part = Path(part)
    if part.suffix != ".part":
        raise FormatError(
            f"{part} does not end in .part; a run in progress or cut short does "
            "(scanroom.mri.raw.writer). Give the .part file."
        )
    if not part.is_file():
        raise FormatError(
            f"{part} is not there or is no file; a run cut short leaves one beside its raw file "
            "(scanroom.mri.raw.writer). Check the path."
        )
    path = part.with_suffix("")
    _convert(part, path)
    return path


def _open_new(part: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        return os.open(part, flags, 0o644)
    except FileExistsError as error:
        raise _taken(part) from error
    except OSError as error:
        raise FormatError(
            f"{part} cannot be created ({error.strerror}); raw data need a folder that exists and "
            "may be written. Choose another place."
        ) from error


def _noise_head(encoding: Encoding, n_coils: int) -> np.ndarray:
    head = np.zeros(1, dtype=HEAD)
    if encoding.n_windows:
        head = heads(encoding.take(np.array([0])), n_coils)
        head["idx"] = np.zeros(1, dtype=HEAD["idx"])
    else:
        head["version"] = 1
        head["available_channels"] = head["active_channels"] = n_coils
    head["flags"] = int(Flag.NOISE)
    head["trajectory_dimensions"] = head["center_sample"] = 0
    head["discard_pre"] = head["discard_post"] = 0
    if encoding.noise_dwell > 0:
        head["sample_time_us"] = encoding.noise_dwell * 1e6
    return head


def _convert(part: Path, path: Path) -> None:
    """Write the standard file aside, force it to disk, rename it, drop the stream."""
    aside = path.with_name(path.name + ".tmp")
    try:
        with part.open("rb") as stream:
            xml = read_header_message(stream, str(part))
            with h5py.File(aside, "w") as file:
                _fill(file.create_group("dataset"), xml, stream)
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise DeviceError(
            f"{path} could not be written ({error}); all readouts are still in {part}. "
            "Make room and recover it."
        ) from error
    part.unlink()


def _fill(group: h5py.Group, xml: bytes, stream: BinaryIO) -> None:
    text = h5py.string_dtype("ascii")
    group.create_dataset("xml", data=np.array([xml], dtype=object), dtype=text)
    data = group.create_dataset(
        "data", shape=(0,), maxshape=(None,), chunks=(_BATCH,), dtype=ACQUISITION
    )
    batch: list[Acquisition] = []
    for acquisition in read_acquisitions(stream):
        batch.append(acquisition)
        if len(batch) == _BATCH:
            _flush(data, batch)
            batch = []
    _flush(data, batch)


def _flush(data: h5py.Dataset, batch: list[Acquisition]) -> None:
    if batch:
        block = np.empty(len(batch), dtype=ACQUISITION)
        for row, (head, trajectory, signal) in enumerate(batch):
            block["head"][row] = head
            block["traj"][row] = trajectory
            block["data"][row] = signal
        first = data.shape[0]
        data.resize(first + len(batch), axis=0)
        data[first:] = block
