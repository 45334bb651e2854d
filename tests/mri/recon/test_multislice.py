"""Slices told apart: exact where coils see one each, and what leaks where they do not."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.multislice import METHODS, blipped, calibrate_slices, slice_images
from scanroom.mri.recon.replicas import replica_noise
from scanroom.operators.fourier import to_image, to_kspace
from tests.mri.recon.coil_scenes import N, away, head, ring, same_with_threads

SHIFTS = (0.0, 1 / 2)


def maps():
    """Two slices: the ring of coils, and the same a little further up, fainter on one side."""
    y, x = (np.mgrid[:N, :N] - N // 2) / N
    second = ring() * np.exp(1j * (x + y)) * (1 + np.arange(8)[:, None, None] / 8)
    return np.stack([ring(), second / np.linalg.norm(second, axis=0)]).astype(np.complex64)


def references(shifts=SHIFTS):
    """Hybrid k-space of each slice alone, with its blips."""
    images = maps() * np.stack([head(), 0.8 * head()[::-1]])[:, None]
    return blipped(to_kspace(images, (2,)), shifts)


def test_blips_move_by_a_share_of_the_field_of_view():
    plain, moved = references((0.0, 0.0)), references((0.0, 0.25))
    np.testing.assert_allclose(
        to_image(moved, (2,))[1], np.roll(to_image(plain, (2,))[1], N // 4, axis=1), atol=1e-5
    )
    np.testing.assert_allclose(slice_images(moved, (0.0, 0.25)), to_image(plain, (2,)), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_coils_that_see_one_slice_each_part_them_exactly(method):
    known = references((0.0, 0.0))
    known[0, 4:] = 0
    known[1, :4] = 0
    kernel = calibrate_slices(known, method=method, regularisation=0.0)
    parted = kernel.separate(known.sum(axis=0))
    # sources are cut at the edge of k-space: a kernel of one point would be exact to rounding
    assert away(parted, known) < 0.01
    leaks = kernel.leakage(known)
    assert leaks[0, 1] < 0.01
    assert leaks[1, 0] < 0.01


def test_split_leaks_less_than_plain():
    known = references()
    leaks = {m: calibrate_slices(known, method=m).leakage(known) for m in METHODS}
    off = {m: max(table[0, 1], table[1, 0]) for m, table in leaks.items()}
    assert off["split"] < 0.5 * off["plain"]
    assert off["split"] < 0.03
    np.testing.assert_allclose(np.diag(leaks["split"]), 1, atol=0.02)


def test_shifts_part_slices_better():
    worst = []
    for shifts in ((0.0, 0.0), SHIFTS):
        known = references(shifts)
        parted = calibrate_slices(known).separate(known.sum(axis=0))
        worst.append(away(parted, known))
    assert worst[1] < 0.6 * worst[0]
    assert worst[1] < 0.02


def test_lines_left_out_in_plane_part_as_well():
    """Every second line, calibrated on every second line: slices first, lines later."""
    known = references()[:, :, ::2]
    parted = calibrate_slices(known).separate(known.sum(axis=0))
    assert away(parted, known) < 0.1


def test_noise_is_that_of_replicas():
    known = references()
    kernel = calibrate_slices(known, regularisation=1e-3)
    seen = to_kspace(blipped(to_kspace(maps(), (2,)), SHIFTS), ()).astype(np.complex64)
    shifted = np.ascontiguousarray(to_image(seen, (2,)))
    analytic = kernel.gfactor(shifted)

    def images(collapsed):
        return np.einsum(
            "scyx,scyx->syx", shifted.conj(), to_image(kernel.separate(collapsed), (2,))
        )

    found = replica_noise(images, known.sum(axis=0), n_replicas=60)
    ratio = found / analytic
    assert np.median(ratio) == pytest.approx(1, abs=0.05)


def test_bytes_do_not_hang_on_threads(monkeypatch):
    known = references()
    same_with_threads(monkeypatch, lambda: calibrate_slices(known).separate(known.sum(axis=0)))


def test_single_precision_stays():
    known = references()
    assert known.dtype == np.complex64
    assert calibrate_slices(known).separate(known.sum(axis=0)).dtype == np.complex64


def test_what_cannot_be_is_refused():
    with pytest.raises(ProtocolError, match="split or plain"):
        calibrate_slices(references(), method="best")
    with pytest.raises(ProtocolError, match="shifts"):
        blipped(references(), (0.0,))
