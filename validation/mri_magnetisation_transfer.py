"""Two pools of protons: the engines against matrices, closed forms and an adaptive integration.

The tissue is white matter at 3 T as G. J. Stanisz et al. 2005 measured it (doi:10.1002/mrm.20605):
0.139 bound protons for each free one, 23 exchanges a second, T2 of bound protons 10 us.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy.linalg import expm

from scanroom.physics.lineshape import super_lorentzian
from scanroom.physics.spins.classes import Voxels, classes_of, slice_axis
from scanroom.physics.spins.classwise import simulate_classes
from scanroom.physics.spins.continuum import Boxes
from scanroom.physics.spins.engine import Settings, simulate
from scanroom.physics.spins.ensemble import Spins
from scanroom.physics.spins.rotations import Envelope
from validation import two_pools
from validation.mri_bloch_truths import (
    EXACT,
    HARD,
    INSTANT,
    Case,
    Timeline,
    judged,
    signals,
    sinc,
    spins,
    write_page,
)
from validation.mri_classes import filled as spins_in
from validation.mri_classes import lattice
from validation.mri_order_truths import box_signals, boxes, filled
from validation.table import show

COMMAND = "python -m validation.mri_magnetisation_transfer"
PAGE = Path("docs/reference/generated/magnetisation-transfer.md")
FRACTION, TO_FREE, T1_BOUND, T2_BOUND = 0.139, 23.0, 1.0, 10e-6
T1, T2 = 1.084, 0.069
SHOT = 1e-9
"""Dwell of windows of one sample [s]."""


def tissue(n: int = 1, **given: Any) -> Spins:
    """Isochromats of white matter; ``fraction`` and ``to_free`` may be others."""
    fraction, to_free = given.pop("fraction", FRACTION), given.pop("to_free", TO_FREE)
    who = spins(n, **({"t1": T1, "t2": T2, "apart": True} | given))
    rates = np.array([fraction * to_free, to_free, 1 / T1_BOUND, T2_BOUND], np.float32)
    return replace(who, bound=np.tile(rates, (n, 1)))


def row(n: int = 24, **given: Any) -> Spins:
    """A millimetre of white matter, offsets and transmit fields mixed."""
    place = np.zeros((n, 3))
    place[:, 0] = np.arange(n) / n * 1e-3
    rng = np.random.default_rng(7)
    mixed = {"offset": rng.uniform(-40, 40, n), "transmit": rng.uniform(0.7, 1.2, n)}
    return tissue(n, **({"position": place} | mixed | given))


def found(line: Timeline, who: Spins) -> np.ndarray:
    """Every isochromat at every window, by the engine."""
    return np.array([s[:, 0] for s in simulate(line.program(), who, EXACT)])


def away(line: Timeline, who: Spins) -> float:
    """Largest difference from the exact matrices, of equilibrium."""
    return float(np.abs(found(line, who) - two_pools.played(line.program(), who)).max())


def bell(duration: float, n: int = 128) -> Envelope:
    """A Gaussian that has fallen to 3 % at its ends."""
    edge = np.linspace(0, duration, n + 1)
    place = 2 * (edge[1:] + edge[:-1]) / 2 / duration - 1
    return Envelope(edge=edge, step=np.exp(-3.5 * place**2).astype(complex))


def line_quadrature() -> float:
    """Tabulated line against adaptive quadrature, relative, and its centre."""
    offset = np.array([0.0, 700.0, 1500.0, 2e3, 5e3, 2e4, 6e4])
    errors = []
    for t2 in (8e-6, 10e-6, 15e-6):
        truth = np.array([two_pools.line(float(value), t2) for value in offset])
        errors.append(np.abs(super_lorentzian(offset, t2) / truth - 1).max())
    return float(max(errors))


def line_published() -> float:
    """Centre of the line at T2 of 12 us, relative to the 15.1 us that EPG-X takes."""
    return abs(float(super_lorentzian(np.zeros(1), 12e-6)[0]) / 15.1e-6 - 1)


def inversion_recovery() -> float:
    """Biexponential recovery of both pools after a sudden inversion, eight times."""
    rate = np.array([[1 / T1 + FRACTION * TO_FREE, -FRACTION * TO_FREE], [-TO_FREE, TO_FREE + 1]])
    errors = []
    for wait in (2e-3, 1e-2, 3e-2, 0.1, 0.3, 0.7, 1.5, 4.0):
        line = Timeline().pulse(np.pi, 0.0, HARD).free(wait).pulse(np.pi / 2, 0.0, HARD)
        values, vectors = np.linalg.eig(rate)
        start = np.linalg.solve(vectors, np.array([2.0, 1.0]))
        truth = 1 - (vectors @ (start * np.exp(-values * wait)))[0]
        errors.append(abs(found(line.window(1, SHOT), tissue())[0, 0].imag - truth))
    return float(max(errors))


def smooth_pulse() -> float:
    """One saturation pulse of 15 ms, the state of both pools: adaptive integration."""
    duration, carrier, strength = 15e-3, 1200.0, 420.0
    errors = []
    for offset in (0.0, 1180.0):
        who = tissue(offset=offset)

        def shape(time: float) -> complex:
            return strength * np.exp(-3.5 * (2 * time / duration - 1) ** 2) + 0j

        state = two_pools.integrated(who, duration, shape, carrier, np.array([0.0, 0, 1, 1, 1]))
        envelope = bell(duration, 6000)
        area = abs((envelope.step * np.diff(envelope.edge)).sum())
        for wait in (1e-6, 0.05):
            after = expm(wait * two_pools.generator(who, 0, 0j, 0.0, 0.0)) @ state
            line = Timeline().pulse(2 * np.pi * strength * area, 0.0, envelope, frequency=carrier)
            line.free(wait).pulse(np.pi / 2, 0.0, INSTANT).window(1, SHOT)
            got = found(line, who)[0, 0]
            errors.append(abs(got.imag - after[2]))
    return float(max(errors))


def saturation_train() -> float:
    """Twenty pulses of 18 ms at 2 kHz, 9 uT, spoiled; white matter."""
    line, envelope = Timeline(), bell(18e-3)
    area = abs((envelope.step * np.diff(envelope.edge)).sum())
    flip = 2 * np.pi * 383.0 * area
    for _ in range(20):
        line.pulse(flip, 0.0, envelope, frequency=2e3).free(4e-3, (3e3, 0, 0))
    line.pulse(np.pi / 2, 0.0, sinc(1e-3, 100)).window(1, SHOT)
    return away(line, row(8))


def spoiled(duration: float) -> float:
    """RF-spoiled gradient echo of 25 degrees, every one of 150 repetitions of 15 ms."""
    line, shape, increment = Timeline(), sinc(duration, 100), np.radians(117.0)
    for n in range(150):
        line.pulse(np.radians(25.0), -increment * n * (n + 1) / 2, shape).window(1, SHOT)
        line.free(15e-3 - duration - SHOT, (1e3, 0, 0))
    return away(line, row(8))


def spoiled_closed() -> float:
    """Steady state under perfect spoiling and sudden pulses, three flips: linear equations."""
    repetition, t2 = 30e-3, 2e-3
    errors = []
    for flip in np.radians([5.0, 20.0, 60.0]):
        line = Timeline()
        for _ in range(500):
            line.pulse(flip).window(1, SHOT).free(repetition - 1e-6 - SHOT)
        line.pulse(flip).window(1, SHOT)
        who = tissue(t2=t2)
        w = np.pi * flip**2 / 1e-6 * two_pools.line(0.0, T2_BOUND)
        free = expm(repetition * two_pools.generator(who, 0, 0j, 0.0, 0.0))[2:, 2:]
        turn = np.diag([np.cos(flip), np.exp(-w)])
        steady = np.linalg.solve(np.eye(2) - free[:2, :2] @ turn, free[:2, 2])
        errors.append(abs(abs(found(line, who)[-1, 0]) - steady[0] * np.sin(flip)))
    return float(max(errors))


def balanced() -> float:
    """Alternating pulses of 1.5 ms and 40 degrees, every one of 300 repetitions of 6 ms."""
    line, shape = Timeline(), sinc(1.5e-3, 100)
    for n in range(300):
        line.pulse(np.radians(40.0), np.pi * n, shape).window(1, SHOT).free(4.5e-3 - SHOT)
    return away(line, row(8))


def balanced_closed() -> float:
    """Balanced steady state of sudden pulses, T1 of both pools alike: Gloor's equation."""
    repetition, t1, t2, flip = 5e-3, 1.0, 0.06, np.radians(35.0)
    line = Timeline()
    for n in range(1600):
        line.pulse(flip, np.pi * n).window(1, SHOT).free(repetition - 1e-6 - SHOT)
    who = tissue(t1=t1, t2=t2)
    e1, e2 = np.exp(-repetition / t1), np.exp(-repetition / t2)
    kept = np.exp(-np.pi * flip**2 / 1e-6 * two_pools.line(0.0, T2_BOUND))
    mixed = np.exp(-(1 + FRACTION) * TO_FREE * repetition)
    a = 1 + FRACTION - kept * e1 * (FRACTION + mixed)
    b = 1 + mixed * (FRACTION - kept * e1 * (FRACTION + 1))
    c = FRACTION * (1 - e1) * (1 - mixed)
    bottom = a - b * e1 * e2 - (b * e1 - a * e2) * np.cos(flip)
    truth = np.sin(flip) * ((1 - e1) * b + c) / bottom
    return float(abs(abs(found(line, who)[-1, 0]) - truth))


