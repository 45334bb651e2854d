"""Bent gradients: objects whose true and drawn image both have a closed form."""

from functools import partial

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.unwarp import Harmonics, unwarp
from scanroom.physics.gradient_fields import REFERENCE_RADIUS, Nonlinearity, bent

COILS = Nonlinearity(third=(0.3, 0.25, -0.35), fifth=(0.05, -0.05, 0.08))
SEEN = partial(bent, coils=COILS)
PIXEL = 5e-3


def tilted(n):
    """Voxel axes turned against the scanner's, centre off the isocentre."""
    turn = 0.3
    axes = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = axes * PIXEL
    affine[:3, 3] = np.array([0.01, 0, 0.04]) - affine[:3, :3] @ (np.array(n) // 2)
    return affine


def places(affine, n):
    z, y, x = np.meshgrid(*(np.arange(m) for m in n[::-1]), indexing="ij")
    index = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def blobs(place):
    """Smooth object within the field of view: sums of Gaussians."""
    centres = np.array([[0.0, 0.02, 0.03], [0.04, -0.03, 0.06], [-0.05, 0.0, 0.05]])
    return sum(
        size * np.exp(-((place - c) ** 2).sum(axis=1) / (2 * 0.018**2))
        for c, size in zip(centres, (1, 0.7, 1.3), strict=True)
    )


def true_place(drawn):
    """Invert the map by fixed points: it moves by a fraction of what it is moved."""
    true = drawn.copy()
    for _ in range(60):
        true = true - (SEEN(true) - drawn)
    return true


def determinant(place, step=1e-5):
    slopes = [(SEEN(place + h) - SEEN(place - h)) / (2 * step) for h in step * np.eye(3)]
    return np.linalg.det(np.stack(slopes, axis=2))


@pytest.mark.parametrize("dtype", [float, complex])
def test_unwarp_undoes_a_warp_of_place_and_brightness(dtype):
    n = (48, 44, 40)
    affine = tilted(n)
    grid = places(affine, n)
    origin = true_place(grid)
    phase = 1 if dtype is float else np.exp(0.7j)
    drawn = (phase * blobs(origin) / determinant(origin)).reshape(n[::-1])
    truth = (phase * blobs(grid)).reshape(n[::-1])
    assert np.abs(drawn - truth).max() > 0.1 * np.abs(truth).max()  # the warp is a strong one
    straight = unwarp(drawn, affine, SEEN)
    # cubic splines of a Gaussian 3.6 pixels wide: 1e-3
    assert np.abs(straight - truth).max() < 2e-3 * np.abs(truth).max()


def test_brightness_is_conserved_over_the_volume():
    n = (48, 44, 40)
    affine = tilted(n)
    drawn = blobs(places(affine, n)).reshape(n[::-1])
    straight = unwarp(drawn, affine, SEEN)
    # what lies within the field of view stays there: integrals agree but for splines and edges
    assert straight.sum() == pytest.approx(drawn.sum(), rel=2e-3)
    plain = unwarp(drawn, affine, SEEN, intensity=False)
    assert abs(plain.sum() / drawn.sum() - 1) > 0.01


def test_harmonics_are_those_of_the_twin():
    cosine, sine = np.zeros((3, 6, 6)), np.zeros((3, 6, 6))
    size = np.sqrt(7 / 2 * 2 / 24)  # of order (3, 1)
    cosine[0, 3, 1] = -0.12 / 1.5 / size
    sine[1, 3, 1] = -0.1 / 1.5 / size
    cosine[2, 3, 0] = -0.15
    cosine[2, 5, 0] = 0.03
    given = Harmonics(radius=REFERENCE_RADIUS, cosine=cosine, sine=sine)
    same = Nonlinearity(third=(0.12, 0.1, -0.15), fifth=(0.0, 0.0, 0.03))
    place = np.random.default_rng(4).uniform(-0.2, 0.2, (100, 3))
    np.testing.assert_allclose(given(place), bent(place, same), atol=1e-12)


def test_a_slice_stays_in_its_plane():
    affine = tilted((48, 44, 1))
    image = blobs(places(affine, (48, 44, 1))).reshape(1, 44, 48)

    def along_z(place):
        return place + np.outer(place[:, 0] * 0.05, [0, 0, 1])

    np.testing.assert_allclose(unwarp(image, affine, along_z), image, atol=1e-9)


def test_an_affine_without_volume_is_refused():
    with pytest.raises(ProtocolError, match="inverse"):
        unwarp(np.ones((2, 3, 3)), np.zeros((4, 4)), SEEN)
