"""Raw files of closed forms against the images they must give."""

import h5py
import numpy as np
import pytest

from scanroom.core.errors import FormatError, ProtocolError
from scanroom.mri.raw.encoding import Flag
from scanroom.mri.recon import reconstruct
from tests.mri.recon.scanner import cartesian, oblique, point_signal, white, write

RNG = np.random.default_rng(1)


def peak(result):
    """Voxel index (x, y, z) of the largest voxel."""
    z, y, x = np.unravel_index(np.argmax(np.abs(result.array)), result.array.shape)
    return np.array([x, y, z])


@pytest.mark.parametrize("voxel", [(16, 12, 0), (3, 20, 0), (30, 1, 0)])
@pytest.mark.parametrize("offset", [(0.0, 0.0, 0.0), (0.031, -0.047, 0.083)])
def test_point_lands_on_its_voxel_in_an_oblique_slice(tmp_path, voxel, offset):
    turn = oblique()
    encoding = cartesian(centres=(offset,), directions=turn)
    pixel = np.array([0.2 / 32, 0.18 / 24, 0.005])
    place = np.array(offset) + turn @ ((np.array(voxel) - [16, 12, 0]) * pixel)
    signals = [point_signal(encoding, i, place) for i in range(encoding.n_windows)]
    (result,) = reconstruct(write(tmp_path / "raw.h5", encoding, signals))
    np.testing.assert_array_equal(peak(result), voxel)
    # MRD carries positions as single-precision millimetres
    np.testing.assert_allclose((result.affine @ [*voxel, 1])[:3], place, atol=1e-8)
    # all energy in one voxel: the off-centre phase is exact
    assert np.abs(result.array).max() ** 2 == pytest.approx((result.array**2).sum(), rel=1e-4)


def test_point_lands_on_its_voxel_in_an_oblique_volume(tmp_path):
    turn, offset, voxel = oblique(9), (0.02, 0.01, -0.03), (5, 7, 2)
    encoding = cartesian(
        matrix=(16, 14, 6), fov=(0.2, 0.18, 0.06), centres=(offset,), directions=turn
    )
    pixel = np.array([0.2 / 16, 0.18 / 14, 0.01])
    place = np.array(offset) + turn @ ((np.array(voxel) - [8, 7, 3]) * pixel)
    signals = [point_signal(encoding, i, place) for i in range(encoding.n_windows)]
    (result,) = reconstruct(write(tmp_path / "raw.h5", encoding, signals))
    np.testing.assert_array_equal(peak(result), voxel)
    np.testing.assert_allclose((result.affine @ [*voxel, 1])[:3], place, atol=1e-8)


@pytest.mark.parametrize("shift", [0.5, -0.3, 3.25])
def test_echo_shift_moves_nothing(tmp_path, shift):
    encoding = cartesian(shift=shift)
    place = [-4 * 0.2 / 32, 5 * 0.18 / 24, 0]
    signals = [point_signal(encoding, i, place) for i in range(encoding.n_windows)]
    (result,) = reconstruct(
        write(tmp_path / "raw.h5", encoding, signals), partial_fourier="zero-fill"
    )
    np.testing.assert_array_equal(peak(result), [12, 17, 0])


def test_slices_are_stacked_by_position_with_their_gap(tmp_path):
    turn = oblique(2)
    order = [2, 0, 3, 1]
    centres = [turn[:, 2] * 0.007 * level + [0.01, 0, 0] for level in order]
    encoding = cartesian(centres=centres, directions=turn)
    signals = [
        point_signal(encoding, i, centres[0], in_slice=encoding.slice[i] == 0)
        for i in range(encoding.n_windows)
    ]
    (result,) = reconstruct(write(tmp_path / "raw.h5", encoding, signals))
    assert result.array.shape == (4, 24, 32)
    np.testing.assert_array_equal(peak(result), [16, 12, 2])
    np.testing.assert_allclose((result.affine @ [16, 12, 2, 1])[:3], centres[0], atol=1e-8)
    assert np.linalg.norm(result.affine[:3, 2]) == pytest.approx(0.007, rel=1e-5)


def test_slices_of_three_orientations_are_three_images(tmp_path):
    encoding = cartesian(centres=((0, 0, 0),) * 3)
    for number, turn in enumerate([np.eye(3), np.eye(3)[[1, 2, 0]], np.eye(3)[[2, 0, 1]]]):
        rows = encoding.slice == number
        for axis, name in enumerate(("read_direction", "phase_direction", "slice_direction")):
            getattr(encoding, name)[rows] = turn[:, axis]
    signals = [white(RNG, 1, 64) for _ in range(encoding.n_windows)]
    results = reconstruct(write(tmp_path / "raw.h5", encoding, signals))
    assert [result.name for result in results] == ["sum_stack-1", "sum_stack-2", "sum_stack-3"]