def z_spectrum() -> float:
    """What 30 pulses of 16 ms leave, 0.3 to 100 kHz off and three strengths."""
    errors, envelope = [], bell(16e-3, 64)
    area = abs((envelope.step * np.diff(envelope.edge)).sum())
    for strength in (100.0, 300.0, 600.0):
        for offset in (300.0, 1e3, 2e3, 5e3, 1.2e4, 3e4, 1e5):
            line = Timeline()
            for _ in range(30):
                line.pulse(2 * np.pi * strength * area, 0.0, envelope, frequency=offset)
                line.free(4e-3)
            line.pulse(np.pi / 2, 0.0, HARD).window(1, SHOT)
            errors.append(away(line, tissue(t2=0.02, offset=11.0)))
    return float(max(errors))


def continuous_wave() -> float:
    """What 10 s of a steady field leave at four offsets: Henkelman's equation."""
    errors, block = [], Envelope(edge=np.array([0.0, 1e-2]), step=np.ones(1, complex))
    kf, kr, r1a, r1b = FRACTION * TO_FREE, TO_FREE, 1 / T1, 1 / T1_BOUND
    for strength in (30.0, 150.0):
        for offset in (1e3, 2e3, 6e3, 2e4):
            line, flip = Timeline(), 2 * np.pi * strength * 1e-2
            for _ in range(1000):
                line.pulse(flip, 0.0, block, frequency=offset)
            line.pulse(np.pi / 2, 0.0, INSTANT).window(1, SHOT)
            squared = (2 * np.pi * strength) ** 2
            direct = squared * T2 / (1 + (2 * np.pi * offset * T2) ** 2)
            bound = np.pi * squared * two_pools.line(offset, T2_BOUND)
            left = r1b + kr + bound
            truth = (r1a * left + kf * r1b) / ((r1a + kf + direct) * left - kf * kr)
            errors.append(abs(found(line, tissue())[0, 0].imag - truth))
    return float(max(errors))


