"""Isochromats against closed forms, phase graphs and small-step integration."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from scanroom.mri.twin.sampling import isochromats
from scanroom.physics.epg import refocused_train, spoiled_train
from scanroom.physics.spins.engine import Settings, simulate
from scanroom.physics.spins.ensemble import Spins
from scanroom.physics.spins.oracle import integrate
from scanroom.physics.spins.program import PULSE, WINDOW, Program, PulseKind, WindowKind
from scanroom.physics.spins.rotations import Envelope
from scanroom.subject.model import Subject
from validation.table import markdown, show

COMMAND = "python -m validation.mri_bloch_truths"
PAGE = Path("docs/reference/generated/bloch-truths.md")
HARD = Envelope(edge=np.array([0.0, 1e-6]), step=np.array([1.0 + 0j]))
Play = Callable[..., list[np.ndarray]]
Case = tuple[str, Callable[[], float], float, str, str]
INSTANT = Envelope(edge=np.array([0.0, 1e-9]), step=np.array([1.0 + 0j]))
NONE = np.zeros(3)
EXACT = Settings(tolerance=0.0, silence=0.0, faintest=0.0)


class Timeline:
    """Writes a programme event by event."""

    def __init__(self) -> None:
        self.now, self.moment = 0.0, np.zeros(3)
        self.envelopes: list[Envelope] = []
        self.pulses: list[PulseKind] = []
        self.windows: list[WindowKind] = []
        self.rows: list[tuple[Any, ...]] = []

    def pulse(
        self, flip: float, phase: float = 0.0, envelope: Envelope = HARD, **kind: Any
    ) -> "Timeline":
        """A pulse of a nominal flip; ``kind`` may hold gradient and frequency."""
        gradient, frequency = kind.get("gradient", NONE), kind.get("frequency", 0.0)
        if not any(envelope is known for known in self.envelopes):
            self.envelopes.append(envelope)
        place = next(i for i, known in enumerate(self.envelopes) if known is envelope)
        area = abs((envelope.step * np.diff(envelope.edge)).sum())
        made = PulseKind(
            envelope=place,
            strength=flip / (2 * np.pi * area),
            frequency=frequency,
            gradient=np.asarray(gradient, float),
        )
        turns = phase / (2 * np.pi)
        index = self._known(self.pulses, made)
        end = self.now + envelope.duration
        ends = (turns, turns + frequency * envelope.duration)
        self._event(PULSE, index, (self.now, end, end), made.gradient, ends)
        return self

    def free(self, time: float, moment: Any = NONE) -> "Timeline":
        """Nothing but a gradient moment [1/m]."""
        self.now += time
        self.moment = self.moment + np.asarray(moment, float)
        return self

    def window(self, n_samples: int, dwell: float, gradient: Any = NONE) -> "Timeline":
        """A receiver window under a constant gradient."""
        gradient = np.asarray(gradient, float)
        times = (np.arange(n_samples) + 0.5) * dwell
        made = WindowKind(
            n_samples=n_samples,
            dwell=dwell,
            gradient=gradient,
            moment=np.outer(times, gradient),
            steady=True,
        )
        index = self._known(self.windows, made)
        end, middle = self.now + n_samples * dwell, self.now + times[n_samples // 2]
        self._event(WINDOW, index, (self.now, end, middle), gradient, (0.0, 0.0))
        return self

    @staticmethod
    def _known(kinds: list[Any], made: Any) -> int:
        for index, kind in enumerate(kinds):
            if repr(kind) == repr(made):
                return index
        kinds.append(made)
        return len(kinds) - 1

    def _event(self, event: int, kind: int, times: Any, gradient: Any, turns: Any) -> None:
        moments = self.moment + np.outer(np.array(times) - self.now, gradient)
        self.rows.append((event, kind, times, moments, turns))
        self.now, self.moment = times[1], moments[1]

    def program(self) -> Program:
        """What was written."""
        event, kind, times, moments, turns = zip(*self.rows, strict=True)
        return Program(
            envelopes=tuple(self.envelopes),
            pulses=tuple(self.pulses),
            windows=tuple(self.windows),
            event=np.array(event),
            kind=np.array(kind),
            time=np.array(times),
            moment=np.array(moments),
            turns=np.array(turns),
        )


def spins(n: int = 1, **given: Any) -> Spins:
    """Isochromats with T1 1 s and T2 100 ms unless told; each its own coil with ``apart``."""
    apart = given.pop("apart", False)
    values = {"t1": 1.0, "t2": 0.1, "offset": 0.0, "transmit": 1.0} | given
    return Spins(
        position=np.asarray(values.get("position", np.zeros((n, 3))), float),
        offset=np.broadcast_to(np.asarray(values["offset"], float), n).copy(),
        r1=np.broadcast_to(1 / np.float32(values["t1"]), n).astype(np.float32),
        r2=np.broadcast_to(1 / np.float32(values["t2"]), n).astype(np.float32),
        transmit=np.broadcast_to(values["transmit"], n).astype(np.complex64),
        weight=np.eye(n, dtype=np.complex64) if apart else np.full((n, 1), 1 / n, np.complex64),
    )


def signals(line: Timeline, who: Spins) -> list[np.ndarray]:
    """Samples of every window."""
    return list(simulate(line.program(), who))


def free_induction() -> float:
    """Largest error of a decaying, turning signal over its start."""
    line = Timeline().pulse(np.pi / 2).free(1e-3).window(256, 1e-4)
    time = 0.5e-6 + 1e-3 + (np.arange(256) + 0.5) * 1e-4
    truth = 1j * np.exp(-time / 0.1 - 2j * np.pi * 37.0 * time)
    return float(np.abs(signals(line, spins(offset=37.0))[0][0] - truth).max())


def spin_echo() -> float:
    """Error of an echo of 400 isochromats spread over 200 Hz, relative."""
    offset = np.linspace(-100, 100, 400)
    line = Timeline().pulse(np.pi / 2).free(20e-3).pulse(np.pi, np.pi / 2)
    line.free(20e-3 - 0.5e-5).window(1, 1e-5)
    truth = np.exp(-40e-3 / 0.1)
    return float(abs(abs(signals(line, spins(400, offset=offset))[0][0, 0]) / truth - 1))


def inversion_recovery() -> float:
    """Largest error of the recovered signal over equilibrium, five inversion times."""
    errors = []
    for wait in (0.05, 0.3, 0.693, 1.5, 4.0):
        line = Timeline().pulse(np.pi).free(wait, (5e5, 0, 0)).pulse(np.pi / 2).window(1, 1e-6)
        found = signals(line, spins())[0][0, 0].imag
        errors.append(abs(found - (1 - 2 * np.exp(-wait))))
    return float(max(errors))


def row_of_spins(line: Timeline, **given: Any) -> list[np.ndarray]:
    """What 512 isochromats over a millimetre give."""
    place = np.zeros((512, 3))
    place[:, 0] = np.arange(512) / 512 * 1e-3
    return signals(line, spins(512, position=place, **given))


def ernst(play: Play = row_of_spins) -> float:
    """Largest relative error of a gradient-spoiled steady state with TR of 6 T2, three flips."""
    repetition, t1, t2 = 60e-3, 0.9, 10e-3
    errors = []
    for flip in np.radians([5.0, 20.0, 60.0]):
        line = Timeline()
        for _ in range(120):
            line.pulse(flip).window(1, 1e-6).free(repetition - 2e-6, (1e3, 0, 0))
        found = play(line, t1=t1, t2=t2)[-1][0, 0]
        e1 = np.exp(-repetition / t1)
        truth = np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip))
        errors.append(abs(abs(found) / truth - 1))
    return float(max(errors))


def rf_spoiling(play: Play = row_of_spins) -> float:
    """Largest error against the phase graph, 100 pulses, over the first signal."""
    flip, repetition, increment = np.radians(30.0), 10e-3, np.radians(117.0)
    line = Timeline()
    for n in range(100):
        line.pulse(flip, -increment * n * (n + 1) / 2).window(1, 1e-8)
        line.free(repetition - 1e-6 - 1e-8, (1e3, 0, 0))
    found = np.array([s[0, 0] for s in play(line)])
    truth = spoiled_train(100, flip, increment, repetition, (1.0, 0.1))
    return float(np.abs(np.abs(found) - truth).max() / truth[0])


def balanced() -> float:
    """Largest error of a balanced steady state over five offsets, relative to equilibrium."""
    repetition, t1, t2, flip = 5e-3, 0.3, 0.1, np.radians(40.0)
    offset = np.array([0.0, 20.0, 50.0, 80.0, 95.0])
    line = Timeline()
    for n in range(600):
        line.pulse(flip, np.pi * n).window(1, 1e-8).free(repetition - 1e-6 - 1e-8)
    who = spins(5, offset=offset, t1=t1, t2=t2, apart=True)
    found = np.abs(signals(line, who)[-1][:, 0])
    e1, e2 = np.exp(-repetition / t1), np.exp(-repetition / t2)
    turn = 2 * np.pi * offset * repetition + np.pi
    c, s = np.cos(flip), np.sin(flip)
    bottom = (1 - e1 * c) * (1 - e2 * np.cos(turn)) - e2 * (e1 - c) * (e2 - np.cos(turn))
    truth = (1 - e1) * s * np.sqrt((1 - e2 * np.cos(turn)) ** 2 + (e2 * np.sin(turn)) ** 2) / bottom
    return float(np.abs(found - truth).max())


def imperfect_train(play: Play = row_of_spins) -> float:
    """Largest error of 16 echoes refocused by 120 degrees against the phase graph."""
    spacing, flip = 10e-3, np.radians(120.0)
    line = Timeline().pulse(np.pi / 2, np.pi / 2).free(spacing / 2 - 1e-6, (1e3, 0, 0))
    for _ in range(16):
        line.pulse(flip).free(spacing / 2 - 1e-6, (1e3, 0, 0)).window(1, 1e-6)
        line.free(spacing / 2 - 1e-6, (1e3, 0, 0))
    found = np.array([abs(s[0, 0]) for s in play(line)])
    return float(np.abs(found - refocused_train(16, flip, spacing, 1.0, 0.1)).max())


def detuned_pulse() -> float:
    """Largest error of a rectangular pulse off resonance against Rabi's formula."""
    duration, strength = 0.5e-3, 500.0
    block = Envelope(edge=np.array([0.0, duration]), step=np.array([1.0 + 0j]))
    offset = np.linspace(-6e3, 6e3, 101)
    line = Timeline().pulse(2 * np.pi * strength * duration, 0.0, block).window(1, 1e-9)
    who = spins(101, offset=offset, apart=True, t1=1e5, t2=1e5)
    found = np.abs(signals(line, who)[0][:, 0])
    total = np.hypot(offset, strength)
    half = np.pi * total * duration
    up = strength / total * np.sin(half)
    truth = 2 * np.abs(up) * np.sqrt(1 - up**2)
    return float(np.abs(found - truth).max())


