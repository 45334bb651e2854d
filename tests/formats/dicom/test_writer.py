"""DICOM series as other programs see them."""

import nibabel
import numpy as np
import pydicom
import pytest

from scanroom.core.errors import FormatError
from scanroom.core.result import Result
from scanroom.formats.dicom import read_dicom, write_dicom
from scanroom.formats.nifti import write_nifti
from tests.formats.images import AXIAL, DIRECTIONS, image, series
from tests.formats.outside import dciodvfy, dcm2niix, difference

VOXEL = 1e-4  # asked for; single precision of the NIfTI header alone leaves some 1e-6
STACKS = {
    "one slice": {"shape": (1, 24, 32)},
    "slices": {},
    "volume": {"shape": (16, 24, 32), "spacing": (1e-3, 1e-3, 1e-3)},
}
KINDS = {
    "3-D, accelerated, partial Fourier": {
        "is_3d": True,
        "acceleration": 2.0,
        "partial_fourier": 0.75,
        "encoding_steps": (32, 24, 16),
    },
    "inversion recovery": {"inversion_time": 0.9},
    "spin echo": {"echo": "spin", "rf_spoiled": False, "n_coils": 1, "sar": None},
    "turbo spin echo": {"echo": "spin", "echo_train_length": 8, "operating_mode": "first-level"},
    "phantom": {"body_part": "PHANTOM"},
}


def round_trip(folder, results, info, enhanced):
    """Write DICOM and NIfTI; compare what dcm2niix makes of the one with the other."""
    results = list(results)
    write_dicom(results, folder / "dicom", info, enhanced=enhanced)
    theirs = dcm2niix(folder / "dicom", folder / "theirs")
    assert len(theirs) == len(results)
    for number, (result, other) in enumerate(zip(results, theirs, strict=True)):
        path, _ = write_nifti(result, folder / f"{number}.nii", {})
        distance, error = difference(nibabel.load(path), other)
        assert distance < VOXEL
        assert error == 0


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
@pytest.mark.parametrize(
    ("directions", "stack"),
    [(name, "slices") for name in DIRECTIONS]
    + [(name, stack) for name in ("axial", "oblique") for stack in ("one slice", "volume")],
)
def test_dcm2niix_finds_every_value_in_its_place(tmp_path, directions, stack, enhanced):
    result = image(DIRECTIONS[directions], **STACKS[stack])
    round_trip(tmp_path, [result], series(slice_thickness=3e-3), enhanced)


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
def test_echoes_of_one_series_stay_apart(tmp_path, enhanced):
    results = [image(DIRECTIONS["oblique"], seed=seed) for seed in range(3)]
    results = [result_times(result, 0.5**n) for n, result in enumerate(results)]
    round_trip(tmp_path, results, series(echo_times=(4e-3, 9e-3, 14e-3)), enhanced)


def result_times(result, factor):
    return Result(
        name=result.name,
        array=result.array * np.float32(factor),
        axes=result.axes,
        affine=result.affine,
        unit=result.unit,
    )


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e7])
def test_negative_tiny_and_huge_values_come_through(tmp_path, scale, enhanced):
    result = image(AXIAL)
    signed = result_times(result, scale)
    signed.array[:] -= signed.array.mean()
    round_trip(tmp_path, [signed], series(component="REAL"), enhanced)


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_validator_finds_no_error(tmp_path, kind, enhanced):
    results = [image(DIRECTIONS["oblique"], seed=seed) for seed in range(2)]
    info = series(echo_times=(4e-3, 9e-3), **KINDS[kind])
    paths = write_dicom(results, tmp_path / "d", info, enhanced=enhanced)
    assert [line for path in paths for line in dciodvfy(path)] == []


def test_the_validator_would_find_an_error(tmp_path):
    (path,) = write_dicom(image(AXIAL), tmp_path / "d", series(), enhanced=True)
    broken = pydicom.dcmread(path)
    del broken.SharedFunctionalGroupsSequence[0].MRModifierSequence
    broken.save_as(tmp_path / "broken.dcm")
    assert dciodvfy(tmp_path / "broken.dcm")


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
@pytest.mark.parametrize("directions", DIRECTIONS)
def test_a_bright_voxel_keeps_its_place_in_the_patient(tmp_path, directions, enhanced):
    """Left is left: by the definition of Image Position and Orientation, PS3.3 C.7.6.2.1.1."""
    result = image(DIRECTIONS[directions])
    z, y, x = 3, 5, 26
    result.array[z, y, x] = 1000.0
    right, anterior, superior = (result.affine @ [x, y, z, 1])[:3] * 1e3
    paths = write_dicom(result, tmp_path / "d", series(), enhanced=enhanced)
    for path in paths:
        file = pydicom.dcmread(path)
        frames = file.pixel_array.reshape(-1, file.Rows, file.Columns)
        frame, row, column = np.unravel_index(frames.argmax(), frames.shape)
        if frames.max() < 30_000:  # the bright voxel lies in another slice's file
            continue
        place = position_of(file, frame, row, column)
        assert place == pytest.approx([-right, -anterior, superior], abs=1e-6)  # 16 characters
        return
    pytest.fail("the bright voxel is nowhere")


