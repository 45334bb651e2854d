"""The twin as a device, and its signal against closed forms."""

import dataclasses
import time

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError, SafetyRefusal
from scanroom.mri.system import system
from scanroom.mri.twin import IDEAL, Effort, Faults, Twin
from scanroom.mri.twin.fields import UNIFORM
from scanroom.physics.spins.engine import Settings
from scanroom.physics.thermal_noise import draw_noise, signal_scale
from scanroom.subject.model import Subject
from tests.truth import assert_device
from validation.drives import DWELL, cleared, drive, gradient, sinc

SYSTEM = system("3T")
SHAPE = (10, 8, 6)


def _subject(**maps):
    values = {"proton_density": 1.0, "t1": 1.0, "t2": 0.1, "t2_prime": np.inf} | maps
    return Subject(
        name="block",
        field=3.0,
        affine=np.diag([2e-3, 2e-3, 2e-3, 1.0]) + np.array([0, 0, 0, 1])
        * np.array([[-0.009, -0.007, -0.005, 0]]).T,
        maps={name: np.broadcast_to(np.float32(v), SHAPE).copy() for name, v in maps.items()}
        | {
            name: np.broadcast_to(np.float32(v), SHAPE).copy()
            for name, v in values.items()
            if name not in maps
        },
    )  # fmt: skip


def _twin(subject=None, faults=IDEAL, n_coils=2, threads=2, seed=0, **how):
    effort = Effort(**{"faint": 1e-3, "settings": Settings(threads=threads)} | how)
    return Twin(
        subject or _subject(), system=SYSTEM, faults=faults, n_coils=n_coils, seed=seed,
        effort=effort,
    )  # fmt: skip


def _play(twin, what):
    twin.arm(cleared(what))
    return list(twin.play())


def _fid(**more):
    return drive(pulses=[(0.0, 0.0, 0.0)], windows=[(3e-3, 64), (8e-3, 64), (20e-3, 32)], **more)


def _water():
    """Volts of all spins of the block at once."""
    return signal_scale(3.0, (2e-3) ** 3) * np.prod(SHAPE) * UNIFORM


def test_twin_answers_the_questions_of_every_device():
    assert_device(_twin, lambda: cleared(_fid()))


def test_stopping_turns_the_output_off_at_once():
    twin = _twin()
    twin.arm(cleared(_fid()))
    playing = twin.play()
    next(playing)
    assert twin.output == 1.0
    begin = time.monotonic()
    twin.stop()
    assert time.monotonic() - begin < 0.5
    assert twin.output == 0.0


def test_an_altered_drive_does_not_arm():
    what = _fid()
    passed = cleared(what)
    what.pulses.phase[0] = 1.0
    with pytest.raises(SafetyRefusal, match="altered"):
        _twin().arm(passed)


def test_free_induction_decay_has_the_volts_of_reciprocity():
    readouts = _play(_twin(), _fid())
    for readout in readouts:
        since = readout.time + (np.arange(readout.signal.shape[1]) + 0.5) * DWELL - 1e-3
        truth = _water() * np.exp(-since / 0.1)
        # During the pulse T2 acts on part of the magnetisation: 1 ms / 100 ms at most.
        assert np.abs(readout.signal) == pytest.approx(np.stack([truth, truth]), rel=6e-3)


def test_signal_is_linear_in_proton_density():
    one, two = (_play(_twin(_subject(proton_density=d)), _fid())[0].signal for d in (0.5, 1.0))
    assert np.array_equal(2 * one, two)


def test_field_offset_and_chemical_shift_turn_the_signal():
    faults = dataclasses.replace(IDEAL, shim_error=(40.0, 0.0, 0.0, 0.0), chemical_shift=True)
    twin = _twin(_subject(chemical_shift=-1e-6), faults)
    first, second, _ = _play(twin, _fid())
    turn = np.angle(second.signal[0, 0] / first.signal[0, 0])
    expected = -2 * np.pi * (40.0 - 1e-6 * SYSTEM.larmor) * 5e-3
    assert np.exp(1j * turn) == pytest.approx(np.exp(1j * expected), abs=1e-4)


def test_t2_prime_shortens_the_decay():
    faults = dataclasses.replace(IDEAL, t2_prime=True)
    first, second, _ = _play(_twin(_subject(t2_prime=20e-3), faults), _fid())
    decay = abs(second.signal[0, 0] / first.signal[0, 0])
    # Kernel of the grid, off the real axis.
    assert decay == pytest.approx(np.exp(-5e-3 / 0.1 - 5e-3 / 20e-3), rel=1e-4)


def test_receiver_phase_cancels_the_pulse_phase():
    plain = _play(_twin(), _fid())[0].signal
    spoiled = drive(pulses=[(0.0, 0.0, 1.1)], windows=[(3e-3, 64)], phase=1.1)
    assert (
        np.abs(_play(_twin(), spoiled)[0].signal / plain - 1).max() < 5e-5
    )  # kernel of the grid: 2e-5 at a window's edge


