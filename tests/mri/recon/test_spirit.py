"""SPIRiT where its kernel is exact, on any pattern, and beside noise."""

import numpy as np
import pytest

from scanroom.core.errors import FormatError, ProtocolError
from scanroom.mri.recon.spirit import _gram_of, calibrate_spirit, consistency, spirit
from tests.mri.recon.coil_scenes import N, away, every, hybrid, pictures, same_with_threads, scene
from tests.truth import assert_adjoint

CENTRE = slice(N // 2 - 10, N // 2 + 10)


def shifted_coils():
    """Four coils, each the first one's k-space moved on by a line: all samples are known twice."""
    y, x = (np.mgrid[:N, :N] - N // 2) / N
    blob = np.exp(-60 * (x**2 + (y - 0.05) ** 2) + 2j * y)
    coils = np.stack([np.exp(2j * np.pi * c * y) for c in range(4)])
    return hybrid((coils * blob)[:, None].astype(np.complex64))


def volume():
    """Both axes phase-encoded, one place along the readout."""
    maps, image, _ = scene()
    return hybrid(maps.transpose(0, 2, 3, 1) * image.transpose(1, 2, 0))


def scattered(n=N, share=0.4, centre=20):
    """Both axes phase-encoded, random places and a full centre."""
    sampled = np.random.default_rng(4).random((n, n)) < share
    middle = slice(n // 2 - centre // 2, n // 2 + centre // 2)
    sampled[middle, middle] = True
    return sampled


def test_consistency_is_a_linear_map_with_its_adjoint():
    _, _, kspace = scene(noise=1e-2)
    assert_adjoint(consistency(calibrate_spirit(kspace[:, :, CENTRE]), (1, 12, 10)), rtol=1e-6)
    centre = volume()[:, CENTRE, CENTRE]
    assert_adjoint(consistency(calibrate_spirit(centre), (9, 12, 1)), rtol=1e-6)


def test_prediction_of_every_sample_is_a_sum_of_its_neighbours():
    """The product per pixel against the sum over neighbours, written out."""
    _, _, kspace = scene(noise=1e-2)
    kernel = calibrate_spirit(kspace[:, :, CENTRE])
    rng = np.random.default_rng(2)
    random = (rng.normal(size=(8, 1, 10, 6, 2)) @ [1, 1j]).astype(np.complex64)
    spectrum = np.fft.fftshift(
        np.fft.fft(np.fft.ifftshift(random, 3), axis=3, norm="ortho"), 3
    )  # k-space along x too
    summed = -spectrum
    for y in range(5):
        for x in range(5):
            neighbours = np.roll(spectrum, (2 - y, 2 - x), (2, 3))
            summed = summed + np.einsum("szyx,st->tzyx", neighbours, kernel.weights[0, y, x])
    there = consistency(kernel, (1, 10, 6))(random)
    there = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(there, 3), axis=3, norm="ortho"), 3)
    assert away(there, summed) < 1e-5


def test_compiled_products_are_those_of_the_operator():
    _, _, kspace = scene(noise=1e-2)
    shape = (3, 10, 6)
    kernel = calibrate_spirit(kspace[:, :, CENTRE])
    rng = np.random.default_rng(2)
    random = (rng.normal(size=(8, *shape, 2)) @ [1, 1j]).astype(np.complex64)
    samples = np.moveaxis(np.fft.ifftshift(random, (1, 2)), 3, 0)
    fast = _gram_of(kernel.pixels(shape, slice(0, 6)), 0.25)(np.ascontiguousarray(samples))
    slow = consistency(kernel, shape).N(random) + 0.25 * random
    assert away(np.fft.fftshift(np.moveaxis(fast, 0, 3), (1, 2)), slow) < 1e-5


def test_sample_is_never_made_of_itself():
    _, _, kspace = scene()
    weights = calibrate_spirit(kspace[:, :, CENTRE]).weights
    middle = tuple(n // 2 for n in weights.shape[:3])
    assert not np.diagonal(weights[middle]).any()


def test_coils_that_know_each_others_samples_fill_them_exactly():
    """One line of four: what one coil lacks another has measured, three lines on at most."""
    kspace, sampled = shifted_coils(), every(4, centre=20)
    kernel = calibrate_spirit(kspace[:, :, CENTRE], regularisation=0.0)
    filled = spirit(
        kspace * sampled[..., None], sampled, kernel, noise=0.0, n_iterations=300, tolerance=1e-5
    )
    # single precision Gram matrix, loaded by its rounding: 1e-5 of its mean
    assert away(filled, kspace) < 2e-3


@pytest.mark.parametrize(("step", "bound"), [(2, 0.02), (4, 0.05)])
def test_lines_left_out_come_back(step, bound):
    _, _, kspace = scene(noise=1e-3)
    sampled = every(step, centre=20)
    filled = spirit(kspace * sampled[..., None], sampled)
    assert away(pictures(filled), pictures(kspace)) < bound
    assert away(pictures(kspace * sampled[..., None]), pictures(kspace)) > 1.5 * bound


def test_random_pattern():
    kspace, sampled = volume(), scattered()
    filled = spirit(kspace * sampled[..., None], sampled)
    assert away(filled, kspace) < 0.03


def test_kernel_of_one_object_fills_another():
    """Coils alone make the kernel: a frame without any centre is filled with that of another."""
    maps, _, first = scene(noise=1e-3)
    kernel = calibrate_spirit(first[:, :, CENTRE])
    second = hybrid(maps * np.flip(scene()[1], 1))
    sampled = every(2)
    filled = spirit(second * sampled[..., None], sampled, kernel, noise=1e-3)
    assert away(filled, second) < 0.03


def test_noise_holds_back_what_it_hides():
    """Lines that are half noise: filled with regard to it, far nearer to the truth."""
    maps, image, kspace = scene(noise=0.3)
    truth, sampled = pictures(hybrid(maps * image)), every(4, centre=20)
    error = {
        noise: away(pictures(spirit(kspace * sampled[..., None], sampled, noise=noise)), truth)
        for noise in (0.0, 0.3, None)
    }
    assert error[0.3] < 0.7 * error[0.0]
    # noise that is not given is what the kernel misses
    assert error[None] < 1.1 * error[0.3]


def test_misfit_is_what_the_prediction_misses():
    """Of samples whose neighbours are all in the centre."""
    _, _, kspace = scene(noise=0.2)
    kernel = calibrate_spirit(kspace[:, :, CENTRE])
    strain = consistency(kernel, (1, N, N))(kspace)
    strain = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(strain, 3), axis=3, norm="ortho"), 3)
    inner = strain[:, :, CENTRE.start + 2 : CENTRE.stop - 2, 2:-2]
    assert kernel.misfit == pytest.approx(np.mean(np.abs(inner) ** 2), rel=1e-3)
    # own noise, less what 200 weights fit of it in 960 places, more what neighbours bring
    own, brought = 2 * 0.2**2, np.linalg.norm(kernel.weights) ** 2 / 8
    assert own * (1 - 200 / 960) < kernel.misfit < own * (1 + brought)


