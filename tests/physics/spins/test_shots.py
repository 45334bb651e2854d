"""Whole shots by one transform, against sums over spins: in double precision, and the engine's."""

import numpy as np
import pytest

from scanroom.physics.spins import shots
from scanroom.physics.spins.engine import Settings, simulate
from scanroom.physics.spins.ensemble import Spins
from scanroom.physics.spins.nonuniform import LEAST_ERROR
from scanroom.physics.spins.program import WINDOW, WindowKind
from validation.mri_bloch_truths import INSTANT, Timeline

DWELL = 4e-6
REACH = 0.11
# What is asked for; seven nodes and single precision reach a tenth of it.
ASKED = 1e-5
EXACT = {"tolerance": 0.0, "silence": 0.0}


class Courses(Timeline):
    """A programme whose windows are read under any course of moments, of any coordinates."""

    def __init__(self, n_axes=3):
        super().__init__()
        self.moment = np.zeros(n_axes)
        self.tipped: list[tuple[float, np.ndarray]] = []

    def tip(self, flip=1.0):
        """An instantaneous pulse."""
        self.tipped.append((self.now, self.moment.copy()))
        return self.pulse(flip, 0.0, INSTANT, gradient=np.zeros(len(self.moment)))

    def read(self, course, *, dwell=DWELL):
        """A window under a course of moments since its opening."""
        n_samples = len(course)
        kind = WindowKind(
            n_samples=n_samples,
            dwell=dwell,
            gradient=np.zeros(len(self.moment)),
            moment=course,
            steady=False,
        )
        begin, middle = self.moment, course[n_samples // 2]
        times = (self.now, self.now + n_samples * dwell, self.now + (n_samples // 2 + 0.5) * dwell)
        moments = begin + np.stack([np.zeros(len(begin)), course[-1], middle])
        index = self._known(self.windows, kind)
        self.rows.append((WINDOW, index, times, moments, (0.0, 0.0)))
        self.now, self.moment = times[1], moments[1]
        return self


def disc(n=2500, n_coils=3, n_axes=3, **given):
    """Isochromats of three tissues in a disc, +-60 Hz, smooth coils."""
    chance = np.random.default_rng(5)
    place = chance.uniform(-1, 1, (n, n_axes)) * REACH
    place[:, 2] *= 0.02
    far = np.exp(1j * (place[:, :2] @ chance.normal(size=(2, n_coils)) * 8))
    values = {
        "position": place,
        "offset": chance.uniform(-60, 60, n),
        "r1": np.full(n, 1.0, np.float32),
        "r2": chance.choice(1 / np.array([0.07, 0.09, 1.5]), n).astype(np.float32),
        "transmit": np.ones(n, np.complex64),
        "weight": (far * chance.uniform(0.2, 1, (n, 1)) / n).astype(np.complex64),
    }
    return Spins(**(values | given))


def spiral(n_samples=3000, turns=24, n_axes=3, phase=0.0):
    share = (np.arange(n_samples) + 0.5) / n_samples
    course = np.zeros((n_samples, n_axes))
    angle = 2 * np.pi * turns * share + phase
    course[:, :2] = 240 * share[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return course - course[0]


def planar(line, n_lines=16, n_samples=96, n_axes=3):
    """Echoes sampled on their ramps, one window each."""
    time = (np.arange(n_samples) + 0.5) / n_samples
    trapezoid = np.minimum(np.minimum(time, 1 - time) / 0.3, 1)
    course = np.zeros((n_samples, n_axes))
    course[:, 0] = 400 * np.cumsum(trapezoid) / trapezoid.sum()
    blip = np.zeros(n_axes)
    blip[1] = 20.0
    line.free(3e-4, np.eye(n_axes)[0] * -200)
    for echo in range(n_lines):
        line.read(course * (-1) ** echo).free(1e-4, blip)
    return line


def further(course):
    """Two more moments: one of a uniform field that lags, one that grows with the gradients."""
    power = np.square(np.gradient(course[:, :2], axis=0)).sum(axis=1)
    course[:, 3] = 3e-3 * course[:, 0] + 0.2 * np.sin(np.arange(len(course)) / 200)
    course[:, 4] = 30.0 * np.cumsum(power) / power.sum()
    return course


def found(line, who, monkeypatch, **settings):
    """Samples of all windows, all shots by transforms; and how many of them there were."""
    read = []
    monkeypatch.setattr(shots, "cost_of_sum", lambda *_: np.inf)
    transform = shots.samples_of_shot
    monkeypatch.setattr(shots, "samples_of_shot", lambda *a: read.append(a[0]) or transform(*a))
    signals = list(simulate(line.program(), who, Settings(**EXACT, **settings)))
    monkeypatch.undo()
    return np.concatenate(signals, axis=1), read


def summed(line, who):
    """The engine's own sum, sample by sample."""
    signals = simulate(line.program(), who, Settings(**EXACT, readout=0.0))
    return np.concatenate(list(signals), axis=1)


def truth(line, who, flip=1.0):
    """Spins tipped once, in double precision."""
    (start, origin), program = line.tipped[0], line.program()
    parts = []
    for event, kind, time, moment in zip(
        program.event, program.kind, program.time, program.moment, strict=True
    ):
        if event != WINDOW:
            continue
        window = program.windows[kind]
        elapsed = time[0] - start + (np.arange(window.n_samples) + 0.5) * window.dwell
        turns = (moment[0] - origin + window.moment) @ who.position.T
        turns = turns + np.outer(elapsed, who.offset)
        decay = np.outer(elapsed, who.r2.astype(float))
        values = 1j * np.sin(flip) * np.exp(-2j * np.pi * turns - decay)
        parts.append(who.weight.T.astype(complex) @ values.T)
    return np.concatenate(parts, axis=1)


def error(one, other):
    return np.linalg.norm(one - other) / np.linalg.norm(other)


def lines():
    """Programmes of one shot, and spins for them."""
    conic = spiral(1200)
    conic[:, 2] = 100 * np.sin(np.arange(1200) / 150) ** 2
    deep = disc()
    deep.position[:, 2] *= 40
    five = disc(n_axes=5)
    five.position[:, 3] = 1.0
    five.position[:, 4] = np.square(five.position[:, :2]).sum(axis=1)
    echoes = planar(Courses(5).tip().free(1e-3, np.zeros(5)), n_axes=5)
    echoes.windows = [
        WindowKind(
            n_samples=kind.n_samples,
            dwell=kind.dwell,
            gradient=kind.gradient,
            moment=further(kind.moment),
            steady=False,
        )
        for kind in echoes.windows
    ]
    short = disc(r2=np.random.default_rng(1).choice([12.0, 400.0, 3e3], 2500).astype(np.float32))
    return {
        "spiral": (Courses().tip().free(1e-3).read(spiral()), disc()),
        "echo-planar with ramps": (planar(Courses().tip()), disc()),
        "echo-planar with two more fields": (echoes, five),
        "three directions": (Courses().tip().read(conic), deep),
        "one line": (Courses().tip().free(1e-3).read(spiral(256, 0.1)), disc()),
        "short T2": (Courses().tip().free(1e-4).read(spiral()), short),
        "no offset": (Courses().tip().read(spiral()), disc(offset=np.zeros(2500))),
    }


@pytest.mark.parametrize("name", lines())
def test_one_transform_is_the_sum_over_spins(name, monkeypatch):
    line, who = lines()[name]
    signal, read = found(line, who, monkeypatch)
    assert len(read) == 1
    assert error(signal, truth(line, who)) < ASKED


def test_windows_with_a_steady_gradient_hand_over_spins_that_decay_too_fast(monkeypatch):
    line, who = Courses().tip(), lines()["short T2"][1]
    for sign in (1, -1):
        line.free(5e-4, (-sign * 120, 0, 0)).window(256, 1e-5, (sign * 9.4e4, 0, 0))
    signal, read = found(line, who, monkeypatch)
    assert len(read) == 1
    # What is gridded errs by 7e-6 of its own signal.
    assert error(signal, truth(line, who)) < 2e-5


def test_shots_between_pulses_are_read_one_by_one(monkeypatch):
    line, who = Courses(), disc()
    for shot in range(3):
        line.tip(0.7).free(1e-3).read(spiral(800, 8, phase=2.0 * shot)).free(2e-3, (40.0, 9.0, 0))
        line.tip(0.3).free(1e-3)
        planar(line, 4)
    signal, read = found(line, who, monkeypatch)
    assert len(read) == 6
    assert len({id(layout) for layout in read}) == 4  # echo trains share theirs
    assert error(signal, summed(line, who)) < ASKED


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(threads, monkeypatch):
    line, who = planar(Courses().tip()), disc()
    base, _ = found(line, who, monkeypatch, threads=2)
    assert np.array_equal(found(line, who, monkeypatch, threads=threads)[0], base)


def test_coils_that_move_weigh_each_stretch_anew(monkeypatch):
    line, who = planar(Courses().tip(), n_lines=20), disc()

    def weigh(time):
        return (who.weight * np.exp(200j * time)).astype(np.complex64)

    def signals(**settings):
        played = simulate(line.program(), who, Settings(**EXACT, **settings), weigh=weigh)
        return np.concatenate(list(played), axis=1)

    plain = signals(readout=0.0)
    monkeypatch.setattr(shots, "cost_of_sum", lambda *_: np.inf)
    assert error(signals(), plain) < ASKED
    assert error(plain, summed(line, who)) > 0.1  # they did move


def test_more_coils_than_a_block_are_all_read(monkeypatch):
    line, who = Courses().tip().read(spiral(800, 8)), disc(n_coils=11)
    signal, _ = found(line, who, monkeypatch)
    assert signal.shape[0] == 11
    assert np.abs(signal - truth(line, who)).max(axis=1).max() < ASKED * np.abs(signal).max()


def test_what_no_transform_reaches_is_summed(monkeypatch):
    line, who = Courses().tip().read(spiral(400, 4)), disc()
    signal, read = found(line, who, monkeypatch, readout=LEAST_ERROR / 2)
    assert not read
    assert np.array_equal(signal, summed(line, who))


def test_few_loud_spins_are_summed_after_all(monkeypatch):
    line, who = Courses().tip().read(spiral(400, 4)), disc()
    prices = iter([np.inf, np.inf, 0.0])
    monkeypatch.setattr(shots, "cost_of_sum", lambda *_: next(prices))
    found = next(simulate(line.program(), who, Settings(**EXACT)))
    assert error(found, summed(line, who)) < 1e-6
