"""A scanner that exists only in memory: armed with a cleared drive, it plays and receives."""

import dataclasses
import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex64, Float, Float32, Int

import scanroom
from scanroom.core.errors import DeviceError, InterlockOpen, ProtocolError
from scanroom.core.gate import Cleared
from scanroom.core.units import Second
from scanroom.mri.drive.model import Drive
from scanroom.mri.raw.model import Readout
from scanroom.mri.system import System
from scanroom.mri.twin import fields, transmitting
from scanroom.mri.twin.courses import Courses
from scanroom.mri.twin.effort import Effort
from scanroom.mri.twin.faults import MAX_COILS, Faults
from scanroom.mri.twin.programme import programme
from scanroom.mri.twin.receiving import Chain, covariance_of
from scanroom.mri.twin.sampling import (
    VELOCITY,
    Isochromats,
    cut,
    diffuses,
    diffusion_at,
    isochromats,
    rate,
    speed,
    voxel_size,
    with_peaks,
)
from scanroom.mri.twin.transfer import longitudinal, refuse_transfer
from scanroom.physics.amplifier import amplify
from scanroom.physics.coils import head_array
from scanroom.physics.fat import split
from scanroom.physics.motion import pose
from scanroom.physics.spins.classes import Classes, Voxels, classes_of
from scanroom.physics.spins.classes import slice_axis as slice_axis_of
from scanroom.physics.spins.classwise import CrowdedError, error_bound, simulate_classes
from scanroom.physics.spins.continuum import Boxes, Lost, boxes_across, simulate_boxes
from scanroom.physics.spins.engine import Control, largest_tilt, simulate
from scanroom.physics.spins.ensemble import Spins, joined
from scanroom.physics.spins.program import Program
from scanroom.physics.thermal_noise import signal_scale
from scanroom.subject.model import Subject

# Beyond the frequency of a voxel's centre: offsets of its isochromats by T2' [Hz].
_MARGIN = 50.0
Weigh = Callable[[Second], Complex64[np.ndarray, "spin coil"]]


def has_trains(drive: Drive) -> bool:
    """Whether excitations are followed by several refocusing pulses."""
    uses = drive.pulses.use
    return uses.count("r") > 1.5 * max(1, uses.count("e") + uses.count("u"))


def slice_axis(program: Program, affine: Float[np.ndarray, "4 4"]) -> int | None:
    """Axis of the grid along which slices are selected; None unless every pulse selects."""
    gradients = np.array([kind.gradient for kind in program.pulses]).reshape(-1, program.n_axes)
    gradients = gradients[:, :3]
    if not len(gradients) or not np.any(gradients, axis=1).all():
        return None
    return int(np.abs(gradients @ affine[:3, :3]).sum(axis=0).argmax())


def _loudest(spins: list[Spins]) -> float:
    """Signal [V] of the loudest coil if everything were transverse and in phase."""
    return float(sum(np.abs(part.weight).sum(axis=0) for part in spins).max(initial=0.0))


