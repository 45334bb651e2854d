"""What hospital and people read of a scan is what was asked for and what the gate saw."""

import json
import re

import numpy as np
import pydicom
import pytest

from scanroom.exam.scan import reconstruct_into, scan
from scanroom.mri.protocol.document import dump_protocol
from tests.exam.test_scan import SMALL, STATION
from tests.formats.outside import dciodvfy


@pytest.fixture(scope="module")
def exam(tmp_path_factory):
    """Folder of an exam with one scan in first-level mode: three 4 mm slices, 10 mm apart."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.toml").write_text(dump_protocol(SMALL))
    station = type(STATION)(subject="sphere", n_coils=2, mode="first-level")
    scan(str(folder / "small.toml"), station, folder / "exam")
    return folder / "exam"


def last_scan(exam):
    return json.loads((exam / "exam.json").read_text())["scans"][-1]


def rows(exam):
    """Names and values of the report's tables and lists."""
    text = (exam / "report.html").read_text()
    pairs = re.findall(r"<tr><td>(.*?)</td><td.*?>(.*?)</td></tr>", text)
    return dict(pairs + re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text))


def test_thickness_and_distance_of_slices_are_told_apart(exam):
    (image,) = last_scan(exam)["images"]
    assert image["voxel_mm"] == [15.0, 15.0, 4.0]
    assert image["slice_distance_mm"] == 10.0
    said = rows(exam)
    assert said["Voxel"] == "15 x 15 x 4 mm"
    assert said["Slices apart"] == "10 mm"
    file = pydicom.dcmread(next((exam / "dicom").rglob("0001.dcm")))
    assert (float(file.SliceThickness), float(file.SpacingBetweenSlices)) == (4.0, 10.0)


def test_the_report_lists_the_protocol_that_was_asked_for(exam):
    said = rows(exam)
    assert said["Slice gap"] == "6 mm"
    assert said["Bandwidth"] == "500 Hz"
    assert said["Flip angle"].startswith("20.05")
    assert not any(name.startswith("scanroom") for name in said)


def test_the_report_has_a_date_that_people_read(exam):
    assert re.fullmatch(r"\d{1,2} [A-Z][a-z]+ \d{4}, \d\d:\d\d \(UTC.*\)", rows(exam)["Date"])


def test_sar_and_mode_of_the_gate_reach_every_file(exam):
    (sar,) = (
        item["value"] for item in last_scan(exam)["findings"] if item["name"].startswith("whole-b")
        and item["name"].endswith("6 min")
    )  # fmt: skip
    assert sar > 0
    classic = pydicom.dcmread(next((exam / "dicom").rglob("0001.dcm")))
    assert float(classic.SAR) == pytest.approx(sar)
    enhanced = pydicom.dcmread(next((exam / "dicom").rglob("enhanced.dcm")))
    timing = enhanced.SharedFunctionalGroupsSequence[0].MRTimingAndRelatedParametersSequence[0]
    rate = timing.SpecificAbsorptionRateSequence[0]
    assert rate.SpecificAbsorptionRateDefinition == "IEC_WHOLE_BODY"
    assert rate.SpecificAbsorptionRateValue == pytest.approx(sar)
    assert timing.OperatingModeSequence[0].OperatingMode == "IEC_FIRST_LEVEL"
    (sidecar,) = (exam / "nifti").rglob("sub-*.json")
    assert json.loads(sidecar.read_text())["SAR"] == pytest.approx(sar)
    assert rows(exam)["Whole-body SAR"].endswith("W/kg, first-level mode")


def test_bandwidth_of_a_pixel_is_that_of_the_protocol(exam):
    file = pydicom.dcmread(next((exam / "dicom").rglob("0001.dcm")))
    # the dwell time lies on a raster of 100 ns: one part in 600 of 62.5 us
    assert float(file.PixelBandwidth) == pytest.approx(SMALL.bandwidth, rel=1 / 600)


def test_dicom_of_an_exam_keeps_the_standard(exam):
    files = sorted((exam / "dicom").rglob("*.dcm"))
    assert len(files) == 4
    assert [line for path in files for line in dciodvfy(path)] == []


def test_a_recording_has_no_sar_and_keeps_its_protocol(exam, tmp_path):
    reconstruct_into(exam / last_scan(exam)["raw"], tmp_path / "again")
    said = rows(tmp_path / "again")
    assert said["Slice gap"] == "6 mm"
    assert "Whole-body SAR" not in said
    file = pydicom.dcmread(next((tmp_path / "again" / "dicom").rglob("0001.dcm")))
    assert "SAR" not in file
    assert np.isfinite(file.pixel_array).all()
