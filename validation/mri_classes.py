"""Error of the twin's engine `classes`: of its nodes, of what it leaves out, of a whole scan.

Three kinds of truth. Voxels made for the purpose, against isochromats and closed forms. A piece of
the built-in head, in the field of the whole head, scanned by each preset of the exam with few
pixels, against the twin's own much finer settings - and against isochromats that fill the voxels,
which share neither nodes, orders, factors nor Fourier transforms with the engine, and follow the
slope of the field within a voxel. Isochromats have no T2', so it is off on both sides there.

Bounds come from what a user would ask: the twin promises a hundredth of the signal, so a whole scan
may err by that; one cause among several by a third of it; what is finer than the default by a
tenth. A slope of the field within a voxel is held to a hundredth as well, at its steepest too.
"""

import dataclasses
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from jaxtyping import Complex64

from scanroom.core.errors import InterlockOpen
from scanroom.core.gate import clear
from scanroom.mri.drive.compile import compile_drive
from scanroom.mri.limits import limits_for
from scanroom.mri.protocol import load_protocol
from scanroom.mri.system import system
from scanroom.mri.twin import Twin
from scanroom.mri.twin.effort import QUICK, Effort
from scanroom.physics.spins.classes import Voxels, classes_of, slice_axis
from scanroom.physics.spins.classwise import simulate_classes
from scanroom.physics.spins.engine import Settings, simulate
from scanroom.physics.spins.ensemble import Spins
from validation.filled_head import (
    FAULTS,
    PLAYED_TO_ALL,
    Counts,
    Size,
    by_isochromats,
    by_twin,
    head,
    within,
)
from validation.mri_bloch_truths import INSTANT, Timeline, sinc
from validation.table import markdown, show

COMMAND = "python -m validation.mri_classes"
PAGE = Path("docs/reference/generated/classes.md")
PRESETS = ("brain-t1-gre", "brain-t2-tse", "brain-se")
WHOLE, CAUSE, FINER = 1e-2, 3e-3, 1e-3
# Nearly exact, for voxels made for the purpose; much finer than the twin's default.
EXACT = Settings(error=1e-4, faintest=1e-5, tolerance=1e-5)
SURE = Effort(engine="classes", settings=dataclasses.replace(QUICK, error=1e-3))
FINE = Effort(engine="classes", settings=dataclasses.replace(QUICK, error=1e-3, faintest=1e-4))
# Pieces of the head: for the twin against itself, for isochromats, and for these against more.
LARGE, SMALL, TINY = Size(0.018, 64), Size(0.008, 32), Size(0.003, 32)
# Isochromats of a voxel: Gauss's rule along x and y, evenly spaced along z, across the slice. A
# train leaves behind orders wound up by crushers and readouts, 2.2 and 2.4 turns per voxel and
# echo: more must be told apart.
PER_VOXEL: dict[str, tuple[Counts, Counts]] = {
    "brain-t1-gre": ((3, 3, 32), (6, 3, 64)),
    "brain-t2-tse": ((12, 3, 96), (12, 4, 200)),
    "brain-se": ((3, 3, 32), (6, 3, 64)),
}
EDGE = 1e-3
SLICE = np.array([0.0, 0.0, 2e5])
# Of the gradient echo among the presets.
ECHO_TIME = 4.9e-3

Row = dict[str, Any]


def claim(
    what: str,
    value: float,
    bound: float,
    truth: str,
    unit: str = "1",
    source: str = "scanroom.physics.spins",
) -> Row:
    """One row of the table; the value must not exceed the bound."""
    return {
        "claim": what,
        "value": float(value),
        "unit": unit,
        "bound": bound,
        "truth": truth,
        "source": source,
        "command": COMMAND,
        "passes": bool(value <= bound),
    }


