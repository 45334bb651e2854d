"""Compressed sensing against objects and coils that are known."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.compressed_sensing import (
    compressed_sensing,
    joint_compressed_sensing,
    minimise,
    n_steps_down,
)
from scanroom.mri.recon.parallel import sense
from scanroom.mri.recon.sparsity import PENALTIES, Wavelets, penalty
from scanroom.operators.blocks import block_diagonal
from scanroom.operators.fourier import to_image, to_kspace
from scanroom.operators.linear import Linear
from scanroom.operators.undersampled import undersampled
from tests.mri.recon.test_sensitivities import N, disc, known_maps

MAPS = known_maps()[:, None].astype(np.complex64)
SNR = 40.0


def lines(acceleration, seed=0):
    """Random lines, more of them near the centre, which is full."""
    rng = np.random.default_rng(seed)
    far = np.abs(np.arange(N) - N // 2) / (N / 2)
    sampled = far < 8 / N
    weight = np.where(sampled, 0, (1 - far) ** 2 + 0.05)
    rest = N // acceleration - sampled.sum()
    sampled[rng.choice(N, rest, replace=False, p=weight / weight.sum())] = True
    return sampled[None]


def measured(sampled, seed=1):
    rng = np.random.default_rng(seed)
    kspace = to_kspace(MAPS * (SNR * disc()), (2,))
    kspace = kspace + rng.normal(size=(*kspace.shape, 2)) @ [1, 1j]
    return (kspace * sampled[None, :, :, None]).astype(np.complex64)


def error(image, truth=None):
    truth = SNR * disc() if truth is None else truth
    return np.linalg.norm(image - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("acceleration", [3, 4])
def test_a_piecewise_constant_object_is_found_where_unfolding_drowns_in_noise(name, acceleration):
    sampled = lines(acceleration)
    kspace = measured(sampled)
    found = error(compressed_sensing(kspace, sampled, MAPS, sparse_in=name)[0])
    assert found < 0.5 * error(sense(kspace, sampled, MAPS)[0])


@pytest.mark.parametrize("strength", [1 / 8, 8.0])
@pytest.mark.parametrize("name", PENALTIES)
def test_the_strength_of_the_noise_beats_far_weaker_and_far_stronger(name, strength):
    sampled = lines(3)
    kspace = measured(sampled)
    errors = [
        error(compressed_sensing(kspace, sampled, MAPS, sparse_in=name, strength=each)[0])
        for each in (1.0, strength)
    ]
    assert errors[0] < errors[1]


def test_all_lines_and_a_negligible_penalty_give_the_data_back():
    sampled = np.ones((1, N), bool)
    kspace = measured(sampled)
    found = compressed_sensing(kspace, sampled, MAPS, strength=1e-4, n_iterations=60)
    seen = (MAPS.conj() * to_image(kspace, (2,))).sum(axis=0)
    np.testing.assert_allclose(found, seen, atol=1e-3 * SNR)


def test_scaling_data_and_noise_scales_the_image():
    """The strength follows the noise: units do not matter."""
    sampled = lines(3)
    kspace = measured(sampled)[None]
    encode = block_diagonal([undersampled(MAPS, sampled)])
    images = []
    for scale in (1.0, 1e-6):
        chosen = penalty("wavelet", (1, 1, N, N))
        images.append(
            minimise(encode, kspace * np.float32(scale), chosen, noise=scale, lipschitz=1.0)
        )
    np.testing.assert_allclose(images[1] * 1e6, images[0], atol=1e-2)


def test_any_linear_encoding_will_do():
    """One without fast normal operator, scaled, its norm found by power iteration."""
    sampled = lines(3)
    kspace = measured(sampled)[None]
    plain = block_diagonal([undersampled(MAPS, sampled)])
    third = np.float32(1 / 3)
    scaled = Linear(
        lambda x: plain.forward(x) * third,
        lambda y: plain.adjoint(y) * third,
        plain.domain,
        plain.codomain,
    )
    found = minimise(scaled, kspace * third, Wavelets((1, 1, N, N)), noise=1 / 3)
    straight = compressed_sensing(kspace[0], sampled, MAPS)
    # both stop on the way: steps are 5 % shorter here
    assert error(found[0], straight) < 0.03


def test_contrasts_of_one_object_help_each_other():
    several = np.stack([lines(4, seed) for seed in range(4)])
    kspace = np.stack([measured(one, seed + 5) for seed, one in enumerate(several)])
    joint = joint_compressed_sensing(kspace, several, MAPS)
    alone = [compressed_sensing(k, s, MAPS) for k, s in zip(kspace, several, strict=True)]
    assert np.mean([error(one) for one in joint]) < 0.9 * np.mean([error(one) for one in alone])


def test_a_size_that_cannot_be_halved_is_padded():
    maps = MAPS[:, :, 2:-3, 1:]
    sampled = lines(3)[:, 2:-3]
    rng = np.random.default_rng(3)
    truth = SNR * disc()[2:-3, 1:]
    kspace = to_kspace(maps * truth, (2,)) + rng.normal(size=(*maps.shape, 2)) @ [1, 1j]
    kspace = (kspace * sampled[None, :, :, None]).astype(np.complex64)
    found = compressed_sensing(kspace, sampled, maps)
    assert error(found, truth) < 0.6 * error(sense(kspace, sampled, maps), truth)


@pytest.mark.parametrize("name", PENALTIES)
def test_same_bytes_with_any_number_of_threads(name, monkeypatch: pytest.MonkeyPatch):
    sampled, found = lines(3), []
    kspace = measured(sampled)
    for threads in ("1", "3"):
        monkeypatch.setenv("SCANROOM_THREADS", threads)
        image = compressed_sensing(kspace, sampled, MAPS, sparse_in=name, n_iterations=5)
        found.append(image.tobytes())
    assert found[0] == found[1]


def test_what_does_not_fit_is_refused():
    sampled = lines(3)
    kspace = measured(sampled)
    with pytest.raises(ProtocolError, match="one grid"):
        compressed_sensing(kspace[:, :, 1:], sampled, MAPS)
    with pytest.raises(ProtocolError, match="one grid"):
        compressed_sensing(kspace, sampled[:, 1:], MAPS)
    with pytest.raises(ProtocolError, match="tgv"):
        compressed_sensing(kspace, sampled, MAPS, sparse_in="fourier")
    kspace[0, 0, 0, 0] = np.nan
    with pytest.raises(ProtocolError, match="finite"):
        compressed_sensing(kspace, sampled, MAPS)


def test_strength_comes_down_to_that_of_the_noise():
    assert n_steps_down(0.5) == 0
    assert 100 * 0.8 ** n_steps_down(100.0) <= 1 < 100 * 0.8 ** (n_steps_down(100.0) - 1)
