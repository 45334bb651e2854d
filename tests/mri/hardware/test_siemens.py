"""Scanner data and the sequence that was played meet in MRD, or are refused together."""

import numpy as np
import pytest

from scanroom.core.errors import FormatError
from scanroom.mri.hardware.siemens import import_twix
from scanroom.mri.hardware.twix import read_twix
from scanroom.mri.raw.encoding import Flag
from scanroom.mri.raw.reader import read_raw

EPI = "mri_raw/pulseq+tutorials/11_from_GRE_to_EPI/data"
GRE = "mri_raw/pulseq+tutorials/02_basic_gradient_echo/data"
VENDOR = "mri_raw/pehses+twixtools/example_data/gre.dat"


def test_every_sample_arrives_with_the_line_it_was_measured_for(shared_data, tmp_path):
    folder = shared_data / EPI
    import_twix(folder / "04a_GRE_3seg.dat", folder / "04a_GRE_3seg.seq", tmp_path / "raw.h5")
    raw, scan = read_raw(tmp_path / "raw.h5"), read_twix(folder / "04a_GRE_3seg.dat")[-1]
    assert raw.complete
    for readout, signal in zip(raw.readouts, scan.signal, strict=True):
        assert np.array_equal(readout.signal, signal)
    encoding = raw.encoding
    assert encoding.trajectory_type == "epi"
    assert len(np.unique(encoding.kspace_encode_step_1)) == 255
    assert encoding.frequency == 123252759
    assert encoding.field == pytest.approx(2.89362)
    assert encoding.coil_labels == ("1H",)
    assert not list(tmp_path.glob("*.part"))


def test_a_phantom_disc_comes_out_round_and_central(shared_data, tmp_path):
    folder = shared_data / GRE
    name = "06_GRE_xSpoil_yRephase_RFspoilADC"
    import_twix(folder / f"{name}.dat", folder / f"{name}.seq", tmp_path / "raw.h5")
    raw = read_raw(tmp_path / "raw.h5")
    space = np.zeros((256, 256), dtype=complex)
    for readout in raw.readouts:
        line = readout.signal[0]
        flip = raw.encoding.has(Flag.REVERSE)[readout.index]
        space[raw.encoding.kspace_encode_step_1[readout.index]] = line[::-1] if flip else line
    image = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(space))))
    bright = np.argwhere(image > 0.3 * np.percentile(image, 95))
    # A bottle of some 170 mm in a field of view of 256 mm, with vials along one side.
    assert 150 < np.ptp(bright[:, 1]) < 200
    assert np.abs(bright.mean(axis=0) - 128).max() < 30


def test_windows_cut_by_the_scanner_are_cut_alike(shared_data, tmp_path):
    folder = shared_data / EPI
    import_twix(
        folder / "06_EPI_singleTraj.dat", folder / "06_EPI_singleTraj.seq", tmp_path / "r.h5"
    )
    raw = read_raw(tmp_path / "r.h5")
    assert len(raw.readouts) == 71
    assert {readout.signal.shape for readout in raw.readouts} == {(4, 300)}
    k = np.concatenate(list(raw.encoding.trajectory))
    # The trajectory goes on across the cuts: no step is longer than the longest inside a readout.
    steps = np.linalg.norm(np.diff(k, axis=0), axis=1)
    inside = np.delete(steps, np.arange(299, len(steps), 300))
    assert steps.max() <= 1.001 * inside.max()


def test_vendor_counters_serve_where_there_is_no_sequence(shared_data, tmp_path):
    import_twix(shared_data / VENDOR, None, tmp_path / "raw.h5")
    encoding = read_raw(tmp_path / "raw.h5").encoding
    assert encoding.centred
    assert encoding.encoded_matrix == (320, 160, 1)
    assert encoding.recon_matrix == (160, 160, 1)
    assert encoding.recon_fov == pytest.approx((0.2, 0.2, 0.004))
    assert sorted(encoding.kspace_encode_step_1) == list(range(160))
    frame = np.stack(
        [encoding.read_direction[0], encoding.phase_direction[0], encoding.slice_direction[0]]
    )
    assert np.allclose(frame @ frame.T, np.eye(3), atol=1e-4)


def test_a_sequence_that_was_not_played_is_refused_and_leaves_nothing(shared_data, tmp_path):
    folder = shared_data / EPI
    with pytest.raises(FormatError, match="was played"):
        import_twix(folder / "01_GRE.dat", folder / "04c_improvised_EPI.seq", tmp_path / "raw.h5")
    assert not list(tmp_path.iterdir())
