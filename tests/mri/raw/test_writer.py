"""Raw data outlive the process that writes them, and other programs read them."""

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import ismrmrd
import ismrmrd.xsd
import numpy as np
import pytest

from scanroom.core.errors import DeviceError, FormatError, ProtocolError
from scanroom.mri.raw.encoding import Encoding, Flag, blank
from scanroom.mri.raw.model import Readout
from scanroom.mri.raw.reader import read_raw
from scanroom.mri.raw.writer import RawWriter, part_of, recover

N_COILS, N_SAMPLES = 3, 48


def made_encoding(n_windows: int) -> Encoding:
    rows = blank(n_windows)
    rows["kspace_encode_step_1"] = np.arange(n_windows) % 60000
    rows["dwell"][:] = 3.2e-6
    rows["centre_sample"][:] = N_SAMPLES // 2
    rows["flags"][1::2] = int(Flag.REVERSE)
    rows["position"][:] = 0.01, -0.02, 0.03
    rows["read_direction"][:] = 0.6, 0.8, 0.0
    rows["phase_direction"][:] = -0.8, 0.6, 0.0
    k = np.linspace(-1, 1, 3 * N_SAMPLES, dtype=np.float32).reshape(-1, 3)
    return Encoding(
        protocol_name="größe <1>",
        trajectory_type="cartesian",
        field=3.0,
        frequency=127728000.0,
        encoded_matrix=(N_SAMPLES, n_windows, 1),
        encoded_fov=(0.48, 0.24, 0.005),
        recon_matrix=(N_SAMPLES // 2, n_windows, 1),
        recon_fov=(0.24, 0.24, 0.005),
        centre_step_1=n_windows // 2,
        repetition_times=(0.5,),
        echo_times=(0.02,),
        flip_angles=(np.pi / 2,),
        coil_labels=("a", "b", "c"),
        noise_dwell=5e-6,
        noise_bandwidth=0.91875,
        user=(("origin", "test & <more>"),),
        trajectory=tuple(k + i for i in range(n_windows)),
        **rows,
    )


def made_readout(index: int) -> Readout:
    rng = np.random.default_rng(index)
    numbers = rng.standard_normal((2, N_COILS, N_SAMPLES), dtype=np.float32)
    return Readout(index=index, time=index * 0.0123456789, signal=numbers[0] + 1j * numbers[1])


def test_the_ismrmrd_package_reads_every_bit(tmp_path):
    encoding = made_encoding(5)
    with RawWriter(tmp_path / "raw.h5", encoding, n_coils=N_COILS) as writer:
        writer.write_noise(made_readout(77))
        for index in range(5):
            writer.write(made_readout(index))
    with ismrmrd.Dataset(str(tmp_path / "raw.h5"), "dataset", mode="r") as theirs:
        header = ismrmrd.xsd.CreateFromDocument(theirs.read_xml_header())
        acquisitions = [theirs.read_acquisition(i) for i in range(theirs.number_of_acquisitions())]
    assert header.encoding[0].encodedSpace.fieldOfView_mm.x == pytest.approx(480)
    system = header.acquisitionSystemInformation
    assert system.relativeReceiverNoiseBandwidth == pytest.approx(0.91875)
    assert header.encoding[0].encodingLimits.kspace_encoding_step_1.center == 2
    assert header.sequenceParameters.flipAngle_deg[0] == pytest.approx(90)
    assert header.measurementInformation.protocolName == "größe <1>"
    assert acquisitions[0].isFlagSet(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    assert acquisitions[0].sample_time_us == pytest.approx(5.0)
    for index, acquisition in enumerate(acquisitions[1:]):
        assert np.array_equal(acquisition.data, made_readout(index).signal)
        assert np.array_equal(acquisition.traj, encoding.trajectory[index])
        assert acquisition.isFlagSet(ismrmrd.ACQ_IS_REVERSE) == (index % 2 == 1)
        # MRD is LPS in millimetres: x and y change sign.
        assert np.allclose(acquisition.position, [-10, 20, 30])
        assert np.allclose(acquisition.read_dir, [-0.6, -0.8, 0])


def test_what_was_written_is_read_back(tmp_path):
    encoding = made_encoding(5)
    with RawWriter(tmp_path / "raw.h5", encoding, n_coils=N_COILS) as writer:
        writer.write_noise(made_readout(77))
        for index in range(4):
            writer.write(made_readout(index))
    raw = read_raw(tmp_path / "raw.h5")
    assert not raw.complete
    assert raw.n_coils == N_COILS
    assert raw.encoding.noise_dwell == pytest.approx(5e-6)
    assert raw.encoding.noise_bandwidth == encoding.noise_bandwidth
    assert np.array_equal(raw.noise[0].signal, made_readout(77).signal)
    kept = encoding.take(np.arange(4))
    for name in ("kspace_encode_step_1", "flags", "centre_sample"):
        assert np.array_equal(getattr(raw.encoding, name), getattr(kept, name))
    # The MRD header holds single precision: 2^-24 relative.
    for name in ("position", "read_direction", "phase_direction", "slice_direction", "dwell"):
        assert np.allclose(getattr(raw.encoding, name), getattr(kept, name), rtol=1e-6, atol=1e-9)
    for index, readout in enumerate(raw.readouts):
        assert readout.index == index
        assert readout.time == pytest.approx(made_readout(index).time, abs=1e-9)
        assert np.array_equal(readout.signal, made_readout(index).signal)
        assert np.array_equal(raw.encoding.trajectory[index], kept.trajectory[index])
    assert raw.encoding.user == encoding.user
    assert raw.encoding.protocol_name == encoding.protocol_name
    assert raw.encoding.encoded_fov == pytest.approx(encoding.encoded_fov)


CHILD = """
import sys
sys.path.insert(0, sys.argv[2])
from test_writer import N_COILS, made_encoding, made_readout
from scanroom.mri.raw.writer import RawWriter
from pathlib import Path
import os
n = 6000
readouts = [made_readout(i) for i in range(50)]
from dataclasses import replace
with RawWriter(Path(sys.argv[1]), made_encoding(n), n_coils=N_COILS) as writer:
    os.write(1, (0xFFFFFFFF).to_bytes(4, "little"))
    for i in range(n):
        writer.write(replace(readouts[i % 50], index=i))
        os.write(1, i.to_bytes(4, "little"))
"""


def test_kill_9_loses_no_acknowledged_readout(tmp_path):
    rng = np.random.default_rng(9)
    for attempt in range(20):
        path = tmp_path / f"raw{attempt}.h5"
        arguments = [sys.executable, "-c", CHILD, str(path), str(Path(__file__).parent)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, bufsize=0) as child:
            assert child.stdout is not None
            child.stdout.read(4)
            time.sleep(rng.uniform(0.0, 0.05))
            os.kill(child.pid, signal.SIGKILL)
            heard = child.stdout.read()
        n_acknowledged = len(heard) // 4
        assert not path.exists()
        raw = read_raw(recover(part_of(path)))
        assert len(raw.readouts) >= n_acknowledged
        assert not raw.complete
        for readout in raw.readouts[:n_acknowledged]:
            assert np.array_equal(readout.signal, made_readout(readout.index % 50).signal)


def test_a_stream_cut_at_any_byte_keeps_every_whole_readout(tmp_path):
    writer = RawWriter(tmp_path / "raw.h5", made_encoding(3), n_coils=N_COILS)
    ends = []
    for index in range(3):
        writer.write(made_readout(index))
        ends.append(part_of(writer.path).stat().st_size)
    writer.abandon()
    whole = part_of(writer.path).read_bytes()
    header = 6 + struct.unpack("<I", whole[2:6])[0]
    for cut in range(header, len(whole), 97):
        part = tmp_path / "cut.h5.part"
        part.write_bytes(whole[:cut])
        raw = read_raw(recover(part), trusted=True)
        assert len(raw.readouts) == sum(end <= cut for end in ends)


def test_a_block_that_raises_leaves_only_the_part(tmp_path):
    def failing() -> None:
        with RawWriter(tmp_path / "raw.h5", made_encoding(2), n_coils=N_COILS) as writer:
            writer.write(made_readout(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failing()
    assert [path.name for path in tmp_path.iterdir()] == ["raw.h5.part"]
    with pytest.raises(FormatError, match="is there already"):
        RawWriter(tmp_path / "raw.h5", made_encoding(2), n_coils=N_COILS)
    assert len(read_raw(recover(tmp_path / "raw.h5.part")).readouts) == 1


@pytest.mark.parametrize("index", [-1, 2])
def test_a_window_the_drive_does_not_have_is_refused(tmp_path, index):
    writer = RawWriter(tmp_path / "raw.h5", made_encoding(2), n_coils=N_COILS)
    bad = Readout(index=index, time=0.0, signal=np.zeros((N_COILS, N_SAMPLES), np.complex64))
    with pytest.raises(FormatError, match="encoding describes"):
        writer.write(bad)
    writer.abandon()


def test_another_shape_is_refused(tmp_path):
    writer = RawWriter(tmp_path / "raw.h5", made_encoding(2), n_coils=N_COILS)
    with pytest.raises(FormatError, match="encoding says"):
        writer.write(Readout(index=0, time=0.0, signal=np.zeros((N_COILS, 4), np.complex64)))
    writer.abandon()


def test_a_closed_writer_takes_nothing(tmp_path):
    writer = RawWriter(tmp_path / "raw.h5", made_encoding(2), n_coils=N_COILS)
    writer.close()
    with pytest.raises(DeviceError, match="closed"):
        writer.write(made_readout(0))


def test_counters_beyond_16_bits_are_refused(tmp_path):
    encoding = made_encoding(2)
    encoding.slice[1] = 70000
    with pytest.raises(ProtocolError, match="65535"):
        RawWriter(tmp_path / "raw.h5", encoding, n_coils=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"\x03\x00\xff\xff\xff\x7f", b"hello world"])
def test_a_part_without_a_header_is_refused(tmp_path, content):
    (tmp_path / "raw.h5.part").write_bytes(content)
    with pytest.raises(FormatError, match="header message"):
        recover(tmp_path / "raw.h5.part")
    with pytest.raises(FormatError, match=r"\.part"):
        recover(tmp_path / "raw.h5")
    with pytest.raises(FormatError, match="not there"):
        recover(tmp_path / "absent.h5.part")
