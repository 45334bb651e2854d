"""Low rank against series whose rank is known."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.compressed_sensing import frames
from scanroom.mri.recon.low_rank import locally_low_rank, low_rank_plus_sparse
from scanroom.operators.fourier import to_kspace
from scanroom.operators.solvers import conjugate_gradients
from tests.mri.recon.test_compressed_sensing import MAPS, lines
from tests.mri.recon.test_sensitivities import N, disc

N_FRAMES = 12
SNR = 40.0


def series():
    """A disc at rest and a smaller one whose brightness goes up and down twice: rank two."""
    y, x = (np.mgrid[:N, :N] - N // 2) / N
    insert = 1.0 * ((x + 0.12) ** 2 + (y - 0.05) ** 2 < 0.01)
    time = 2 * np.pi * np.arange(N_FRAMES) / N_FRAMES
    return SNR * (disc() + 0.7 * np.cos(2 * time)[:, None, None] * insert)[:, None]


def measured(truth, acceleration=6):
    rng = np.random.default_rng(2)
    sampled = np.stack([lines(acceleration, seed) for seed in range(len(truth))])
    kspace = to_kspace(MAPS * truth[:, None], (3,))
    kspace = kspace + rng.normal(size=(*kspace.shape, 2)) @ [1, 1j]
    return (kspace * sampled[:, None, :, :, None]).astype(np.complex64), sampled


TRUTH = series()
KSPACE, SAMPLED = measured(TRUTH)


def error(images):
    return np.linalg.norm(images - TRUTH) / np.linalg.norm(TRUTH)


@pytest.fixture(scope="module")
def unfolded():
    """Error of the best CG-SENSE of each frame by itself."""
    encode = frames(KSPACE, SAMPLED, MAPS)
    right = encode.H(KSPACE)
    return min(error(conjugate_gradients(encode.N, right, n_iterations=n)) for n in (3, 6, 10, 20))


def test_blocks_of_low_rank_are_found_where_frames_cannot_be_unfolded(unfolded):
    assert error(locally_low_rank(KSPACE, SAMPLED, MAPS)) < 0.6 * unfolded


def test_low_rank_and_sparse_parts_are_found(unfolded):
    parts = low_rank_plus_sparse(KSPACE, SAMPLED, MAPS)
    assert error(parts.image) < 0.6 * unfolded
    still = parts.background - parts.background.mean(axis=0)
    # what does not change is the background's, what pulsates the motion's
    assert np.linalg.norm(parts.background.mean(axis=0)) > 0.9 * np.linalg.norm(TRUTH.mean(axis=0))
    assert np.linalg.norm(still) < 0.3 * np.linalg.norm(parts.background)


def test_all_lines_and_a_negligible_penalty_give_the_data_back():
    kspace, sampled = measured(TRUTH[:3], acceleration=1)
    sampled[:] = True
    rng = np.random.default_rng(2)
    kspace = to_kspace(MAPS * TRUTH[:3, None], (3,)) + rng.normal(size=(*kspace.shape, 2)) @ [1, 1j]
    kspace = kspace.astype(np.complex64)
    seen = frames(kspace, sampled, MAPS).H(kspace)
    found = locally_low_rank(kspace, sampled, MAPS, strength=1e-4, n_iterations=60)
    np.testing.assert_allclose(found, seen, atol=2e-2)


@pytest.mark.parametrize("method", [locally_low_rank, low_rank_plus_sparse])
def test_same_bytes_with_any_number_of_threads(method, monkeypatch: pytest.MonkeyPatch):
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("SCANROOM_THREADS", threads)
        one = method(KSPACE, SAMPLED, MAPS, n_iterations=3)
        found.append((one if isinstance(one, np.ndarray) else one.image).tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("method", [locally_low_rank, low_rank_plus_sparse])
def test_one_frame_is_refused(method):
    with pytest.raises(ProtocolError, match="2 or more"):
        method(KSPACE[:1], SAMPLED[:1], MAPS)
