"""The count of lost readouts can be other than zero."""

from dataclasses import replace

import numpy as np

from scanroom.mri.raw.encoding import Encoding, blank
from scanroom.mri.raw.model import Readout
from scanroom.mri.raw.writer import RawWriter
from validation.kill_in_scan import RECORD, fingerprint, judged

N_WINDOWS = 4


def records_of_a_scan(out):
    """Leave three readouts of four in a .part; return what was acknowledged."""
    encoding = Encoding(
        protocol_name="x",
        trajectory_type="cartesian",
        field=3.0,
        frequency=127.7e6,
        encoded_matrix=(8, N_WINDOWS, 1),
        encoded_fov=(0.2, 0.2, 0.005),
        recon_matrix=(8, N_WINDOWS, 1),
        recon_fov=(0.2, 0.2, 0.005),
        centre_step_1=N_WINDOWS // 2,
        trajectory=tuple(np.zeros((8, 2), np.float32) for _ in range(N_WINDOWS)),
        **blank(N_WINDOWS),
    )
    (out / "raw").mkdir(parents=True)
    writer = RawWriter(out / "raw" / "x.h5", encoding, n_coils=2)
    records = []
    for index in range(N_WINDOWS - 1):
        readout = Readout(index=index, time=0.0, signal=np.full((2, 8), 1j + index, np.complex64))
        writer.write(readout)
        records.append(index.to_bytes(4, "little") + fingerprint(readout))
    writer.abandon()
    return records, replace(readout, index=N_WINDOWS - 1)


def test_nothing_is_lost_of_what_was_acknowledged(tmp_path):
    records, _ = records_of_a_scan(tmp_path)
    assert all(len(record) == RECORD for record in records)
    outcome = judged(tmp_path, records)
    assert (outcome.acknowledged, outcome.lost, outcome.in_mid_scan) == (3, 0, True)
    assert outcome.whole == ()


def test_a_readout_missing_and_a_bit_changed_are_counted(tmp_path):
    records, missing = records_of_a_scan(tmp_path)
    changed = bytearray(records[0])
    changed[-1] ^= 1
    told = [bytes(changed), *records[1:], (3).to_bytes(4, "little") + fingerprint(missing)]
    assert judged(tmp_path, told).lost == 2


def test_files_under_final_names_are_counted(tmp_path):
    records, _ = records_of_a_scan(tmp_path)
    (tmp_path / "nifti").mkdir()
    (tmp_path / "nifti" / "x.nii.gz").write_bytes(b"half")
    (tmp_path / "exam.json").write_text('{"uid": ')
    assert len(judged(tmp_path, records).whole) == 2