def sinc(duration: float = 3e-3, steps: int = 300) -> Envelope:
    """A windowed sinc of four zero crossings."""
    edge = np.linspace(0, duration, steps + 1)
    place = ((edge[1:] + edge[:-1]) / 2 - duration / 2) / duration
    shape = np.sinc(4 * place) * (0.5 + 0.5 * np.cos(2 * np.pi * place))
    return Envelope(edge=edge, step=(shape / shape.max()).astype(complex))


def small_tip_profile() -> float:
    """Largest error of a slice profile of 1 degree against the pulse's Fourier transform."""
    envelope, flip = sinc(), np.radians(1.0)
    offset = np.linspace(-4e3, 4e3, 161)
    line = Timeline().pulse(flip, 0.0, envelope).window(1, 1e-9)
    who = spins(161, offset=offset, apart=True, t1=1e5, t2=1e5)
    found = np.abs(signals(line, who)[0][:, 0])
    middle, length = (envelope.edge[1:] + envelope.edge[:-1]) / 2, np.diff(envelope.edge)
    wave = np.exp(2j * np.pi * np.outer(offset, middle)) * np.sinc(np.outer(offset, length))
    area = (envelope.step * length).sum().real
    truth = flip * np.abs(wave @ (envelope.step * length)) / area
    return float(np.abs(found - truth).max() / flip)