def test_slice_at_an_offset_lies_on_the_positive_side_of_a_positive_gradient():
    bandwidth, thick, offset = 2000.0, 4e-3, 3e-3
    strength = bandwidth / thick
    axis = gradient((0, 0), (1e-4, strength), (2.1e-3, strength), (2.2e-3, 0), (2.2e-3, -strength),
                    (3.25e-3, -strength), (3.25e-3, 0))  # fmt: skip
    density = np.zeros(SHAPE, np.float32)
    volts = []
    for z in (1, 4):  # -3 mm and +3 mm
        density[:] = 0
        density[:, :, z] = 1
        what = drive(
            pulses=[(1e-4, strength * offset, 0.0)], windows=[(4e-3, 8)],
            gradients=(gradient(), gradient(), axis),
        )  # fmt: skip
        volts.append(np.abs(_play(_twin(_subject(proton_density=density)), what)[0].signal).max())
    assert volts[1] > 50 * volts[0]


@pytest.mark.parametrize("faults", [IDEAL, Faults(b0=False)])
def test_same_seed_same_bytes_whatever_the_threads(faults):
    one, two = (
        b"".join(r.signal.tobytes() for r in _play(_twin(faults=faults, threads=n), _fid()))
        for n in (1, 2)
    )
    assert one == two


def test_another_seed_and_another_play_give_other_noise():
    faults = dataclasses.replace(IDEAL, noise=True)
    twin = _twin(faults=faults)
    first, again = _play(twin, _fid())[0].signal, _play(twin, _fid())[0].signal
    other = _play(_twin(faults=faults, seed=1), _fid())[0].signal
    assert not np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_noise_has_the_power_of_its_covariance():
    faults = dataclasses.replace(IDEAL, noise=True)
    air = _subject(proton_density=0.0)
    what = drive(pulses=[(0, 0, 0)], windows=[(5e-3 + 1e-2 * i, 512) for i in range(40)])
    twin = _twin(air, faults)
    noise = np.concatenate([r.signal for r in _play(twin, what)], axis=1)
    covariance = twin._noise() / DWELL
    # 20480 complex samples: power known to 0.7 %.
    assert noise.real.var(axis=1) == pytest.approx(np.diag(covariance), rel=0.05)
    assert draw_noise(covariance, 4, seed=0, index=0).shape == (2, 4)


def test_converter_rounds_to_few_levels():
    faults = dataclasses.replace(IDEAL, quantisation=True, n_bits=4)
    signal = np.concatenate([r.signal for r in _play(_twin(faults=faults), _fid())], axis=1)
    assert len(np.unique(signal.imag)) < 2**8  # 4 bits and 50 averaged samples: 7 bits


def test_default_faults_play_and_the_truth_says_what_was_wrong():
    maps = {"susceptibility": -9e-6, "conductivity": 0.5, "chemical_shift": 0.0}
    twin = _twin(_subject(**maps), Faults(), n_coils=8)
    readouts = _play(twin, _fid(shape=sinc(0.5)))
    assert all(np.isfinite(r.signal).all() and r.signal.any() for r in readouts)
    truth = twin.truth
    assert truth["faults"]["gradient_delay"] == (1e-6, 1e-6, 1e-6)
    assert truth["engine"] == "classes"
    assert truth["static_field_hz"].shape == SHAPE


def _slice_selective_echo():
    """Two pulses of 2 rad that select 4 mm, crushers around the second, an echo 9 ms after it."""
    strength, crush = 2000.0 / 4e-3, 1e6
    z = gradient(
        (0, 0), (1e-4, strength), (2.1e-3, strength), (2.2e-3, 0), (2.2e-3, -strength),
        (3.25e-3, -strength), (3.25e-3, 0), (5e-3, 0), (5e-3, crush), (9e-3, crush), (9e-3, 0),
        (9.9e-3, 0), (1e-2, strength), (1.2e-2, strength), (1.21e-2, 0), (1.3e-2, 0),
        (1.3e-2, crush), (1.7e-2, crush), (1.7e-2, 0),
    )  # fmt: skip
    return drive(
        pulses=[(1e-4, 0.0, 0.0), (1e-2, 0.0, 0.0)], windows=[(1.9e-2, 192)],
        gradients=(gradient(), gradient(), z), shape=sinc(2.0),
    )  # fmt: skip


def test_classes_give_the_spin_echo_of_many_isochromats():
    what = _slice_selective_echo()
    many, twin = _twin(engine="isochromats", isochromats=61), _twin()
    truth, found = (_play(t, what)[0].signal for t in (many, twin))
    assert twin.truth["engine"] == "classes"
    # Nodes a third of a turn apart, in a slice of two voxels: measured below 1e-3.
    assert np.abs(found - truth).max() < 2e-3 * np.abs(truth).max()


