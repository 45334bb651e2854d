"""Echo trains with a known misalignment of odd and even lines."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scanroom.mri.hardware.siemens import import_twix
from scanroom.mri.raw.encoding import Flag
from scanroom.mri.recon import kspace, reconstruct
from scanroom.mri.recon.ghost import align, ghost_phase, odd_even_phase
from scanroom.operators.fourier import to_image, to_kspace
from tests.mri.recon.scanner import cartesian, white, write

RNG = np.random.default_rng(14)
N = 32


def profile():
    x = (np.arange(N) - N // 2) / N
    return (np.abs(x) < 0.3) * np.exp(-(x**2) * 4)


@pytest.mark.parametrize(("constant", "slope"), [(0.3, 0.05), (-2.9, 0.2), (1.0, -0.31)])
def test_phase_of_reversed_lines_is_found(constant, slope):
    line = constant + slope * (np.arange(N) - N // 2)
    reverse = np.array([False, True, False])
    lines = profile() * np.exp(1j * np.where(reverse[:, None], line, 0))[:, None, :]
    lines = np.concatenate([lines, 0.5j * lines], axis=1).astype(np.complex64)
    found = odd_even_phase(lines, reverse)
    turns = np.angle(np.exp(1j * (found - line)))
    # exact line, single precision
    np.testing.assert_allclose(turns, 0, atol=1e-5)
    aligned = align(lines, reverse, found)
    np.testing.assert_allclose(aligned[1], aligned[0], atol=1e-5)


def test_drift_between_echoes_cancels():
    """A resonance offset turns every echo a little further; that is not the delay's doing."""
    reverse = np.array([False, True, False])
    lines = (profile() * np.exp(0.2j * np.arange(3))[:, None])[:, None].astype(np.complex64)
    np.testing.assert_allclose(odd_even_phase(lines, reverse), 0, atol=1e-5)


def test_lines_of_one_direction_need_nothing():
    lines = white(RNG, 2, 1, N).astype(np.complex64)
    np.testing.assert_array_equal(odd_even_phase(lines, np.array([True, True])), 0)


def trapezoid(n_samples, ramp=0.2, extent=N):
    time = (np.arange(n_samples) + 0.5) / n_samples
    speed = np.minimum(1, np.minimum(time, 1 - time) / ramp)
    walked = np.cumsum(speed) - speed / 2
    return extent * (walked / speed.sum() - 0.5)