def against_oracle(t1: float, t2: float, turned: float = np.pi / 2) -> float:
    """Largest error after a shaped pulse, offsets and transmit fields mixed."""
    envelope, n = sinc(), 40
    rng = np.random.default_rng(4)
    offset = rng.uniform(-2e3, 2e3, n)
    transmit = rng.uniform(0.6, 1.3, n) * np.exp(2j * np.pi * rng.random(n))
    line = Timeline().pulse(turned, 0.7, envelope, frequency=210.0).window(1, 1e-9)
    who = spins(n, offset=offset, transmit=transmit, t1=t1, t2=t2, apart=True)
    found = signals(line, who)[0][:, 0]
    strength = line.pulses[0].strength
    state = np.tile([0.0, 0.0, 1.0], (n, 1))
    rates = (np.full(n, 1 / t1), np.full(n, 1 / t2))
    for step, value in enumerate(envelope.step):
        begin, end = envelope.edge[step : step + 2]

        def field(time: float, begin: float = begin, value: complex = value) -> Any:
            turn = np.exp(-1j * (0.7 + 2 * np.pi * 210.0 * (begin + time)))
            return strength * value * turn * transmit, offset

        state = integrate(state, field, rates, float(end - begin), 8)
    return float(np.abs(found - (state[:, 0] + 1j * state[:, 1])).max())


