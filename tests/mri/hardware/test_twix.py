"""Siemens raw data: the same samples as twixtools reads; damaged files are refused in a line."""

import contextlib
import io
import warnings

import numpy as np
import pytest
import twixtools

from scanroom.core.errors import FormatError
from scanroom.mri.hardware.twix import coil_elements, number, read_twix, text

FILES = (
    "pehses+twixtools/example_data/gre.dat",
    "pulseq+tutorials/01_from_FID_to_PRESS/data/02_FID_MFA.dat",
    "pulseq+tutorials/02_basic_gradient_echo/data/01_GRE_example.dat",
    "pulseq+MR-Physics-with-Pulseq/tutorials/02_rf_pulses/data/meas_MID00243_FID33257_pulseq.dat",
    "pulseq+MR-Physics-with-Pulseq/tutorials/04_hardware_and_imprefections/data/"
    "2024-02-06-160115.dat",
)


@pytest.mark.parametrize("name", FILES)
def test_every_sample_and_counter_equals_twixtools(shared_data, name):
    path = shared_data / "mri_raw" / name
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # twixtools leaves its file open
        theirs = twixtools.read_twix(
            str(path), verbose=False, parse_pmu=False, parse_geometry=False, keep_syncdata=False
        )
        ours = read_twix(path)
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert len(mine.signal) == len(other["mdb"])
            for i, block in enumerate(other["mdb"]):
                assert np.array_equal(mine.signal[i], block.data)
                assert mine.mdh["counter"]["Lin"][i] == block.mdh.Counter.Lin
                assert mine.mdh["centre_column"][i] == block.mdh.CenterCol
                assert mine.mdh["time_stamp"][i] == block.mdh.TimeStamp
                assert np.array_equal(mine.mdh["quaternion"][i], block.mdh.SliceData.Quaternion)
        protocol, header = ours[-1].protocol, theirs[-1]["hdr"]
    assert number(protocol, "flMagneticFieldStrength") == pytest.approx(
        float(header["Dicom"]["flMagneticFieldStrength"]), abs=1e-6
    )
    assert text(protocol, "tPatientPosition") == header["Dicom"]["tPatientPosition"]
    dwell = header["MeasYaps"]["sRXSPEC"]["alDwellTime"][0]
    assert number(protocol, "sRXSPEC.alDwellTime[0]") == dwell


def test_names_and_numbers_of_a_protocol_are_found():
    protocol = (
        'alTR[0] = 20000\ntProtocolName\t = \t"my scan"\n<ParamLong."lFrequency"> { 123 }\n'
        '<ParamDouble."fl"> { <Precision> 6 2.5 }\n<ParamString."tPos"> { "HFS" }\n'
        'asCoilSelectMeas[0].asList[0].sCoilElementID.tElement = "H1"\n'
    )
    assert number(protocol, "alTR[0]") == 20000
    assert number(protocol, "sTXSPEC.lFrequency") == 123
    assert number(protocol, "fl") == 2.5
    assert number(protocol, "absent", 7.0) == 7.0
    assert text(protocol, "tProtocolName") == "my scan"
    assert text(protocol, "tPos") == "HFS"
    assert coil_elements(protocol, 1) == ("H1",)
    assert coil_elements(protocol, 2) == ()


@pytest.mark.parametrize("share", [0.0, 1e-5, 0.01, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_refused(shared_data, tmp_path, share):
    whole = (shared_data / "mri_raw" / FILES[0]).read_bytes()
    cut = tmp_path / "cut.dat"
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FormatError):
        read_twix(cut)


def test_random_damage_is_refused_or_harmless(shared_data, tmp_path):
    whole = (shared_data / "mri_raw" / FILES[0]).read_bytes()
    rng = np.random.default_rng(5)
    header = np.frombuffer(whole[:4], "<u4")[0]
    path = tmp_path / "mutated.dat"
    refused = []
    for attempt in range(40):
        data = bytearray(whole)
        begin = 0 if attempt % 2 else len(whole) - (160 * 2 * 320 * 8) - int(header)
        for place in rng.integers(begin, len(data) if attempt % 2 == 0 else 12000, 300):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_twix(path)
        except FormatError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert not any("\n" in line for line in refused)


def test_a_text_file_is_refused(tmp_path):
    path = tmp_path / "x.dat"
    path.write_text("# Pulseq sequence file\n" * 100)
    with pytest.raises(FormatError, match="protocol of"):
        read_twix(path)
    with pytest.raises(FormatError, match="cannot be read"):
        read_twix(tmp_path / "absent.dat")
