"""Classes of voxels: closed forms, invariants, and the other two engines on the same voxels."""

import dataclasses
import itertools

import numpy as np
import pytest

from scanroom.physics.spins import classwise, lots
from scanroom.physics.spins.classes import Voxels, classes_of, slice_axis
from scanroom.physics.spins.classwise import error_bound, simulate_classes
from scanroom.physics.spins.continuum import Boxes, Lost, simulate_boxes
from scanroom.physics.spins.engine import Control, Settings, simulate
from scanroom.physics.spins.ensemble import Spins
from validation.mri_bloch_truths import EXACT, INSTANT, Timeline, sinc
from validation.mri_order_truths import filled

EDGE = 1e-3
SLICE = np.array([0.0, 0.0, 2e5])
FINE = Settings(error=1e-4, faintest=1e-5, tolerance=1e-5)


def _voxels(shape=(6, 5, 14), seed=2, **given):
    """Voxels of three tissues, offsets, a bent transmit field with a phase, two coils."""
    rng = np.random.default_rng(seed)
    index = np.argwhere(np.ones(shape, bool))
    affine = np.diag([EDGE, EDGE, EDGE, 1.0])
    affine[:3, 3] = -EDGE * np.array(shape) / 2 + [1e-3, -2e-3, 0.5e-3]
    n = len(index)
    kind = rng.integers(0, 3, n)
    place = (index - np.array(shape) / 2) / np.array(shape)
    values = {
        "index": index,
        "affine": affine,
        "offset": 40.0 * place[:, 0] - 25.0 * place[:, 2] + rng.uniform(-10, 10, n),
        "slope": np.zeros((n, 3), np.float32),
        "r1": np.array([1.0, 0.7, 0.25], np.float32)[kind],
        "r2": np.array([12.0, 9.0, 1.0], np.float32)[kind],
        "r2_prime": np.array([10.0, 4.0, 0.0], np.float32)[kind],
        "transmit": ((1 + 0.3 * place[:, 1]) * np.exp(0.4j * place[:, 0])).astype(np.complex64),
        "weight": (rng.random((n, 2)) + 1j * rng.random((n, 2))).astype(np.complex64) / n,
        "faint": np.zeros(n, bool),
    }
    return Voxels(**(values | given))


def _train(n=4, crusher=900.0):
    """Excitation and refocusing of a slice, crushers, readouts of several lines."""
    line, envelope = Timeline(), sinc()
    line.pulse(np.pi / 2, 0.3, envelope, gradient=SLICE, frequency=300.0)
    line.free(2e-3, -SLICE * 1.5e-3)
    for i in range(n):
        encode = np.array([0.0, 80.0 * i, 0.0])
        line.free(1e-3, (0, 0, crusher)).pulse(
            2.6, 0.1 * i, envelope, gradient=SLICE, frequency=300.0
        )
        line.free(1e-3, np.array([-320.0, 0, crusher]) + encode).window(64, 1e-5, (1e6, 0, 0))
        line.free(1e-3, np.array([-320.0, 0, 0]) - encode)
    return line


def _classwise(line, voxels, settings=FINE, **given):
    program = line.program()
    classes = classes_of(program, voxels, slice_axis(program, voxels.affine, 0.1))
    return np.array(list(simulate_classes(program, voxels, classes, settings, **given)))


def _boxes(voxels, n):
    """The same voxels, each cut into ``n`` boxes along the slice."""
    within = (np.arange(n) + 0.5) / n - 0.5
    place = np.repeat(voxels.index.astype(float), n, axis=0)
    place[:, 2] += np.tile(within, len(voxels.index))
    affine = voxels.affine

    def each(values):
        return np.repeat(values, n, axis=0)

    slope = each(voxels.slope[:, 2].astype(float)) * np.tile(within, len(voxels.index))
    return Boxes(
        spins=Spins(
            position=place @ affine[:3, :3].T + affine[:3, 3],
            offset=each(voxels.offset) + slope,
            r1=each(voxels.r1),
            r2=each(voxels.r2),
            transmit=each(voxels.transmit),
            weight=each(voxels.weight) / np.float32(n),
        ),
        edges=affine[:3, :3].T / np.array([[1.0], [1.0], [n]]),
        r2_prime=each(voxels.r2_prime),
        column=np.arange(len(place)),
    )