def conservation() -> float:
    """Largest change of length after 200 pulses without relaxation, seen by two windows."""
    offset = np.random.default_rng(2).uniform(-300, 300, 64)
    line = Timeline()
    for n in range(200):
        line.pulse(1.1, 0.3 * n, sinc(1e-3, 100) if n == 0 else line.envelopes[0]).free(3e-3)
    line.window(1, 1e-12).pulse(np.pi / 2, 0.0, INSTANT).window(1, 1e-12)
    who = spins(64, offset=offset, apart=True, t1=1e6, t2=1e6)
    before, after = (s[:, 0] for s in signals(line, who))
    # The first window sees x and y; a quarter turn about x lets the second see z as y.
    return float(np.abs(np.sqrt(np.abs(before) ** 2 + after.imag**2) - 1).max())


def lorentzian() -> float:
    """Largest error over 0 to 2 T2', root mean square over pixels of 5 voxels of 8 isochromats."""
    maps = {"proton_density": np.ones((20, 20, 5), np.float32)}
    subject = Subject(name="block", field=3.0, affine=np.eye(4), maps=maps)
    grains = isochromats(subject, maps["proton_density"] > 0, 8)
    time = np.linspace(0, 2, 41)
    wave = np.exp(1j * np.outer(grains.spread, time)).reshape(400, 40, -1).mean(axis=1)
    return float(np.sqrt((np.abs(wave - np.exp(-time)) ** 2).mean(axis=0)).max())


CASES: tuple[Case, ...] = (
    ("free induction decay", free_induction, 1e-4, "closed form", "Bloch 1946"),
    ("spin echo over 200 Hz", spin_echo, 1e-3, "closed form", "Hahn 1950"),
    ("inversion recovery, five times", inversion_recovery, 1e-4, "closed form", "Bloch 1946"),
    ("spoiled steady state, TR = 6 T2", ernst, 5e-3, "closed form", "Ernst, Anderson 1966"),
    ("RF-spoiled train, 117 degrees", rf_spoiling, 1e-3, "phase graph", "scanroom.physics.epg"),
    ("balanced steady state, five offsets", balanced, 1e-3, "closed form", "Freeman, Hill 1971"),
    ("echo train refocused by 120 degrees", imperfect_train, 1e-3, "phase graph",
     "scanroom.physics.epg"),
    ("rectangular pulse off resonance", detuned_pulse, 1e-4, "closed form", "Rabi 1937"),
    ("slice profile of 1 degree", small_tip_profile, 1e-3, "Fourier transform",
     "Hoult 1979, doi:10.1016/0022-2364(79)90202-6"),
    ("90 degrees, T1 1.3 s, T2 80 ms", lambda: against_oracle(1.3, 0.08), 1e-4,
     "Runge-Kutta, double precision", "scanroom.physics.spins.oracle"),
    ("180 degrees, T1 1.3 s, T2 80 ms", lambda: against_oracle(1.3, 0.08, np.pi), 1e-4,
     "Runge-Kutta, double precision", "scanroom.physics.spins.oracle"),
    ("90 degrees, T1 0.3 s, T2 10 ms", lambda: against_oracle(0.3, 0.01), 5e-3,
     "Runge-Kutta, double precision", "scanroom.physics.spins.oracle"),
    ("length after 200 pulses, no relaxation", conservation, 1e-4, "invariant", "-"),
    ("exp(-t / T2') in a pixel of 5 voxels, root mean square", lorentzian, 0.1, "closed form",
     "-"),
)  # fmt: skip


def judged(engine: str, cases: Iterable[Case], command: str) -> list[dict[str, Any]]:
    """Run every case of an engine; its error must not exceed the bound."""
    rows = []
    for name, case, bound, truth, source in cases:
        value = case()
        rows.append(
            {
                "claim": f"engine {engine}, error: {name}",
                "value": value,
                "unit": "1",
                "bound": bound,
                "truth": truth,
                "source": source,
                "command": command,
                "passes": bool(value <= bound),
            }
        )
    return rows


def claims() -> list[dict[str, Any]]:
    """Error of every case."""
    rows = judged("isochromats", CASES, COMMAND)
    write_page(PAGE, "Isochromats against closed forms", COMMAND, rows)
    return rows


def write_page(path: Path, title: str, command: str, rows: list[dict[str, Any]]) -> None:
    """Write the table that the documentation shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = markdown(rows, ("claim", "value", "bound", "truth", "source", "passes"))
    path.write_text(f"# {title}\n\nMade by `{command}`.\n\n{table}")


if __name__ == "__main__":
    show(claims())
