"""NIfTI images: nibabel is the other reader."""

import json
import re

import nibabel
import numpy as np
import pytest

from scanroom.core.errors import FormatError
from scanroom.formats.nifti import (
    BidsName,
    label,
    read_nifti,
    sidecar_of,
    write_dataset_description,
    write_nifti,
)
from scanroom.formats.quantise import quantise
from tests.formats.images import AXIAL, DIRECTIONS, image, series


@pytest.mark.parametrize("directions", DIRECTIONS)
def test_every_voxel_keeps_its_place_and_value(tmp_path, directions):
    result = image(DIRECTIONS[directions])
    path, _ = write_nifti(result, tmp_path / "a.nii.gz", {}, quantised=False)
    loaded = nibabel.load(path)
    millimetres = np.diag([1e3, 1e3, 1e3, 1]) @ result.affine
    # 1e-6 of 60 mm: the header holds single precision
    assert np.allclose(loaded.get_sform(), millimetres, rtol=0, atol=1e-5)
    assert np.allclose(loaded.get_qform(), millimetres, rtol=0, atol=1e-4)  # a quaternion
    assert int(loaded.header["sform_code"]) == int(loaded.header["qform_code"]) == 1
    assert loaded.header.get_xyzt_units() == ("mm", "sec")
    assert loaded.get_data_dtype() == np.float32
    assert loaded.dataobj[26, 5, 3] == result.array[3, 5, 26]
    assert np.array_equal(np.asarray(loaded.dataobj), result.array.T)


def test_values_are_the_quantised_ones_unless_asked_otherwise(tmp_path):
    result = image(AXIAL)
    path, _ = write_nifti(result, tmp_path / "a.nii", {})
    assert np.array_equal(nibabel.load(path).dataobj, quantise(result.array).values.T)


def test_reading_back_gives_the_written_image(tmp_path):
    result = image(DIRECTIONS["oblique"])
    path, _ = write_nifti(result, tmp_path / "a.nii.gz", {"Units": "a.u."}, quantised=False)
    back = read_nifti(path)
    assert np.array_equal(back.array, result.array)
    assert np.allclose(back.affine, result.affine, rtol=0, atol=1e-8)  # single precision of 60 mm
    assert (back.axes, back.unit) == (("z", "y", "x"), "a.u.")


def test_the_same_image_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_nifti(image(AXIAL), tmp_path / name / "x.nii.gz", {"EchoTime": 0.01})
    for name in ("x.nii.gz", "x.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_sidecar_speaks_bids_units(tmp_path):
    info = series(repetition_time=0.25, echo_times=(4e-3, 9e-3), slice_thickness=3e-3)
    _, beside = write_nifti(image(AXIAL), tmp_path / "a.nii", sidecar_of(info, image=1))
    sidecar = json.loads(beside.read_text())
    assert sidecar["EchoTime"] == 9e-3  # seconds
    assert sidecar["RepetitionTime"] == 0.25
    assert sidecar["FlipAngle"] == pytest.approx(70)  # degrees
    assert sidecar["MagneticFieldStrength"] == 3.0  # tesla
    assert sidecar["ImagingFrequency"] == pytest.approx(127.728)  # megahertz
    assert sidecar["SliceThickness"] == 3.0  # millimetres
    assert sidecar["Manufacturer"] == "Scanroom"
    assert sidecar["PhaseEncodingAxis"] == "j"
    assert "RESEARCH USE ONLY" in sidecar["ImageComments"]


def test_names_follow_bids():
    name = BidsName(subject="brain 01", suffix="T1w", acquisition="t1-gre", run=2, echo=1)
    assert name.path.as_posix() == "sub-brain01/anat/sub-brain01_acq-t1Gre_run-2_echo-1_T1w.nii.gz"
    assert BidsName(subject="x", suffix="PDw").path.name == "sub-x_PDw.nii.gz"
    assert re.fullmatch("[a-zA-Z0-9]*", label("../ä e\x00vil"))


def test_the_data_set_describes_itself(tmp_path):
    described = json.loads(write_dataset_description(tmp_path, "an exam").read_text())
    assert {"Name", "BIDSVersion"} <= described.keys()  # required by BIDS


@pytest.mark.parametrize("damage", [lambda d: d[:200], lambda _: b"", lambda d: d[:-3000]])
def test_damaged_files_are_refused_with_one_line(tmp_path, damage):
    path, _ = write_nifti(image(AXIAL), tmp_path / "a.nii.gz", {})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FormatError, match="Export it again") as refusal:
        read_nifti(path)
    assert "\n" not in str(refusal.value)


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(FormatError, match="does not end"):
        write_nifti(image(AXIAL), tmp_path / "a.img", {})
