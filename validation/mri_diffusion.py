"""What diffusion dims, against Stejskal and Tanner, Hahn, phase graphs and random walks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scanroom.mri.drive.model import Drive, Gradient, PulseShape
from scanroom.mri.twin.courses import Moments
from scanroom.mri.twin.programme import programme
from scanroom.physics import epg
from scanroom.physics.spins.continuum import Boxes, simulate_boxes
from scanroom.physics.spins.engine import Settings
from scanroom.physics.spins.ensemble import Spins
from validation.drives import DWELL, drive, gradient
from validation.mri_bloch_truths import Case, judged, write_page
from validation.table import show

COMMAND = "python -m validation.mri_diffusion"
PAGE = Path("docs/reference/generated/diffusion.md")
FINE = Settings(tolerance=1e-7, silence=0.0, faintest=1e-7)
WATER = 2.3e-9
INSTANT = 1e-7
EDGE = 1e-3
STRONG, RISE, FLAT, APART = 1.7e6, 0.4e-3, 8e-3, 25e-3
"""A gradient of 40 mT/m [Hz/m] and the times of its lobes [s]: ramp, plateau, start to start."""
SIX = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, -1, 0], [1, 0, -1], [0, 1, -1]]) / np.sqrt(2)
N_WALKERS = 200_000


def hard(flip: float) -> PulseShape:
    """A pulse of a tenth of a microsecond."""
    step = np.array([flip / (2 * np.pi) / INSTANT], complex)
    edge = np.array([0.0, INSTANT])
    return PulseShape(
        time=np.array([INSTANT / 2]), signal=step, edge=edge, step=step, centre=INSTANT / 2
    )


def played(
    pulses: list[tuple[float, float, float]], windows: list[float], axes: list[Gradient]
) -> Drive:
    """Pulses as (time, flip, phase), windows of one sample at given times."""
    flips = sorted({flip for _, flip, _ in pulses})
    made = drive(
        pulses=[(time, 0.0, phase) for time, _, phase in pulses],
        windows=[(time - DWELL / 2, 1) for time in windows],
        gradients=(axes[0], axes[1], axes[2]),
    )
    shape = np.array([flips.index(flip) for _, flip, _ in pulses])
    return replace(
        made,
        shapes=tuple(hard(flip) for flip in flips),
        pulses=replace(made.pulses, shape=shape),
    )


def signals(
    what: Drive, diffusion: np.ndarray, t1: float = 1e6, t2: float = 1e6
) -> tuple[np.ndarray, np.ndarray]:
    """First samples of all windows of a cube of a millimetre: at rest, and diffusing."""
    who = Spins(
        position=np.zeros((1, 3)),
        offset=np.zeros(1),
        r1=np.full(1, 1 / t1, np.float32),
        r2=np.full(1, 1 / t2, np.float32),
        transmit=np.ones(1, np.complex64),
        weight=np.ones((1, 1), np.complex64),
    )
    program = programme(what, Moments(what.gradients, (0.0, 0.0, 0.0)), diffusing=True)
    out = []
    for coefficients in (np.zeros((0, 0)), np.reshape(diffusion, (-1, 1))):
        part = Boxes(
            spins=who,
            edges=EDGE * np.eye(3),
            r2_prime=np.zeros(1, np.float32),
            column=np.zeros(1, np.int64),
            diffusion=coefficients.astype(np.float32),
        )
        found = [window[0, 0] for window in simulate_boxes(program, [part], FINE)]
        out.append(np.array(found, np.complex128))
    return out[0], out[1]


def lobes(*starts: float, size: float = STRONG) -> Gradient:
    """Trapezoids that begin at given times."""
    knots = [(0.0, 0.0)]
    for at in starts:
        knots += [(at, 0.0), (at + RISE, size), (at + RISE + FLAT, size)]
        knots.append((at + 2 * RISE + FLAT, 0.0))
    return gradient(*knots)


def b_value(size: float, apart: float) -> float:
    """Of two trapezoids with a refocusing pulse between them [s/m2] (Stejskal and Tanner)."""
    full = RISE + FLAT
    inner = full**2 * (apart - full / 3) + RISE**3 / 30 - full * RISE**2 / 6
    return float((2 * np.pi * size) ** 2 * inner)


def stejskal_tanner() -> float:
    """A spin echo at ten b-values up to 3 / D: largest error of the signal, of that at rest."""
    worst = 0.0
    for share in np.linspace(0.1, 1.0, 10):
        size = STRONG * share
        echo = played(
            [(0.0, np.pi / 2, 0.0), (20e-3, np.pi, np.pi / 2)],
            [40e-3],
            [lobes(5e-3, 5e-3 + APART, size=size), gradient(), gradient()],
        )
        still, found = signals(echo, np.array(WATER))
        truth = np.exp(-b_value(size, APART) * WATER)
        worst = max(worst, abs(abs(found[0] / still[0]) - truth))
    return worst


def tensor() -> float:
    """Six directions, an anisotropic tensor with all its terms."""
    main = np.array([[1.7, 0.3, -0.2], [0.3, 0.6, 0.1], [-0.2, 0.1, 0.4]]) * 1e-9
    terms = main[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    worst = 0.0
    for way in SIX:
        axes = [lobes(5e-3, 5e-3 + APART, size=STRONG * share) for share in way]
        echo = played([(0.0, np.pi / 2, 0.0), (20e-3, np.pi, np.pi / 2)], [40e-3], axes)
        still, found = signals(echo, terms)
        truth = np.exp(-b_value(STRONG, APART) * (way @ main @ way))
        worst = max(worst, abs(abs(found[0] / still[0]) - truth))
    return worst


def constant_gradient() -> float:
    """Hahn's echo in a gradient that never stops: exp(-(2 pi G)^2 D TE^3 / 12)."""
    size, echo = 3e4, 60e-3
    always = gradient((0.0, size), (0.1, size))
    what = played(
        [(0.0, np.pi / 2, 0.0), (echo / 2, np.pi, np.pi / 2)], [echo], [always] + 2 * [gradient()]
    )
    still, found = signals(what, np.array(WATER))
    return abs(
        float(abs(found[0] / still[0]) - np.exp(-((2 * np.pi * size) ** 2) * WATER * echo**3 / 12))
    )


