"""Files and folders that are written whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from scanroom.core.errors import FormatError

ASIDE = ".part-"
"""How the names of unfinished files and folders begin."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a name to write to; the file takes its place when the body ends well.

    Its bytes are on the disk before it is renamed: after a crash or a loss of power there is the
    old file, or the new one. The name keeps the file's ending.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    try:
        yield aside
        _flush(aside)
        aside.replace(path)
        _flush(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a new folder to fill; it takes its place when the body ends well.

    Raises
    ------
    FormatError
        If there is already something of that name: a folder of files is never overwritten.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise FormatError(
            f"{path} is there already and is not empty; a folder is written once, whole "
            "(scanroom.formats.files). Give another name or move it away."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    aside.mkdir()
    try:
        yield aside
        for item in (*aside.rglob("*"), aside):
            _flush(item)
        aside.replace(path)
        _flush(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _aside(path: Path) -> Path:
    """Beside the final place, hence on the same disk, under a name nobody else takes."""
    return path.with_name(f"{ASIDE}{uuid4().hex[:12]}-{path.name[-200:]}")


def _flush(path: Path) -> None:
    """Have the system write a file, or a folder's list of names, to the disk."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if path.is_file() and os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