def apart(found: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square of the difference over that of the truth."""
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


# --- voxels made for the purpose -----------------------------------------------------------------


def lattice(shape: Counts) -> Voxels:
    """Voxels of three tissues, at random: offsets, a bent transmit field, two coils."""
    rng = np.random.default_rng(2)
    index = np.argwhere(np.ones(shape, bool))
    affine = np.diag([EDGE, EDGE, EDGE, 1.0])
    affine[:3, 3] = -EDGE * np.array(shape) / 2 + [1e-3, -2e-3, 0.5e-3]
    n = len(index)
    kind = rng.integers(0, 3, n)
    place = index / np.array(shape) - 0.5
    return Voxels(
        index=index,
        affine=affine,
        offset=40.0 * place[:, 0] - 25.0 * place[:, 2] + rng.uniform(-10, 10, n),
        slope=np.zeros((n, 3), np.float32),
        r1=np.array([1.0, 0.7, 0.25], np.float32)[kind],
        r2=np.array([12.0, 9.0, 1.0], np.float32)[kind],
        r2_prime=np.zeros(n, np.float32),
        transmit=((1 + 0.3 * place[:, 1]) * np.exp(0.4j * place[:, 0])).astype(np.complex64),
        weight=(rng.random((n, 2)) + 1j * rng.random((n, 2))).astype(np.complex64) / n,
        faint=np.zeros(n, bool),
    )


def filled(voxels: Voxels, counts: Counts, even: int | None = None) -> Spins:
    """The voxels as isochromats."""
    place, share = within(counts, even)
    n = len(share)
    index = np.repeat(voxels.index, n, axis=0) + np.tile(place, (len(voxels.index), 1))
    affine = voxels.affine
    part = np.tile(share, len(voxels.index)).astype(np.float32)
    return Spins(
        position=index @ affine[:3, :3].T + affine[:3, 3],
        offset=np.repeat(voxels.offset, n),
        r1=np.repeat(voxels.r1, n),
        r2=np.repeat(voxels.r2, n),
        transmit=np.repeat(voxels.transmit, n),
        weight=np.repeat(voxels.weight, n, axis=0) * part[:, None],
    )


def classwise(line: Timeline, voxels: Voxels) -> Complex64[np.ndarray, "window coil sample"]:
    """What the engine makes of voxels, nearly nothing left out."""
    program = line.program()
    axis = slice_axis(program, voxels.affine, 0.1)
    classes = None if axis is None else classes_of(program, voxels, axis)
    if classes is None:
        raise ValueError("these voxels have no classes")
    return np.array(list(simulate_classes(program, voxels, classes, EXACT)))


def train() -> Timeline:
    """Excitation and four refocusing pulses of 149 degrees of a slice, crushers, readouts."""
    line, envelope, crusher = Timeline(), sinc(), 900.0
    line.pulse(np.pi / 2, 0.3, envelope, gradient=SLICE, frequency=300.0)
    line.free(2e-3, -SLICE * 1.5e-3)
    for i in range(4):
        encode = np.array([0.0, 80.0 * i, 0.0])
        line.free(1e-3, (0, 0, crusher))
        line.pulse(2.6, 0.1 * i, envelope, gradient=SLICE, frequency=300.0)
        line.free(1e-3, np.array([-320.0, 0, crusher]) + encode).window(64, 1e-5, (1e6, 0, 0))
        line.free(1e-3, np.array([-320.0, 0, 0]) - encode)
    return line


def slope_within_a_voxel() -> Iterator[Row]:
    """Error at the ends of a window of 0.64 ms about the gradient echo, worst of all samples."""
    n, dwell = 64, 1e-5
    times = ECHO_TIME + (np.arange(n) + 0.5 - n / 2) * dwell
    line = Timeline().pulse(np.pi / 2, 0.0, INSTANT).free(ECHO_TIME - n * dwell / 2)
    line.window(n, dwell)
    for (axis, name), slope in itertools.product(((2, "across"), (0, "in")), (15.0, 60.0)):
        steep = np.zeros((1, 3), np.float32)
        steep[0, axis] = slope
        voxel = dataclasses.replace(
            lattice((1, 1, 1)),
            offset=np.zeros(1),
            slope=steep,
            r1=np.full(1, 1e-6, np.float32),
            r2=np.full(1, 1e-6, np.float32),
            transmit=np.ones(1, np.complex64),
            weight=np.ones((1, 1), np.complex64),
        )
        found = np.abs(classwise(line, voxel)[0, 0])
        error = float(np.abs(found / np.sinc(slope * times) - 1).max())
        what = f"slope of {slope:g} Hz per voxel {name} the slice, 4.9 ms after excitation"
        yield claim(what, error, WHOLE, "closed form, sinc(slope x time)", source="Bloch 1946")


def nodes_and_their_places() -> Iterator[Row]:
    """Error by turns of a pulse's phase between nodes, and by transmit field between them.

    The twin has 0.35 and 0.07.
    """
    voxels, line = lattice((2, 3, 8)), train()
    truth = np.array(list(simulate(line.program(), filled(voxels, (8, 8, 20)), PLAYED_TO_ALL)))
    for turns, transmit, bound in (
        (0.5, 0.02, WHOLE),
        (0.35, 0.02, CAUSE),
        (0.25, 0.02, FINER),
        (0.1, 0.02, FINER),
        (0.1, 0.07, CAUSE),
        (0.35, 0.07, CAUSE),
    ):
        with (
            patch("scanroom.physics.spins.classes._TURNS", turns),
            patch("scanroom.physics.spins.classes._TRANSMIT_STEP", transmit),
        ):
            error = apart(classwise(line, voxels), truth)
        what = f"nodes {turns} turns and {transmit} of transmit field apart"
        yield claim(
            f"{what}: train of 4 echoes of a lattice of three tissues",
            error,
            bound,
            "1280 isochromats a voxel",
        )


def one_slice() -> Row:
    """Error of a slice excited once and read out."""
    voxels, start = lattice((6, 5, 14)), np.array([-320.0, 100.0, 0.0])
    line = Timeline().pulse(1.4, 0.2, sinc(), gradient=SLICE, frequency=300.0)
    line.free(2e-3, start - SLICE * 1.5e-3).window(64, 1e-5, (1e6, 0, 0))
    spins = filled(voxels, (1, 1, 40), even=2)
    # In the plane a voxel is a box to the one and a point to the other.
    k = start + np.outer((np.arange(64) + 0.5) * 1e-5, [1e6, 0, 0])
    truth = np.array(list(simulate(line.program(), spins, PLAYED_TO_ALL)))
    error = apart(classwise(line, voxels), truth * np.sinc(k * EDGE).prod(axis=1))
    return claim("one slice of a lattice, excited once", error, FINER, "40 isochromats a voxel")


# --- what is said of it -------------------------------------------------------------------------


def left_out(preset: str) -> Iterator[Row]:
    """Default settings against finer ones, first one by one, then all together."""
    rough, sure, fine = (by_twin(preset, LARGE, effort) for effort in (Effort(), SURE, FINE))
    name = f"{preset}, engine {rough.truth['engine']}"
    asked = QUICK.error
    yield claim(
        f"{name}: factors and pairs left out, nodes apart, error={asked:g} asked for, k-space",
        apart(rough.kspace, sure.kspace),
        2 * asked,  # so much for each of the two
        f"error={SURE.settings.error:g}",
    )
    yield claim(
        f"{name}: orders below faintest={QUICK.faintest:g} let go, k-space",
        apart(sure.kspace, fine.kspace),
        CAUSE,
        f"faintest={FINE.settings.faintest:g}",
    )
    finer = f"error={FINE.settings.error:g}, faintest={FINE.settings.faintest:g}"
    for what, found, truth in (
        ("k-space", rough.kspace, fine.kspace),
        ("image", rough.image, fine.image),
    ):
        yield claim(f"{name}: default settings, {what}", apart(found, truth), WHOLE, finer)
    yield claim(
        f"{name}: largest order that found no room, default settings",
        rough.truth["largest_configuration_lost"],
        WHOLE,
        "equilibrium",
    )


def whole_error(preset: str) -> Iterator[Row]:
    """Every engine's default settings and finer classes, against isochromats, and these too."""
    few, more = PER_VOXEL[preset]
    count = f"{int(np.prod(few))} isochromats a voxel"
    truth = by_isochromats(preset, SMALL, few)
    scans = [
        ("default settings", by_twin(preset, SMALL, Effort(), t2_prime=False)),
        ("fine settings", by_twin(preset, SMALL, FINE, t2_prime=False)),
        ("default settings", by_twin(preset, SMALL, Effort(engine="continuum"), t2_prime=False)),
    ]
    for how, found in scans:
        name = f"{preset} without T2', engine {found.truth['engine']}: {how}"
        bound = min(WHOLE, found.truth["error_bound"] or WHOLE)
        yield claim(f"{name}, k-space", apart(found.kspace, truth.kspace), bound, count)
        yield claim(f"{name}, image", apart(found.image, truth.image), WHOLE, count)
    fewer, many = (by_isochromats(preset, TINY, counts) for counts in (few, more))
    yield claim(
        f"{preset}, truth itself: {count}, k-space",
        apart(fewer.kspace, many.kspace),
        CAUSE,
        f"{int(np.prod(more))} isochromats a voxel",
    )


def nodes() -> Row:
    """Nodes for one voxel that the train's pulses excite, in the whole head."""
    subject, field = head()
    scanner, preset = system("3T"), "brain-t2-tse"
    twin = Twin(subject, system=scanner, faults=FAULTS, n_coils=1, static_field=field)
    twin.arm(clear(compile_drive(load_protocol(preset), scanner), limits_for(scanner)))
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            if "n_nodes" in twin.truth:
                twin.stop()
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        next(iter(twin.play()))
    except InterlockOpen:
        pass  # nodes were counted, more is not wanted
    finally:
        over.set()
        watcher.join()
    n_nodes, n_voxels = twin.truth["n_nodes"], twin.truth["n_voxels_bright"]
    what = f"{preset}, whole head, three slices: {n_nodes} nodes for {n_voxels} excited voxels"
    return claim(what, n_nodes / n_voxels, 0.2, "count", "node / voxel")


def claims() -> list[Row]:
    """Error of every part, then of the whole."""
    rows = [*nodes_and_their_places(), one_slice(), *slope_within_a_voxel(), nodes()]
    for preset in PRESETS:
        rows += left_out(preset)
    for preset in PRESETS:
        rows += whole_error(preset)
    write_page(rows)
    return rows


def write_page(rows: list[Row]) -> None:
    """Write the table that the documentation shows."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    whole, field = head()
    inside = whole.maps["proton_density"] > 0
    steep = np.max([np.abs(np.gradient(field, axis=axis))[inside] for axis in range(3)], axis=0)
    shares = ", ".join(f"{(steep > slope).mean():.1%} above {slope:g} Hz" for slope in (15, 60))
    PAGE.write_text(
        f"# Error of the engine `classes`\n\nMade by `{COMMAND}`. Differences are root mean "
        "squares, relative to that of the truth.\n\n"
        + markdown(rows, ("claim", "value", "unit", "bound", "truth", "passes"))
        + f"\nSlopes of the field along the steepest axis, voxels of the built-in head: {shares}.\n"
    )


if __name__ == "__main__":
    show(claims())
