"""Replicas of reconstructions whose noise is known."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.replicas import replica_noise

KSPACE = np.full((3, 40, 40), 5 + 2j, np.complex64)


def test_linear_sums_have_the_noise_of_their_weights():
    weights = np.array([2.0, -1.0, 0.5j], np.complex64)
    found = replica_noise(lambda k: np.einsum("c,cyx->yx", weights, k), KSPACE, n_replicas=50)
    # 1600 pixels of 50 replicas: 0.25 %
    assert np.sqrt((found**2).mean()) == pytest.approx(np.linalg.norm(weights), rel=0.01)


def test_noise_is_that_in_phase_with_the_image():
    """Real part alone: an image along it has all of the noise, one across it none."""
    along = replica_noise(lambda k: k[0].real + 0j, KSPACE, n_replicas=20)
    across = replica_noise(lambda k: k[0].real * 1j + 1e4, KSPACE, n_replicas=20)
    assert along.mean() == pytest.approx(1, abs=0.05)
    assert across.max() < 0.01


def test_a_bias_of_something_that_is_not_linear_is_no_noise():
    found = replica_noise(lambda k: 100 + 0 * k[0] + np.abs(k).max() ** 0, KSPACE, n_replicas=5)
    assert not found.any()


def test_same_seed_same_bytes():
    runs = [replica_noise(lambda k: k[0], KSPACE, n_replicas=3, seed=s) for s in (1, 1, 2)]
    assert runs[0].tobytes() == runs[1].tobytes()
    assert runs[0].tobytes() != runs[2].tobytes()


def test_one_replica_is_refused():
    with pytest.raises(ProtocolError, match="2 or more"):
        replica_noise(lambda k: k[0], KSPACE, n_replicas=1)