def test_noise_of_a_uniform_object_has_unit_deviation(tmp_path):
    """SNR units: correlated noise of any size in, one out, in each of real and imaginary part."""
    encoding = cartesian(matrix=(64, 64, 1))
    mix = 37 * white(RNG, 4, 4)
    signals = [mix @ white(RNG, 4, 128) for _ in range(encoding.n_windows)]
    signals[32][:, 64] += 37e4 * np.array([1, 1j, -1, 0.5])  # an image that is the same everywhere
    raw = write(tmp_path / "raw.h5", encoding, signals, mix @ white(RNG, 4, 20000))
    (result,) = reconstruct(raw, complex_images=True)
    assert result.unit == "SNR"
    # 4096 voxels: standard error of a standard deviation 1.1 %, four of them
    assert result.array.real.std() == pytest.approx(1, rel=0.045)
    assert result.array.imag.std() == pytest.approx(1, rel=0.045)


def test_bandwidth_of_the_noise_scan_is_accounted_for(tmp_path):
    """A noise scan of four times the bandwidth holds four times the noise power."""
    encoding = cartesian(matrix=(64, 64, 1))
    encoding.dwell[:] = 4e-5
    signals = [white(RNG, 1, 128) for _ in range(encoding.n_windows)]
    raw = write(tmp_path / "raw.h5", encoding, signals, 2 * white(RNG, 1, 20000))
    (result,) = reconstruct(raw, complex_images=True)
    # standard error of 4096 values 1.1 %, four of them
    assert result.array.real.std() == pytest.approx(1, rel=0.045)


def test_averages_improve_snr_by_the_square_root_of_their_number(tmp_path):
    ratio = []
    for n in (1, 4):
        encoding = cartesian(matrix=(32, 32, 1), repeat=(("average", n),))
        clean = [point_signal(encoding, i, [0, 0, 0]) for i in range(encoding.n_windows)]
        signals = [s + white(RNG, 1, 64) for s in clean]
        raw = write(tmp_path / f"{n}.h5", encoding, signals, white(RNG, 1, 50000))
        (result,) = reconstruct(raw)
        ratio.append(result.array.max())
    # noise of one against a peak of 45 and 90: 2.5 %
    assert ratio[1] / ratio[0] == pytest.approx(2, rel=0.1)
    assert ratio[0] == pytest.approx(np.sqrt(64 * 32), rel=0.1)


def test_oversampling_removal_keeps_the_middle(tmp_path):
    """A point outside the field of view wanted but inside the one encoded disappears."""
    encoding = cartesian()
    signals = [point_signal(encoding, i, [0.15, 0, 0]) for i in range(encoding.n_windows)]
    (result,) = reconstruct(write(tmp_path / "raw.h5", encoding, signals))
    assert result.array.max() < 1e-3 * np.sqrt(64 * 24)


def test_interpolation_keeps_places(tmp_path):
    encoding = cartesian(recon_matrix=(48, 48, 1))
    place = [8 * 0.2 / 32, -6 * 0.18 / 24, 0]
    signals = [point_signal(encoding, i, place) for i in range(encoding.n_windows)]
    (result,) = reconstruct(write(tmp_path / "raw.h5", encoding, signals))
    assert result.array.shape == (1, 48, 48)
    np.testing.assert_allclose((result.affine @ [*peak(result), 1])[:3], place, atol=1e-8)


def test_reversed_lines_are_turned_round(tmp_path):
    encoding = cartesian(places=31.5 - np.arange(64.0))
    place = [-4 * 0.2 / 32, 5 * 0.18 / 24, 0]
    signals = [point_signal(encoding, i, place) for i in range(encoding.n_windows)]
    (result,) = reconstruct(write(tmp_path / "raw.h5", encoding, signals))
    np.testing.assert_array_equal(peak(result), [12, 17, 0])


def test_phase_difference_of_two_echoes_survives(tmp_path):
    encoding = cartesian(repeat=(("contrast", 2),))
    signals = [
        np.exp(0.7j * encoding.contrast[i]) * point_signal(encoding, i, [0, 0, 0]) * [[1], [0.5j]]
        for i in range(encoding.n_windows)
    ]
    first, second = reconstruct(write(tmp_path / "raw.h5", encoding, signals), complex_images=True)
    assert (first.name, second.name) == ("sum_echo-1", "sum_echo-2")
    assert second.provenance["echo_time"] == pytest.approx(8e-3)
    x, y, z = peak(first)
    # single precision of the transform
    assert np.angle(second.array[z, y, x] / first.array[z, y, x]) == pytest.approx(0.7, abs=1e-4)


def test_undersampling_is_said(tmp_path):
    encoding = cartesian(steps=[(j, 0) for j in range(0, 24, 2)])
    signals = [point_signal(encoding, i, [0, 0, 0]) for i in range(encoding.n_windows)]
    (result,) = reconstruct(write(tmp_path / "raw.h5", encoding, signals))
    assert any("12 of 23 lines measured" in step for step in result.provenance["steps"])