def _error(found, truth):
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


def test_one_voxel_gives_the_closed_form_of_its_free_induction():
    offset, t2, t2_prime = 37.0, 30e-3, 20e-3
    voxels = _voxels(
        (1, 1, 1),
        offset=np.array([offset]),
        r2=np.float32([1 / t2]),
        r2_prime=np.float32([1 / t2_prime]),
        transmit=np.complex64([np.exp(0.7j)]),
        weight=np.complex64([[1.0 - 2.0j]]),
    )
    line = Timeline().pulse(np.pi / 2, 0.0, INSTANT).free(4e-3, (-400.0, 250.0, 130.0))
    line.window(80, 1e-5, (1e6, 0, 0))
    time = (np.arange(80) + 0.5) * 1e-5
    k = np.array([-400.0, 250.0, 130.0]) + np.outer(time, [1e6, 0, 0])
    late = 4e-3 + time
    truth = 1j * (1.0 - 2.0j) * np.exp(0.7j - 2j * np.pi * (k @ voxels.affine[:3, 3]))
    truth *= np.sinc(k * EDGE).prod(axis=1)
    truth *= np.exp(-2j * np.pi * offset * late - late / t2 - late / t2_prime)
    assert _error(_classwise(line, voxels)[0, 0], truth) < 3e-4  # FFT 1e-4, factors 1e-4


def test_a_slice_agrees_with_isochromats_standing_closely_across_it():
    voxels = _voxels(r2_prime=np.zeros(420, np.float32))
    line = Timeline().pulse(1.4, 0.2, sinc(), gradient=SLICE, frequency=300.0)
    line.free(2e-3, np.array([-320.0, 100.0, 0]) - SLICE * 1.5e-3).window(64, 1e-5, (1e6, 0, 0))
    spins = _boxes(voxels, 40).spins
    k = np.array([-320.0, 100.0, 0]) + np.outer((np.arange(64) + 0.5) * 1e-5, [1e6, 0, 0])
    truth = np.array(list(simulate(line.program(), spins, Settings(silence=0.0, tolerance=0.0))))
    # In the plane a voxel is a box to the one and a point to the other.
    # Cubics between nodes; FFT and factors 1e-4 each.
    assert _error(_classwise(line, voxels), truth * np.sinc(k * EDGE).prod(axis=1)) < 1e-3


@pytest.mark.parametrize(("turns", "bound"), [(0.35, 3e-3), (0.1, 1.5e-3)])
def test_trains_with_crushers_agree_with_many_isochromats(monkeypatch, turns, bound):
    monkeypatch.setattr("scanroom.physics.spins.classes._TURNS", turns)
    n = 2 * 3 * 8
    voxels, line = _voxels((2, 3, 8), r2_prime=np.zeros(n, np.float32)), _train()
    spins = filled(_boxes(voxels, 1), (8, 8, 20))
    truth = np.array(list(simulate(line.program(), spins, Settings(silence=0.0, tolerance=0.0))))
    # Cubics between nodes, parabolas over offset and transmit field: fourth and third order.
    assert _error(_classwise(line, voxels), truth) < bound


@pytest.mark.parametrize("error", [7e-3, 3e-3, 1e-3])
def test_many_isochromats_lie_within_the_error_bound_that_is_reported(error):
    voxels, line = _voxels((2, 3, 8), r2_prime=np.zeros(48, np.float32)), _train()
    spins = filled(_boxes(voxels, 1), (8, 8, 20))
    truth = np.array(list(simulate(line.program(), spins, Settings(silence=0.0, tolerance=0.0))))
    settings, lost = Settings(error=error, faintest=error / 4), Lost()
    program = line.program()
    classes = classes_of(program, voxels, slice_axis(program, voxels.affine, 0.1), error)
    found = np.array(list(simulate_classes(program, voxels, classes, settings, None, lost)))
    assert _error(found, truth) < error_bound(settings, lost) < 2.5 * error


