"""A subject too large to be played at once is played in blocks of voxels, one after another.

What the coils pick up is the sum over all grains, so the signals of the blocks are added up, in
their order. How many blocks there are depends on the subject, the coils and the settings alone,
never on memory or threads: the same scan gives the same bytes anywhere. Most subjects are one
block, whose signals are passed on as they come.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex64, Int

from scanroom.core.errors import ProtocolError
from scanroom.physics.spins.engine import Control
from scanroom.physics.spins.program import WINDOW, Program

# Bytes of a grain while it is laid out: of each coil (four copies of its weight) and otherwise;
# and how many a block may hold.
_PER_COIL, _PER_GRAIN, LARGEST = 32, 384, 3 << 30
MOST_HELD = 4 << 30
"""Signals [B] of one drive that may be held until all blocks have been played."""
Signals = Iterator[Complex64[np.ndarray, "coil _"]]
Chosen = tuple[Bool[np.ndarray, "x y z"], Bool[np.ndarray, "x y z"]]


class Block(NamedTuple):
    """Voxels that play together, bright ones and faint ones, and how many come before them."""

    chosen: Chosen
    before: tuple[int, int]


def blocks_of(
    chosen: Chosen,
    grains: Int[np.ndarray, "x y z"],
    n_coils: int,
    *,
    at_least: int = 1,
    largest: int = LARGEST,
) -> list[Block]:
    """Cut the chosen voxels into slabs of about equally many ``grains`` (of each voxel)."""
    each = np.where(chosen[0] | chosen[1], grains, 0).ravel()
    before = np.cumsum(each) - each
    total = int(before[-1] + each[-1]) if each.size else 0
    n_blocks = max(at_least, -(-total * (_PER_COIL * n_coils + _PER_GRAIN) // largest))
    if n_blocks <= 1 or total == 0:
        return [Block(chosen, (0, 0))]
    number = (before * n_blocks // total).reshape(grains.shape)
    blocks, counted = [], (0, 0)
    for k in range(n_blocks):
        bright, faint = ((number == k) & where for where in chosen)
        blocks.append(Block((bright, faint), counted))
        counted = (counted[0] + int(bright.sum()), counted[1] + int(faint.sum()))
    return blocks


def in_turn(
    blocks: list[Block],
    play: Callable[[Block, Control], Signals],
    program: Program,
    n_coils: int,
    control: Control,
) -> Signals:
    """Add up what the blocks play, window by window; end early when stopped.

    Raises
    ------
    ProtocolError
        If there are several, and their signals are too large to be held.
    """
    if len(blocks) == 1:
        yield from play(blocks[0], control)
        return
    signals = silent(program, n_coils) if control.team.leads else []
    for number, block in enumerate(blocks):
        for at, signal in enumerate(play(block, _part(control, number, blocks))):
            if control.team.leads:
                np.add(signals[at], signal, out=signals[at])
        if control.stop[0]:
            return
    yield from signals


def silent(program: Program, n_coils: int) -> list[Complex64[np.ndarray, "coil _"]]:
    """Windows without a signal.

    Raises
    ------
    ProtocolError
        If they are too large to be held.
    """
    kinds = program.kind[program.event == WINDOW].tolist()
    sizes = [program.windows[kind].n_samples for kind in kinds]
    held = 8 * n_coils * sum(sizes)
    if held > MOST_HELD:
        raise ProtocolError(
            f"the signals of the drive take {held / 2**30:.3g} GiB; of a subject that is played "
            f"in parts {MOST_HELD / 2**30:g} GiB can be held (scanroom.mri.twin). Play fewer "
            "windows or coils at once, or a coarser subject."
        )
    return [np.zeros((n_coils, size), np.complex64) for size in sizes]


def _part(control: Control, number: int, blocks: list[Block]) -> Control:
    """The control of one block, whose progress is a part of the whole."""

    def report(fraction: float) -> None:
        control.report((number + fraction) / len(blocks))

    return Control(control.stop, report, control.team)