def test_phantom_of_the_ismrmrd_tools_is_the_one_in_their_file(shared_data):
    """The file holds its own truth: phantom and sensitivities, and noise of 0.02 a sample."""
    path = shared_data / "mri_raw/debian_ismrmrd-tools/shepp_logan_m64_c4_r2.h5"
    with h5py.File(path) as file:
        phantom, maps = (file["dataset"][name][0] for name in ("phantom", "csm"))
    bright = np.hypot(phantom["real"], phantom["imag"])
    truth = bright * np.sqrt((maps["real"] ** 2 + maps["imag"] ** 2).sum(axis=0))
    first, second = reconstruct(path)
    for result in (first, second):
        image = result.array[0]
        # 7 % is the noise of the file: the two repetitions differ by as much
        assert np.linalg.norm(image - truth) / np.linalg.norm(truth) < 0.08
        assert (image * truth).sum() / (truth**2).sum() == pytest.approx(1, abs=0.01)
    spread = np.linalg.norm(first.array - second.array) / np.sqrt(2) / np.linalg.norm(truth)
    assert spread > 0.04


def test_no_image_lines_are_refused(tmp_path):
    encoding = cartesian()
    encoding.flags[:] = int(Flag.NAVIGATION)
    signals = [np.ones((1, 64))] * encoding.n_windows
    with pytest.raises(FormatError, match="none of them a line of an image"):
        reconstruct(write(tmp_path / "raw.h5", encoding, signals))


def test_samples_that_are_no_numbers_are_refused(tmp_path):
    encoding = cartesian()
    signals = [np.full((1, 64), np.nan)] * encoding.n_windows
    with pytest.raises(FormatError, match="not finite"):
        reconstruct(write(tmp_path / "raw.h5", encoding, signals))


def test_one_line_is_no_image(tmp_path):
    encoding = cartesian(steps=[(12, 0)])
    with pytest.raises(FormatError, match="needs two or more"):
        reconstruct(write(tmp_path / "raw.h5", encoding, [np.ones((1, 64))]))


def test_matrix_of_a_damaged_header_is_refused(tmp_path):
    encoding = cartesian(recon_matrix=(60000, 30000, 1))
    signals = [np.ones((1, 64))] * encoding.n_windows
    with pytest.raises(FormatError, match="damaged"):
        reconstruct(write(tmp_path / "raw.h5", encoding, signals))


@pytest.mark.parametrize(
    "option", [{"partial_fourier": "x"}, {"combination": "x"}, {"apodisation": "x"}]
)
def test_unknown_option_is_refused_before_reading(tmp_path, option):
    with pytest.raises(ProtocolError, match="'x'"):
        reconstruct(tmp_path / "absent.h5", **option)


@pytest.mark.parametrize("choices", [{}, {"virtual_coils": 2}])
def test_a_map_of_the_noise_is_one_where_images_are_in_its_units(tmp_path, choices):
    encoding = cartesian()
    weights = np.array([[1.0], [0.5j], [0.3], [0.2]])
    signals = [
        200 * weights * point_signal(encoding, i, [0, 0, 0]) + white(RNG, 4, 64)
        for i in range(encoding.n_windows)
    ]
    raw = write(tmp_path / "raw.h5", encoding, signals, white(RNG, 4, 20000))
    image, noise = reconstruct(raw, replicas=24, **choices)
    assert noise.name == f"{image.name}_noise"
    # the mean of 768 pixels, each known to 1 / sqrt(2 x 23)
    assert noise.array.mean() == pytest.approx(1, abs=0.03)
    if choices:
        assert "4 coils compressed to 2" in " ".join(image.provenance["steps"])


def test_compressed_coils_keep_the_signal(tmp_path):
    encoding = cartesian()
    weights = np.array([[1.0], [0.5j], [0.3], [0.2]])
    signals = [
        weights * point_signal(encoding, i, [0, 0, 0]) + 1e-4 * white(RNG, 4, 64)
        for i in range(encoding.n_windows)
    ]
    raw = write(tmp_path / "raw.h5", encoding, signals)
    (whole,), (fewer,) = (reconstruct(raw, virtual_coils=n) for n in (0, 2))
    assert fewer.array.max() == pytest.approx(whole.array.max(), rel=1e-2)


def test_replicas_need_a_noise_scan(tmp_path):
    encoding = cartesian()
    signals = [point_signal(encoding, i, [0, 0, 0]) for i in range(encoding.n_windows)]
    with pytest.raises(ProtocolError, match="no noise scan"):
        reconstruct(write(tmp_path / "raw.h5", encoding, signals), replicas=4)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"virtual_coils": 1}, "2 to 1024"),
        ({"replicas": -3}, "2 to 1000"),
        ({"delays": "yes"}, "auto"),
        ({"off_resonance": "map"}, "autofocus"),
    ],
)
def test_choices_that_are_none_are_refused(tmp_path, choice, words):
    with pytest.raises(ProtocolError, match=words):
        reconstruct(tmp_path / "raw.h5", **choice)
