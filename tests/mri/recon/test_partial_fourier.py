"""Partial Fourier against a complex object that is known, its phase smooth."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.partial_fourier import Coverage, checked, complete, homodyne, noise_gain
from scanroom.operators.fourier import to_image, to_kspace
from tests.mri.recon.scanner import white

RNG = np.random.default_rng(6)
N = 64


def head(n=N):
    """Discs with sharp edges and a phase of half a turn across the field of view."""
    y, x = (np.mgrid[:n, :n] - n // 2) / n
    size = 1.0 * (x**2 / 0.16 + y**2 / 0.12 < 1) + 0.5 * ((x - 0.1) ** 2 + y**2 < 0.01)
    size[:, : n // 3] *= 0.7
    return size * np.exp(1j * (2 * x - 3 * y * x + 1.5 * y))


def zero_filled(image, coverage):
    kspace = to_kspace(image, (0, 1))
    for axis, seen in coverage.items():
        points = np.arange(image.shape[axis]) - image.shape[axis] // 2
        outside = (points < seen.first) | (points > seen.last)
        kspace[(slice(None),) * (axis % 2) + (outside,)] = 0
    return to_image(kspace, (0, 1)).astype(np.complex64)


def error(image, truth):
    return np.linalg.norm(np.abs(image) - np.abs(truth)) / np.linalg.norm(truth)


@pytest.mark.parametrize("side", ["early", "late"])
@pytest.mark.parametrize(("method", "gain"), [("pocs", 2.0), ("homodyne", 1.5)])
def test_five_eighths_come_closer_to_the_truth_than_zero_filling(side, method, gain):
    seen = Coverage(-8, 31) if side == "late" else Coverage(-32, 7)
    truth = head()
    zero = zero_filled(truth, {-2: seen})
    filled = complete(zero, {-2: seen}, method)
    # the part of the object's detail that its smooth phase lets return
    assert error(filled, truth) < error(zero, truth) / gain


def test_two_axes_by_projection():
    seen = {-2: Coverage(-12, 31), -1: Coverage(-31, 14)}
    truth = head()
    zero = zero_filled(truth, seen)
    assert error(complete(zero, seen, "pocs"), truth) < error(zero, truth) / 1.5


@pytest.mark.parametrize("method", ["pocs", "homodyne"])
def test_real_object_is_recovered_fully(method):
    """Without phase k-space is Hermitian: five eighths say all (homodyne but for one point)."""
    truth = np.abs(head()) * (1 + 0j)
    truth = to_image(np.where(np.arange(N)[:, None] > 0, to_kspace(truth, (0, 1)), 0), (0, 1)).real
    seen = Coverage(-8, 31)
    zero = zero_filled(truth + 0j, {-2: seen})
    filled = complete(zero, {-2: seen}, method)
    # the low-resolution phase flips where Gibbs ringing crosses zero outside the object
    assert error(filled, truth) < 0.03
    assert error(zero, truth) > 0.06


@pytest.mark.parametrize("method", ["pocs", "homodyne", "zero-fill"])
def test_measured_symmetric_coverage_is_left_alone(method):
    image = head().astype(np.complex64)
    np.testing.assert_array_equal(complete(image, {-2: Coverage(-32, 31)}, method), image)


def test_phase_is_kept_by_homodyne():
    truth = head()
    filled = homodyne(zero_filled(truth, {-2: Coverage(-8, 31)}), -2, Coverage(-8, 31))
    inside = np.abs(truth) > 0.6
    # low-resolution phase of a smooth phase, near sharp edges
    assert np.abs(np.angle(filled[inside] / truth[inside])).mean() < 0.06


@pytest.mark.parametrize(("method", "tolerance"), [("pocs", 0.06), ("homodyne", 0.03)])
def test_noise_in_phase_has_the_power_foretold(method, tolerance):
    """Repeat with fresh noise: variance of the magnitude where the object is bright."""
    seen, truth = Coverage(-8, 31), 60 * np.exp(0.4j) * np.ones((N, N))
    truth = truth + 0 * head()
    kspace = to_kspace(truth, (0, 1))
    images = []
    for _ in range(12):
        noisy = to_image(kspace + white(RNG, N, N), (0, 1))
        images.append(np.abs(complete(zero_filled(noisy, {-2: seen}), {-2: seen}, method)))
    power = np.var(images, axis=0, ddof=1).mean()
    zero_filling = 40 / 64
    # 12 repetitions of 4096 pixels: below 1 %; pocs stops before its noise has all arrived
    assert power == pytest.approx(zero_filling * noise_gain(seen, method), rel=tolerance)


def test_unknown_method_names_those_there_are():
    with pytest.raises(ProtocolError, match="pocs, homodyne, zero-fill"):
        checked("magic")
