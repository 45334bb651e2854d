"""ESPIRiT maps against maps that are known."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.espirit import espirit, patch_size
from scanroom.operators.fourier import resize, to_kspace
from tests.mri.recon.coil_scenes import N, head, ring, same_with_threads


def centre(images, n=24, noise=0.0):
    """Middle of k-space of ``coil z y x`` images, at most ``n`` points along each axis."""
    kspace = to_kspace(images, (1, 2, 3))
    for axis in (1, 2, 3):
        kspace = resize(kspace, min(n, kspace.shape[axis]), axis)
    rng = np.random.default_rng(8)
    return (kspace + noise * rng.normal(size=(*kspace.shape, 2)) @ [1, 1j]).astype(np.complex64)


def seen():
    return (ring() * head())[:, None]


def residual(maps, images):
    """What the maps (set coil z y x) cannot explain of coil images, over all of them."""
    basis = np.moveaxis(maps, (0, 1), (-1, -2)).astype(np.complex128)
    pixels = np.moveaxis(images, 0, -1)[..., None].astype(np.complex128)
    left = pixels - basis @ (np.linalg.pinv(basis) @ pixels)
    return float(np.linalg.norm(left) / np.linalg.norm(pixels))


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_maps_explain_the_images(noise):
    found = espirit(centre(seen(), noise=noise), (1, N, N), noise=noise or None)
    # published maps leave 0.01 of such images; noise of the centre adds its own share
    assert residual(found.maps, seen()) < (0.01 if noise == 0 else 0.015)


def test_eigenvalue_is_one_where_the_object_is():
    found = espirit(centre(seen()), (1, N, N))
    inside = np.abs(head()) > 0
    assert found.eigenvalue[0, 0][inside].min() > 0.97
    # a patch of 6 of 64 points sees some ten pixels beyond the object
    assert found.eigenvalue[0, 0, :6, :6].max() < 0.8
    # projections have no eigenvalue above one; rounding
    assert found.eigenvalue.max() < 1.0001


def test_maps_have_unit_norm_and_are_cropped_or_softened():
    found = espirit(centre(seen()), (1, N, N))
    np.testing.assert_allclose(np.linalg.norm(found.maps, axis=1), 1, atol=1e-5)
    inside = np.abs(head()) > 0
    hard = np.linalg.norm(found.cropped()[0], axis=0)[0]
    soft = np.linalg.norm(found.softened()[0], axis=0)[0]
    assert set(np.unique(np.round(hard, 4))) == {0.0, 1.0}
    assert hard[inside].min() > 0.99
    assert soft[inside].min() > 0.9
    assert not hard[:6, :6].any()
    assert not soft[:6, :6].any()


def test_combined_image_keeps_its_phase():
    found = espirit(centre(seen()), (1, N, N))
    image = (found.maps[0].conj() * seen()).sum(axis=0)[0]
    inside = np.abs(head()) > 0
    np.testing.assert_allclose(np.abs(image[inside]), np.abs(head())[inside], rtol=0.02)
    turn = np.angle(image[inside] / np.exp(1j * np.median(np.angle(image[inside]))))
    assert np.abs(turn).max() < 1.5


def test_grid_may_be_any_and_fine_follows_coarse():
    """Matrices are exact on any grid: every second pixel of a fine one is that of the coarse."""
    fine = espirit(centre(seen()), (1, 2 * N, 2 * N))
    coarse = espirit(centre(seen()), (1, N, N))
    likeness = np.abs((fine.maps[0, :, 0, ::2, ::2].conj() * coarse.maps[0, :, 0]).sum(axis=0))
    assert likeness[np.abs(head()) > 0].min() > 0.999


def test_two_sets_hold_what_folds():
    """A field of view half as tall as the object: one set cannot, two can."""
    tall, wide = ring(2 * N)[:, :, N // 2 : -N // 2], head(2 * N)[:, N // 2 : -N // 2]
    folded = tall * wide
    folded = (folded[:, N // 2 : -N // 2] + np.roll(folded, N, axis=1)[:, N // 2 : -N // 2])[
        :, None
    ]
    one = espirit(centre(folded), (1, N, N))
    two = espirit(centre(folded), (1, N, N), n_sets=2)
    assert residual(one.maps, folded) > 0.08
    assert residual(two.maps, folded) < 0.03
    overlap = np.abs((two.maps[0].conj() * two.maps[1]).sum(axis=0))
    assert overlap.max() < 1e-4


def test_three_dimensions():
    n = 24
    z = np.linspace(-0.4, 0.4, n)[:, None, None]
    maps = np.stack([coil * np.exp(0.5j * c * z) for c, coil in enumerate(ring(32, 6))])
    maps = np.ascontiguousarray(maps).astype(np.complex64)
    images = maps * (head(32) * (np.abs(z) < 0.3))
    found = espirit(centre(images, 16), (n, 32, 32))
    assert found.maps.shape == (1, 6, n, 32, 32)
    assert residual(found.maps, images) < 0.02


def test_bytes_do_not_hang_on_threads(monkeypatch):
    same_with_threads(monkeypatch, lambda: espirit(centre(seen()), (1, N, N)).maps)


def test_single_precision_stays():
    found = espirit(centre(seen()), (1, N, N))
    assert (found.maps.dtype, found.eigenvalue.dtype) == (np.complex64, np.float32)


def test_small_centres_and_wrong_counts_are_refused():
    with pytest.raises(ProtocolError, match=r"central lines"):
        patch_size((1, 7, 24))
    with pytest.raises(ProtocolError, match=r"sets of sensitivities"):
        espirit(centre(seen()), (1, N, N), n_sets=9)


def test_patch_of_the_projection_is_where_the_image_says():
    """A centre shifted in k-space turns maps by nothing: phases cancel between coils."""
    turned = seen() * np.exp(2j * np.pi * np.arange(N) / N * 3)
    one = espirit(centre(seen()), (1, N, N)).maps[0]
    other = espirit(centre(turned.astype(np.complex64)), (1, N, N)).maps[0]
    likeness = np.abs((one.conj() * other).sum(axis=0))[0][np.abs(head()) > 0]
    assert likeness.min() > 0.995
