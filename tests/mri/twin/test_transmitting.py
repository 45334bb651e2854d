"""Pulses with RF shims in the twin: each against its truth, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.drive.model import Shims
from scanroom.mri.system import system
from scanroom.mri.twin import IDEAL, Effort, Faults, Twin
from scanroom.mri.twin.transmitting import sets_of, transmit, transmit_maps, weights_of
from scanroom.physics.amplifier import Amplifier
from scanroom.physics.transmit_array import circular
from scanroom.subject.model import Subject
from validation.drives import cleared, drive, gradient, sinc
from validation.mri_parallel_transmit import CASES, SYSTEM, N, random_weights

OF_PULSES = CASES[8:]
MODES = np.stack([circular(N), circular(N) ** 2 * np.sqrt(N)])


@pytest.mark.parametrize(
    ("case", "bound"), [pytest.param(case[1], case[2], id=case[0]) for case in OF_PULSES]
)
def test_pulse_meets_its_truth(case, bound):
    assert case() <= bound


def _subject(shape=(10, 8, 6)):
    affine = np.diag([4e-3, 4e-3, 4e-3, 1.0])
    affine[:3, 3] = -0.018, -0.014, -0.01
    values = {"proton_density": 1.0, "t1": 1.0, "t2": 0.1}
    maps = {key: np.full(shape, value, np.float32) for key, value in values.items()}
    return Subject(name="block", field=7.0, affine=affine, maps=maps)


def _drive(weights=None, of_pulse=(0, 0, 0), flip=0.6):
    knots = ((0.0, 0.0), (1e-4, 4e5), (2.1e-3, 4e5), (2.2e-3, 0.0),
             (2.3e-3, -4.2e5), (3.2e-3, -4.2e5), (3.3e-3, 0.0))  # fmt: skip
    slab = [(s + t, a) for s in (0.0, 1e-2, 2e-2) for t, a in knots]
    knots = ((2.2e-3, 0.0), (2.3e-3, -8e4), (2.9e-3, -8e4), (3.0e-3, 0.0),
             (3.1e-3, 5e4), (7e-3, 5e4), (7.1e-3, 0.0))  # fmt: skip
    read = [(s + t, a) for s in (0.0, 1e-2, 2e-2) for t, a in knots]
    made = drive(
        pulses=[(1e-4, 0, 0), (1.01e-2, 0, 0), (2.01e-2, 0, 0)],
        windows=[(3.5e-3 + s, 128) for s in (0.0, 1e-2, 2e-2)],
        gradients=(gradient(*read), gradient(), gradient(*slab)),
        shape=sinc(flip),
    )
    if weights is None:
        return made
    return replace(made, shims=Shims(weight=weights, of_pulse=np.array(of_pulse)))


def _play(what, scanner=SYSTEM, engine="continuum", faults=None):
    faults = faults or replace(IDEAL, b1=True)
    twin = Twin(_subject(), system=scanner, faults=faults, n_coils=2, effort=Effort(engine=engine))
    twin.arm(cleared(what))
    return np.concatenate([readout.signal for readout in twin.play()], axis=1), twin.truth


def test_the_scanners_own_mode_is_the_circular_one():
    own, _ = _play(_drive())
    named, _ = _play(_drive(MODES[:1]))
    assert np.array_equal(own, named)


def test_a_drive_with_one_set_is_played_by_classes_as_by_boxes():
    what = _drive(MODES[1:])
    boxes, _ = _play(what)
    classes, truth = _play(what, engine="classes")
    assert truth["engine"] == "classes"
    # The engine of classes leaves out 0.7 % by itself.
    assert np.linalg.norm(classes - boxes) < 0.01 * np.linalg.norm(boxes)


def test_a_drive_with_two_sets_is_left_to_the_continuum():
    what = _drive(MODES, (0, 1, 0))
    assert _play(what, engine="auto")[1]["engine"] == "continuum"
    with pytest.raises(ProtocolError, match="by one RF shim"):
        _play(what, engine="classes")


def test_one_channel_weighs_its_pulse():
    one = system("3T")
    half, _ = _play(_drive(np.array([[0.5j]])), one)
    plain, _ = _play(_drive(flip=0.3), one)
    # A pulse meets the spins as its conjugate; single precision of tables.
    assert np.abs(half - plain * np.exp(-0.5j * np.pi)).max() < 1e-5 * np.abs(plain).max()


def test_without_b1_the_channels_are_uniform():
    where = np.array([[0.05, 0.02, 0.0], [0.0, 0.0, 0.0]])
    weights = random_weights(3)[None]
    flat = transmit(where, weights, SYSTEM, replace(Faults(), b1=False))
    real = transmit(where, weights, SYSTEM, Faults())
    assert flat[0] == flat[1] == pytest.approx(real[1], abs=1e-6)


def test_maps_of_channels_add_up_to_what_is_played():
    maps = transmit_maps(_subject(), SYSTEM, Faults())
    assert maps.shape == (N, 10, 8, 6)
    weights = random_weights(1)
    where = (_subject().affine @ [3, 2, 1, 1])[None, :3]
    played = transmit(where, weights[None], SYSTEM, Faults())[0]
    assert played.conj() == pytest.approx(weights @ maps[:, 3, 2, 1], abs=1e-6)


def test_only_sets_that_are_used_are_in_play():
    weights = np.stack([random_weights(seed) for seed in range(4)])
    what = _drive(weights, (2, -1, 2))
    used, place = sets_of(what)
    assert used.tolist() == [-1, 2]
    assert place.tolist() == [1, 0, 1]
    assert np.array_equal(weights_of(what, N), [circular(N), weights[2]])


def test_weights_for_another_number_of_channels_are_refused():
    with pytest.raises(ProtocolError, match="are for 8 channels; the system has 1"):
        _play(_drive(MODES[:1]), system("3T"))


def test_too_many_channels_and_faulty_amplifiers_are_refused():
    with pytest.raises(ProtocolError, match="9 transmit channels; the twin has 1 to 8"):
        _play(_drive(), replace(SYSTEM, n_transmit=9))
    with pytest.raises(ProtocolError, match="one amplifier"):
        _play(_drive(), faults=replace(IDEAL, amplifier=Amplifier(saturation=1000.0)))


def test_birdcage_of_one_channel_is_the_circular_mode_of_many_near_the_axis():
    scanner = replace(SYSTEM, n_transmit=8)
    place = np.random.default_rng(5).uniform(-0.02, 0.02, (200, 3))
    many = transmit(place, circular(8)[None], scanner, Faults())
    one = transmit(place, np.ones((1, 1), np.complex128), replace(SYSTEM, n_transmit=1), Faults())
    assert np.abs(np.angle(one)).max() > 0.05  # waves: the phase is not that of the centre
    # what eight loops have beside the circular mode grows as the eighth power of the radius
    np.testing.assert_allclose(one, many, rtol=1e-4)
