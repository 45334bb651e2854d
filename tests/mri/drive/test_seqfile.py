"""Pulseq files: MATLAB's and pypulseq's decoding are the truth; damage is refused in one line."""

import hashlib
import time
import warnings

import numpy as np
import pypulseq
import pytest

from scanroom.core.errors import FormatError
from scanroom.mri.drive.seqfile import parse_seq, read_seq
from scanroom.mri.limits.sound import is_finite
from validation.mri_seq_files import COMPARED, matlab_errors

KOMA = "mri_sim_truth/JuliaHealth+KomaMRI.jl/KomaMRIFiles/test/test_files/pulseq"
PYPULSEQ = "mri_seq/imr-framework+pypulseq/tests/expected_output"
MATLAB = "mri_seq/pulseq+pulseq/tests"
SMALL = """[VERSION]
major 1
minor 5
revision 0
[DEFINITIONS]
GradientRasterTime 1e-05
RadiofrequencyRasterTime 1e-06
AdcRasterTime 1e-07
BlockDurationRaster 1e-05
[BLOCKS]
1 20 1 0 0 0 0 0
2 30 0 1 2 0 1 1
[RF]
1 1000 1 2 0 50 10 0 0 0 0.5 e
[GRADIENTS]
2 1000 100 200 3 0 0
[TRAP]
1 5000 20 100 30 10
[ADC]
1 10 1000 20 0 0 0 0 0
[EXTENSIONS]
1 1 1 0
extension LABELSET 1
1 3 LIN
[SHAPES]
shape_id 1
num_samples 100
1
0
0
97
shape_id 2
num_samples 100
0
0
98
shape_id 3
num_samples 4
0.25
0.5
0.5
0.25
"""


def test_waveforms_match_matlab(shared_data):
    stored = sorted((shared_data / COMPARED).rglob("*.mat"))
    assert len(stored) == 19
    for path in stored:
        errors = matlab_errors(read_seq(path.with_suffix(".seq"), verify=False), path)
        # The files hold six to twelve digits and are read by both; only rounding may differ.
        assert max(errors.values()) < 1e-6, (path, errors)


@pytest.mark.parametrize(
    "name",
    [
        f"{PYPULSEQ}/write_gre.seq",
        f"{PYPULSEQ}/write_epi_se.seq",
        f"{PYPULSEQ}/write_radial_gre.seq",
        f"{PYPULSEQ}/write_tse.seq",
        f"{KOMA}/basic_tests/v1.4/spiral.seq",
    ],
)
def test_waveforms_match_pypulseq(shared_data, name):
    path = shared_data / name
    drive = read_seq(path)
    peer = pypulseq.Sequence()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer.read(str(path))
        waves = peer.get_gradients()
    for axis, wave in zip(drive.gradients, waves, strict=True):
        if wave is None:
            assert not axis.amplitude.any()
            continue
        # Between the corners, where peer and we draw the same straight lines.
        middle = (axis.time[1:] + axis.time[:-1]) / 2
        inner = middle[np.diff(axis.time) > 1e-7]
        ours = np.interp(inner, axis.time, axis.amplitude)
        scale = np.abs(axis.amplitude).max()
        # Only the last half raster interval of a shape differs: pypulseq extends the last two
        # samples, MATLAB (and we) restore the values between the samples. Else rounding.
        assert np.sort(np.abs(ours - wave(inner)))[-2] < 1e-6 * scale
    sampled = np.concatenate(
        [
            s + (np.arange(n) + 0.5) * d
            for s, n, d in zip(
                drive.windows.start, drive.windows.n_samples, drive.windows.dwell, strict=True
            )
        ]
    )
    np.testing.assert_allclose(sampled, peer.adc_times()[0], atol=1e-9)


def test_labels_match_pypulseq(shared_data):
    path = shared_data / PYPULSEQ / "write_epi_label.seq"
    drive = read_seq(path)
    peer = pypulseq.Sequence()
    peer.read(str(path))
    theirs = peer.evaluate_labels(evolution="adc")
    for name, column in zip(drive.windows.label_name, drive.windows.label.T, strict=True):
        np.testing.assert_array_equal(column, theirs[name])


def test_every_public_file_is_read_or_refused_in_one_line(shared_data):
    refused = []
    for path in sorted(shared_data.rglob("*.seq")):
        try:
            drive = read_seq(path, field=3.0)
        except FormatError as error:
            refused.append(f"{path.name}: {error}")
        else:
            assert is_finite(drive)
            for axis in drive.gradients:
                assert (np.diff(axis.time) >= 0).all()
    # Five were edited after they were signed; nothing else is refused.
    assert len(refused) == 5
    assert not any("\n" in line for line in refused)