def epi(*, n_samples=80, delay=0.35, navigators=True):
    """Ramp-sampled echo train of a block of points; ``delay`` in grid points, as a late receiver.

    The true k of every sample is off by the delay in the direction of travel; the trajectory in
    the file does not know.
    """
    rise = trapezoid(n_samples)
    lines = [N // 2] * 3 * navigators + list(range(N))
    base = cartesian(
        matrix=(N, N, 1), oversampling=1, fov=(0.2, 0.2, 0.005), places=rise,
        steps=[(j, 0) for j in lines], kind="epi",
    )  # fmt: skip
    train, signals = list(base.trajectory), []
    x = np.arange(-9, 10) * 0.2 / N
    for i in range(base.n_windows):
        sign = -1 if i % 2 else 1
        k = train[i].copy()
        k[:, 0] *= sign
        is_navigator = navigators and i < 3
        k[:, 1] *= not is_navigator
        train[i] = k
        true = k[:, 0] + sign * delay / 0.2
        wave = np.exp(-2j * np.pi * np.multiply.outer(true, x)).sum(axis=1)
        across = 1 if is_navigator else np.exp(-2j * np.pi * k[0, 1] * x).sum()
        signals.append((wave * across * np.exp(0.2j * sign))[None])
        base.flags[i] = int(Flag.REVERSE) * (sign < 0)
        base.flags[i] |= np.uint64(int(Flag.PHASE_CORRECTION) * is_navigator)
    return replace(base, trajectory=tuple(train)), signals


def ghost_level(image):
    """Signal half a field of view away from the block over the block's."""
    return image[0, [*range(5), *range(27, 32)], 10:22].mean() / image[0, 10:22, 10:22].mean()


def test_navigators_remove_the_half_field_ghost(tmp_path):
    (cured,) = reconstruct(write(tmp_path / "raw.h5", *epi()))
    # what remains: ringing of a block of points, and directions the regridding leaves out
    assert ghost_level(cured.array) < 0.02
    assert any("3 navigators" in step for step in cured.provenance["steps"])


def test_ghost_goes_without_navigators_too(tmp_path):
    (cured,) = reconstruct(write(tmp_path / "raw.h5", *epi(navigators=False)))
    # the search ends at steps of 0.06 points of shift and 0.02 rad
    assert ghost_level(cured.array) < 0.03
    assert any("least ghost" in step for step in cured.provenance["steps"])


def test_ghost_is_there_when_nothing_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(kspace, "ghost_phase", lambda forward, _: np.zeros(forward.shape[-1]))
    (bare,) = reconstruct(write(tmp_path / "raw.h5", *epi(navigators=False)))
    assert ghost_level(bare.array) > 0.1


@pytest.mark.parametrize(("constant", "turns"), [(0.5, 0.7), (-1.1, -2.2), (0.0, 0.0)])
def test_phase_of_least_ghost_is_the_one_put_in(constant, turns):
    y, x = (np.mgrid[:N, :N] - N // 2) / N
    lines = to_kspace((x**2 + y**2 < 0.09) * (1 + x + 0j), (0,))
    phase = constant + 2 * np.pi * turns * (np.arange(N) - N // 2) / N
    odd = np.arange(N) % 2 == 1
    planes = [
        to_image(lines * rows[:, None] * turn, (0,))[None].astype(np.complex64)
        for rows, turn in ((~odd, 1), (odd, np.exp(1j * phase)))
    ]
    found = ghost_phase(*planes)
    inside = np.abs(np.arange(N) - N // 2) < 0.3 * N
    # last step of the search: 0.02 rad and 0.06 points over a third of the field
    np.testing.assert_allclose(found[inside], phase[inside], atol=0.1)


def test_measured_train_of_a_round_phantom_loses_its_ghost(shared_data, tmp_path):
    """The worst of the tutorial's echo trains: two half images before, one disc after."""
    folder = shared_data / "mri_raw/pulseq+MR-Physics-with-Pulseq/tutorials"
    stem = folder / "07_echo_planar_imaging/data/02_10_ro_dur_240_pe+"
    raw = tmp_path / "raw.h5"
    import_twix(Path(f"{stem}.dat"), Path(f"{stem}.seq"), raw)
    (result,) = reconstruct(raw)
    image = result.array[0]
    # outside the disc, above and below its middle, where the ghost was as bright as the disc
    assert image[[*range(4), *range(-4, 0)], 20:40].mean() < 0.06 * image[20:40, 20:40].mean()


def test_ramp_sampled_train_gives_the_block(tmp_path):
    encoding, signals = epi(delay=0.0)
    (result,) = reconstruct(write(tmp_path / "raw.h5", encoding, signals))
    block = result.array[0, 7:26, 7:26]
    # equal points give equal voxels; 3 % for the directions the regridding leaves out
    np.testing.assert_allclose(block, block.mean(), rtol=0.03)
    outside = np.delete(np.delete(result.array[0], range(7, 26), 0), range(7, 26), 1)
    assert outside.max() < 0.03 * block.mean()


def test_noise_of_a_ramp_sampled_train_has_unit_deviation(tmp_path):
    encoding, signals = epi(navigators=False)
    noisy = [white(RNG, *signal.shape) for signal in signals]
    raw = write(tmp_path / "raw.h5", encoding, noisy, white(RNG, 1, 50000))
    (result,) = reconstruct(raw, complex_images=True)
    # 1024 voxels: standard error 2.2 %, three of them
    assert result.array.real.std() == pytest.approx(1, rel=0.07)