def stimulated_echo() -> float:
    """Three pulses of 90 degrees, a second between the last two: longitudinal orders diffuse."""
    mixing = 1.0
    first, last = 15e-3, 15e-3 + mixing
    size = 1.5e5
    what = played(
        [(0.0, np.pi / 2, 0.0), (first, np.pi / 2, 0.0), (last, np.pi / 2, 0.0)],
        [last + first],
        [lobes(3e-3, last + 3e-3, size=size)] + 2 * [gradient()],
    )
    still, found = signals(what, np.array(WATER))
    return abs(float(abs(found[0] / still[0]) - np.exp(-b_value(size, last) * WATER)))


def graph(
    flips: list[float],
    phases: list[float],
    winding: tuple[float, float, float],
    tissue: tuple[float, float, float],
) -> np.ndarray:
    """Order zero right after every pulse, by a phase graph.

    ``winding`` is the moment, how long after a pulse its gradient begins, and the whole interval.
    """
    moment, wait, interval = winding
    t1, t2, diffusion = tissue
    kept = epg.relaxation(interval, t1, t2)
    states = epg.equilibrium(len(flips) + 2)
    order = np.arange(states.shape[1])
    unit = (2 * np.pi * moment) ** 2 * diffusion
    on = interval - wait
    grown = np.exp(-unit * (order**2 * interval + (order + 1 / 3) * on))
    shrunk = np.exp(-unit * (order**2 * interval + (1 / 3 - order) * on))
    out = []
    for flip, phase in zip(flips, phases, strict=True):
        states = epg.pulse(states, flip, phase)
        out.append(states[0, 0])
        states = states * np.stack([grown, shrunk, np.exp(-unit * order**2 * interval)])
        states = epg.dephase(epg.relax(states, kept))
    return np.array(out)


def train(flips: list[float], phases: list[float], tissue: tuple[float, float, float]) -> float:
    """Pulses with a gradient after each, and a sample before it: error against the phase graph."""
    moment, wait, interval = 4e3, 1e-4, 12e-3
    times = (np.arange(len(flips)) + 1e-3) * interval
    knots, size = [(0.0, 0.0)], moment / (interval - wait)
    for begin in times + wait:
        end = begin + interval - wait
        knots += [(begin, 0.0), (begin, size), (end, size), (end, 0.0)]
    what = played(
        list(zip(times.tolist(), flips, phases, strict=True)),
        [t + INSTANT + DWELL for t in times],
        [gradient(*knots)] + 2 * [gradient()],
    )
    _, found = signals(what, np.array(tissue[2]), tissue[0], tissue[1])
    truth = np.abs(graph(flips, phases, (moment, wait, interval), tissue))
    truth *= np.exp(-(INSTANT / 2 + DWELL) / tissue[1])
    return float(np.abs(np.abs(found) - truth).max() / truth.max())


