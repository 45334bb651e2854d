"""GRAPPA where it is exact, its noise against replicas, and lines that come back."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.grappa import calibrate
from scanroom.mri.recon.lattice import Lattice, lattice_of
from scanroom.mri.recon.replicas import replica_noise
from scanroom.mri.recon.sensitivities import combine
from tests.mri.recon.coil_scenes import (
    N,
    away,
    every,
    head,
    hybrid,
    pictures,
    same_with_threads,
    scene,
)

Z, Y = np.mgrid[:N, :N]
CENTRE = (np.abs(Z - N // 2 + 0.5) < 10) & (np.abs(Y - N // 2 + 0.5) < 10)
PLANE = {"2 x 2": (2, 2, 0), "2 x 2 shifted": (2, 2, 1), "1 x 3": (1, 3, 0), "3 x 1": (3, 1, 0)}


def plane(pattern, noise=0.0):
    """Both axes phase-encoded, one place along the readout, with a centre."""
    maps, image, kspace = scene(noise=noise)
    step_z, step_y, shift = PLANE[pattern]
    lattice = Lattice(step_z=step_z, step_y=step_y, shift=shift, origin=(0, 0))
    maps, image = maps.transpose(0, 2, 3, 1).copy(), image.transpose(1, 2, 0)
    rng = np.random.default_rng(2)
    kspace = hybrid(maps * image)
    kspace += (noise * rng.normal(size=(*kspace.shape, 2)) @ [1, 1j]).astype(np.complex64)
    return maps, image, kspace, lattice, lattice.on((N, N)) | CENTRE


@pytest.mark.parametrize("step", [2, 3, 4])
def test_coils_that_are_harmonics_are_exact(step):
    """Coil c is exp(2 pi i c y / N): what it measures at k is the object's k-space at k - c."""
    y, x = (np.mgrid[:N, :N] - N // 2) / N
    blob = np.exp(-60 * (x**2 + (y - 0.05) ** 2))  # no k-space at the edges
    maps = np.stack([np.exp(2j * np.pi * c * y) for c in range(4)])
    kspace = hybrid((maps * blob)[:, None].astype(np.complex64))
    sampled = every(step, centre=24)
    kernel = calibrate(kspace, sampled, lattice_of(sampled), regularisation=0.0)
    filled = kernel.fill(kspace * sampled[..., None], sampled)
    # single precision and the least of loading that rounding asks for
    assert away(filled, kspace) < 2e-3


@pytest.mark.parametrize(("step", "bound"), [(2, 0.02), (3, 0.04)])
def test_lines_left_out_come_back(step, bound):
    _, _, kspace = scene(noise=1e-3)
    sampled = every(step, centre=20)
    kernel = calibrate(kspace, sampled, lattice_of(sampled), noise=1e-3)
    filled = kernel.fill(kspace * sampled[..., None], sampled)
    assert away(pictures(filled), pictures(kspace)) < bound
    assert away(pictures(kspace * sampled[..., None]), pictures(kspace)) > 2 * bound


@pytest.mark.parametrize("pattern", PLANE)
def test_two_directions(pattern):
    _, _, kspace, lattice, sampled = plane(pattern, noise=1e-3)
    assert lattice_of(sampled).on((N, N)).tolist() == lattice.on((N, N)).tolist()
    kernel = calibrate(kspace, sampled, lattice, noise=1e-3)
    filled = kernel.fill(kspace * sampled[..., None], sampled)
    assert away(filled, kspace) < 0.03


def test_measured_lines_stay():
    _, _, kspace = scene(noise=0.01)
    sampled = every(2, centre=16)
    filled = calibrate(kspace, sampled, lattice_of(sampled)).fill(kspace, sampled)
    np.testing.assert_array_equal(filled[:, sampled], kspace[:, sampled])


def test_weights_serve_other_frames_and_other_centres():
    """Learned from one scan, used on another without any centre, shifted by a line."""
    maps, _, kspace = scene(noise=1e-3)
    other = hybrid(maps * head()[None, ::-1])
    centre = kspace[:, :, N // 2 - 12 : N // 2 + 12]
    sampled = every(2, first=1)
    kernel = calibrate(other, sampled, lattice_of(sampled), centre=centre, noise=1e-3)
    filled = kernel.fill(other * sampled[..., None], sampled)
    assert away(filled, other) < 0.03


@pytest.mark.parametrize("step", [2, 3])
def test_noise_is_that_of_replicas(step):
    maps, _, kspace = scene(noise=0.02)
    with_centre, lattice_only = every(step, centre=24), every(step)
    lattice = lattice_of(with_centre)
    kernel = calibrate(kspace, with_centre, lattice, noise=0.02)
    analytic = np.sqrt(step) * kernel.gfactor(maps)

    def image(k):
        return combine(pictures(kernel.fill(k, lattice_only)), maps)

    found = replica_noise(image, kspace, n_replicas=100)
    ratio = (found / analytic)[np.abs(head())[None] > 0]
    # N / step lines: the edge of k-space, where a kernel lacks a neighbour, is a tenth of them
    assert np.median(ratio) == pytest.approx(1, abs=0.05)
    assert ratio.std() < 0.1


def test_geometry_factor_grows_with_acceleration_and_is_at_least_about_one():
    maps, _, kspace = scene(noise=1e-3)
    means = []
    for step in (2, 4):
        sampled = every(step, centre=24)
        kernel = calibrate(kspace, sampled, lattice_of(sampled), noise=1e-3)
        means.append(kernel.gfactor(maps)[np.abs(head())[None] > 0].mean())
    assert 0.95 < means[0] < means[1]


def test_bytes_do_not_hang_on_threads(monkeypatch):
    _, _, kspace = scene(noise=0.01)
    sampled = every(3, centre=20)
    lattice = lattice_of(sampled)
    same_with_threads(
        monkeypatch, lambda: calibrate(kspace, sampled, lattice).fill(kspace, sampled)
    )


def test_single_precision_stays():
    maps, _, kspace = scene()
    sampled = every(2, centre=16)
    kernel = calibrate(kspace, sampled, lattice_of(sampled))
    assert kernel.weights.dtype == kernel.fill(kspace, sampled).dtype == np.complex64
    assert kernel.gfactor(maps).dtype == np.float32


def test_small_centres_are_refused():
    _, _, kspace = scene()
    sampled = every(4, centre=4)
    with pytest.raises(ProtocolError, match="GRAPPA kernel"):
        calibrate(kspace, sampled, lattice_of(every(4, centre=20)))


def test_patterns_without_a_lattice_have_none():
    assert lattice_of(np.random.default_rng(1).random((1, N)) < 0.4) is None
    assert lattice_of(np.ones((1, N), bool)) is None