def test_small_file_means_what_it_says():
    drive = parse_seq(SMALL, "small")
    np.testing.assert_allclose(drive.block_edge, [0, 200e-6, 500e-6], atol=1e-15)
    x, y, z = drive.gradients
    np.testing.assert_allclose(x.time, 200e-6 + np.array([10, 30, 130, 160]) * 1e-6, atol=1e-12)
    np.testing.assert_array_equal(x.amplitude, [0, 5000, 5000, 0])
    # Ends 100 and 200 Hz/m are stated, the samples lie in the middles of four raster intervals.
    np.testing.assert_allclose(
        y.time, 200e-6 + np.array([0, 0, 5, 15, 25, 35, 40, 40]) * 1e-6, atol=1e-12
    )
    np.testing.assert_array_equal(y.amplitude, [0, 100, 250, 500, 500, 250, 200, 0])
    assert len(z.time) == 0
    assert drive.pulses.start[0] == pytest.approx(10e-6)
    assert drive.pulses.phase[0] == 0.5
    shape = drive.shapes[0]
    np.testing.assert_array_equal(shape.step, [1000])
    np.testing.assert_allclose(shape.edge, [0, 100e-6])
    assert shape.centre == pytest.approx(50e-6)
    assert drive.windows.label_name == ("LIN",)
    assert drive.windows.label.tolist() == [[3]]


def test_rotation_is_that_of_the_quaternion(shared_data):
    drive = read_seq(shared_data / KOMA / "basic_tests/v1.5/rotation_radial_tiny.seq")
    x, y, _ = drive.gradients
    for block, angle in enumerate(np.deg2rad([0, 45, 90, 45, 0])):
        at = np.array([200e-6 + block * 400e-6])
        # The file holds the quaternions with six digits.
        assert np.interp(at, x.time, x.amplitude)[0] == pytest.approx(
            1000 * np.cos(angle), abs=2e-3
        )
        assert np.interp(at, y.time, y.amplitude)[0] == pytest.approx(
            1000 * np.sin(angle), abs=2e-3
        )


def test_ppm_offsets_need_the_field(shared_data):
    path = shared_data / MATLAB / "legacy/approved/epi_rs.seq"
    with pytest.raises(FormatError, match="field is not known"):
        read_seq(path)
    drive = read_seq(path, field=1.5)
    saturation = drive.pulses.use.index("s")
    # Fat lies 3.45 ppm below water.
    assert drive.pulses.frequency[saturation] == pytest.approx(-3.45e-6 * 42.576e6 * 1.5, rel=1e-6)


def test_signature_tells_an_altered_file():
    digest = hashlib.md5(SMALL.encode(), usedforsecurity=False).hexdigest()
    signed = f"{SMALL}\n[SIGNATURE]\nType md5\nHash {digest}\n"
    assert parse_seq(signed, "signed").duration == pytest.approx(500e-6)
    assert parse_seq(signed.replace("\n", "\r\n"), "windows").duration == pytest.approx(500e-6)
    altered = signed.replace("5000", "5001")
    with pytest.raises(FormatError, match="altered"):
        parse_seq(altered, "altered")
    assert parse_seq(altered, "altered", verify=False).gradients[0].amplitude.max() == 5001


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("minor 5", "minor 9", "version is 1.9.0"),
        ("[VERSION]", "[VERSIONS]", "no known section"),
        ("1 20 1 0", "1 5 1 0", "event ends 110 us"),
        ("1 20 1 0", "1 20 7 0", "plays pulse 7"),
        ("1 20 1 0", "1 20 -1 0", "identifier"),
        ("1 20 1 0", "1 20 1.5 0", "whole number"),
        ("2 30 0 1", "4 30 0 1", "block 4 follows block 1"),
        ("1 5000 20", "1 nan 20", "no finite number"),
        ("1 5000 20", "1 inf 20", "no finite number"),
        ("1 5000 20", "1 1e300 20", "amplitude"),
        ("1 5000 20", "1 5_000 20", "no finite number"),
        ("1 5000 20", "1 5000", "entries"),
        ("2 1000 100", "1 1000 100", "names both"),
        ("0.5 e", "0.5 q", "use of a pulse"),
        ("1000 1 2 0", "1000 1 9 0", "shape 9"),
        ("1000 1 2 0", "1000 1 3 0", "equally many"),
        ("1 10 1000", "1 1e12 1000", "number of samples"),
        ("0\n0\n97", "0\n0\n98", "unpacks to 101"),
        ("0\n0\n97", "0\n0\n1e9", "run of"),
        ("num_samples 100\n1\n", "num_samples 900000000\n1\n", "samples"),
        ("1 3 LIN", "1 3 LINE", "label"),
        ("1 1 1 0\n", "1 1 1 1\n", "endless"),
        ("1 1 1 0\n", "1 1 1 5\n", "entry 5"),
        ("BlockDurationRaster 1e-05", "BlockDurationRaster 0", "BlockDurationRaster"),
        ("BlockDurationRaster 1e-05", "TotalDuration 7", "TotalDuration is 7"),
        ("BlockDurationRaster 1e-05", "RequiredExtensions MAGIC", "MAGIC is required"),
        ("[TRAP]", "[TRAP]\n[TRAP]", "comes again"),
    ],
)
def test_damage_is_refused_in_one_line(before, after, complaint):
    assert before in SMALL
    with pytest.raises(FormatError, match=complaint) as refusal:
        parse_seq(SMALL.replace(before, after, 1), "small.seq")
    assert "\n" not in str(refusal.value)
    assert "small.seq" in str(refusal.value)