def test_a_slope_of_the_field_across_the_slice_dephases_as_in_fine_boxes(monkeypatch):
    monkeypatch.setattr("scanroom.physics.spins.classes._TURNS", 0.1)
    voxels = _voxels()
    voxels.slope[:, 2] = 15.0
    line = Timeline().pulse(1.4, 0.2, sinc(), gradient=SLICE, frequency=300.0)
    line.free(9e-3, np.array([-320.0, 100.0, 0]) - SLICE * 1.5e-3).window(64, 1e-5, (1e6, 0, 0))
    truth = np.array(list(simulate_boxes(line.program(), [_boxes(voxels, 24)], EXACT)))
    assert _error(_classwise(line, voxels), truth) < 3e-3  # the slope acts as in mid-window


@pytest.mark.parametrize("echo", [False, True])
def test_slopes_of_the_field_in_the_plane_dephase_as_the_closed_form_and_an_echo_undoes_it(echo):
    voxels = _voxels(transmit=np.ones(420, np.complex64))
    voxels.slope[:, 0], voxels.slope[:, 1] = 30.0, -45.0
    line = Timeline().pulse(np.pi / 2, 0.0, INSTANT).free(9e-3)
    if echo:
        line.pulse(np.pi, 0.5 * np.pi, INSTANT).free(9e-3 - 4e-5)
    line.window(8, 1e-5)
    flat = dataclasses.replace(voxels, slope=np.zeros_like(voxels.slope))
    late = 0.0 if echo else 9e-3 + 4e-5
    truth = np.sinc(30.0 * late) * np.sinc(45.0 * late) * _classwise(line, flat)
    # The slope acts as in mid-window: 4e-5 s off at its ends, 0.2 % of the signal.
    assert _error(_classwise(line, voxels), truth) < 3e-3


def test_reversible_decay_is_refocused_by_a_spin_echo():
    t2_prime, n = 20e-3, 160
    line = Timeline().pulse(np.pi / 2, np.pi / 2, INSTANT).free(10e-3)
    line.pulse(np.pi, 0.0, INSTANT).free(10e-3 - n * 0.5e-4).window(n, 1e-4)
    one = {"offset": np.array([55.0]), "r2_prime": np.float32([1 / t2_prime])}
    flat = {"transmit": np.complex64([1.0]), "weight": np.complex64([[1.0]])}
    still = {"r1": np.float32([1e-6]), "r2": np.float32([1e-6])}
    voxels = _voxels((1, 1, 1), **one, **flat, **still)
    late = (np.arange(n) + 0.5 - n / 2) * 1e-4
    truth = np.exp(-np.abs(late) / t2_prime - 2j * np.pi * 55.0 * late)
    found = _classwise(line, voxels)[0, 0]
    assert abs(np.vdot(truth, found)) / (np.linalg.norm(truth) * np.linalg.norm(found)) > 1 - 1e-7
    assert abs(np.linalg.norm(found) / np.linalg.norm(truth) - 1) < 1e-3  # FFT and factors: 2e-4


@pytest.mark.parametrize("error", [3e-2, 3e-3])
def test_what_is_left_out_stays_within_the_error_asked_for(error):
    line, voxels = _train(), _voxels((10, 10, 14))
    exact = _classwise(line, voxels)
    rough = _classwise(line, voxels, dataclasses.replace(FINE, error=error))
    assert 1e-2 * error < _error(rough, exact) < error


def test_two_halves_give_what_the_whole_gives():
    line, voxels = _train(), _voxels()
    low = voxels.index[:, 0] < 3
    names = [f.name for f in dataclasses.fields(Voxels) if f.name not in {"affine", "diffusion"}]
    parts = [
        dataclasses.replace(voxels, **{n: getattr(voxels, n)[chosen] for n in names})
        for chosen in (low, ~low)
    ]
    total = sum(_classwise(line, part) for part in parts)
    assert _error(total, _classwise(line, voxels)) < 5e-4  # each leaves out 1e-4, the FFT 1e-4


