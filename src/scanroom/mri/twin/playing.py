"""One drive on one subject: which engine plays which voxels, and in how many parts."""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Complex64, Int

from scanroom.core.errors import ProtocolError
from scanroom.mri.drive.model import Drive
from scanroom.mri.twin.blocks import Block, Chosen, blocks_of, in_turn
from scanroom.mri.twin.filling import Filling
from scanroom.physics.spins.classes import Classes, Voxels
from scanroom.physics.spins.classwise import CrowdedError, simulate_classes
from scanroom.physics.spins.continuum import Lost, boxes_across, simulate_boxes
from scanroom.physics.spins.engine import Control, simulate
from scanroom.physics.spins.ensemble import Spins
from scanroom.physics.spins.program import Program

Signals = Iterator[Complex64[np.ndarray, "coil _"]]


def has_trains(drive: Drive) -> bool:
    """Whether excitations are followed by several refocusing pulses."""
    uses = drive.pulses.use
    return uses.count("r") > 1.5 * max(1, uses.count("e") + uses.count("u"))


def _loudest(spins: list[Spins]) -> float:
    """Signal [V] of the loudest coil if everything were transverse and in phase."""
    return float(sum(np.abs(part.weight).sum(axis=0) for part in spins).max(initial=0.0))


class Playing:
    """What one play of a drive needs to know and leaves to know; picklable before it begins."""

    def __init__(self, filling: Filling, drive: Drive, program: Program) -> None:
        self.filling, self.program, self.lost = filling, program, Lost()
        effort = filling.effort
        self._name = drive.name
        self._n_each = effort.in_trains if has_trains(drive) else effort.isochromats
        tilts = filling.tilts(program)
        bright = np.asarray(tilts > effort.faint)
        faint = np.asarray(tilts > effort.settings.tolerance) & ~bright
        self._chosen: Chosen = (bright, faint)
        self.truth: dict[str, Any] = {
            "n_voxels": int((filling.subject.maps["proton_density"] > 0).sum()),
            "n_voxels_bright": int(bright.sum()),
            "n_voxels_faint": int(faint.sum()),
        }
        self.n_excited = int(bright.sum()) + int(faint.sum())
        self._by_points = effort.engine == "isochromats" or not filling.courses.plain
        self.parts = blocks_of(
            self._chosen,
            self._grains(self._n_each if self._by_points else 1),
            filling.array.n_coils,
            at_least=effort.parts,
        )

    def loudest(self) -> float:
        """Most [V] that a coil may pick up; only of a play in several parts."""
        return self.filling.loudest(self._chosen[0] | self._chosen[1])

    def signals(self, control: Control) -> tuple[Signals, float]:
        """What the coils pick up, window by window, and the most that one could [V]."""
        if len(self.parts) == 1:
            return self.part(self.parts[0], control)
        n_coils = self.filling.array.n_coils

        def play(block: Block, part: Control) -> Signals:
            return self.part(block, part)[0]

        return in_turn(self.parts, play, self.program, n_coils, control), self.loudest()

    def part(self, block: Block, control: Control) -> tuple[Signals, float]:
        """Signals of some voxels, and the most they could make [V].

        Raises
        ------
        ProtocolError
            If the engine asked for cannot play this.
        """
        filling, effort = self.filling, self.filling.effort
        if self._by_points:
            spins, weigh = filling.spins(self.program, block, self._n_each)
            self._note("isochromats", n_isochromats=len(spins))
            signals = simulate(self.program, spins, effort.settings, control, weigh)
            return signals, _loudest([spins])
        bright, faint = block.chosen
        if effort.engine in {"auto", "classes"} and (bright | faint).any():
            found = filling.classes(self.program, bright, faint)
            if found is not None:
                loudest = float(np.abs(found[0].weight).sum(axis=0).max(initial=0.0))
                return self._by_classes(found, block.chosen, control), loudest
            if effort.engine == "classes":
                raise ProtocolError(
                    f"the engine classes cannot play {self._name!r}; its pulses must select along "
                    "one axis of the subject's grid by one RF shim, no window encode along it, and "
                    "voxels have much in common (scanroom.mri.twin). Take the engine auto."
                )
        return self._by_boxes(block.chosen, control)

    def _by_boxes(self, chosen: Chosen, control: Control) -> tuple[Signals, float]:
        """Voxels cut into boxes: in parts again where there are too many."""
        filling, settings = self.filling, self.filling.effort.settings
        edges = np.ascontiguousarray(filling.subject.affine[:3, :3].T)
        across = boxes_across(self.program, edges, filling.effort.step)
        n_coils = filling.array.n_coils
        blocks = blocks_of(chosen, self._grains(math.prod(across), chosen), n_coils)

        def play(block: Block, part: Control) -> Signals:
            boxes = filling.boxes(self.program, block.chosen)
            self._note("continuum", n_boxes=sum(len(some.spins) for some in boxes))
            return simulate_boxes(self.program, boxes, settings, part, self.lost)

        if len(blocks) == 1:
            boxes = filling.boxes(self.program, chosen)
            self._note("continuum", n_boxes=sum(len(some.spins) for some in boxes))
            signals = simulate_boxes(self.program, boxes, settings, control, self.lost)
            return signals, _loudest([some.spins for some in boxes])
        signals = in_turn(blocks, play, self.program, n_coils, control)
        return signals, filling.loudest(chosen[0] | chosen[1])

    def _by_classes(
        self, found: tuple[Voxels, Classes], chosen: Chosen, control: Control
    ) -> Signals:
        """Signals by classes; once orders find no room, the continuum takes over."""
        effort, told = self.filling.effort, 0
        self._note("classes", n_nodes=len(found[1].nodes.spins))
        before = dataclasses.replace(self.lost)
        try:
            signals = simulate_classes(
                self.program,
                *found,
                effort.settings,
                control,
                self.lost,
                frugal=effort.engine == "auto",
            )
            for signal in signals:
                yield signal
                told += 1
        except CrowdedError:
            if effort.engine == "classes":
                raise
            self.truth["engine"] = self.truth["engine"].removesuffix("classes").rstrip("+")
            self.lost.size, self.lost.shown = before.size, before.shown
            yield from itertools.islice(self._by_boxes(chosen, control)[0], told, None)

    def _grains(self, n_bright: int, chosen: Chosen | None = None) -> Int[np.ndarray, "x y z"]:
        """Isochromats, boxes or voxels that stand for each voxel."""
        bright, faint = chosen or self._chosen
        return np.asarray(bright * n_bright + faint, np.int64)

    def _note(self, engine: str, **counts: int) -> None:
        """Add up what was played over the parts; engines are named in the order they came."""
        said = [name for name in str(self.truth.get("engine", "")).split("+") if name]
        if engine not in said:
            said.append(engine)
        self.truth["engine"] = "+".join(said)
        for name, count in counts.items():
            self.truth[name] = self.truth.get(name, 0) + count