class Twin:
    """Digital twin of the scanner, with a subject inside.

    ``static_field`` [Hz] is what `fields.static_field` says of it, if that is known already.
    """

    name = "scanroom-mri-twin"

    def __init__(
        self,
        subject: Subject,
        *,
        system: System,
        faults: Faults | None = None,
        seed: int = 0,
        n_coils: int = 8,
        effort: Effort | None = None,
        static_field: Float32[np.ndarray, "x y z"] | None = None,
    ) -> None:
        if not 1 <= n_coils <= MAX_COILS:
            raise ProtocolError(
                f"the twin has {n_coils} coils; it may have 1 to {MAX_COILS} "
                "(scanroom.physics.coils). Ask for a number in that range."
            )
        self.subject, self.system = subject, system
        self.faults = faults or Faults()
        self.effort = effort or Effort()
        self.seed, self.n_coils = seed, n_coils
        self.progress: Callable[[float], None] | None = None
        self.output = 0.0
        if any(not 0 <= coil < n_coils for coil in self.faults.dead):
            raise ProtocolError(
                f"dead channels are {self.faults.dead}; there are 0 to {n_coils - 1} "
                "(scanroom.mri.twin). Name channels that exist."
            )
        self._courses = Courses(self.faults, system.larmor, speed(subject))
        if not self._courses.plain and self.effort.engine in {"classes", "continuum"}:
            raise ProtocolError(
                f"the engine {self.effort.engine} is asked for with motion, flow or fields that "
                "plain gradients do not make; the engine isochromats follows those "
                "(scanroom.mri.twin). Take the engine auto or isochromats."
            )
        if self._diffuses and (self.effort.engine == "isochromats" or not self._courses.plain):
            raise ProtocolError(
                "diffusion is asked for with flow or with the engine isochromats, whose points do "
                "not diffuse (scanroom.mri.twin). Take a subject at rest and the engine auto."
            )
        refuse_transfer(subject, wanted=self.faults.transfer, diffusing=self._diffuses)
        self._array = head_array(n_coils)
        self._weights = transmitting.own_mode(system, self.faults)
        self._lock = threading.Lock()
        self._control = Control()
        self._armed: tuple[Drive, str, Program] | None = None
        self._n_played = 0
        self._field = static_field
        self._covariance: np.ndarray | None = None
        self._truth: dict[str, Any] = {}
        self._lost = Lost()

    @property
    def truth(self) -> Mapping[str, Any]:
        """What only the twin can know; written beside the run, read by nothing downstream."""
        by_classes = self._truth.get("engine") == "classes"
        bound = error_bound(self.effort.settings, self._lost) if by_classes else None
        return {
            "error_bound": bound,
            "device": self.name,
            "version": scanroom.__version__,
            "subject": self.subject.name,
            "system": self.system.name,
            "seed": self.seed,
            "n_coils": self.n_coils,
            "faults": dataclasses.asdict(self.faults),
            "effort": dataclasses.asdict(self.effort),
            "static_field_hz": self._static_field(),
            "largest_configuration_lost": self._lost.size,
            "shown_of_those_lost": self._lost.shown,
            **self._truth,
        }

    def arm(self, cleared: Cleared[Drive]) -> None:
        """Load the drive; outputs stay off.

        Raises
        ------
        DeviceError
            If the twin is playing.
        """
        drive = cleared.open()
        transmitting.weights_of(drive, self.system.n_transmit)
        program = programme(
            self._amplified(drive), self._courses.timeline(drive), diffusing=self._diffuses
        )
        with self._lock:
            if self.output != 0.0:
                raise DeviceError(
                    f"{self.name} is playing; it takes one drive at a time "
                    "(scanroom.core.device). Stop it or wait for its end before arming it again."
                )
            self._armed = (drive, cleared.digest, program)
            self._control = Control()

    def play(self) -> Iterator[Readout]:
        """Play the armed drive once and yield every window's samples as they come.

        Raises
        ------
        DeviceError
            If nothing is armed.
        InterlockOpen
            If the twin is stopped while it plays.
        """
        with self._lock:
            if self._armed is None:
                raise DeviceError(
                    f"{self.name} has nothing to play; a device plays what it was armed with, once "
                    "(scanroom.core.device). Call arm with a cleared drive first."
                )
            drive, digest, program = self._armed
            self._armed, self.output, control = None, 1.0, self._control
            play_number, self._n_played = self._n_played, self._n_played + 1
        control.progress = self.progress
        try:
            signals, loudest = self._signals(drive, program, control)
            chain = self._chain(drive, loudest, f"{self.seed}/{digest}/{play_number}")
            for index, signal in enumerate(signals):
                if control.stop[0]:
                    break
                readout = chain.receive(index, signal)
                self._truth["n_clipped"] = chain.n_clipped
                yield readout
            if control.stop[0]:
                raise InterlockOpen(f"{self.name} was stopped while playing {drive.name!r}.")
        finally:
            self.output = 0.0

    def stop(self) -> None:
        """Bring every output to zero: any time, any thread, any number of times."""
        self._control.stop[0] = 1
        self._armed = None
        self.output = 0.0

    def _amplified(self, drive: Drive) -> Drive:
        """Pass pulses through the amplifier."""
        amplifier = self.faults.amplifier
        if amplifier is None:
            return drive
        shapes = tuple(
            dataclasses.replace(shape, step=amplify(amplifier, shape.edge, shape.step))
            for shape in drive.shapes
        )
        return dataclasses.replace(drive, shapes=shapes)

    def _static_field(self) -> Float[np.ndarray, "x y z"]:
        if self._field is None:
            self._field = fields.static_field(self.subject, self.system, self.faults)
        return self._field

    def _offset(self) -> Float[np.ndarray, "x y z"]:
        """Static field and chemical shift of every voxel [Hz]."""
        offset = self._static_field()
        if self.faults.chemical_shift and "chemical_shift" in self.subject.maps:
            offset = offset + self.subject.maps["chemical_shift"] * self.system.larmor
        return np.asarray(offset, np.float32)

    def _tilts(self, program: Program) -> Float[np.ndarray, "x y z"]:
        """Largest tilt [rad] of anything in each voxel that holds protons."""
        subject = self.subject
        tilts = np.zeros(subject.maps["proton_density"].shape)
        chosen = np.asarray(subject.maps["proton_density"] > 0)
        centre = np.argwhere(chosen) @ subject.affine[:3, :3].T + subject.affine[:3, 3]
        half_diagonal = np.linalg.norm(voxel_size(subject)) / 2
        b1 = transmitting.transmit(centre, self._weights, self.system, self.faults)
        x, y, z = np.nonzero(chosen)
        tilts[chosen] = largest_tilt(
            program,
            (
                self._courses.place(centre, self._velocity(x, y, z)),
                self._offset()[chosen].astype(np.float64),
                np.abs(b1),
            ),
            (float(half_diagonal), _MARGIN),
            self.effort.settings.threads,
        )
        return tilts

    def _signals(
        self, drive: Drive, program: Program, control: Control
    ) -> tuple[Iterator[Complex64[np.ndarray, "coil sample"]], float]:
        """What the coils pick up, window by window, and the most that one could."""
        effort = self.effort
        self._weights = transmitting.weights_of(drive, self.system.n_transmit)
        tilts = self._tilts(program)
        bright = tilts > effort.faint
        faint = (tilts > effort.settings.tolerance) & ~bright
        self._truth |= {
            "n_voxels": int((self.subject.maps["proton_density"] > 0).sum()),
            "n_voxels_bright": int(bright.sum()),
            "n_voxels_faint": int(faint.sum()),
        }
        if effort.engine == "isochromats" or not self._courses.plain:
            spins, weigh = self._spins(program, (bright, faint), has_trains(drive))
            self._truth |= {"engine": "isochromats", "n_isochromats": len(spins)}
            signals = simulate(program, spins, effort.settings, control, weigh)
            return signals, _loudest([spins])
        self._lost = Lost()
        if effort.engine in {"auto", "classes"} and (bright | faint).any():
            found = self._classes(program, bright, faint)
            if found is not None:
                signals = self._by_classes(program, found, (bright, faint), control)
                return signals, float(np.abs(found[0].weight).sum(axis=0).max(initial=0.0))
            if effort.engine == "classes":
                raise ProtocolError(
                    f"the engine classes cannot play {drive.name!r}; its pulses must select along "
                    "one axis of the subject's grid by one RF shim, no window encode along it, and "
                    "voxels have much in common (scanroom.mri.twin). Take the engine auto."
                )
        return self._by_boxes(program, (bright, faint), control)

    def _by_boxes(
        self, program: Program, chosen: tuple[np.ndarray, np.ndarray], control: Control
    ) -> tuple[Iterator[Complex64[np.ndarray, "coil sample"]], float]:
        """`_signals` by the continuum."""
        parts = self._boxes(program, chosen)
        self._lost = Lost()
        self._truth |= {"engine": "continuum", "n_boxes": sum(len(part.spins) for part in parts)}
        signals = simulate_boxes(program, parts, self.effort.settings, control, self._lost)
        return signals, _loudest([part.spins for part in parts])

    def _by_classes(
        self,
        program: Program,
        found: tuple[Voxels, Classes],
        chosen: tuple[np.ndarray, np.ndarray],
        control: Control,
    ) -> Iterator[Complex64[np.ndarray, "coil sample"]]:
        """Signals by classes; once orders find no room, the continuum takes over."""
        settings, told, frugal = self.effort.settings, 0, self.effort.engine == "auto"
        self._truth |= {"engine": "classes", "n_nodes": len(found[1].nodes.spins)}
        try:
            signals = simulate_classes(
                program, *found, settings, control, self._lost, frugal=frugal
            )
            for signal in signals:
                yield signal
                told += 1
        except CrowdedError:
            if self.effort.engine == "classes":
                raise
            yield from itertools.islice(self._by_boxes(program, chosen, control)[0], told, None)

    def _spins(
        self,
        program: Program,
        chosen: tuple[np.ndarray, np.ndarray],
        trains: bool,  # noqa: FBT001
    ) -> tuple[Spins, Weigh | None]:
        """Sample the part of the subject that the programme excites.

        Of a subject that moves, also what each isochromat adds to each coil at any time.
        """
        effort = self.effort
        n_each = effort.in_trains if trains else effort.isochromats
        column = slice_axis(program, self.subject.affine) if effort.columns else None
        grains = [
            isochromats(self.subject, where, n, self.seed, column=column)
            for where, n in zip(chosen, (n_each, 1), strict=True)
        ]
        grains = [self._with_peaks(part)[0] for part in grains]
        spins = joined([self._part(part) for part in grains])
        motion = self.faults.motion
        if motion is None or not self.faults.coils:
            return spins, None
        rest = np.concatenate([part.position for part in grains])
        start = fields.receive(rest, self._array, self.faults)
        largest = np.abs(start).argmax(axis=1)[:, None]
        scale = np.take_along_axis(spins.weight, largest, 1) / np.take_along_axis(start, largest, 1)

        def weigh(time: Second) -> Complex64[np.ndarray, "spin coil"]:
            matrix, shift = pose(motion, np.array([time]))
            now = fields.receive(rest @ matrix[0].T + shift[0], self._array, self.faults)
            return np.asarray(now * scale, np.complex64)

        return spins, weigh

    def _classes(
        self,
        program: Program,
        bright: Bool[np.ndarray, "x y z"],
        faint: Bool[np.ndarray, "x y z"],
    ) -> tuple[Voxels, Classes] | None:
        """The part of the subject that the programme excites, and nodes for it."""
        subject, faults = self.subject, self.faults
        size = float(np.linalg.norm(np.array(bright.shape) * voxel_size(subject)))
        axis = slice_axis_of(program, subject.affine, size)
        if axis is None or len(self._weights) > 1:
            return None
        index, maps = np.argwhere(bright | faint), subject.maps
        share, more = np.ones(len(index)), np.zeros(len(index))
        if self._has_peaks:
            rows, more, share = split(maps["chemical_shift"][tuple(index.T)].astype(np.float64))
            index = index[rows]
        x, y, z = index.T
        field = self._static_field()
        slope = np.stack([fields.slope(field, k)[x, y, z] for k in range(3)], axis=1)
        position = index @ subject.affine[:3, :3].T + subject.affine[:3, 3]
        scale = (
            share
            * maps["proton_density"][x, y, z]
            * signal_scale(self.system.field, float(np.prod(voxel_size(subject))))
        )
        weight = fields.receive(position, self._array, faults)
        weight *= scale.astype(np.float32)[:, None]
        r2_prime = np.zeros(len(x), np.float32)
        if faults.t2_prime and "t2_prime" in maps:
            r2_prime = rate(maps["t2_prime"][x, y, z])
        voxels = Voxels(
            index=index,
            affine=subject.affine,
            offset=self._offset()[x, y, z].astype(np.float64) + more * self.system.larmor,
            slope=slope,
            **longitudinal(subject, (x, y, z), wanted=faults.transfer),
            r2=rate(maps["t2"][x, y, z]),
            r2_prime=r2_prime,
            transmit=transmitting.transmit(position, self._weights, self.system, faults),
            weight=weight,
            faint=faint[x, y, z],
            diffusion=diffusion_at(self.subject, (x, y, z), wanted=self._diffuses),
        )
        classes = classes_of(program, voxels, axis, self.effort.settings.error)
        return None if classes is None else (voxels, classes)

    def _boxes(self, program: Program, chosen: tuple[np.ndarray, np.ndarray]) -> list[Boxes]:
        """Cut the part of the subject that the programme excites into boxes."""
        edges = np.ascontiguousarray(self.subject.affine[:3, :3].T)
        across = boxes_across(program, edges, self.effort.step)
        axis = slice_axis(program, self.subject.affine)
        parts = []
        for where, n in zip(chosen, (across, (1, 1, 1)), strict=True):
            grains, column = cut(self.subject, where, n, 2 if axis is None else axis)
            grains, rows = self._with_peaks(grains)
            column = column[rows]
            x, y, z = grains.voxel.astype(np.int64).T
            r2_prime = np.zeros(len(x), np.float32)
            if self.faults.t2_prime and "t2_prime" in self.subject.maps:
                r2_prime = rate(self.subject.maps["t2_prime"][x, y, z])
            parts.append(
                Boxes(
                    spins=self._part(grains),
                    edges=edges / np.array(n)[:, None],
                    r2_prime=r2_prime,
                    column=column,
                    diffusion=diffusion_at(self.subject, (x, y, z), wanted=self._diffuses),
                )
            )
        return parts

    @property
    def _diffuses(self) -> bool:
        return self.faults.diffusion and diffuses(self.subject)

    @property
    def _has_peaks(self) -> bool:
        wanted = self.faults.fat_peaks and self.faults.chemical_shift
        return wanted and "chemical_shift" in self.subject.maps

    def _with_peaks(self, grains: Isochromats) -> tuple[Isochromats, Int[np.ndarray, " spin"]]:
        if not self._has_peaks:
            return grains, np.arange(len(grains.voxel))
        return with_peaks(self.subject, grains)

    def _part(self, grains: Isochromats) -> Spins:
        """Give isochromats the properties of their voxels and the fields at their places."""
        maps, faults = self.subject.maps, self.faults
        x, y, z = grains.voxel.astype(np.int64).T
        offset = fields.at_isochromats(self._static_field(), grains)
        if faults.chemical_shift and "chemical_shift" in maps:
            shift = maps["chemical_shift"][x, y, z] + grains.more_shift
            offset += shift * self.system.larmor
        if faults.t2_prime and "t2_prime" in maps and grains.spread.any():
            offset += rate(maps["t2_prime"][x, y, z]) / (2 * np.pi) * grains.spread
        volume = float(np.prod(voxel_size(self.subject))) / grains.n_per_voxel
        scale = grains.share * maps["proton_density"][x, y, z]
        scale = scale * signal_scale(self.system.field, volume)
        weight = fields.receive(grains.position, self._array, faults)
        weight *= scale.astype(np.float32)[:, None]
        return Spins(
            position=self._courses.place(grains.position, self._velocity(x, y, z)),
            offset=offset,
            **longitudinal(self.subject, (x, y, z), wanted=faults.transfer),
            r2=rate(maps["t2"][x, y, z]),
            transmit=transmitting.transmit(grains.position, self._weights, self.system, faults),
            weight=weight,
        )

    def _velocity(
        self, x: Int[np.ndarray, " n"], y: Int[np.ndarray, " n"], z: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n 3"] | None:
        """Velocity [m/s] of voxels; None where nothing flows."""
        if not self._courses.flow:
            return None
        maps, still = self.subject.maps, np.zeros(len(x))
        parts = [maps[name][x, y, z] if name in maps else still for name in VELOCITY]
        return np.stack(parts, axis=1).astype(np.float64)

    def _noise(self) -> Float[np.ndarray, "coil coil"]:
        """Covariance of the noise per hertz of bandwidth [V2/Hz]."""
        if self._covariance is None:
            self._covariance = covariance_of(self.subject, self._array, self.system, self.faults)
        return self._covariance

    def _chain(self, drive: Drive, loudest: float, key: str) -> Chain:
        """What happens between the coils and the raw data; its truth is noted."""
        seed = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
        covariance = self._noise() if self.faults.noise else None
        chain = Chain(drive.windows, self.faults, covariance, loudest, seed)
        self._truth |= {"full_scale_volt": chain.receiver.full_scale, "n_clipped": 0}
        return chain