@pytest.mark.parametrize("axis", [0, 1])
def test_slices_along_any_axis_of_the_lattice_are_the_same_physics(axis):
    voxels, turned = _voxels(), np.roll(np.arange(3), axis + 1)
    order = np.argsort(turned)
    program = _train().program()

    def along(kind):
        return {"gradient": kind.gradient[order]}

    rolled = dataclasses.replace(
        program,
        pulses=tuple(dataclasses.replace(k, **along(k)) for k in program.pulses),
        windows=tuple(
            dataclasses.replace(k, moment=k.moment[:, order], **along(k)) for k in program.windows
        ),
        moment=program.moment[:, :, order],
    )
    affine = voxels.affine[np.append(order, 3)][:, np.append(order, 3)]
    other = dataclasses.replace(
        voxels, index=voxels.index[:, order], slope=voxels.slope[:, order], affine=affine
    )
    assert slice_axis(rolled, affine, 0.1) == order.tolist().index(2)
    classes = classes_of(rolled, other, slice_axis(rolled, affine, 0.1))
    found = np.array(list(simulate_classes(rolled, other, classes, FINE)))
    assert _error(found, _classwise(_train(), voxels)) < 5e-4  # as above


def test_the_number_of_threads_changes_no_byte():
    line, voxels = _train(), _voxels()
    one, *more = (_classwise(line, voxels, Settings(threads=n)).tobytes() for n in (1, 2, 3))
    assert more == [one, one]


def test_cutting_the_programme_into_stretches_changes_less_than_the_error(monkeypatch):
    line, voxels = _train(), _voxels()
    whole = _classwise(line, voxels)
    monkeypatch.setattr("scanroom.physics.spins.classwise._WINDOWS", (1, 1))
    assert _error(_classwise(line, voxels), whole) < 5e-4


def test_progress_rises_to_one_and_a_stop_ends_early(monkeypatch):
    seen, line, voxels = [], _train(), _voxels()
    _classwise(line, voxels, control=Control(progress=seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)
    monkeypatch.setattr("scanroom.physics.spins.classwise._WINDOWS", (1, 1))
    program, control = line.program(), Control()
    classes = classes_of(program, voxels, 2)
    playing = simulate_classes(program, voxels, classes, control=control)
    received = [next(playing)]
    control.stop[0] = 1
    received.extend(playing)
    assert len(received) == 1


def test_only_selection_and_encoding_along_the_axes_of_the_lattice_has_classes():
    affine = _voxels().affine
    oblique = Timeline().pulse(1.0, 0.0, sinc(), gradient=np.array([1e4, 0.0, 1e5]))
    assert slice_axis(oblique.window(8, 1e-5).program(), affine, 0.1) is None
    three = itertools.product([(1e5, 0, 0)], [(0, 1e5, 0)], [(0, 0, 1e5)])
    line = Timeline().pulse(1.0, 0.0, INSTANT)
    for gradient in next(three):
        line.window(8, 1e-5, gradient)
    assert slice_axis(line.program(), affine, 0.1) is None
    flat = Timeline().pulse(1.0, 0.0, INSTANT).window(8, 1e-5, (1e5, 0, 0)).program()
    assert slice_axis(flat, affine, 0.1) == 2


def test_who_is_frugal_leaves_as_soon_as_images_are_too_many(monkeypatch):
    line, voxels = _train(), _voxels()
    plain = np.array(_classwise(line, voxels, frugal=True))
    assert np.array_equal(plain, np.array(_classwise(line, voxels)))
    monkeypatch.setattr(classwise, "_FEW_LOTS", 0)
    monkeypatch.setattr(classwise, "_SHARED", 1e9)
    monkeypatch.setattr(lots, "courses", None)  # what costs most is never asked for
    with pytest.raises(classwise.CrowdedError, match="sets of images"):
        _classwise(line, voxels, frugal=True)
