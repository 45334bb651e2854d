"""A farm of processes gives the bytes of one; parts of a subject give, together, the whole."""

import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

from scanroom.core.errors import DeviceError, InterlockOpen, ProtocolError
from scanroom.mri.twin import IDEAL, Effort, Faults, Twin
from scanroom.mri.twin.blocks import MOST_HELD, blocks_of, silent
from scanroom.mri.twin.farm import Leader, Member
from scanroom.mri.twin.playing import Playing
from scanroom.mri.twin.programme import programme
from scanroom.physics.spins.engine import Settings
from scanroom.subject.model import Subject
from tests.mri.twin.test_device import SYSTEM, _fid, _play
from tests.mri.twin.test_device import _twin as _small
from validation.drives import cleared, drive, gradient, sinc

SHAPE = (24, 20, 16)


def _subject():
    """Large enough for work in every lane; two tissues, one of which is short-lived."""
    fluid = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3 == 0
    pairs = {"proton_density": (0.7, 1.0), "t1": (0.8, 4.0), "t2": (8e-3, 1.5)}
    maps = {name: np.where(fluid, b, a).astype(np.float32) for name, (a, b) in pairs.items()}
    maps |= {
        "t2_prime": np.full(SHAPE, 0.1, np.float32),
        "susceptibility": np.where(fluid, -9.05e-6, -7.8e-6).astype(np.float32),
    }
    affine = np.diag([2e-3, 2e-3, 2e-3, 1.0])
    affine[:3, 3] = -1e-3 * (np.array(SHAPE) - 1)
    return Subject(name="grains", field=3.0, affine=affine, maps=maps)


def _twin(faults=IDEAL, **how):
    effort = Effort(faint=1e-3, settings=Settings(threads=2), **how)
    return Twin(_subject(), system=SYSTEM, faults=faults, n_coils=2, effort=effort)


def _slice():
    """A slice across z, read along x."""
    return drive(
        pulses=[(1e-3, 0.0, 0.0), (31e-3, 0.3, 0.0)],
        windows=[(6e-3, 64), (36e-3, 64)],
        gradients=(
            gradient((0, 0), (5e-3, 0), (5.1e-3, 2e4), (9e-3, 2e4), (9.1e-3, 0)),
            gradient((0, 0)),
            gradient((0, 0), (0.9e-3, 0), (1e-3, 4e5), (3e-3, 4e5), (3.1e-3, 0), (32e-3, 0)),
        ),
        shape=sinc(np.deg2rad(40)),
    )


def _many():
    """More windows than fit into one stretch."""
    times = 4e-3 * np.arange(2100)
    return drive(
        pulses=[(float(time), 0.0, 0.0) for time in times],
        windows=[(float(time) + 2.5e-3, 64) for time in times],
    )


def _swirl():
    """A gradient that changes while it is read: shots."""
    n, dwell = 40, 2e-3 / 40
    knots = [(0.0, 0.0), *((3e-3 + i * dwell, 2e4 * np.sin(0.4 * i)) for i in range(n)), (6e-3, 0)]
    return drive(
        pulses=[(0.0, 0.0, 0.0), (8e-3, 0.0, 0.0)],
        windows=[(3e-3, 200)],
        gradients=(gradient(*knots), gradient((0, 0)), gradient((0, 0))),
    )


CASES = {
    "isochromats": _fid,
    "isochromats in shots": _swirl,
    "continuum": _fid,
    "classes": _slice,
    "auto": _slice,
}


def _signals(engine, parts, workers, faults=IDEAL):
    twin = _twin(engine=engine.split()[0], parts=parts, workers=workers, faults=faults)
    raw = _play(twin, CASES[engine]())
    return np.concatenate([window.signal.ravel() for window in raw]), twin.truth


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "parts"), [(engine, 1) for engine in CASES] + [("auto", 2)])
def test_workers_change_no_byte(engine, parts):
    faults = Faults() if engine == "auto" else IDEAL
    alone, truth = _signals(engine, parts, 1, faults)
    assert np.abs(alone).max() > 0
    for workers in (2, 3) if engine in {"isochromats", "continuum", "classes"} else (3,):
        several, told = _signals(engine, parts, workers, faults)
        assert several.tobytes() == alone.tobytes()
        differing = {"effort", "static_field_hz"}
        assert {k: v for k, v in told.items() if k not in differing} == {
            k: v for k, v in truth.items() if k not in differing
        }


@pytest.mark.parametrize("engine", ["isochromats", "continuum", "classes"])
def test_parts_add_up_to_the_whole(engine):
    whole, truth = _signals(engine, 1, 1)
    parts, told = _signals(engine, 4, 1)
    bound = 2e-2 if engine == "classes" else 1e-4  # classes: what each leaves out differs
    assert np.linalg.norm(parts - whole) < bound * np.linalg.norm(whole)
    if engine != "classes":
        counted = {"isochromats": "n_isochromats", "continuum": "n_boxes"}[engine]
        assert told[counted] == truth[counted]


