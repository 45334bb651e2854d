"""Files of unknown origin are read by a process apart, bounded in time and memory.

The HDF5 library loops for ever or crashes on some broken files and cannot be interrupted; a child
process can. It hands over plain bytes, so that this process never opens the file:
``docs/decisions/0003-foreign-hdf5.md``.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from scanroom.core.errors import FormatError

SECONDS = 6.0
"""Time for a small file: starting takes 0.4 s, and 10 s is the bound for the whole command."""
BYTES_PER_SECOND = 10e6
"""A tenth of the slowest reading measured; lengthens the time for large files."""
MEMORY = 2 << 30
"""Address space [B] of the reading process beside ten times the size of the file."""
_REFUSED = 2
Work = Callable[..., None]
"""Takes a path, a stream to write to, and words; a function of a module, known by its name."""


@contextmanager
def done_apart(
    work: Work,
    path: Path,
    words: Sequence[str] = (),
    *,
    kind: str,
    bytes_per_second: float = BYTES_PER_SECOND,
) -> Iterator[BinaryIO]:
    """Call ``work(path, stream, *words)`` in a process apart; give what it wrote to the stream.

    ``kind`` says of which kind the file has to be, for who gives none.

    Raises
    ------
    FormatError
        If ``work`` refuses the file with one, or crashes or does not end on it.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise FormatError(
            f"{path} cannot be read ({error.strerror}); {kind}. Check the path."
        ) from error
    seconds = SECONDS + size / bytes_per_second
    limits = (str(int(seconds) + 1), str(MEMORY + 10 * size))
    name = f"{work.__module__}:{work.__qualname__}"
    with tempfile.TemporaryFile() as handed:
        code, text = _run((name, *limits, str(path.resolve()), str(path), *words), seconds, handed)
        if code == _REFUSED and text:
            raise FormatError(text)
        if code is None or code < 0:
            what = f"did not end in {seconds:.0f} s" if code is None else f"ended by signal {-code}"
            raise FormatError(
                f"{path} made the library that reads it stumble: it {what} (bound of "
                "scanroom.core.apart). The file is damaged: export the data again."
            )
        if code:
            raise FormatError(
                f"{path} could not be read by the process apart (exit code {code}: {text[-160:]}); "
                "it needs memory and Python (scanroom.core.apart). Export the data again."
            )
        handed.seek(0)
        yield handed


def _run(arguments: Sequence[str], seconds: float, handed: BinaryIO) -> tuple[int | None, str]:
    """Exit code, None when time ran out, and the last line of what it said."""
    source = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH", ""))))
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    try:
        child = subprocess.run(  # noqa: S603 - this interpreter, this module
            [sys.executable, "-m", __name__, *arguments],
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


def _bound(seconds: int, n_bytes: int) -> None:
    """Have the system end this process when it takes more time or memory than agreed."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - Unix alone has it

    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))


def _work(name: str, path: str, shown: str, words: Sequence[str]) -> int:
    """What the process apart does; exit code."""
    module, _, function = name.partition(":")
    work: Work = getattr(import_module(module), function)
    try:
        work(Path(path), sys.stdout.buffer, *words)
    except FormatError as error:
        sys.stderr.write(str(error).replace(path, shown) + "\n")
        return _REFUSED
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    _bound(int(sys.argv[2]), int(sys.argv[3]))
    raise SystemExit(_work(sys.argv[1], sys.argv[4], sys.argv[5], sys.argv[6:]))
