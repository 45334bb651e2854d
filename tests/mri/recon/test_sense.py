"""SENSE against closed forms, and two ways of solving it against each other."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.replicas import replica_noise
from scanroom.mri.recon.sense import cg_sense, encoding, regular, unfold
from tests.mri.recon.coil_scenes import N, away, every, hybrid, pictures, same_with_threads, scene
from tests.truth import assert_adjoint

PLANE = {
    "2 x 2": lambda z, y: (z % 2 == 1) & (y % 2 == 0),
    "2 x 2 shifted": lambda z, y: (z % 2 == 1) & ((y - z // 2) % 2 == 0),
    "1 x 4 shifted by 1": lambda z, y: (y - z) % 4 == 2,
}


def plane(pattern):
    """The scene with y as z and x as y: both axes phase-encoded, one place along the readout."""
    maps, image, _ = scene()
    maps, image = maps.transpose(0, 2, 3, 1), image.transpose(1, 2, 0)
    z, y = np.mgrid[:N, :N]
    return maps.copy(), image, hybrid(maps * image), PLANE[pattern](z, y)


def test_adjoint():
    maps = scene(16)[0].astype(np.complex128)
    assert_adjoint(encoding(maps, every(2, 16, centre=4)))


@pytest.mark.parametrize("step", [2, 4])
@pytest.mark.parametrize("first", [0, 1])
def test_unfolding_with_true_maps_is_exact(step, first):
    maps, image, kspace = scene()
    found = unfold(kspace, every(step, first=first), maps).image
    # rounding of complex64, amplified by g of some ten
    np.testing.assert_allclose(found, image, atol=2e-4)


@pytest.mark.parametrize("pattern", PLANE)
def test_unfolding_in_two_directions_is_exact(pattern):
    maps, image, kspace, sampled = plane(pattern)
    found = unfold(kspace, sampled, maps).image
    np.testing.assert_allclose(found, image, atol=2e-4)


def test_geometry_factor_of_two_coils_is_that_on_paper():
    """Two pixels that fold, overlap rho of their coil vectors: g = 1 / sqrt(1 - |rho|^2)."""
    n = 16
    y = (np.arange(n) - n // 2) / n
    angle = 0.7 + 2.0 * y
    maps = np.stack([np.cos(angle), np.sin(angle) * np.exp(0.4j)])[:, None, :, None]
    maps = np.tile(maps, (1, 1, 1, 3)).astype(np.complex64)
    found = unfold(np.zeros_like(maps), every(2, n), maps).gfactor
    overlap = np.cos(angle - np.roll(angle, n // 2))
    expected = 1 / np.sqrt(1 - overlap**2)
    np.testing.assert_allclose(found[0, :, 1], expected, rtol=1e-5)


def test_geometry_factor_of_everything_measured_is_one():
    maps, image, kspace = scene()
    made = unfold(kspace, np.ones((1, N), bool), maps)
    np.testing.assert_allclose(made.gfactor, 1, rtol=1e-5)
    np.testing.assert_allclose(made.image, image, atol=1e-5)


def test_what_no_coil_sees_stays_zero():
    maps, _, kspace = scene()
    dark = np.abs(scene()[1]) == 0
    maps = maps * ~dark
    made = unfold(kspace, every(2), maps)
    assert not made.image[dark].any()
    assert not made.gfactor[dark].any()
    assert np.isfinite(made.gfactor).all()


def test_noise_is_that_of_replicas():
    maps, _, kspace = scene()
    sampled = every(3)[:, :63]
    maps, kspace = maps[:, :, :63], kspace[:, :, :63]
    g = unfold(kspace, sampled, maps).gfactor
    found = replica_noise(lambda k: unfold(k, sampled, maps).image, kspace, n_replicas=100)
    ratio = found / (np.sqrt(3) * g)
    # 7 % per pixel for a hundred replicas, over four thousand pixels
    assert np.median(ratio) == pytest.approx(1, abs=0.01)
    assert ratio.std() == pytest.approx(1 / np.sqrt(2 * 99), rel=0.1)


@pytest.mark.parametrize("regularisation", [0.0, 0.01])
def test_iterations_end_where_unfolding_is(regularisation):
    maps, _, kspace = scene(noise=0.01)
    iterated = cg_sense(
        kspace, every(2), maps, regularisation=regularisation / 2, n_iterations=80, tolerance=1e-6
    )
    # the normal matrix of the lattice is 1 / R of the folded pixels'
    direct = unfold(kspace, every(2), maps, regularisation=regularisation).image
    assert away(iterated, direct) < 1e-4


@pytest.mark.parametrize("n", [N, 62])
def test_lanes_and_plain_transforms_agree(n):
    """Products of 2, 3, 5 go through vector instructions, 62 = 2 x 31 and narrow slabs do not."""
    maps, _, kspace = scene(n, noise=0.01)
    sampled = every(2, n, centre=8)
    narrow = [
        cg_sense(
            kspace[..., x : x + 4], sampled, maps[..., x : x + 4], n_iterations=60, tolerance=1e-5
        )
        for x in range(0, n, 4)
    ]
    whole = cg_sense(kspace, sampled, maps, n_iterations=60, tolerance=1e-5)
    assert away(np.concatenate([part[..., :] for part in narrow], axis=-1), whole) < 1e-3


def test_any_pattern_in_two_directions():
    maps, image, kspace, _ = plane("2 x 2")
    sampled = np.random.default_rng(5).random((N, N)) < 0.5
    found = cg_sense(kspace, sampled, maps, n_iterations=100, tolerance=1e-5)
    assert away(found, image) < 1e-3


def test_iterations_stop_at_the_noise():
    """At an SNR of 5 and R = 4, going on makes it worse."""
    maps, image, kspace = scene(noise=0.2)
    sampled = every(4, centre=12)
    stopped = cg_sense(kspace, sampled, maps, noise=0.2)
    on = cg_sense(kspace, sampled, maps, n_iterations=60, tolerance=1e-6)
    assert away(stopped, image) < 0.75 * away(on, image)


def test_single_precision_stays():
    maps, _, kspace = scene()
    assert cg_sense(kspace, every(2), maps).dtype == np.complex64
    made = unfold(kspace, every(2), maps)
    assert (made.image.dtype, made.gfactor.dtype) == (np.complex64, np.float32)


def test_bytes_do_not_hang_on_threads(monkeypatch):
    maps, _, kspace = scene(noise=0.01)
    same_with_threads(monkeypatch, lambda: cg_sense(kspace, every(2, centre=8), maps))
    same_with_threads(monkeypatch, lambda: unfold(kspace, every(2), maps).image)


def test_lattices_are_told_from_other_patterns():
    z, y = np.mgrid[:N, :N]
    for pattern, (step_z, step_y) in zip(PLANE, [(2, 2), (2, 2), (1, 4)], strict=True):
        lattice = regular(PLANE[pattern](z, y))
        assert (lattice[0, 0], lattice[1, 1]) == (step_z, step_y)
    assert regular(every(2, centre=8)) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda k, m: unfold(k, every(2, centre=8), m),
        lambda k, m: unfold(k[:1], every(2), m[:1]),
        lambda k, m: cg_sense(k, np.zeros((1, N), bool), m),
        lambda k, m: cg_sense(k, every(2), m, regularisation=-1.0),
    ],
)
def test_what_cannot_be_is_refused(call):
    maps, _, kspace = scene()
    with pytest.raises(ProtocolError, match=r"recon\.sense"):
        call(kspace, maps)


def test_several_sets_explain_what_folds_by_itself():
    """An object twice as tall as the field of view: two sets of true maps hold both halves."""
    tall = 2 * N
    y, x = np.mgrid[:tall, :N] / N - [[[1.0]], [[0.5]]]
    maps = np.stack([np.exp(1j * (c * y + 0.3 * c * c * x)) for c in range(4)]) / 2
    image = (np.abs(y) < 0.8) * (np.abs(x) < 0.4) * (1 + 0.5 * y)
    whole = (maps * image)[:, None]
    folded = (whole + np.roll(whole, N, axis=2))[:, :, N // 2 : -N // 2].astype(np.complex64)
    sets = np.stack([maps, np.roll(maps, N, axis=1)])[:, :, None, N // 2 : -N // 2]
    wanted = np.stack([image, np.roll(image, N, axis=0)])[:, None, N // 2 : -N // 2]
    found = cg_sense(
        np.ascontiguousarray(hybrid(folded)), np.ones((1, N), bool), sets.astype(np.complex64),
        n_iterations=60, tolerance=1e-6,
    )  # fmt: skip
    assert found.shape == (2, 1, N, N)
    assert away(found, wanted) < 1e-3
    # the aliased image of all coils is that of both sets
    seen = (sets * found[:, None]).sum(axis=0)
    assert away(seen, pictures(hybrid(folded))) < 1e-4
