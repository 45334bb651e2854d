"""Files whole or not at all."""

import signal
import subprocess
import sys

import pytest

from scanroom.core.errors import FormatError
from scanroom.formats.files import ASIDE, atomic, atomic_folder


def names(folder):
    return [path.name for path in folder.iterdir()]


def write_half(context, name=""):
    with context as aside:
        (aside / name if name else aside).write_text("half")
        raise KeyboardInterrupt


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_half(atomic(path))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_new_file_appears_only_at_the_end_and_keeps_its_ending(tmp_path):
    path = tmp_path / "deep" / "a.nii.gz"
    with atomic(path) as aside:
        aside.write_text("new")
        assert aside.name.endswith(".nii.gz")
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.nii.gz"]


def test_a_failed_folder_does_not_appear(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_half(atomic_folder(tmp_path / "f"), "1")
    assert names(tmp_path) == []


def test_a_folder_appears_whole_and_is_never_overwritten(tmp_path):
    (tmp_path / "f").mkdir()  # an empty one may be filled
    with atomic_folder(tmp_path / "f") as aside:
        (aside / "1").write_text("one")
    assert (tmp_path / "f" / "1").read_text() == "one"
    with pytest.raises(FormatError, match="move it away"), atomic_folder(tmp_path / "f"):
        pass
    assert names(tmp_path) == ["f"]


def test_a_killed_process_leaves_nothing_that_looks_whole(tmp_path):
    code = (
        "import os, signal, pathlib; from scanroom.formats.files import atomic\n"
        f"with atomic(pathlib.Path({str(tmp_path / 'a.json')!r})) as aside:\n"
        "    aside.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = names(tmp_path)
    assert left.startswith(ASIDE)
