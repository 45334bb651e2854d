"""Orders of dephasing, the engine `continuum`, against closed forms and many isochromats."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from scanroom.physics.spins.continuum import Boxes, simulate_boxes
from scanroom.physics.spins.engine import STANDARD, Settings, simulate
from scanroom.physics.spins.ensemble import Spins
from scanroom.physics.spins.program import WINDOW
from validation.mri_bloch_truths import (
    EXACT,
    INSTANT,
    Case,
    Timeline,
    ernst,
    imperfect_train,
    judged,
    rf_spoiling,
    sinc,
    spins,
    write_page,
)
from validation.table import show

COMMAND = "python -m validation.mri_order_truths"
PAGE = Path("docs/reference/generated/order-truths.md")


def boxes(n: int = 1, edge: float = 1e-3, t2_prime: float = np.inf, **given: Any) -> Boxes:
    """Cubes, each its own column, of what ``given`` says of `spins`."""
    return Boxes(
        spins=spins(n, **given),
        edges=edge * np.eye(3),
        r2_prime=np.full(n, 1 / t2_prime, np.float32),
        column=np.arange(n),
    )


def box_signals(line: Timeline, who: Boxes, settings: Settings = STANDARD) -> list[np.ndarray]:
    """Samples of every window."""
    return list(simulate_boxes(line.program(), [who], settings))


def one_box(line: Timeline, **given: Any) -> list[np.ndarray]:
    """What one box of a millimetre gives."""
    return box_signals(line, boxes(**given))


def filled(who: Boxes, counts: tuple[int, int, int] = (16, 16, 16)) -> Spins:
    """The boxes as isochromats at the nodes of Gauss's rule along each edge."""
    rules = [np.polynomial.legendre.leggauss(n) for n in counts]
    nodes = np.meshgrid(*(rule[0] for rule in rules), indexing="ij")
    within = np.stack(nodes, axis=-1).reshape(-1, 3) @ who.edges / 2
    share = np.einsum("i,j,k->ijk", *(rule[1] for rule in rules)).ravel() / 8
    many = {
        f.name: np.repeat(getattr(who.spins, f.name), len(share), axis=0) for f in fields(Spins)
    }
    many["position"] += np.tile(within, (len(who.spins), 1))
    many["weight"] *= np.tile(share, len(who.spins))[:, None].astype(np.float32)
    return Spins(**many)


def wound_up() -> float:
    """Error of the signal after 4 pulses of any phase under any moments, relative.

    Five boxes off the centre, off resonance, with complex transmit fields and three coils, against
    16 x 16 x 16 isochromats in each of them.
    """
    rng, n = np.random.default_rng(1), 5
    line, envelope = Timeline(), sinc()
    for _ in range(4):
        line.pulse(rng.uniform(0.3, 3.0), rng.uniform(0, 6), envelope)
        line.free(3e-3, rng.integers(-1500, 1500, 3)).window(64, 1e-5)
        line.free(2e-3, rng.integers(-500, 500, 3))
    who = boxes(
        n,
        position=rng.uniform(-5e-3, 5e-3, (n, 3)),
        offset=rng.uniform(-40, 40, n),
        t1=rng.uniform(0.5, 2, n),
        t2=rng.uniform(0.03, 0.2, n),
        transmit=rng.uniform(0.8, 1.2, n) * np.exp(2j * np.pi * rng.random(n)),
    )
    weight = (rng.normal(size=(n, 3)) + 1j * rng.normal(size=(n, 3))).astype(np.complex64)
    who = replace(who, spins=replace(who.spins, weight=weight))
    truth = np.array(list(simulate(line.program(), filled(who), EXACT)))
    found = np.array(box_signals(line, who, EXACT))
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def read_out(crusher: float = 1e3) -> float:
    """Error of 6 echoes refocused by 150 degrees and read out over one turn a voxel, relative.

    Of every order but the echo's own the box is taken to dim it along the readout as it dims the
    echo: that is the error. There is no other where crushers are whole turns across.
    """
    line, crush = Timeline(), np.array([0, 0, crusher])
    line.pulse(np.pi / 2, np.pi / 2).free(3e-3, [500.0, 0, crusher])
    for _ in range(6):
        line.pulse(np.radians(150.0)).free(3e-3, crush).window(64, 1e-5, (1e3 / 64e-5, 0, 0))
        line.free(3e-3, crush)
    who = boxes()
    truth = np.array(list(simulate(line.program(), filled(who, (32, 1, 64)), EXACT)))
    found = np.array(box_signals(line, who, EXACT))
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def stimulated_echo() -> float:
    """Error of the echo of three pulses of 90 degrees, a half, relative to equilibrium."""
    line = Timeline().pulse(np.pi / 2).free(5e-3, (2e3, 0, 0)).pulse(np.pi / 2)
    line.free(50e-3, (0, 7e3, 0)).pulse(np.pi / 2).free(5e-3, (2e3, 0, 0)).window(1, 1e-8)
    return float(abs(abs(one_box(line, t1=1e5, t2=1e5)[0][0, 0]) - 0.5))


