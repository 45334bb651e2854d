"""A drive's waveforms alone tell what its labels and definitions say."""

from dataclasses import replace

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.drive.compile import compile_drive
from scanroom.mri.drive.encoding import encode
from scanroom.mri.drive.model import Drive
from scanroom.mri.drive.seqfile import read_seq
from scanroom.mri.protocol import load_protocol
from scanroom.mri.raw.encoding import Encoding, Flag
from scanroom.mri.system import system

EXAMPLES = "mri_seq/imr-framework+pypulseq/tests/expected_output"
LEGACY = "mri_seq/pulseq+pulseq/tests/legacy/approved"


def bare(drive: Drive) -> Drive:
    """The same waveforms, with nothing said about them."""
    windows = drive.windows
    label = np.zeros((len(windows.start), 0), dtype=np.int64)
    return replace(drive, definitions=(), windows=replace(windows, label_name=(), label=label))


def labels(drive: Drive) -> dict[str, np.ndarray]:
    return dict(zip(drive.windows.label_name, drive.windows.label.T, strict=True))


def same_up_to_direction(found: np.ndarray, told: np.ndarray) -> bool:
    """Whether a counter runs as the label does, or backwards, as directions may be reversed."""
    return bool(np.ptp(found - told) == 0 or np.ptp(found + told) == 0)


@pytest.fixture(scope="module", params=["brain-t2-tse", "lowfield-t1-gre", "localizer-coronal"])
def compiled(request) -> Drive:
    name = request.param
    return compile_drive(load_protocol(name), system("0.05T" if "low" in name else "3T"))


def test_counters_and_times_equal_what_the_protocol_was_compiled_from(compiled):
    encoding, told = encode(compiled, field=3.0), labels(compiled)
    assert encoding.trajectory_type == "cartesian"
    for name, counter in (("LIN", "kspace_encode_step_1"), ("SLC", "slice"), ("AVG", "average")):
        if name in told:
            assert np.array_equal(getattr(encoding, counter), told[name])
    # 2 us: echo centres lie between two samples.
    assert encoding.echo_times[0] == pytest.approx(float(compiled.definition("TE")), abs=2e-6)
    assert encoding.repetition_times[0] == pytest.approx(float(compiled.definition("TR")), abs=1e-6)
    matrix = tuple(int(n) for n in compiled.definition("scanroom_matrix").split())
    assert encoding.recon_matrix == matrix
    assert encoding.encoded_matrix[0] == 2 * matrix[0]
    offsets = np.array(compiled.definition("scanroom_slice_positions").split(), dtype=float)
    along = np.einsum("wa,wa->w", encoding.position, encoding.slice_direction)
    centre = np.array(compiled.definition("scanroom_position").split(), dtype=float)
    expected = np.sort(offsets) + centre @ encoding.slice_direction[0]
    assert np.allclose(np.unique(np.round(along, 6)), np.unique(np.round(expected, 6)), atol=1e-5)


def test_waveforms_alone_give_the_same_grid(compiled):
    told, found = encode(compiled, field=3.0), encode(bare(compiled), field=3.0)
    assert found.encoded_matrix == told.encoded_matrix
    assert found.recon_matrix == told.recon_matrix
    assert found.encoded_fov[:2] == pytest.approx(told.encoded_fov[:2], rel=1e-3)
    assert same_up_to_direction(found.kspace_encode_step_1, told.kspace_encode_step_1)
    assert same_up_to_direction(found.slice, told.slice)
    # Without labels repeated passes may be averages or repetitions; they are not lost.
    assert found.average.max() + found.repetition.max() == told.average.max()


def line_places(encoding: Encoding) -> np.ndarray:
    """Place along phase at the echo of each image line, in lines."""
    at = [k[i, 1] for k, i in zip(encoding.trajectory, encoding.centre_sample, strict=True)]
    return np.array(at) * encoding.encoded_fov[1]