def sets_of_channels() -> float:
    """Pulses by two sets of channel weights, strong and weak ones, such as turn and do not."""
    rng, n, line, shape = np.random.default_rng(5), 6, Timeline(), sinc(3e-3, 100)
    for _ in range(6):
        for flip in (6.0, 7.0):
            line.pulse(flip, 0.4, shape, frequency=9e3).free(2e-3)
            line.pulse(0.1 * flip, 0.2, shape, frequency=1.5e3).free(3e-3, (2e3, 0, 0))
        line.pulse(0.5, 0.0, shape).free(3e-3, (1e3, 0, 0)).window(1, SHOT)
    program, waves = line.program(), rng.uniform(0.3, 1.3, (n, 2))
    transmit = (waves * np.exp(2j * np.pi * rng.random((n, 2)))).astype(np.complex64)
    who = replace(row(n), transmit=transmit)
    kinds = [replace(kind, shim=at // 2 % 2) for at, kind in enumerate(program.pulses)]
    program = replace(program, pulses=tuple(kinds))
    got = np.array([s[:, 0] for s in simulate(program, who, EXACT)])
    standard = np.array([s[:, 0] for s in simulate(program, who)])
    truth = two_pools.played(program, who)
    return float(max(np.abs(got - truth).max(), np.abs(standard - truth).max()))


def whole_shot() -> float:
    """Two spirals read whole after saturation, 4000 isochromats: matrices, and sums in double."""
    rng, n, n_samples = np.random.default_rng(6), 4000, 2000
    share, soft = (np.arange(n_samples) + 0.5) / n_samples, bell(8e-3, 64)
    turn = np.exp(2j * np.pi * 20 * share)
    course = np.stack([200 * share * turn.real, 200 * share * turn.imag, 0 * share], axis=1)
    area = abs((soft.step * np.diff(soft.edge)).sum())
    line = Timeline()
    for _ in range(2):
        for _ in range(4):
            line.pulse(2 * np.pi * 500.0 * area, 0.0, soft, frequency=2e3).free(2e-3)
        line.pulse(np.pi / 2, 0.3, HARD).window(n_samples, 4e-6).free(1.2)
    program = line.program()
    window = replace(program.windows[0], moment=course, steady=False)
    program = replace(program, windows=(window,))
    place = rng.uniform(-0.1, 0.1, (n, 3))
    weight = (rng.normal(size=(n, 2)) / n).astype(np.complex64)
    who = replace(tissue(n, position=place, apart=False), weight=weight)
    settings = replace(EXACT, readout=1e-5)
    with patch("scanroom.physics.spins.shots.PREPARED", 0.0):  # so few are else summed
        got = np.array(list(simulate(program, who, settings)))
    summed = np.array(list(simulate(program, who, replace(settings, readout=0.0))))
    if np.array_equal(got, summed):
        return np.inf  # a transform must read the shots for this to be a test
    middle = two_pools.played(program, tissue(1))[:, 0]
    away = (np.arange(n_samples) - n_samples // 2) * 4e-6
    waves = np.exp(-2j * np.pi * course @ place.T) * np.exp(-away / T2)[:, None]
    truth = middle[:, None, None] * (waves @ weight.astype(complex)).T
    return float(np.linalg.norm(got - truth) / np.linalg.norm(truth))


def unturned() -> float:
    """Pulses of other slices: those that turn nobody saturate all the same, standard settings."""
    who, line, shape = row(6, offset=0.0), Timeline(), sinc(3e-3, 100)
    slope = np.array([0.0, 0.0, 3e5])
    for n in range(40):
        place = -8e3 - 1600.0 * (n % 10)
        line.pulse(np.pi, 0.0, shape, gradient=slope, frequency=place).free(12e-3)
    line.pulse(np.pi / 2, 0.0, sinc(1e-3, 100)).window(1, SHOT)
    got = np.array([s[:, 0] for s in simulate(line.program(), who)])
    alone = np.array([s[:, 0] for s in simulate(line.program(), replace(who, bound=NOBODY[:6]))])
    truth = two_pools.played(line.program(), who)
    if np.abs(truth - alone).max() < 0.05:
        return np.inf  # the pulses must matter for this to be a test
    return float(np.abs(got - truth).max())


NOBODY = np.zeros((64, 0), np.float32)


def echo_train() -> float:
    """Sixteen echoes refocused by 150 degrees, 8 ms apart, crushed, selective pulses of 2 ms."""
    line, shape = Timeline(), sinc(2e-3, 100)
    select = np.array([0.0, 0.0, 1e5])
    line.pulse(np.pi / 2, np.pi / 2, shape, gradient=select).free(2e-3, (1e3, 0, -100.0))
    for _ in range(16):
        line.pulse(np.radians(150.0), 0.0, shape, gradient=select).free(3e-3, (1e3, 0, -100.0))
        line.window(1, SHOT).free(3e-3 - SHOT, (1e3, 0, -100.0))
    place = np.zeros((8, 3))
    place[:, 0], place[:, 2] = np.arange(8) / 8 * 1e-3, np.linspace(-0.01, 0.02, 8)
    return away(line, row(8, position=place))


def changing_gradient() -> float:
    """A pulse under a gradient that happens to stand still, stepped and tabulated."""
    line, shape = Timeline(), sinc(2e-3, 200)
    slope = np.array([2e5, 0.0, 0.0])
    line.pulse(np.radians(70.0), 0.2, shape, gradient=slope, frequency=90.0)
    line.free(5e-3, -slope * 2e-3).pulse(np.pi / 2, 0.0, HARD).window(1, SHOT)
    program, who = line.program(), row(8)
    kind = program.pulses[0]
    course = np.outer(shape.edge, kind.gradient)
    stepped = replace(program, pulses=(replace(kind, moment=course), *program.pulses[1:]))
    got = np.array([s[:, 0] for s in simulate(stepped, who, EXACT)])
    return float(np.abs(got - two_pools.played(program, who)).max())


def nobody_bound() -> float:
    """Without bound protons the answer is that of one pool, to the last bit."""
    line, shape = Timeline(), sinc(1e-3, 100)
    for n in range(20):
        line.pulse(0.6, 0.3 * n, shape).window(8, 1e-5, (1e5, 0, 0)).free(7e-3, (900, 0, 0))
    who = row(24, fraction=0.0)
    plain = signals(line, replace(who, bound=NOBODY[:24]))
    return float(max(np.abs(a - b).max() for a, b in zip(signals(line, who), plain, strict=True)))


def no_exchange() -> float:
    """Bound protons that exchange nothing are not seen, to the last bit."""
    line, shape = Timeline(), sinc(1e-3, 100)
    for n in range(20):
        line.pulse(0.6, 0.3 * n, shape).window(8, 1e-5, (1e5, 0, 0)).free(7e-3, (900, 0, 0))
    who = row(24, to_free=0.0)
    plain = signals(line, replace(who, bound=NOBODY[:24]))
    return float(max(np.abs(a - b).max() for a, b in zip(signals(line, who), plain, strict=True)))


def box(**given: Any) -> Boxes:
    """A cube of a millimetre of white matter."""
    return replace(boxes(), spins=replace(tissue(apart=False), **given))


def apart(line: Timeline, who: Boxes, counts: tuple[int, int, int]) -> float:
    """Largest difference of boxes from isochromats that fill them, of equilibrium."""
    truth = np.array([s.ravel() for s in simulate(line.program(), filled(who, counts), EXACT)])
    got = np.array([s.ravel() for s in box_signals(line, who, EXACT)])
    return float(np.abs(got - truth).max())


def orders_wound_up() -> float:
    """Four pulses of any phase under any moments, three boxes of any fields."""
    rng, n = np.random.default_rng(1), 3
    line, envelope = Timeline(), sinc()
    for _ in range(4):
        line.pulse(rng.uniform(0.3, 3.0), rng.uniform(0, 6), envelope)
        line.free(3e-3, rng.integers(-1500, 1500, 3)).window(16, 1e-5)
        line.free(20e-3, rng.integers(-500, 500, 3))
    cubes = boxes(n, position=rng.uniform(-5e-3, 5e-3, (n, 3)), offset=rng.uniform(-40, 40, n))
    transmit = rng.uniform(0.8, 1.2, n) * np.exp(2j * np.pi * rng.random(n))
    fractions = np.array([0.139, 0.05, 0.0])
    rates = np.stack([fractions * 23, np.full(n, 23.0), np.ones(n), np.full(n, 1e-5)], axis=1)
    coupled = replace(
        cubes.spins, transmit=transmit.astype(np.complex64), bound=rates.astype(np.float32)
    )
    return apart(line, replace(cubes, spins=coupled), (16, 16, 16))


def orders_spoiled() -> float:
    """Forty pulses of 25 degrees, spoiled by whole turns, off the centre of the box."""
    line, shape, increment = Timeline(), sinc(1.5e-3, 100), np.radians(117.0)
    for n in range(40):
        line.pulse(np.radians(25.0), -increment * n * (n + 1) / 2, shape).window(1, SHOT)
        line.free(12e-3, (1e3, 0, 0))
    return apart(line, box(), (160, 1, 1))


def orders_echoes() -> float:
    """Ten echoes refocused by 150 degrees."""
    line, shape = Timeline(), sinc(2e-3, 100)
    line.pulse(np.pi / 2, np.pi / 2, shape).free(2e-3, (1.3e3, 0, 0))
    for _ in range(10):
        line.pulse(np.radians(150.0), 0.0, shape).free(3e-3, (1.3e3, 0, 0))
        line.window(1, SHOT).free(3e-3 - SHOT, (1.3e3, 0, 0))
    return apart(line, box(), (96, 1, 1))


def orders_stored() -> float:
    """A stimulated echo that was stored for 80 ms while pulses of other slices went by."""
    line, shape, slope = Timeline(), sinc(3e-3, 150), np.array([0.0, 0.0, 3e5])
    line.pulse(np.pi / 2, 0.0, HARD).free(4e-3, (2e3, 0, 0)).pulse(np.pi / 2, 0.0, HARD)
    for n in range(6):
        line.free(10e-3, (0, 700.0 * (n == 0), 0))
        line.pulse(np.pi, 0.0, shape, gradient=slope, frequency=-8e3 - 400.0 * n)
    line.free(2e-3).pulse(np.pi / 2, 0.0, HARD).free(4e-3, (2e3, 0, 0)).window(1, SHOT)
    who = box()
    plain = replace(who, spins=replace(who.spins, bound=NOBODY[:1]))
    program, standard = line.program(), Settings()
    truth = np.array([s.ravel() for s in simulate(program, filled(who, (24, 16, 16)), EXACT)])
    got = np.array([s.ravel() for s in box_signals(line, who, standard)])
    alone = np.array([s.ravel() for s in box_signals(line, plain, standard)])
    if np.abs(truth - alone).max() < 0.02:
        return np.inf  # exchange must matter for this to be a test
    return float(np.abs(got - truth).max())


def orders_nobody_bound() -> float:
    """Without bound protons orders of dephasing are those of one pool, to the last bit."""
    line, shape = Timeline(), sinc(1e-3, 100)
    for n in range(12):
        line.pulse(0.6, 0.3 * n, shape).window(8, 1e-5, (1e5, 0, 0)).free(7e-3, (900, 0, 300.0 * n))
    who = box(bound=np.array([[0.0, 23.0, 1.0, 1e-5]], np.float32))
    plain = replace(who, spins=replace(who.spins, bound=NOBODY[:1]))
    pairs = zip(box_signals(line, who), box_signals(line, plain), strict=True)
    return float(max(np.abs(a - b).max() for a, b in pairs))


def mixtures() -> Voxels:
    """Voxels of two of white matter, grey matter and liquid, at random, in random fields."""
    rng, plain = np.random.default_rng(3), lattice((2, 3, 8))
    n = len(plain.index)
    first, second, share = rng.integers(0, 3, n), rng.integers(0, 3, n), rng.random(n)

    def mixed(white: float, grey: float, liquid: float) -> np.ndarray:
        values = np.array([white, grey, liquid])
        return np.asarray(share * values[first] + (1 - share) * values[second])

    fraction, to_bound = mixed(0.139, 0.05, 0.0), mixed(0.139 * 23, 0.05 * 40, 0.0)
    to_free = np.divide(to_bound, fraction, out=np.zeros(n), where=fraction > 0)
    rates = np.stack([to_bound, to_free, np.ones(n), mixed(10e-6, 9.1e-6, 10e-6)], axis=1)
    return replace(
        plain,
        r1=mixed(1.12, 0.69, 0.23).astype(np.float32),
        r2=mixed(14.1, 13.2, 0.44).astype(np.float32),
        bound=rates.astype(np.float32),
    )


def classes_of_mixtures() -> float:
    """A slice between triples of strong saturation pulses, 12 lines: of the signal."""
    line, shape, soft = Timeline(), sinc(), bell(8e-3, 64)
    area, select = abs((soft.step * np.diff(soft.edge)).sum()), np.array([0, 0, 2e5])
    for n in range(12):
        for _ in range(3):
            line.pulse(2 * np.pi * 900.0 * area, 0.0, soft, frequency=2e3).free(1e-3)
        line.free(1e-3, (900.0, 0, 0))
        line.pulse(np.radians(20), 0.3 * n, shape, gradient=select, frequency=300.0)
        line.free(2e-3, np.array([-320.0, 80.0 * n, 0]) - select * 1.5e-3)
        line.window(64, 1e-5, (1e6, 0, 0)).free(4e-3, (500.0, -80.0 * n, 700.0))
    program, voxels = line.program(), mixtures()
    none = np.zeros((0, 0), np.float32)
    who = spins_in(replace(voxels, bound=none), (6, 6, 16))
    coupled = replace(who, bound=np.repeat(voxels.bound, len(who) // len(voxels.index), axis=0))
    truth, alone = (np.array(list(simulate(program, s, EXACT))) for s in (coupled, who))
    if np.linalg.norm(truth - alone) < 0.05 * np.linalg.norm(truth):
        return np.inf  # exchange must matter for this to be a test
    axis = slice_axis(program, voxels.affine, 0.1)
    classes = None if axis is None else classes_of(program, voxels, axis)
    if classes is None:
        return np.inf
    fine = Settings(error=1e-4, faintest=1e-5, tolerance=1e-5)
    got = np.array(list(simulate_classes(program, voxels, classes, fine)))
    return float(np.linalg.norm(got - truth) / np.linalg.norm(truth))


MATRICES = "exact matrices, step by step"
CASES: tuple[Case, ...] = (
    ("line against quadrature, relative", line_quadrature, 1e-5, "quadrature",
     "Morrison, Henkelman 1995, doi:10.1002/mrm.1910330404"),
    ("centre of the line, relative", line_published, 0.03, "another program",
     "Malik et al. 2018, doi:10.1002/mrm.27040"),
    ("recovery after inversion, eight times", inversion_recovery, 1e-4, "closed form",
     "Henkelman et al. 1993, doi:10.1002/mrm.1910290607"),
    ("one pulse of 15 ms at 1.2 kHz", smooth_pulse, 1e-3, "Dormand-Prince", "-"),
    ("20 pulses of 18 ms at 2 kHz, spoiled", saturation_train, 1e-3, MATRICES,
     "Graham, Henkelman 1997, doi:10.1002/jmri.1880070520"),
    ("spoiled gradient echo, pulses of 0.5 ms", lambda: spoiled(0.5e-3), 1e-3, MATRICES, "-"),
    ("spoiled gradient echo, pulses of 3 ms", lambda: spoiled(3e-3), 1e-3, MATRICES, "-"),
    ("spoiled steady state, sudden pulses", spoiled_closed, 1e-3, "closed form",
     "Malik et al. 2018, doi:10.1002/mrm.27040"),
    ("balanced train of pulses of 1.5 ms", balanced, 1e-3, MATRICES, "-"),
    ("balanced steady state, sudden pulses", balanced_closed, 1e-3, "closed form",
     "Gloor et al. 2008, doi:10.1002/mrm.21705"),
    ("z-spectrum, 0.3 to 100 kHz, three strengths", z_spectrum, 1e-3, MATRICES,
     "Stanisz et al. 2005, doi:10.1002/mrm.20605"),
    ("steady field of 10 s, four offsets", continuous_wave, 1e-3, "closed form",
     "Henkelman et al. 1993, doi:10.1002/mrm.1910290607"),
    ("two sets of channel weights", sets_of_channels, 1e-3, MATRICES, "-"),
    ("two spirals read whole, of the signal", whole_shot, 1e-4, "matrices and sums", "-"),
    ("40 pulses of other slices", unturned, 1e-3, MATRICES, "-"),
    ("16 echoes refocused by 150 degrees", echo_train, 1e-3, MATRICES, "-"),
    ("pulse under a changing gradient", changing_gradient, 1e-3, MATRICES, "-"),
    ("no bound protons", nobody_bound, 0.0, "one pool", "-"),
    ("no exchange", no_exchange, 0.0, "one pool", "-"),
)  # fmt: skip

ISOCHROMATS = "isochromats that fill the box"
ORDERS: tuple[Case, ...] = (
    ("4 pulses, any moments and fields", orders_wound_up, 1e-4, ISOCHROMATS,
     "Malik et al. 2018, doi:10.1002/mrm.27040"),
    ("40 pulses of 25 degrees, spoiled", orders_spoiled, 1e-4, ISOCHROMATS, "-"),
    ("10 echoes refocused by 150 degrees", orders_echoes, 1e-4, ISOCHROMATS, "-"),
    ("stimulated echo beside pulses of other slices", orders_stored, 1e-3, ISOCHROMATS, "-"),
    ("no bound protons", orders_nobody_bound, 0.0, "one pool", "-"),
)  # fmt: skip

CLASSES: tuple[Case, ...] = (
    ("12 lines of a slice of mixtures, of the signal", classes_of_mixtures, 4e-3,
     "576 isochromats in each voxel", "-"),
)  # fmt: skip


def claims() -> list[dict[str, Any]]:
    """Error of every case."""
    rows = judged("isochromats, two pools", CASES, COMMAND)
    rows += judged("continuum, two pools", ORDERS, COMMAND)
    rows += judged("classes, two pools", CLASSES, COMMAND)
    write_page(PAGE, "Magnetisation transfer against matrices and closed forms", COMMAND, rows)
    return rows


if __name__ == "__main__":
    show(claims())