def test_oblique_slices_are_played_to_boxes():
    straight, twin = _slice_selective_echo(), _twin()
    z = straight.gradients[2]
    oblique = dataclasses.replace(straight, gradients=(z, gradient(), z))
    assert _play(twin, oblique)[0].signal.any()
    assert twin.truth["engine"] == "continuum"


def _balanced(n=90):
    """So many pulses of 1 rad on a slice, all gradients balanced, a window after each."""
    strength, every = 2000.0 / 4e-3, 5e-3
    knots = [(0.0, 0.0)]
    for i in range(n):
        at = i * every
        knots += [
            (at + 1e-4, strength), (at + 2.1e-3, strength), (at + 2.2e-3, 0.0),
            (at + 2.3e-3, -strength), (at + 3.3e-3, -strength), (at + 3.4e-3, 0.0),
            (at + 3.9e-3, 0.0), (at + 4e-3, -strength), (at + 4.9e-3, -strength),
            (at + every, 0.0),
        ]  # fmt: skip
    area = np.trapezoid([a for _, a in knots], [t for t, _ in knots])
    assert abs(area) < 1e-9 * strength * every
    starts = every * np.arange(n)
    return drive(
        pulses=[(t + 1e-4, 0.0, np.pi * (i % 2)) for i, t in enumerate(starts.tolist())],
        windows=[(t + 3.4e-3, 4) for t in starts.tolist()],
        gradients=(gradient(), gradient(), gradient(*knots)),
        shape=sinc(1.0),
    )


def test_a_balanced_train_is_handed_over_to_boxes_once_its_orders_find_no_room():
    what, water = _balanced(), _subject(t2=1.0)
    twin, boxes = _twin(water), _twin(water, engine="continuum")
    found, truth = (np.stack([r.signal for r in _play(t, what)]) for t in (twin, boxes))
    assert twin.truth["engine"] == "continuum"
    assert found.shape == truth.shape
    assert np.array_equal(found[-1], truth[-1])
    with pytest.raises(ProtocolError, match="engine continuum"):
        _play(_twin(water, engine="classes"), what)


def test_classes_alone_refuse_what_they_cannot_play():
    straight = _slice_selective_echo()
    z = straight.gradients[2]
    oblique = dataclasses.replace(straight, gradients=(z, gradient(), z))
    with pytest.raises(ProtocolError, match="one axis of the subject's grid"):
        _play(_twin(engine="classes"), oblique)


def test_tissue_that_changes_from_voxel_to_voxel_is_played_to_boxes():
    t1 = np.linspace(0.5, 2.0, int(np.prod(SHAPE))).reshape(SHAPE)
    subject = _subject()
    subject = dataclasses.replace(subject, maps=subject.maps | {"t1": t1.astype(np.float32)})
    few, many = _twin(subject), _twin(subject)
    assert _play(few, _fid())[0].signal.any()
    assert few.truth["engine"] == "classes"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scanroom.physics.spins.classes._MOST_PAIRS", 100)
        signal = _play(many, _fid())[0].signal
    assert many.truth["engine"] == "continuum"
    assert signal == pytest.approx(_play(_twin(subject), _fid())[0].signal, rel=5e-3)


@pytest.mark.parametrize(("step", "bound"), [(0.5, 0.03), (0.12, 5e-3), (0.06, 5e-4)])
def test_boxes_come_to_the_spin_echo_of_many_isochromats_as_they_are_cut_finer(step, bound):
    """A slice of two voxels; a pulse acts alike on a box, so its profile is seen in stairs."""
    what = _slice_selective_echo()
    many, twin = _twin(engine="isochromats", isochromats=37), _twin(engine="continuum", step=step)
    truth, found = (_play(t, what)[0].signal for t in (many, twin))
    assert np.abs(truth).max() > 0.05 * _water()
    assert many.truth["n_isochromats"] > 0
    assert twin.truth["n_boxes"] > 0
    # Measured: 0.016, 2.4e-3, 5e-5; 37 isochromats themselves differ from 61 by 1.5e-4.
    assert np.abs(found - truth).max() < bound * np.abs(truth).max()


def test_an_unknown_engine_is_refused():
    allowed = "engine is 'spins'; it may be one of auto, classes, continuum, isochromats"
    with pytest.raises(ProtocolError, match=allowed):
        Effort(engine="spins")


def test_progress_is_told():
    twin, seen = _twin(), []
    twin.progress = seen.append
    _play(twin, _fid())
    assert seen[-1] == 1.0


@pytest.mark.parametrize("n_coils", [0, 65])
def test_impossible_arrays_are_refused(n_coils):
    with pytest.raises(ProtocolError, match=f"{n_coils} coils; it may have 1 to 64"):
        _twin(n_coils=n_coils)


def test_impossible_faults_are_refused():
    with pytest.raises(ProtocolError, match="shim order is 3"):
        Faults(shim_order=3)
    with pytest.raises(ProtocolError, match="at most 1 ms"):
        Faults(gradient_delay=(1.0, 0.0, 0.0))
    with pytest.raises(ProtocolError, match="converter has 1 bits"):
        Faults(n_bits=1)