def spoiled() -> float:
    """60 pulses of 30 degrees, phases in steps of 117 degrees."""
    n = np.arange(60)
    phases = np.radians(117.0) * n * (n + 1) / 2
    return train([np.radians(30.0)] * 60, (phases % (2 * np.pi)).tolist(), (1.0, 0.1, WATER))


def steady() -> float:
    """60 pulses of 40 degrees, all alike: the echo before each pulse is made of many orders."""
    return train([np.radians(40.0)] * 60, [0.0] * 60, (1.0, 0.3, WATER))


def random_walks() -> float:
    """Four pulses in a constant gradient, against points that walk at random through it.

    Six turns over the box every 4 ms: what is not an echo is silent over the box.
    """
    flips, size = np.radians([70.0, 130.0, 50.0, 110.0]), 1.5e6
    phases = [0.0, 1.0, 2.0, 0.5]
    times, end, step = [0.0, 12e-3, 20e-3, 40e-3], 65e-3, 1e-4
    always = gradient((0.0, size), (0.1, size))
    readings = (4e-3 * np.array([6, 7, 8, 9, 11, 12, 13, 14, 15])).tolist()
    what = played(
        list(zip(times, flips.tolist(), phases, strict=True)),
        readings,
        [always] + 2 * [gradient()],
    )
    _, found = signals(what, np.array(WATER))
    rng = np.random.Generator(np.random.Philox(key=[5, 0]))
    place = (np.arange(N_WALKERS) + 0.5) / N_WALKERS * EDGE - EDGE / 2
    spin = np.stack([np.zeros(N_WALKERS), np.zeros(N_WALKERS), np.ones(N_WALKERS)])
    n_steps = round(end / step)
    seen = []
    for at in range(n_steps):
        now = at * step
        for time, flip, phase in zip(times, flips, phases, strict=True):
            if abs(now - time) < step / 2:
                spin = turned(flip, phase) @ spin
        for time in readings:
            if abs(now - time) < step / 2:
                seen.append((spin[0] + 1j * spin[1]).mean())
        jump = rng.normal(0.0, np.sqrt(2 * WATER * step), N_WALKERS)
        angle = -2 * np.pi * size * step * (place + jump / 2)
        # Half a step of the walk more than its ends say: variance of a Brownian bridge.
        angle += 2 * np.pi * size * step * np.sqrt(WATER * step / 6) * rng.normal(size=N_WALKERS)
        place = place + jump
        turn = np.exp(1j * angle)
        transverse = (spin[0] + 1j * spin[1]) * turn
        spin = np.stack([transverse.real, transverse.imag, spin[2]])
    truth = np.array(seen)
    return float(np.abs(np.abs(found) - np.abs(truth)).max())


def turned(flip: float, phase: float) -> np.ndarray:
    """Rotation by a hard pulse about the axis at ``phase`` in the transverse plane."""
    c, s = np.cos(flip), np.sin(flip)
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = np.cos(phase), np.sin(phase)
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_z.T)


STEJSKAL = "Stejskal, Tanner 1965, doi:10.1063/1.1695690"
WEIGEL = "Weigel et al. 2010, doi:10.1016/j.jmr.2010.05.011"
CASES: tuple[Case, ...] = (
    ("spin echo, ten b-values up to 3 / D", stejskal_tanner, 1e-5, "closed form", STEJSKAL),
    ("tensor, six directions", tensor, 1e-5, "closed form", STEJSKAL),
    ("constant gradient", constant_gradient, 1e-5, "closed form",
     "Hahn 1950, doi:10.1103/PhysRev.80.580"),
    ("stimulated echo, 1 s", stimulated_echo, 1e-5, "closed form", STEJSKAL),
    ("60 pulses, phases in steps of 117 degrees", spoiled, 1e-4, "phase graph", WEIGEL),
    ("60 pulses of one phase", steady, 1e-4, "phase graph", WEIGEL),
    ("four pulses of any phase", random_walks, 3 / np.sqrt(N_WALKERS),
     f"{N_WALKERS} random walks", "three standard errors"),
)  # fmt: skip


def claims() -> list[dict[str, Any]]:
    """Error of every case."""
    rows = judged("continuum, diffusion", CASES, COMMAND)
    write_page(PAGE, "Diffusion", COMMAND, rows)
    return rows


if __name__ == "__main__":
    show(claims())
