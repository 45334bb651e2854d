"""Parts of a subject, played by one process or several: the same bytes; together, the whole."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from scanroom.core.errors import DeviceError, InterlockOpen, ProtocolError
from scanroom.mri.twin import IDEAL, Effort, Faults
from scanroom.mri.twin.blocks import MOST_HELD, blocks_of, silent
from scanroom.mri.twin.farm import farmed
from scanroom.mri.twin.playing import Playing
from scanroom.mri.twin.programme import programme
from scanroom.physics.spins.engine import Control
from tests.mri.twin.test_device import _fid, _play, _twin
from validation.drives import drive, gradient, sinc


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


CASES = {"isochromats": _fid, "continuum": _fid, "classes": _slice, "auto": _slice}


def _signals(engine, parts, workers, faults=IDEAL):
    twin = _twin(engine=engine, parts=parts, workers=workers, faults=faults)
    return np.concatenate([raw.signal.ravel() for raw in _play(twin, CASES[engine]())]), twin.truth


@pytest.mark.parametrize("engine", CASES)
def test_workers_change_no_byte(engine):
    faults = Faults() if engine == "auto" else IDEAL
    alone, truth = _signals(engine, 3, 1, faults)
    several, told = _signals(engine, 3, 2, faults)
    assert several.tobytes() == alone.tobytes()
    for name in ("engine", "n_voxels_bright", "largest_configuration_lost", "n_clipped"):
        assert told[name] == truth[name]


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
    twin = _twin(engine="isochromats", parts=3)
    what = _fid()
    playing = Playing(twin._filling, what, programme(what))
    places = [twin._filling.spins(playing.program, block, 3)[0].position for block in playing.parts]
    whole = Playing(_twin(engine="isochromats")._filling, what, programme(what))
    expected = twin._filling.spins(whole.program, whole.parts[0], 3)[0].position
    np.testing.assert_array_equal(np.concatenate(places), expected)


def test_a_worker_that_dies_is_said_and_none_is_left(monkeypatch: pytest.MonkeyPatch):
    twin = _twin(engine="isochromats", parts=2, workers=2)
    what = _fid()
    playing = Playing(twin._filling, what, programme(what))
    monkeypatch.setattr("scanroom.mri.twin.farm._part", _die)
    with pytest.raises(DeviceError, match="a worker"):
        list(farmed(playing, Control(), 2))


def _die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_stop_when_the_twin_does():
    twin = _twin(engine="isochromats", parts=2, workers=2)
    threading.Timer(0.3, twin.stop).start()
    begin = time.monotonic()
    with pytest.raises(InterlockOpen):
        _play(twin, _fid())
    assert time.monotonic() - begin < 30.0


@pytest.mark.parametrize("how", [{"parts": 0}, {"workers": 0}, {"workers": 3}, {"parts": 5000}])
def test_impossible_numbers_are_refused(how):
    with pytest.raises(ProtocolError, match=r"parts|workers"):
        Effort(**how)


def test_signals_too_large_to_hold_are_refused():
    n_samples = 60_000
    what = drive(pulses=[(0.0, 0.0, 0.0)], windows=[(20e-3, n_samples)])
    n_coils = MOST_HELD // (8 * n_samples) + 1
    with pytest.raises(ProtocolError, match="GiB"):
        silent(programme(what), n_coils)
