"""Plays a programme to classes of voxels, and makes the samples of all voxels from them.

The third way beside `engine` and `continuum`: what the anatomy repeats is computed once. Nodes
(`classes`) go through the programme as boxes do, but what windows would see of them is written down
(`recording`): amplitudes, bare of what place and offset do. Their table of window by node has low
rank (`lots`), and so has what offset and relaxation do within a window. Each pair of a factor of
the one and a factor of the other weighs the voxels to an image, and a non-uniform FFT of it
(`images`) gives all windows at once. Nothing here knows what kind of sequence it plays.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex64, Int
from threadpoolctl import threadpool_limits

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Ratio
from scanroom.physics.spins.classes import Classes, Voxels
from scanroom.physics.spins.configurations import MOST
from scanroom.physics.spins.continuum import (
    Lost,
    box_runs,
    diffusion_of,
    runs_of,
    stage_of,
    work_of,
)
from scanroom.physics.spins.engine import LANES, STANDARD, Control, Settings, needs
from scanroom.physics.spins.ensemble import arrays_of
from scanroom.physics.spins.images import ground_of, samples_of
from scanroom.physics.spins.layout import events_of, pulses_of, stretches, tables_of, windows_of
from scanroom.physics.spins.lots import Told, lots_of
from scanroom.physics.spins.parts import saturation_of
from scanroom.physics.spins.playing import Events
from scanroom.physics.spins.playing_boxes import BoxStage, Seen, play_boxes
from scanroom.physics.spins.program import WINDOW, Program
from scanroom.physics.spins.recording import Notes, joined_notes, new_book, notes_of
from scanroom.physics.spins.saturating import Saturation

# Orders are one within these moments [1/m] and this time [s]: a thousandth of a turn anywhere in a
# head, and from one node to the next along the slice, where each node keeps its own phase.
_NEAR_IN_PLANE, _NEAR_ACROSS, _LONGEST = 3e-3, 1.0, 1e-6
# A direction counts as that of an axis to this part.
_STRAIGHT = 1e-6
# Windows of a stretch, and amplitudes that may be noted in it, one order each.
_WINDOWS = (64, 8192)
_NUMBERS = 100_000_000
# Share of the work that playing to the nodes is, for the progress.
_PLAYING = 0.2
# What may be lost for want of room, of equilibrium, all pulses together (root of squares): trains
# of spin echoes lose 0.01, balanced trains of a hundred pulses 0.3 and are wrong by more than 1 %.
_CROWDED = 0.05


# Lots that are worth their images however few windows share them; windows that should share one.
_FEW_LOTS, _SHARED = 24, 4

# What the non-uniform FFT may err by.
_TRANSFORM = 1e-4


def error_bound(settings: Settings, lost: Lost) -> Ratio:
    """Most that the signal should be off, root mean square over all windows, of the signal.

    Factors left out are counted, ``settings.error``; nodes stand so close that they cost no more
    (`classes.steps_for`); orders let go are below ``settings.faintest``; and what found no room.
    """
    return 2.0 * settings.error + settings.faintest + lost.shown + _TRANSFORM


class CrowdedError(ProtocolError):
    """A programme leaves more orders behind than nodes have room for, or pay off for."""


class Ready(NamedTuple):
    """Nodes laid out for the kernels; ``order`` tells which is which."""

    stage: BoxStage
    saturation: Saturation | None
    order: Int[np.ndarray, " node"]
    work: list[Int[np.ndarray, " run"]]
    saved: list[tuple[object, object, np.ndarray]]


def simulate_classes(
    program: Program,
    voxels: Voxels,
    classes: Classes,
    settings: Settings = STANDARD,
    control: Control | None = None,
    lost: Lost | None = None,
    *,
    frugal: bool = False,
) -> Iterator[Complex64[np.ndarray, "coil sample"]]:
    """Yield the samples of every window in order of time; end early when stopped.

    What is left out altogether stays below ``settings.error`` of the signal's energy's root.

    Raises
    ------
    CrowdedError
        If more orders would be shown than there is room for: trains of pulses that leave all
        gradients balanced have orders that differ in nothing but time. If ``frugal``, also where
        hardly any windows share images, as the echoes of one excitation: boxes are quicker there.
    """
    control, lost = control or Control(), lost or Lost()
    n_coils = voxels.weight.shape[1]
    most = int(np.clip(_NUMBERS // max(len(classes.nodes.spins), 1), *_WINDOWS))
    total = len(program.event)
    with ThreadPoolExecutor(settings.threads) as pool:
        ready, ground = _ready(program, classes, settings, pool), ground_of(voxels, classes)
        for first, last in stretches(program, 0, most):
            events, _ = events_of(program, first, last, 2, _needs(ready))
            notes = _played(ready, events, control, lost, pool)
            if control.stop[0]:
                return
            if lost.shown > _CROWDED:
                raise CrowdedError(
                    f"orders of {lost.shown:.2g} of equilibrium found no room among {MOST}; the "
                    f"engine classes may lose {_CROWDED:g} "
                    "(scanroom.physics.spins). Take the engine continuum."
                )
            control.report((first + _PLAYING * (last - first)) / total)
            told = Told(events.kind, notes, ready.stage.runs.edge, ready.order)
            # Of many small products; threads of the BLAS wait for each other and change its bytes.
            n_windows = int(np.count_nonzero(events.event == WINDOW))
            bearable = float(max(_FEW_LOTS, n_windows / _SHARED)) if frugal else math.inf
            who = (voxels, classes, ground)
            with threadpool_limits(limits=1, user_api="blas"):
                lots = lots_of(program, who, told, settings.error, pool, bearable)
            if lots is None:
                raise CrowdedError(
                    f"{n_windows} windows need more than {bearable:g} sets of images; one should "
                    f"serve {_SHARED} (scanroom.physics.spins). Take the engine continuum."
                )
            signals = {
                at: np.zeros((n_coils, program.windows[events.kind[at]].n_samples), np.complex64)
                for at in np.flatnonzero(events.event == WINDOW).tolist()
            }
            for number, lot in enumerate(lots):
                parts = (
                    samples_of(program, voxels, classes, ground, lot, pool)
                    if control.team.plays(number)
                    else np.zeros((len(lot.rows.at), n_coils, lot.n_samples), np.complex64)
                )
                control.team.bring([(parts,)], number)
                for row, at in enumerate(lot.rows.at.tolist()):
                    signals[at] += parts[row]
                done = _PLAYING + (1 - _PLAYING) * (number + 1) / len(lots)
                control.report((first + done * (last - first)) / total)
                if control.stop[0]:
                    return
            control.report(last / total)
            yield from signals.values()


def _ready(
    program: Program, classes: Classes, settings: Settings, pool: ThreadPoolExecutor
) -> Ready:
    """Lay the nodes out in runs."""
    boxes = classes.nodes
    nodes = boxes.spins
    where = (nodes.position.T, nodes.offset, np.abs(nodes.transmit).astype(np.float64))
    tables = tables_of(program, where, pool)
    order, edge, shape = runs_of(program, [boxes], nodes, tables, settings)
    arrays = arrays_of(nodes, order)
    pulses, windows = pulses_of(program, arrays, tables), windows_of(program)
    cut = (edge, [boxes], shape)
    laid = (
        arrays,
        boxes.r2_prime[order],
        boxes.column[order],
        diffusion_of(program, [boxes])[:, order],
    )
    runs = box_runs(laid, cut, pulses, tables, settings.tolerance)
    runs = runs._replace(longest=np.full_like(runs.longest, _LONGEST))
    x, y, z = np.where(np.abs(classes.along) > 1 - _STRAIGHT, _NEAR_ACROSS, _NEAR_IN_PLANE).tolist()
    saturation = saturation_of(program, arrays, runs.edge, settings.tolerance, pool)
    stage = stage_of(program, laid, runs, (pulses, windows), settings, (x, y, z))
    return Ready(stage, saturation, order, *work_of(runs))


def _needs(ready: Ready) -> tuple[np.ndarray, np.ndarray]:
    return needs(ready.stage.runs.fastest_r2, ready.stage.windows)


def _played(
    ready: Ready, events: Events, control: Control, lost: Lost, pool: ThreadPoolExecutor
) -> Notes:
    """Play a stretch to all nodes, and return what was written down."""
    stage = ready.stage._replace(events=events)
    nothing, seen = np.zeros(0, np.float32), Seen(np.zeros(0), np.zeros((0, 3)))
    books = [new_book(is_open=True) for _ in range(LANES)]
    jobs = [
        pool.submit(
            play_boxes, stage, ready.saturation, mine, kept, nothing, (seen, book), control.stop
        )
        for mine, kept, book in zip(ready.work, ready.saved, books, strict=True)
    ]
    for job in jobs:
        lost.note(*job.result())
    return joined_notes([notes_of(book, stage.runs.edge) for book in books])
