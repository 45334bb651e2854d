"""Virtual coils: energy kept where few suffice, noise white."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.compression import compressed, geometric, principal

RNG = np.random.default_rng(9)


def random(*shape):
    return (RNG.normal(size=(*shape, 2)) @ [1, 1j]).astype(np.complex64)


def test_coils_that_are_mixtures_of_few_lose_nothing():
    few = random(3, 2, 20, 16)
    kspace = np.einsum("cv,vzyx->czyx", random(8, 3), few)
    made = compressed(kspace, principal(kspace, 3))
    # complex64
    assert np.linalg.norm(made) == pytest.approx(np.linalg.norm(kspace), rel=1e-5)
    rebuilt = np.einsum("vc,vzyx->czyx", principal(kspace, 3).conj(), made)
    np.testing.assert_allclose(rebuilt, kspace, atol=1e-4 * np.abs(kspace).max())


def test_mixtures_that_change_along_the_readout_need_geometric_ones():
    x = np.linspace(0, 1, 32)
    turn = np.stack([np.exp(2j * np.pi * c * x) for c in range(8)]) / np.sqrt(8)
    kspace = (turn[:, None, None] * random(1, 1, 20, 32)).astype(np.complex64)
    whole = np.linalg.norm(kspace)
    assert np.linalg.norm(compressed(kspace, geometric(kspace, 1))) == pytest.approx(
        whole, rel=1e-4
    )
    assert np.linalg.norm(compressed(kspace, principal(kspace, 1))) < 0.7 * whole


def test_geometric_matrices_follow_each_other_without_jumps():
    x = np.linspace(0, 1, 64)
    mix = np.stack([np.cos(2 * x + c) + 0.5j * np.sin(x * c) for c in range(6)])
    kspace = (mix[:, None, None] * random(1, 1, 30, 64)).astype(np.complex64)
    matrices = geometric(kspace, 2)[:, 0]
    steps = np.abs((matrices[1:].conj() * matrices[:-1]).sum(axis=1))
    angles = np.angle((matrices[1:].conj() * matrices[:-1]).sum(axis=1))
    assert steps.min() > 0.98
    assert np.abs(angles).max() < 0.1


def test_noise_stays_white():
    kspace = random(8, 1, 12, 10)
    one = principal(kspace, 4)
    np.testing.assert_allclose(one @ one.conj().T, np.eye(4), atol=1e-5)
    each = geometric(kspace, 4)
    product = each @ each.conj().transpose(0, 2, 1)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(4), product.shape), atol=1e-5)


def test_single_precision_stays():
    kspace = random(4, 1, 8, 8)
    assert compressed(kspace, principal(kspace, 2)).dtype == np.complex64
    assert compressed(kspace, geometric(kspace, 2)).dtype == np.complex64


@pytest.mark.parametrize("make", [principal, geometric])
@pytest.mark.parametrize("n", [0, 5])
def test_wrong_counts_are_refused(make, n):
    with pytest.raises(ProtocolError, match="virtual coils"):
        make(random(4, 1, 8, 8), n)
