"""Units of penalties against noise whose statistics are known."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.compressed_sensing import white
from scanroom.mri.recon.low_rank import LOCAL_SHARE, LocalRank
from scanroom.mri.recon.sparsity import PENALTIES, Variation, Wavelets, penalty
from scanroom.operators.differences import gradient
from scanroom.operators.variation import TotalVariation

SHAPE = (1, 1, 128, 96)


def test_white_noise_has_the_deviation_asked_for():
    noise = white((64, 64), 3.0, 1)
    # 4096 numbers: their deviation is known to 1.1 %
    assert noise.real.std() == pytest.approx(3.0, rel=0.05)
    assert noise.imag.std() == pytest.approx(3.0, rel=0.05)
    np.testing.assert_array_equal(noise, white((64, 64), 3.0, 1))


def test_white_noise_is_as_loud_in_every_band_and_shrinks_as_its_law_says():
    """Magnitudes are Rayleigh's: above a threshold t (deviation 1) they keep this much energy."""
    chosen = Wavelets(SHAPE)
    noise = white(SHAPE, 1.0, 1)
    chosen.learn(noise)
    coarse = np.sqrt(SHAPE[-1] * SHAPE[-2] / 4**4)
    assert chosen.loudness(noise) == pytest.approx(1, rel=0.1)
    size = np.linspace(0, 12, 20001)
    law = size * np.exp(-(size**2) / 2)
    kept = np.trapezoid(np.maximum(size - 1, 0) ** 2 * law, size) / 2
    after = chosen(noise, 1.0)
    share = np.linalg.norm(after) ** 2 / np.linalg.norm(noise) ** 2
    # 12,288 coefficients, of which the coarsest ones are not shrunk
    assert share == pytest.approx(kept, abs=0.02 + coarse**2 / 12288)


def test_joint_frames_keep_less_noise_together():
    alone, together = Wavelets(SHAPE), Wavelets((6, *SHAPE[1:]))
    noise = white((6, *SHAPE[1:]), 1.0, 1)
    alone.learn(noise[:1])
    together.learn(noise)
    one = np.linalg.norm(alone(noise[:1], 1.0)) / np.linalg.norm(noise[:1])
    six = np.linalg.norm(together(noise, 1.0)) / np.linalg.norm(noise)
    # relative to its mean the norm of a group fluctuates less
    assert six < one


def test_wavelets_pad_any_size_and_give_it_back():
    chosen = Wavelets((1, 1, 115, 90))
    image = white((1, 1, 115, 90), 1.0, 2)
    chosen.learn(image)
    np.testing.assert_allclose(chosen(image, 0.0), image, atol=1e-5)


def test_the_least_field_diverges_to_the_noise_and_is_found_exactly():
    """A field of known potential: its divergence is given, its deviation is known."""
    shape = (1, 24, 32)
    slope = gradient(shape)
    potential = white(shape, 1.0, 3).astype(complex)
    flow = slope(potential)
    chosen = Variation((1, *shape), TotalVariation)
    chosen.learn(slope.H(flow).astype(np.complex64)[None])
    deviation = np.sqrt(np.mean(np.abs(flow) ** 2) / 2)
    assert chosen._unit == pytest.approx(Variation.SHARE * deviation, rel=1e-4)
    bends = np.sqrt(np.mean(np.abs(slope(slope.H(flow))) ** 2) / 2)
    assert chosen._step == pytest.approx(bends, rel=1e-4)


def test_noise_blocks_reach_the_edge_of_marchenko_and_pastur():
    chosen = LocalRank((12, 1, 64, 64), block=8)
    noise = white((12, 1, 64, 64), 2.0, 4)
    chosen.learn(noise)
    values = np.linalg.svd(chosen.patches.cut(noise), compute_uv=False)
    # the mean of the largest, finite sizes included: I. M. Johnstone, doi:10.1214/aos/1009210544,
    # for complex matrices, with the mean of Tracy and Widom's second law, -1.7711
    long, short = 8.0, np.sqrt(12)
    power = (long + short) ** 2 - 1.7711 * (long + short) * (1 / long + 1 / short) ** (1 / 3)
    edge = chosen._unit / LOCAL_SHARE / (long + short)
    assert values[:, 0].mean() == pytest.approx(edge * np.sqrt(power), rel=0.01)
    assert np.linalg.norm(chosen(noise, 1.2 / LOCAL_SHARE)) < 1e-3 * np.linalg.norm(noise)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_are_the_same_for_the_same_seed(name):
    image, found = white((2, 1, 32, 32), 1.0, 5), []
    for _ in range(2):
        chosen = penalty(name, (2, 1, 32, 32), seed=7)
        chosen.learn(image)
        found.append(np.stack([chosen(image, 1.0) for _ in range(3)]).tobytes())
    assert found[0] == found[1]


def test_choices_that_cannot_be_are_refused():
    with pytest.raises(ProtocolError, match="wavelet, tv, tgv"):
        penalty("curvelet", SHAPE)
    with pytest.raises(ProtocolError, match="16"):
        Wavelets((1, 1, 9, 12))