def test_unit_of_samples_does_not_matter():
    _, _, kspace = scene(noise=0.1)
    sampled = every(3, centre=20)
    for noise in (0.1, None):
        one = spirit(kspace, sampled, noise=noise)
        other = spirit(100 * kspace, sampled, noise=noise and 100 * noise)
        assert away(other, 100 * one) < 1e-4


def test_measured_samples_stay():
    _, _, kspace = scene(noise=0.01)
    sampled = every(3, centre=20)
    filled = spirit(kspace, sampled)
    np.testing.assert_array_equal(filled[:, sampled], kspace[:, sampled])


def test_what_was_not_measured_counts_for_nothing():
    _, _, kspace = scene(noise=0.01)
    sampled = every(3, centre=20)
    once = spirit(kspace * sampled[..., None], sampled)
    np.testing.assert_array_equal(spirit(kspace, sampled), once)


def test_everything_measured_stays_as_it_is():
    _, _, kspace = scene(noise=0.01)
    np.testing.assert_array_equal(spirit(kspace, np.ones((1, N), bool)), kspace)


def test_bytes_and_precision(monkeypatch):
    _, _, kspace = scene(noise=0.01)
    sampled = every(3, centre=20)
    same_with_threads(monkeypatch, lambda: spirit(kspace, sampled))
    assert spirit(kspace, sampled).dtype == np.complex64


def test_what_cannot_be_is_refused():
    _, _, kspace = scene()
    with pytest.raises(ProtocolError, match="SPIRiT kernel"):
        spirit(kspace, every(4, centre=4))
    with pytest.raises(ProtocolError, match="odd"):
        calibrate_spirit(kspace, kernel=4)
    with pytest.raises(ProtocolError, match="0 measured lines"):
        spirit(kspace, np.zeros((1, N), bool))
    with pytest.raises(ProtocolError, match="8 coils and the kernel 4"):
        spirit(kspace, every(4, centre=20), calibrate_spirit(kspace[:4, :, CENTRE]))
    kspace[0, 0, N // 2, 3] = np.nan
    with pytest.raises(FormatError, match="not finite"):
        spirit(kspace, every(4, centre=20))
