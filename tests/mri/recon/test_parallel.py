"""Unfolding against objects and coils that are known."""

import numpy as np
import pytest

from scanroom.mri.recon import reconstruct
from scanroom.mri.recon.parallel import can_unfold, centre_block, sense, unfolded
from scanroom.operators.fourier import to_image, to_kspace
from tests.mri.recon.scanner import cartesian, write
from tests.mri.recon.test_sensitivities import N, disc, known_maps

EVERY_SECOND = np.arange(N) % 2 == 0
WITH_CENTRE = (np.arange(N) % 3 == 2) | (np.abs(np.arange(N) - N // 2 + 0.5) < 6)


def seen():
    """Hybrid space (k in y, image in x) of the disc through known coils."""
    return to_kspace(known_maps() * disc(), (1,))[:, None].astype(np.complex64)


def error(image):
    return np.linalg.norm(np.abs(image) - disc()) / np.linalg.norm(disc())


def test_true_maps_unfold_every_second_line_exactly():
    sampled = EVERY_SECOND[None]
    image = sense(seen() * sampled[..., None], sampled, known_maps()[:, None].astype(np.complex64))
    # iterations stop at a residual of 0.03 %; six coils are well conditioned at R = 2
    assert error(image[0]) < 0.02


def test_maps_from_the_centre_unfold_far_better_than_zeros():
    sampled = WITH_CENTRE[None]
    kspace = seen() * sampled[..., None]
    image, maps = unfolded(kspace, sampled, (1, N), None)
    zeros = (maps.conj() * to_image(kspace, (2,))).sum(axis=0)
    assert error(image[0]) < 0.05
    assert error(zeros[0]) > 0.1


def test_interpolation_after_unfolding_keeps_the_image():
    sampled = np.zeros((1, 2 * N), dtype=bool)
    sampled[0, N // 2 : N // 2 + N] = WITH_CENTRE
    kspace = np.zeros((6, 1, 2 * N, N), dtype=np.complex64)
    kspace[:, :, N // 2 : N // 2 + N] = seen() * WITH_CENTRE[None, :, None]
    fine, _ = unfolded(kspace, sampled, (1, N), None)
    coarse, _ = unfolded(seen() * WITH_CENTRE[None, :, None], WITH_CENTRE[None], (1, N), None)
    # pixels of the coarse grid are every second of the fine one; amplitudes go as 1 / sqrt(n)
    np.testing.assert_allclose(fine[0, ::2] * np.sqrt(2), coarse[0], atol=1e-5)


def test_centre_block_is_the_widest_without_gaps():
    sampled = np.zeros((1, 32), dtype=bool)
    sampled[0, ::2] = True
    sampled[0, 11:22] = True
    assert centre_block(sampled) == (slice(0, 1), slice(10, 22))


@pytest.mark.parametrize(("n_coils", "sampled"), [(1, WITH_CENTRE), (6, EVERY_SECOND)])
def test_one_coil_or_no_centre_cannot_unfold(n_coils, sampled):
    assert not can_unfold(sampled[None], n_coils)


def test_accelerated_scan_is_unfolded_end_to_end(tmp_path):
    lines = np.flatnonzero(WITH_CENTRE)
    encoding = cartesian(matrix=(N, N, 1), oversampling=1, steps=[(int(j), 0) for j in lines])
    kspace = to_kspace(known_maps() * disc(), (1, 2))
    raw = write(tmp_path / "raw.h5", encoding, [kspace[:, j] for j in lines])
    (result,) = reconstruct(raw)
    image = result.array[0] / result.array[0][disc() == 1].mean()
    assert error(image) < 0.06
    assert any("GRAPPA" in step for step in result.provenance["steps"])
    (solved,) = reconstruct(raw, method="cg-sense")
    assert any("CG-SENSE" in step for step in solved.provenance["steps"])
    (zeros,) = reconstruct(raw, combination="root-sum-of-squares")
    assert error(zeros.array[0] / zeros.array[0][disc() == 1].mean()) > 0.1
