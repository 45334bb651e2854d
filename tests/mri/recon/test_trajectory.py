"""Samples put where they really lie, against points whose signal is known."""

from dataclasses import replace

import numpy as np
import pytest

from scanroom.core.errors import FormatError
from scanroom.mri.recon import reconstruct
from scanroom.mri.recon.delays import moved
from scanroom.mri.recon.girf import corrected, response_of
from scanroom.mri.recon.trajectory import read_response
from tests.mri.recon.scanner import cartesian, point_signal, white, write
from tests.mri.recon.test_gridding import spokes

FOV, N = 0.2, 32
WIDTH = 0.8  # pixels
PLACES = ([-5 * FOV / N, 7 * FOV / N, 0.0], [3 * FOV / N, -2 * FOV / N, 0.0], [0.01, 0.03, 0.0])


def points(encoding, window):
    """Gaussian blobs: their k-space ends within what is measured."""
    reach = np.linalg.norm(encoding.trajectory[window].astype(float), axis=1) * FOV / N
    return np.exp(-2 * (np.pi * WIDTH * reach) ** 2) * sum(
        point_signal(encoding, window, place) for place in PLACES
    )


def spiral(n_turns=16, n=3000, dwell=4e-6):
    """One spiral from the middle outwards, its gradients silent where it begins."""
    share = np.linspace(0, 1, n) ** 1.2
    angle = 2 * np.pi * n_turns * share
    radius = share * N / (2 * FOV)
    k = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * radius], axis=1)
    lines = cartesian(matrix=(N, 1, 1), fov=(FOV, FOV, 0.005), kind="spiral")
    return replace(
        lines,
        encoded_matrix=(N, N, 1),
        recon_matrix=(N, N, 1),
        trajectory=(k.astype(np.float32),),
        dwell=np.full(1, dwell),
    )


def away(found, truth):
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


def image(path, encoding, signals, **choices):
    (result,) = reconstruct(write(path, encoding, signals), complex_images=True, **choices)
    return result


@pytest.mark.parametrize("shift", [(1.3, -0.7, 0.2), (-2.1, 0.4, 0.0), (0.0, 0.0, 0.0)])
def test_late_spokes_make_the_image_of_spokes_in_time(tmp_path, shift):
    asked = spokes(n_spokes=72)
    angle = np.pi * np.arange(72) / 72
    k = np.concatenate([line[:, 1::-1] for line in asked.trajectory]).astype(float)
    matrix = np.array([[shift[0], shift[2]], [shift[2], shift[1]]])
    late = moved(k, angle, matrix, 1 / (2 * FOV))[:, ::-1].reshape(72, -1, 2)
    played = replace(
        asked, trajectory=tuple(np.pad(line, ((0, 0), (0, 1))).astype(np.float32) for line in late)
    )
    told = replace(asked, trajectory=tuple(line[:, :2] for line in asked.trajectory))
    rng = np.random.default_rng(0)
    signals = [points(played, i) + 0.01 * white(rng, 1, 64) for i in range(72)]
    truth = image(tmp_path / "truth.h5", told, [points(asked, i) for i in range(72)])
    found = image(tmp_path / "raw.h5", told, signals)
    left = image(tmp_path / "raw.h5", told, signals, delays="none")
    # noise of 0.01 a sample; two of 64 samples lie beyond the edge
    assert away(found.array, truth.array) < 0.05
    if any(shift):
        assert away(left.array, truth.array) > 5 * away(found.array, truth.array)
    assert any("gradient delays found" in step for step in found.provenance["steps"])


def weak_and_late(n=512, raster=1e-5):
    """A response by which x is a tenth weaker, y is late by 30 us, and x makes a uniform field."""
    frequency = np.fft.fftshift(np.fft.fftfreq(n, raster))
    gain = np.zeros((3, 4, n), complex)
    gain[0, 1], gain[2, 3] = 0.9, 1.0
    gain[1, 2] = np.exp(-2j * np.pi * frequency * 30e-6)
    gain[0, 0] = 0.01
    return gain


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_a_measured_response_puts_points_back(tmp_path, ending):
    asked = spiral()
    path = tmp_path / f"girf{ending}"
    gain = weak_and_late()
    if ending == ".npy":
        np.save(path, gain)
    else:
        np.savez(path, gain=gain, raster=1e-5)
    # what the gradients did, on a raster of its own: the mean of the two is no less true
    k, dwell = asked.trajectory[0].astype(float), float(asked.dwell[0])
    wave = np.diff(k, axis=0).T / dwell
    place, turns = corrected(wave, dwell, dwell * np.arange(len(k)), response_of(gain, 1e-5, "-"))
    played = replace(asked, trajectory=(place.astype(np.float32),))
    samples = points(played, 0) * np.exp(-2j * np.pi * turns)
    told = replace(asked, trajectory=(asked.trajectory[0][:, :2],))
    truth = image(tmp_path / "truth.h5", told, [points(asked, 0)]).array
    found = image(tmp_path / "raw.h5", told, [samples], girf=str(path)).array
    left = image(tmp_path / "raw.h5", told, [samples]).array
    # k-space reaches a tenth less far along x: the points are as much wider
    assert away(found, truth) < 0.25
    assert away(left, truth) > 2.5 * away(found, truth)
    assert np.argmax(np.abs(found)) == np.argmax(np.abs(truth))


@pytest.mark.parametrize(
    "array", [np.zeros((3, 3, 8)), np.zeros((3, 4, 1)), np.full((3, 4, 8), np.nan), np.zeros(4)]
)
def test_what_is_no_response_is_refused(tmp_path, array):
    np.save(tmp_path / "wrong.npy", array)
    with pytest.raises(FormatError, match="3, 4, frequencies"):
        read_response(str(tmp_path / "wrong.npy"))


def test_a_missing_response_is_refused(tmp_path):
    with pytest.raises(FormatError, match="is not a gradient response"):
        read_response(str(tmp_path / "absent.npy"))