def reversible_decay() -> float:
    """Largest error of exp(-|time from the echo| / T2') around a spin and a gradient echo."""
    t2_prime, echo, crusher = 15e-3, 40e-3, (3e3, 0, 0)
    line = Timeline().pulse(np.pi / 2, np.pi / 2, INSTANT).free(1e-3).window(64, 5e-5)
    line.free(echo / 2 - line.now, crusher).pulse(np.pi, 0.0, INSTANT).free(1e-3, crusher)
    for begin in (25e-3, 30e-3, 41e-3, 50e-3):
        line.free(begin - line.now, crusher).free(1e-6, -np.array(crusher)).window(64, 5e-5)
    line.free(echo + 20e-3 - line.now, (0, 2.5e3, 0)).free(2e-3, (0, -2.5e3, 0)).window(64, 5e-5)
    found = one_box(line, t1=1e5, t2=0.1, t2_prime=t2_prime)
    begins = [row[2][0] for row in line.rows if row[0] == WINDOW]
    errors = []
    for signal, begin in zip(found, begins, strict=True):
        time = begin + (np.arange(64) + 0.5) * 5e-5
        away = time if begin < echo / 2 else np.abs(time - echo)
        truth = np.exp(-time / 0.1 - away / t2_prime)
        errors.append(np.abs(np.abs(signal[0]) - truth).max())
    return float(max(errors))


def boxes_across_a_slice() -> float:
    """Largest error of a profile of 1 degree, seen by boxes that a pulse winds up by half a turn.

    Each box is compared to the mean of the pulse's Fourier transform over it.
    """
    envelope, flip, edge, slope = sinc(), np.radians(1.0), 1e-3, 1 / 3e-3 * 0.5 / 1e-3
    place = np.zeros((48, 3))
    place[:, 2] = (np.arange(48) - 23.5) * edge
    line = Timeline().pulse(flip, 0.0, envelope, gradient=(0, 0, slope))
    line.free(1e-3, (0, 0, -slope * envelope.duration / 2)).window(1, 1e-9)
    who = boxes(48, edge, position=place, apart=True, t1=1e5, t2=1e5)
    found = box_signals(line, who, EXACT)[0][:, 0]
    middle, length = (envelope.edge[1:] + envelope.edge[:-1]) / 2, np.diff(envelope.edge)
    offset = slope * place[:, 2]
    back = middle - envelope.duration / 2
    wave = np.exp(2j * np.pi * np.outer(offset, back)) * np.sinc(slope * edge * back)
    weight = envelope.step * length
    truth = 1j * flip * wave @ weight / weight.sum().real
    return float(np.abs(found - truth).max() / flip)


ORDERS: tuple[Case, ...] = (
    ("4 pulses, any moments, 5 boxes, 3 coils", wound_up, 1e-5, "20480 isochromats",
     "the other engine"),
    ("6 echoes read out, crushers of 1 turn a box", read_out, 1e-4, "2048 isochromats",
     "the other engine"),
    ("6 echoes read out, crushers of 1.3 turns a box", lambda: read_out(1.3e3), 1e-2,
     "2048 isochromats", "the other engine"),
    ("stimulated echo of three 90 degrees", stimulated_echo, 1e-5, "closed form", "Hahn 1950"),
    ("spin and gradient echo in T2'", reversible_decay, 1e-4, "closed form", "-"),
    ("spoiled steady state, TR = 6 T2", lambda: ernst(one_box), 5e-3, "closed form",
     "Ernst, Anderson 1966"),
    ("RF-spoiled train, 117 degrees", lambda: rf_spoiling(one_box), 5e-3, "phase graph",
     "scanroom.physics.epg"),
    ("echo train refocused by 120 degrees", lambda: imperfect_train(one_box), 1e-3, "phase graph",
     "scanroom.physics.epg"),
    ("slice profile of 1 degree in boxes of half a turn", boxes_across_a_slice, 1e-2,
     "Fourier transform", "Hoult 1979, doi:10.1016/0022-2364(79)90202-6"),
)  # fmt: skip


def claims() -> list[dict[str, Any]]:
    """Error of every case."""
    rows = judged("continuum", ORDERS, COMMAND)
    write_page(PAGE, "Orders of dephasing against closed forms", COMMAND, rows)
    return rows


if __name__ == "__main__":
    show(claims())
