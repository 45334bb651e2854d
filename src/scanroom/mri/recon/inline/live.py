"""Images of a scan that is still running: each slice as soon as it is whole.

A slice of one image (one value of each counter of `sort.FRAME`) is made as it would be offline,
from its own readouts, its navigators, the noise scan and the sensitivities that the slice's first
image left behind: so the pixels are those of `pipeline.reconstruct` of the finished file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scanroom.core.errors import FormatError
from scanroom.core.result import Result
from scanroom.mri.raw.acquisition import HEAD
from scanroom.mri.raw.encoding import NOT_IMAGE, Flag
from scanroom.mri.raw.header import read_header
from scanroom.mri.raw.reader import assemble
from scanroom.mri.raw.stream import Acquisition
from scanroom.mri.recon.options import Options
from scanroom.mri.recon.pipeline import Known, images_of
from scanroom.mri.recon.sort import FRAME

Counter = tuple[int, int, int, int]
Unit = tuple[int, Counter]
"""Number of the slice and the values of `FRAME`."""
_REPETITION = FRAME.index("repetition")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Images of one slice (or slab): usually one."""

    slice: int
    counter: Counter
    results: tuple[Result, ...]


class Live:
    """Take acquisitions one by one, give images as they become possible.

    Raises
    ------
    FormatError
        If the header is none of MRD.
    """

    def __init__(self, xml: bytes, options: Options, *, name: str = "stream") -> None:
        self._header = read_header(xml)
        self._options, self._path = options, Path(name)
        self._heads: list[np.void] = []
        self._bodies: list[tuple[np.ndarray, np.ndarray]] = []
        self._of_unit: dict[Unit, list[int]] = {}
        self._noise: list[int] = []
        self._navigators: dict[int, list[int]] = {}
        self._whole: set[Unit] = set()
        self._sent: set[Unit] = set()
        self._known: Known = {}

    @property
    def n_acquisitions(self) -> int:
        """Readouts taken so far, noise among them."""
        return len(self._heads)

    def add(self, acquisition: Acquisition) -> Iterator[Finished]:
        """Take one readout; yield what it completes.

        Raises
        ------
        FormatError
            If what was completed is no image, or the readout contradicts its own header.
        """
        unit = self._keep(acquisition)
        if unit is None:
            return
        if unit in self._sent:  # it was not whole: made anew at the end
            self._sent.discard(unit)
            self._whole.discard(unit)
            if unit == min(other for other in self._of_unit if other[0] == unit[0]):
                self._known.pop(unit[0], None)
        self._close(unit, int(acquisition[0]["flags"]))
        # sensitivities come from the first image of a slice, offline as here: none overtakes it
        blocked: set[int] = set()
        for other in sorted(self._of_unit):
            if other in self._sent or other[0] in blocked:
                continue
            if other in self._whole:
                yield self._made(other)
            else:
                blocked.add(other[0])

    def rest(self) -> Iterator[Finished]:
        """Make what no flag announced, at the end of the scan."""
        for unit in sorted(self._of_unit):
            if unit not in self._sent:
                yield self._made(unit)

    def _close(self, unit: Unit, flags: int) -> None:
        """Note what a last readout ends: of a slice, those of its images with as many readouts."""
        if flags & Flag.LAST_IN_MEASUREMENT:
            self._whole.update(self._of_unit)
        if flags & (Flag.LAST_IN_SLICE | Flag.LAST_IN_REPETITION):
            repetition, most = unit[1][_REPETITION], len(self._of_unit[unit])
            self._whole.update(
                other
                for other, readouts in self._of_unit.items()
                if other[1][_REPETITION] == repetition
                and len(readouts) >= most
                and (other[0] == unit[0] or flags & Flag.LAST_IN_REPETITION)
            )

    def _keep(self, acquisition: Acquisition) -> Unit | None:
        head, trajectory, samples = acquisition
        at, flags = len(self._heads), int(head["flags"])
        n_samples, n_coils = int(head["number_of_samples"]), int(head["active_channels"])
        if n_samples == 0 or n_coils == 0:
            raise FormatError(
                f"acquisition {at} has {n_samples} samples of {n_coils} channels; a readout has "
                "one or more of each (ISMRMRD). The stream is damaged."
            )
        self._heads.append(head)
        self._bodies.append(
            (
                trajectory.reshape(n_samples, -1) if trajectory.size else _nothing(n_samples),
                samples.view(np.complex64).reshape(n_coils, n_samples),
            )
        )
        number = int(head["idx"]["slice"])
        if flags & Flag.NOISE:
            self._noise.append(at)
        elif flags & Flag.PHASE_CORRECTION:
            self._navigators.setdefault(number, []).append(at)
        elif not flags & NOT_IMAGE:
            a, b, c, d = (int(head["idx"][name]) for name in FRAME)
            unit = (number, (a, b, c, d))
            self._of_unit.setdefault(unit, []).append(at)
            return unit
        return None

    def _made(self, unit: Unit) -> Finished:
        self._sent.add(unit)
        navigators = self._navigators.get(unit[0], [])
        chosen = sorted([*self._noise, *navigators, *self._of_unit[unit]])
        heads = np.array([self._heads[at] for at in chosen], dtype=HEAD)
        raw = assemble(self._path, self._header, heads, [self._bodies[at] for at in chosen])
        # fewer readouts than the header announces is what a part of a scan is
        results = images_of(raw, self._options, self._known)
        return Finished(slice=unit[0], counter=unit[1], results=results)


def _nothing(n_samples: int) -> np.ndarray:
    return np.zeros((n_samples, 0), np.float32)
