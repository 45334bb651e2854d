"""A bare array of k-space walks the same way as a scan."""

import numpy as np
import pytest

from scanroom.core.errors import FormatError
from scanroom.mri.hardware.arrays import import_array
from scanroom.mri.raw.reader import read_raw


def test_measured_lines_arrive_and_empty_ones_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    space = rng.standard_normal((3, 20, 16)) + 1j * rng.standard_normal((3, 20, 16))
    space[:, 1::2] = 0
    np.save(tmp_path / "k.npy", space.astype(np.complex64))
    import_array(tmp_path / "k.npy", tmp_path / "raw.h5", voxel=2e-3)
    raw = read_raw(tmp_path / "raw.h5")
    encoding = raw.encoding
    assert encoding.kspace_encode_step_1.tolist() == list(range(0, 20, 2))
    assert encoding.encoded_fov == pytest.approx((0.032, 0.04, 0.002))
    for line, readout in zip(encoding.kspace_encode_step_1, raw.readouts, strict=True):
        assert np.array_equal(readout.signal, space[:, line].astype(np.complex64))
    k = encoding.trajectory[3]
    assert k[8, 0] == 0
    assert np.allclose(np.diff(k[:, 0]), 1 / 0.032)
    assert np.allclose(k[:, 1], (6 - 10) / 0.04)


@pytest.mark.parametrize(
    "content", [np.zeros((2, 3)), np.zeros((2, 4, 4)), np.full((1, 4, 4), np.nan + 0j), "text"]
)
def test_other_arrays_are_refused(tmp_path, content):
    np.save(tmp_path / "k.npy", content)
    with pytest.raises(FormatError):
        import_array(tmp_path / "k.npy", tmp_path / "raw.h5")
    assert not list(tmp_path.glob("raw*"))


def test_a_damaged_file_is_refused(tmp_path):
    np.save(tmp_path / "k.npy", np.ones((2, 4, 4), dtype=complex))
    whole = (tmp_path / "k.npy").read_bytes()
    for cut in (0, 5, 60, 200):
        (tmp_path / "cut.npy").write_bytes(whole[:cut])
        with pytest.raises(FormatError):
            import_array(tmp_path / "cut.npy", tmp_path / "raw.h5")
