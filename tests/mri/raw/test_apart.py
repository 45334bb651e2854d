"""A file that makes the HDF5 library loop or crash ends in one line, and sound files read alike."""

import os
import subprocess
import time

import h5py
import numpy as np
import pytest

from scanroom.core import apart
from scanroom.core.errors import FormatError
from scanroom.mri.raw.apart import load_apart
from scanroom.mri.raw.hdf5 import load
from scanroom.mri.raw.reader import read_raw

SHEPP = "mri_raw/debian_ismrmrd-tools/shepp_logan_m64_c4_r2.h5"


def test_both_ways_read_the_same_bits(shared_data):
    xml, heads, bodies = load(shared_data / SHEPP)
    apart_xml, apart_heads, apart_bodies = load_apart(shared_data / SHEPP)
    assert apart_xml == xml
    assert apart_heads.tobytes() == heads.tobytes()
    for (k, signal), (apart_k, apart_signal) in zip(bodies, apart_bodies, strict=True):
        assert np.array_equal(k, apart_k)
        assert np.array_equal(signal, apart_signal)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
def test_a_file_that_never_ends_is_refused_in_time(tmp_path, monkeypatch):
    # Opening a named pipe blocks without end and no signal handler of Python gets a turn in it:
    # to this process it is the same as the endless loop inside the library.
    monkeypatch.setattr(apart, "SECONDS", 2.0)
    os.mkfifo(tmp_path / "raw.h5")
    start = time.monotonic()
    with pytest.raises(FormatError, match="did not end in 2 s") as refusal:
        read_raw(tmp_path / "raw.h5")
    assert time.monotonic() - start < 4  # what starting and ending a process may add
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("code", "match"), [(-11, "ended by signal 11"), (1, "exit code 1: what it said")]
)
def test_a_crash_of_the_library_is_refused(tmp_path, monkeypatch, code, match):
    def crash(*_: object, **__: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess([], code, b"", b"Traceback\nwhat it said\n")

    (tmp_path / "raw.h5").write_bytes(b"x")
    monkeypatch.setattr(subprocess, "run", crash)
    with pytest.raises(FormatError, match=match):
        read_raw(tmp_path / "raw.h5")


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="address space is bounded on Linux")
def test_a_dataset_larger_than_memory_ends_by_the_bound(tmp_path):
    # 2^22 acquisitions are allowed, but 3.6 GB of headers in a file of some kB are not real.
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        group = file.create_group("dataset")
        group["xml"] = np.array([b"<ismrmrdHeader/>"])
        kind = np.dtype([("head", "V1000"), ("traj", "f4"), ("data", "f4")])
        group.create_dataset("data", shape=(1 << 22,), dtype=kind, chunks=(64,))
    start = time.monotonic()
    with pytest.raises(FormatError):
        read_raw(tmp_path / "raw.h5")
    assert time.monotonic() - start < 10  # the bound of the issue


def test_the_refusal_names_the_file_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw.h5").write_text("no")
    with pytest.raises(FormatError, match=r"^raw\.h5 cannot be read as ISMRMRD HDF5"):
        read_raw(apart.Path("raw.h5"))
