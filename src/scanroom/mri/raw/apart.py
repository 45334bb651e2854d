"""Raw files of unknown origin are read by a process apart, bounded in time and memory.

The HDF5 library loops for ever or crashes on some broken files and cannot be interrupted; a child
process can. It hands the members over as an MRD stream, so that this process never opens the file:
``docs/decisions/0003-foreign-hdf5.md``.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from scanroom.core.errors import FormatError
from scanroom.mri.raw.acquisition import HEAD
from scanroom.mri.raw.hdf5 import Members, load
from scanroom.mri.raw.stream import (
    CLOSE,
    acquisition_message,
    header_message,
    read_acquisitions,
    read_header_message,
)

SECONDS = 6.0
"""Time for a small file: starting takes 0.4 s, and 10 s is the bound for the whole command."""
BYTES_PER_SECOND = 10e6
"""A tenth of the slowest reading measured; lengthens the time for large files."""
MEMORY = 2 << 30
"""Address space [B] of the reading process beside ten times the size of the file."""
_REFUSED = 2


def load_apart(path: Path) -> Members:
    """Read everything with the HDF5 library in a process apart.

    Raises
    ------
    FormatError
        If `load` refuses the file, or the library crashes or does not end on it.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise FormatError(
            f"{path} cannot be read ({error.strerror}); raw data are ISMRMRD HDF5. Check the path."
        ) from error
    seconds = SECONDS + size / BYTES_PER_SECOND
    with tempfile.TemporaryFile() as handed:
        code, text = _run(path, seconds, size, handed)
        if code == _REFUSED and text:
            raise FormatError(text)
        if code is None or code < 0:
            what = f"did not end in {seconds:.0f} s" if code is None else f"ended by signal {-code}"
            raise FormatError(
                f"{path} made the HDF5 library stumble: it {what} (bound of "
                "scanroom.mri.raw.apart). The file is damaged: export the data again."
            )
        if code:
            raise FormatError(
                f"{path} could not be read by the process apart (exit code {code}: {text[-160:]}); "
                "it needs memory and Python (scanroom.mri.raw.apart). Export the data again."
            )
        handed.seek(0)
        return _received(handed, path)


def _run(path: Path, seconds: float, size: int, handed: BinaryIO) -> tuple[int | None, str]:
    """Exit code, None when time ran out, and the last line of what it said."""
    source = str(Path(__file__).resolve().parents[3])
    paths = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH", ""))))
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    limits = (str(int(seconds) + 1), str(MEMORY + 10 * size))
    try:
        child = subprocess.run(  # noqa: S603 - this interpreter, this module
            [sys.executable, "-m", __name__, str(path.resolve()), str(path), *limits],
            stdin=subprocess.DEVNULL,
            stdout=handed,
            stderr=subprocess.PIPE,
            env={**os.environ, **one_thread, "PYTHONPATH": paths},
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, ""
    lines = child.stderr.decode(errors="replace").strip().splitlines()
    return child.returncode, lines[-1] if lines else ""


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


def _bound(seconds: int, n_bytes: int) -> None:
    """Have the system end this process when it takes more time or memory than agreed."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - Unix alone has it

    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))


def _hand_over(path: Path, name: str, out: BinaryIO) -> int:
    """What the process apart does: read, and write a stream; exit code."""
    try:
        xml, heads, bodies = load(path)
    except FormatError as error:
        sys.stderr.write(str(error).replace(str(path), name) + "\n")
        return _REFUSED
    out.write(header_message(xml))
    for head, (trajectory, signal) in zip(heads, bodies, strict=True):
        out.write(acquisition_message(head, trajectory, signal))
    out.write(CLOSE)
    out.flush()
    return 0


if __name__ == "__main__":
    _bound(int(sys.argv[3]), int(sys.argv[4]))
    raise SystemExit(_hand_over(Path(sys.argv[1]), sys.argv[2], sys.stdout.buffer))
