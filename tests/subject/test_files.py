"""Subject files and imported label maps."""

import os
import time

import h5py
import nibabel as nib
import numpy as np
import pytest

from scanroom.core import apart
from scanroom.core.errors import FormatError, ProtocolError
from scanroom.subject.files import from_labels, read_subject, save_subject
from scanroom.subject.library import load_subject
from scanroom.subject.tissue import tissue_table


@pytest.fixture
def saved(tmp_path):
    subject = load_subject("asymmetric", 3.0, resolution=8e-3)
    path = tmp_path / "subject.h5"
    save_subject(subject, path)
    return subject, path


def test_what_is_read_is_what_was_saved_bit_for_bit(saved):
    subject, path = saved
    read = read_subject(path)
    assert (read.name, read.field, read.notice) == (subject.name, subject.field, subject.notice)
    assert np.array_equal(read.affine, subject.affine)
    assert set(read.maps) == set(subject.maps)
    for name, values in subject.maps.items():
        assert read.maps[name].dtype == np.float32
        assert read.maps[name].tobytes() == np.asarray(values, np.float32).tobytes()


def test_both_ways_read_the_same_bits(saved):
    here, apart = read_subject(saved[1], trusted=True), read_subject(saved[1])
    assert (apart.name, apart.field, apart.notice) == (here.name, here.field, here.notice)
    assert np.array_equal(apart.affine, here.affine)
    assert list(apart.maps) == list(here.maps)
    for name, values in here.maps.items():
        assert apart.maps[name].tobytes() == values.tobytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
def test_a_file_that_never_ends_is_refused_in_time(tmp_path, monkeypatch):
    # Opening a named pipe blocks without end, as the endless loop inside the library does.
    monkeypatch.setattr(apart, "SECONDS", 2.0)
    os.mkfifo(tmp_path / "subject.h5")
    start = time.monotonic()
    with pytest.raises(FormatError, match="did not end in 2 s"):
        read_subject(tmp_path / "subject.h5")
    assert time.monotonic() - start < 4  # what starting and ending a process may add


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="address space is bounded on Linux")
def test_maps_larger_than_memory_end_by_the_bound(saved):
    # Few bytes in the file, 7 GB in memory: chunks that were never written are zeros.
    with h5py.File(saved[1], "r+") as file:
        for name in list(file["maps"]):
            del file["maps"][name]
            file["maps"].create_dataset(name, (640, 640, 640), "f4", chunks=(64, 64, 64))
    with pytest.raises(FormatError, match="not a subject file"):
        read_subject(saved[1])


def test_nothing_is_left_beside_the_file(saved):
    assert [item.name for item in saved[1].parent.iterdir()] == ["subject.h5"]


def test_only_the_maps_asked_for_are_read(saved):
    assert set(read_subject(saved[1], properties=["t1"]).maps) == {"proton_density", "t1"}
    with pytest.raises(FormatError, match="density"):
        read_subject(saved[1], properties=["density"])


@pytest.mark.parametrize("keep", [0, 1, 100, 2000, 0.5, 0.99])
def test_truncated_files_are_refused_in_one_line(saved, keep):
    path = saved[1]
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(FormatError) as caught:
        read_subject(path)
    assert "\n" not in str(caught.value)


def _delete(name):
    def change(file):
        del file[name]

    return change


@pytest.mark.parametrize(
    "change",
    [
        _delete("affine"),
        _delete("maps"),
        _delete("maps/proton_density"),
        lambda file: file.attrs.__setitem__("format", "other"),
        lambda file: file.attrs.__setitem__("field", "three"),
        lambda file: file.attrs.__setitem__("field", float("nan")),
        lambda file: file["affine"].write_direct(np.zeros((4, 4))),
        lambda file: file["affine"].write_direct(np.full((4, 4), np.nan)),
        lambda file: file["maps/t1"].write_direct(np.full(file["maps/t1"].shape, np.nan, "f4")),
    ],
)
def test_files_that_are_no_subject_are_refused(saved, change):
    with h5py.File(saved[1], "r+") as file:
        change(file)
    with pytest.raises(FormatError):
        read_subject(saved[1])


def test_maps_of_unlike_shapes_are_refused(saved):
    with h5py.File(saved[1], "r+") as file:
        del file["maps/t1"]
        file["maps/t1"] = np.ones((2, 2, 2), np.float32)
    with pytest.raises(FormatError, match="shapes"):
        read_subject(saved[1])


@pytest.fixture
def labels(tmp_path):
    values = np.zeros((4, 5, 6), np.int16)
    values[1:3] = 7
    values[:, 2] = 41
    affine = np.array([[-2.0, 0, 0, 10], [0, 3, 0, -20], [0, 0, 4, 30], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "labels.nii.gz")
    (tmp_path / "labels.csv").write_text("label,tissue\n0,air\n7,grey\n41,white\n")
    return values, tmp_path / "labels.nii.gz", tmp_path / "labels.csv"


def test_labels_become_tissues_in_scanner_metres(labels):
    values, image, table = labels
    subject = from_labels(image, table, 1.5)
    for label, tissue in ((0, "air"), (7, "grey"), (41, "white")):
        expected = np.float32(tissue_table().number(tissue, "t1", 1.5).value)
        assert np.all(subject.maps["t1"][values == label] == expected)
    assert subject.affine[:3] == pytest.approx(
        np.array([[-2e-3, 0, 0, 0.01], [0, 3e-3, 0, -0.02], [0, 0, 4e-3, 0.03]])
    )


def test_a_label_without_a_name_is_refused(labels):
    labels[2].write_text("label,tissue\n0,air\n7,grey\n")
    with pytest.raises(FormatError, match="41"):
        from_labels(labels[1], labels[2], 1.5)


def test_an_unknown_tissue_is_refused(labels):
    labels[2].write_text("label,tissue\n0,air\n7,grey\n41,cheese\n")
    with pytest.raises(ProtocolError, match="cheese"):
        from_labels(labels[1], labels[2], 1.5)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "label,tissue\nx,grey\n", "label,tissue\n3\n"])
def test_broken_tables_of_labels_are_refused(labels, text):
    labels[2].write_text(text)
    with pytest.raises(FormatError):
        from_labels(labels[1], labels[2], 1.5)


def test_broken_images_are_refused(labels, tmp_path):
    labels[1].write_bytes(labels[1].read_bytes()[:60])
    with pytest.raises(FormatError):
        from_labels(labels[1], labels[2], 1.5)
    path = tmp_path / "soft.nii.gz"
    nib.save(nib.Nifti1Image(np.full((3, 3, 3), 0.5), np.eye(4)), path)
    with pytest.raises(FormatError, match="whole"):
        from_labels(path, labels[2], 1.5)
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3, 2)), np.eye(4)), path)
    with pytest.raises(FormatError, match="shape"):
        from_labels(path, labels[2], 1.5)
