"""Slices told apart: exact where coils see one each, and what leaks where they do not."""

import numpy as np
import pytest

from scanroom.core.errors import FormatError, ProtocolError
from scanroom.mri.recon.grappa import calibrate
from scanroom.mri.recon.lattice import lattice_of
from scanroom.mri.recon.multislice import METHODS, blipped, calibrate_slices, slice_images
from scanroom.mri.recon.replicas import replica_noise
from scanroom.operators.fourier import to_image, to_kspace
from tests.mri.recon.coil_scenes import N, away, every, head, ring, same_with_threads

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


@pytest.mark.parametrize("method", METHODS)
def test_coils_that_are_copies_a_line_apart_part_slices_exactly(method):
    """Each slice's coils are one another's k-space a line on, of the second in turn of sign.

    The sum of a sample and the next coil's at the next line is twice that of the first slice.
    """
    y, x = (np.mgrid[:N, :N] - N // 2) / N
    blob = np.exp(-60 * (x**2 + (y - 0.05) ** 2) + 2j * y)
    coil = np.arange(4)[:, None, None]
    images = np.stack(
        [
            np.exp(2j * np.pi * coil * y) * blob,
            (-1) ** coil * np.exp(2j * np.pi * coil * y) * np.roll(blob, 9, 1),
        ]
    )
    known = to_kspace(images.astype(np.complex64), (2,))
    kernel = calibrate_slices(known, method=method, regularisation=0.0, kernel=(5, 1))
    # k-space ends where the blobs have none; the rest is single precision in the Gram matrix
    assert away(kernel.separate(known.sum(axis=0)), known) < 5e-3


def test_leakage_is_what_one_slice_leaves_in_another():
    known = references()
    kernel = calibrate_slices(known)
    into_second = kernel.separate(known[0])[1]
    assert kernel.leakage(known)[1, 0] == pytest.approx(
        np.linalg.norm(into_second) / np.linalg.norm(known[0]), rel=1e-5
    )
    together = kernel.separate(known.sum(axis=0))
    apart = kernel.separate(known[0]) + kernel.separate(known[1])
    assert away(together, apart) < 1e-5


def test_split_holds_for_another_contrast():
    """References of one contrast, slices of another: what leaks hardly grows."""
    bright, known = references(), references()
    bright[0] *= 3
    kernel = calibrate_slices(bright)
    parted = kernel.separate(known.sum(axis=0))
    assert away(parted[0], known[0]) < 0.05
    assert away(parted[1], known[1]) < 0.05


def test_three_slices_at_every_second_line():
    """Six times faster: slices told apart first, then missing lines filled by each slice's own."""
    shifts = (0.0, 1 / 3, 2 / 3)
    y, x = (np.mgrid[:N, :N] - N // 2) / N
    angle = np.pi * np.arange(12) / 6
    seen = []
    for height in (-1, 0, 1):  # coils on two rings
        far = np.stack(
            [
                (x - 0.6 * np.cos(a)) ** 2
                + (y - 0.6 * np.sin(a)) ** 2
                + (0.3 * height - 0.25 * (-1) ** c) ** 2
                for c, a in enumerate(angle)
            ]
        )
        made = np.exp(1j * angle)[:, None, None] / (0.1 + far)
        seen.append(made / np.linalg.norm(made, axis=0))
    maps = np.stack(seen).astype(np.complex64)
    truth = np.stack([head(), head()[::-1], head()[:, ::-1]])
    full = to_kspace(maps * truth[:, None], (2,)).astype(np.complex64)
    sampled = every(2, centre=24)
    half = blipped(full[:, :, ::2], shifts)
    kernel = calibrate_slices(half, regularisation=0.0)
    parted = kernel.separate(half.sum(axis=0))
    assert away(parted, half) < 0.05
    back = blipped(parted, tuple(-shift for shift in shifts))
    for one, known, coils, wanted in zip(back, full, maps, truth, strict=True):
        kspace = known[:, None] * 0
        kspace[:, 0, ::2] = one
        kernel = calibrate(
            known[:, None], sampled, lattice_of(sampled), centre=known[:, None, 20:44], noise=0.0
        )
        filled = kernel.fill(kspace, every(2))
        image = np.einsum("cyx,cyx->yx", coils.conj(), to_image(filled[:, 0], (1,)))
        assert away(image, wanted) < 0.1


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


@pytest.mark.parametrize("shifts", [SHIFTS, (0.0, 1 / 3)])
def test_noise_is_that_of_replicas(shifts):
    """Analytic against repeated, also where blips move by a part of a pixel."""
    known = references(shifts)
    kernel = calibrate_slices(known, regularisation=1e-3)

    def images(collapsed):
        coils = slice_images(kernel.separate(collapsed), shifts)
        return np.einsum("scyx,scyx->syx", maps().conj(), coils)

    found = replica_noise(images, known.sum(axis=0), n_replicas=60)
    ratio = found / kernel.gfactor(maps(), shifts)
    assert ratio.mean() == pytest.approx(1, abs=0.05)
    # sixty replicas alone spread a pixel by 9 %
    assert ratio.std() < 0.12


def test_noise_of_maps_that_blips_have_moved():
    kernel = calibrate_slices(references())
    moved = np.stack([maps()[0], np.roll(maps()[1], N // 2, axis=1)])
    where_it_is = kernel.gfactor(maps(), SHIFTS)
    where_it_went = kernel.gfactor(moved)
    np.testing.assert_allclose(where_it_went[0], where_it_is[0], rtol=1e-4)
    np.testing.assert_allclose(np.roll(where_it_went[1], N // 2, 0), where_it_is[1], rtol=1e-4)


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
    with pytest.raises(ProtocolError, match="odd"):
        calibrate_slices(references(), kernel=(4, 5))
    with pytest.raises(ProtocolError, match="places of the references"):
        calibrate_slices(references()[:, :, :6])
    with pytest.raises(ProtocolError, match="8 coils") as refusal:
        calibrate_slices(references()[:, :4]).separate(references().sum(axis=0))
    assert "kernel 4" in str(refusal.value)
    damaged = references()
    damaged[0, 0, 3, 3] = np.inf
    with pytest.raises(FormatError, match="not finite"):
        calibrate_slices(damaged)