@pytest.mark.parametrize("name", ["brain-t1-gre", "brain-se"])
def test_the_docstring_holds_for_every_line(name):
    encoding = encode(compile_drive(load_protocol(name), system("3T")), field=3.0)
    expected = encoding.kspace_encode_step_1 - encoding.centre_step_1
    assert np.allclose(line_places(encoding), expected, atol=0.01)
    frames = np.stack(
        [encoding.read_direction, encoding.phase_direction, encoding.slice_direction], axis=1
    )
    assert np.allclose(frames @ frames.swapaxes(1, 2), np.eye(3), atol=1e-9)
    assert np.allclose(np.linalg.det(frames), 1.0)
    k = encoding.trajectory[0][:, 0]
    assert np.argmin(np.abs(k)) == encoding.centre_sample[0]
    assert (np.diff(k) > 0).all() != bool(encoding.has(Flag.REVERSE)[0])


@pytest.mark.parametrize(
    ("path", "form"),
    [
        (f"{EXAMPLES}/write_gre_label.seq", "cartesian"),
        (f"{EXAMPLES}/write_epi_label.seq", "epi"),
        (f"{LEGACY}/epi_rs.seq", "epi"),
    ],
)
def test_lines_slices_and_navigators_are_those_that_pulseq_labels(shared_data, path, form):
    drive = read_seq(shared_data / path, field=3.0)
    told, found = labels(drive), encode(bare(drive), field=3.0)
    assert found.trajectory_type == form
    navigator = told.get("NAV", np.zeros(found.n_windows)) != 0
    assert np.array_equal(found.has(Flag.PHASE_CORRECTION), navigator)
    lines = ~navigator
    assert same_up_to_direction(found.kspace_encode_step_1[lines], told["LIN"][lines])
    if "SLC" in told and np.ptp(told["SLC"]):
        pairs = np.unique(np.stack([told["SLC"], found.slice]), axis=1)
        assert pairs.shape[1] == len(np.unique(told["SLC"]))
    if "REV" in told:
        reverse = found.has(Flag.REVERSE)[lines]
        rev = told["REV"][lines] != 0
        assert np.array_equal(reverse, rev) or np.array_equal(reverse, ~rev)
    if "REP" in told and np.ptp(told["REP"]):
        assert np.array_equal(found.repetition[lines], told["REP"][lines])


@pytest.mark.parametrize(
    ("path", "form", "kind"),
    [
        (f"{EXAMPLES}/write_radial_gre.seq", "radial", "image"),
        (f"{EXAMPLES}/write_tse.seq", "cartesian", "image"),
        (f"{LEGACY}/fid.seq", "other", "spectroscopy"),
        (
            "mri_sim_truth/JuliaHealth+KomaMRI.jl/examples/1.sequences/spiral.seq",
            "spiral",
            "image",
        ),
    ],
)
def test_the_kind_of_foreign_sequences_is_recognised(shared_data, path, form, kind):
    encoding = encode(read_seq(shared_data / path), field=1.5)
    assert encoding.trajectory_type == form
    assert dict(encoding.user)["kind"] == kind


def test_echoes_of_one_line_are_contrasts(shared_data):
    folder = shared_data / "mri_raw/pulseq+tutorials/11_from_GRE_to_EPI/data"
    encoding = encode(read_seq(folder / "02_GRE_3echoes.seq"), field=3.0)
    assert np.array_equal(encoding.contrast, np.tile([0, 1, 2], 256))
    assert np.array_equal(encoding.kspace_encode_step_1[::3], encoding.kspace_encode_step_1[2::3])


def test_a_drive_without_windows_is_refused(compiled):
    empty = replace(
        compiled.windows,
        **{
            name: getattr(compiled.windows, name)[:0]
            for name in (
                "start", "dwell", "n_samples", "frequency", "phase", "modulation_index", "label",
            )
        },
    )  # fmt: skip
    with pytest.raises(ProtocolError, match="no receiver window"):
        encode(replace(compiled, windows=empty), field=3.0)
