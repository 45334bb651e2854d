"""Raw files of unknown origin, brought over as an MRD stream by a process apart."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from scanroom.core.apart import done_apart
from scanroom.mri.raw.acquisition import HEAD
from scanroom.mri.raw.hdf5 import Members, load
from scanroom.mri.raw.stream import (
    CLOSE,
    acquisition_message,
    header_message,
    read_acquisitions,
    read_header_message,
)


def load_apart(path: Path) -> Members:
    """Read everything with the HDF5 library in a process apart.

    Raises
    ------
    FormatError
        If `load` refuses the file, or the library crashes or does not end on it.
    """
    with done_apart(hand_over, path, kind="raw data are ISMRMRD HDF5") as handed:
        return _received(handed, path)


def hand_over(path: Path, out: BinaryIO) -> None:
    """What the process apart does: read, and write a stream."""
    xml, heads, bodies = load(path)
    out.write(header_message(xml))
    for head, (trajectory, signal) in zip(heads, bodies, strict=True):
        out.write(acquisition_message(head, trajectory, signal))
    out.write(CLOSE)


def _received(handed: BinaryIO, path: Path) -> Members:
    xml = read_header_message(handed, str(path))
    heads, bodies = [], []
    for head, trajectory, signal in read_acquisitions(handed):
        n = int(head["number_of_samples"])
        n_axes, n_coils = int(head["trajectory_dimensions"]), int(head["active_channels"])
        heads.append(head)
        bodies.append(
            (trajectory.reshape(n, n_axes), signal.view(np.complex64).reshape(n_coils, n))
        )
    return xml, np.array(heads, dtype=HEAD), bodies