def test_binary_missing_and_large_files_are_refused(tmp_path):
    path = tmp_path / "x.seq"
    with pytest.raises(FormatError, match="cannot be read"):
        read_seq(path)
    path.write_bytes(b"[VERSION]\0\xff")
    with pytest.raises(FormatError, match="text file"):
        read_seq(path)
    with path.open("wb") as file:
        file.truncate(100 * 2**20)
    with pytest.raises(FormatError, match="at most"):
        read_seq(path)


def mutate(text: str, rng: np.random.Generator) -> str:
    """Damage a text in one of the ways of a fuzzer that knows the format."""
    lines = text.split("\n")
    at = int(rng.integers(len(lines)))
    kind = int(rng.integers(8))
    if kind == 0:
        return text[: int(rng.integers(len(text)))]
    if kind == 1:
        del lines[at]
    elif kind == 2:
        lines.insert(at, lines[int(rng.integers(len(lines)))])
    elif kind == 3:
        place = int(rng.integers(len(text)))
        return text[:place] + chr(int(rng.integers(1, 300))) + text[place + 1 :]
    else:
        words = lines[at].split()
        if words:
            wild = ["nan", "-1", "0", "1e308", "99999999999", "-inf", "1.5", "[X]", "", "4000000"]
            words[int(rng.integers(len(words)))] = str(rng.choice(wild))
            lines[at] = " ".join(words)
    return "\n".join(lines)


def test_mutations_never_hang_nor_escape(shared_data):
    seeds = [SMALL] + [
        (shared_data / name).read_text()
        for name in (
            f"{PYPULSEQ}/seq6.seq",
            f"{PYPULSEQ}/seq4.seq",
            f"{MATLAB}/expected_output/seq_make_radial.seq",
            f"{KOMA}/basic_tests/v1.2/epi_JEMRIS.seq",
            f"{KOMA}/read_comparison/v1.4/gr-uniformly-shaped.seq",
            f"{KOMA}/read_comparison/v1.5/rf-time-shaped.seq",
        )
    ]
    rng = np.random.default_rng(20240229)
    refused = []
    for number in range(420):
        text = mutate(seeds[number % len(seeds)], rng)
        start = time.perf_counter()
        try:
            drive = parse_seq(text, "mutant", verify=False)
        except FormatError as error:
            refused.append(str(error))
        else:
            assert is_finite(drive)
        # Reading takes milliseconds; seconds would mean work without bounds.
        assert time.perf_counter() - start < 5
    assert len(refused) > 100
    assert not any("\n" in line for line in refused)


def test_sixty_thousand_blocks_read_in_seconds():
    n = 60_000
    blocks = "\n".join(
        f"{i + 1} 30 {(i % 3 == 0):d} {(i % 3 == 2):d} {2 * (i % 3 == 1):d} 0 {(i % 3 == 2):d} 0"
        for i in range(n)
    )
    head, _, rest = SMALL.partition("1 20 1 0")
    text = head + blocks + rest[rest.index("\n[RF]") :]
    start = time.perf_counter()
    drive = parse_seq(text, "long")
    # About 0.5 s alone on a core; a quadratic reader would take minutes.
    assert time.perf_counter() - start < 15
    assert len(drive.windows.start) == n // 3
    assert drive.duration == pytest.approx(n * 300e-6)