def position_of(file, frame, row, column):
    """Equation C.7.6.2.1-1."""
    own = shared = plane = file
    spacing = file
    if "PerFrameFunctionalGroupsSequence" in file:
        own = file.PerFrameFunctionalGroupsSequence[frame].PlanePositionSequence[0]
        shared = file.SharedFunctionalGroupsSequence[0]
        plane, spacing = shared.PlaneOrientationSequence[0], shared.PixelMeasuresSequence[0]
    orientation = np.array(plane.ImageOrientationPatient, float)
    between_rows, between_columns = map(float, spacing.PixelSpacing)
    start = np.array(own.ImagePositionPatient, float)
    return start + orientation[:3] * between_columns * column + orientation[3:] * between_rows * row


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
@pytest.mark.parametrize("directions", ["oblique", "doubly oblique sagittal", "mirrored"])
def test_reading_back_gives_the_written_image(tmp_path, directions, enhanced):
    result = image(DIRECTIONS[directions])
    write_dicom(result, tmp_path / "d", series(), enhanced=enhanced)
    (back,) = read_dicom(tmp_path / "d")
    path, _ = write_nifti(result, tmp_path / "a.nii", {})
    other, _ = write_nifti(back, tmp_path / "b.nii", {})
    distance, error = difference(nibabel.load(path), nibabel.load(other))
    assert distance < VOXEL
    assert error == 0


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name in "ab":
        for form in (False, True):
            write_dicom(image(AXIAL), tmp_path / name / str(form), series(), enhanced=form)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.dcm"))
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_identifiers_are_short_and_unlike(tmp_path):
    paths = [
        path
        for enhanced in (False, True)
        for path in write_dicom(image(AXIAL), tmp_path / str(enhanced), series(), enhanced=enhanced)
    ]
    files = [pydicom.dcmread(path) for path in paths]
    instances = {file.SOPInstanceUID for file in files}
    assert len(instances) == 6
    assert len({file.StudyInstanceUID for file in files}) == 1
    assert len({file.SeriesInstanceUID for file in files}) == 2
    assert max(map(len, instances)) <= 64  # PS3.5 9.1
    assert all(file.SOPInstanceUID.is_valid for file in files)


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
def test_every_file_warns_that_it_is_for_research(tmp_path, enhanced):
    for path in write_dicom(image(AXIAL), tmp_path / "d", series(), enhanced=enhanced):
        file = pydicom.dcmread(path)
        assert "RESEARCH USE ONLY" in file.ImageComments
        assert file.ContentQualification == "RESEARCH"
        assert file.SyntheticData == "YES"
        assert file.SpecificCharacterSet == "ISO_IR 192"


def test_what_people_type_cannot_break_a_file(tmp_path):
    info = series(description="Gehirn\\Kopf\n\x00" + "ä" * 200, sequence_name="x" * 99)
    (path,) = write_dicom(image(AXIAL), tmp_path / "d", info, enhanced=True)
    assert dciodvfy(path) == []


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda _: {"axes": ("t", "y", "x")}, "axes"),
        (lambda r: {"array": r.array * np.float32("nan")}, "not finite"),
        (lambda r: {"array": r.array.astype(np.complex64)}, "complex"),
        (lambda r: {"affine": r.affine + np.eye(4)[[1, 0, 2, 3]] * 1e-4}, "lean"),
        (lambda r: {"affine": r.affine * 0}, "length"),
    ],
)
def test_what_is_no_stack_of_slices_is_refused(tmp_path, break_it, message):
    good = image(AXIAL)
    fields = {"array": good.array, "axes": good.axes, "affine": good.affine}
    bad = Result(name="bad", unit="", **{**fields, **break_it(good)})
    with pytest.raises(FormatError, match=message):
        write_dicom(bad, tmp_path / "d", series())
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_refused_with_one_line(tmp_path):
    paths = write_dicom(image(AXIAL), tmp_path / "d", series())
    paths[2].write_bytes(paths[2].read_bytes()[:900])
    with pytest.raises(FormatError, match="not an MR image") as refusal:
        read_dicom(tmp_path / "d")
    assert "\n" not in str(refusal.value)
