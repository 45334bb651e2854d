"""Diffusion against closed forms, and a public head as another program reads it."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.diffusion import apparent_diffusion, b_matrices, diffusion_tensor
from validation import mri_maps_diffusion as validation
from validation import uih_diffusion as head


def test_signals_without_noise_and_waveforms_give_closed_forms():
    for name, error, bound in validation.closed():
        assert error <= bound, name


def test_spread_and_error_are_those_of_cramer_and_rao():
    for name, value, bound in validation.efficiency():
        assert value <= bound, name


def test_axes_of_the_tensor_are_found():
    b = validation.scheme()
    truth, values = validation.tensors(50)
    found = diffusion_tensor(100 * np.exp(-np.einsum("nij,vij->nv", b, truth)), b)
    np.testing.assert_allclose(found.eigenvalues.T, values, rtol=1e-9)
    along = np.einsum("iv,vij,jv->v", found.direction, truth, found.direction)
    np.testing.assert_allclose(along, values[:, 0], rtol=1e-9)
    np.testing.assert_allclose(found.axial.array, values[:, 0], rtol=1e-9)
    np.testing.assert_allclose(found.radial.array, values[:, 1:].mean(axis=1), rtol=1e-9)
    elements = truth[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    np.testing.assert_allclose(found.elements.T, elements, atol=1e-20)


def test_the_cone_is_how_far_the_direction_strays():
    b = validation.scheme()
    truth, values = validation.tensors(40)
    chosen = int(np.argmax(values[:, 0] - values[:, 1]))
    own = np.linalg.eigh(truth[chosen])[1][:, -1]
    rng = np.random.default_rng(0)
    signal = 100 * np.exp(-np.einsum("nij,ij->n", b, truth[chosen]))
    found = diffusion_tensor(signal[:, None] + rng.normal(size=(len(b), 4000)), b, noise=1.0)
    angle = np.arccos(np.clip(np.abs(own @ found.direction), 0, 1))
    assert np.sqrt((angle**2).mean()) == pytest.approx(np.sqrt((found.cone**2).mean()), rel=0.05)


def test_a_voxel_with_a_sample_of_zero_is_left_out():
    b = validation.scheme()
    data = np.full((len(b), 2), 50.0)
    data[7, 0] = 0.0
    np.testing.assert_array_equal(diffusion_tensor(data, b).mean.valid, [False, True])


def test_slow_diffusion_is_not_biased_by_a_limit_at_zero():
    rng = np.random.default_rng(1)
    b = np.array([0.0, 1e9])
    data = 20 * np.exp(-b * 0.05e-9)[:, None] + rng.normal(size=(2, 20000))
    found = apparent_diffusion(data, b, noise=1.0)
    # Mean of 20000 with a spread of 0.07e-9, and second order in the noise.
    assert found.array.mean() == pytest.approx(0.05e-9, abs=0.003e-9)
    assert not found.valid[found.array < 0].any()


def test_what_cannot_be_is_refused():
    with pytest.raises(ProtocolError, match="no direction"):
        b_matrices(np.array([1e9]), np.zeros((1, 3)))
    few = b_matrices(np.full(7, 1e9), np.eye(3)[[0, 1, 2, 0, 1, 2, 0]])
    with pytest.raises(ProtocolError, match="leave some"):
        diffusion_tensor(np.ones((7, 1)), few)
    with pytest.raises(ProtocolError, match="b-matrices have the shape"):
        diffusion_tensor(np.ones((3, 1)), few)


@pytest.mark.skipif(not head.at_hand(), reason="the public files are not here")
def test_a_head_is_read_as_dcm2niix_reads_it_and_diffuses_as_a_head_does():
    images, b, directions = head.series()
    theirs, their_b = head.converted()
    np.testing.assert_array_equal(images, theirs)
    np.testing.assert_allclose(b, their_b, rtol=1e-3)
    found = diffusion_tensor(images, b_matrices(b, directions))
    brain = found.mean.valid & (images[0] > 0.35 * np.percentile(images[0], 99))
    assert 0.6e-9 < np.median(found.mean.array[brain]) < 1.0e-9
    assert 0.5 < np.percentile(found.anisotropy.array[brain], 99) < 0.95