def test_blocks_hold_every_voxel_once_and_stay_small():
    rng = np.random.default_rng(2)
    bright = rng.random((20, 30, 40)) < 0.3
    faint = (rng.random(bright.shape) < 0.3) & ~bright
    grains = bright * 5 + faint * 1
    largest = 2_000_000
    blocks = blocks_of((bright, faint), grains, 8, largest=largest)
    assert len(blocks) > 3
    np.testing.assert_array_equal(sum(block.chosen[0] * 1 for block in blocks), bright)
    np.testing.assert_array_equal(sum(block.chosen[1] * 1 for block in blocks), faint)
    sizes = [int(grains[block.chosen[0] | block.chosen[1]].sum()) for block in blocks]
    assert max(sizes) * (32 * 8 + 384) < 1.05 * largest
    assert blocks[2].before == tuple(
        sum(int(block.chosen[kind].sum()) for block in blocks[:2]) for kind in (0, 1)
    )


def test_isochromats_stand_where_they_stood_before_the_cut():
    twin = _small(engine="isochromats", parts=3)
    what = _fid()
    playing = Playing(twin._filling, what, programme(what))
    places = [twin._filling.spins(playing.program, block, 3)[0].position for block in playing.parts]
    whole = Playing(_small(engine="isochromats")._filling, what, programme(what))
    expected = twin._filling.spins(whole.program, whole.parts[0], 3)[0].position
    np.testing.assert_array_equal(np.concatenate(places), expected)


@pytest.mark.parametrize("when", ["at once", "while it plays"])
def test_a_worker_that_dies_is_said_and_none_is_left(when):
    twin = _twin(engine="isochromats", workers=3)
    twin.arm(cleared(_many()))
    if when == "at once":
        threading.Thread(target=_kill_one, daemon=True).start()
    else:
        told = iter([_kill_one])
        twin.progress = lambda _: next(told, lambda: None)()
    with pytest.raises(DeviceError, match="a worker of the twin died"):
        list(twin.play())
    assert not multiprocessing.active_children()
    assert twin.output == 0.0


def _kill_one() -> None:
    until = time.monotonic() + 60.0
    while not multiprocessing.active_children() and time.monotonic() < until:
        time.sleep(0.01)
    for child in multiprocessing.active_children()[:1]:
        os.kill(int(child.pid or 0), signal.SIGKILL)


def test_a_refusal_of_a_worker_is_the_scans():
    here, there = multiprocessing.Pipe()
    leader = Leader([here], np.zeros(1, np.uint8))
    there.send(ProtocolError("too many orders"))
    with pytest.raises(ProtocolError, match="too many orders"):
        leader.bring([(np.zeros(3),), (np.zeros(3),)])


def test_what_members_send_arrives_in_its_place():
    links = [multiprocessing.Pipe() for _ in range(2)]
    filled = [np.arange(4, dtype=np.complex64) + 10j * number for number in range(7)]
    for number, (_, there) in enumerate(links, 1):
        Member(there, number, 3).bring([(part, np.zeros(0)) for part in filled], 5)
    leader = Leader([here for here, _ in links], np.zeros(1, np.uint8))
    found = [
        part.copy() if leader.plays(number) else np.zeros_like(part)
        for number, part in enumerate(filled, 5)
    ]
    leader.bring([(part, np.zeros(0)) for part in found], 5)
    np.testing.assert_array_equal(found, filled)


def test_workers_stop_when_the_twin_does():
    twin = _twin(engine="isochromats", workers=2)
    twin.arm(cleared(_many()))
    twin.progress = lambda _: twin.stop()
    with pytest.raises(InterlockOpen):
        list(twin.play())
    assert not multiprocessing.active_children()


def test_workers_end_when_the_caller_loses_interest():
    twin = _twin(engine="isochromats", workers=2)
    twin.arm(cleared(_fid()))
    playing = twin.play()
    next(playing)
    playing.close()
    assert not multiprocessing.active_children()
    assert twin.output == 0.0


@pytest.mark.parametrize("how", [{"parts": 0}, {"workers": 0}, {"workers": 9}, {"parts": 5000}])
def test_impossible_numbers_are_refused(how):
    with pytest.raises(ProtocolError, match=r"parts|workers"):
        Effort(**how)


def test_signals_too_large_to_hold_are_refused():
    n_samples = 60_000
    what = drive(pulses=[(0.0, 0.0, 0.0)], windows=[(20e-3, n_samples)])
    n_coils = MOST_HELD // (8 * n_samples) + 1
    with pytest.raises(ProtocolError, match="GiB"):
        silent(programme(what), n_coils)
