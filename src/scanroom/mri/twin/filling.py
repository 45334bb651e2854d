"""Voxels filled with what the engines play: isochromats, boxes, or voxels with their classes."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Complex64, Complex128, Float, Float32, Int

from scanroom.core.units import Second
from scanroom.mri.system import System
from scanroom.mri.twin import fields, transmitting
from scanroom.mri.twin.blocks import Block
from scanroom.mri.twin.courses import Courses
from scanroom.mri.twin.effort import Effort
from scanroom.mri.twin.faults import Faults
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
from scanroom.mri.twin.transfer import longitudinal
from scanroom.physics.coils import LoopArray
from scanroom.physics.fat import split
from scanroom.physics.motion import pose
from scanroom.physics.spins.classes import Classes, Voxels, classes_of
from scanroom.physics.spins.classes import slice_axis as slice_axis_of
from scanroom.physics.spins.continuum import Boxes, boxes_across
from scanroom.physics.spins.engine import largest_tilt
from scanroom.physics.spins.ensemble import Spins, joined
from scanroom.physics.spins.program import Program
from scanroom.physics.thermal_noise import signal_scale
from scanroom.subject.model import Subject

# Beyond the frequency of a voxel's centre: offsets of its isochromats by T2' [Hz].
_MARGIN = 50.0
# Voxels looked at together.
_AT_ONCE = 1 << 20
Weigh = Callable[[Second], Complex64[np.ndarray, "spin coil"]]


def slice_axis(program: Program, affine: Float[np.ndarray, "4 4"]) -> int | None:
    """Axis of the grid along which slices are selected; None unless every pulse selects."""
    gradients = np.array([kind.gradient for kind in program.pulses]).reshape(-1, program.n_axes)
    gradients = gradients[:, :3]
    if not len(gradients) or not np.any(gradients, axis=1).all():
        return None
    return int(np.abs(gradients @ affine[:3, :3]).sum(axis=0).argmax())


class Filling:
    """A subject in a scanner; ``static_field`` [Hz] if it is known already.

    ``weights`` are those of the transmit channels, for each set of RF shims of the drive.
    """

    def __init__(
        self,
        subject: Subject,
        system: System,
        faults: Faults,
        effort: Effort,
        *,
        seed: int,
        array: LoopArray,
        static_field: Float32[np.ndarray, "x y z"] | None = None,
    ) -> None:
        self.subject, self.system, self.faults, self.effort = subject, system, faults, effort
        self.seed, self.array = seed, array
        self.courses = Courses(faults, system.larmor, speed(subject))
        self.weights: Complex128[np.ndarray, "set channel"] = transmitting.own_mode(system, faults)
        self._field = static_field

    def loudest(self, chosen: Bool[np.ndarray, "x y z"]) -> float:
        """Signal [V] of the loudest coil if everything were transverse and in phase."""
        index, total = np.argwhere(chosen), np.zeros(self.array.n_coils)
        scale = signal_scale(self.system.field, float(np.prod(voxel_size(self.subject))))
        affine, density = self.subject.affine, self.subject.maps["proton_density"]
        for first in range(0, len(index), _AT_ONCE):
            some = index[first : first + _AT_ONCE]
            place = some @ affine[:3, :3].T + affine[:3, 3]
            field = np.abs(fields.receive(place, self.array, self.faults))
            total += (density[tuple(some.T)] * scale) @ field
        return float(total.max(initial=0.0))

    def static_field(self) -> Float[np.ndarray, "x y z"]:
        """Offset [Hz] of every voxel's centre by what magnetises, and by the shim."""
        if self._field is None:
            self._field = fields.static_field(self.subject, self.system, self.faults)
        return self._field

    def offset(self) -> Float[np.ndarray, "x y z"]:
        """Static field and chemical shift of every voxel [Hz]."""
        offset = self.static_field()
        if self.faults.chemical_shift and "chemical_shift" in self.subject.maps:
            offset = offset + self.subject.maps["chemical_shift"] * self.system.larmor
        return np.asarray(offset, np.float32)

    def tilts(self, program: Program) -> Float[np.ndarray, "x y z"]:
        """Largest tilt [rad] of anything in each voxel that holds protons."""
        subject = self.subject
        tilts = np.zeros(subject.maps["proton_density"].shape)
        chosen = np.asarray(subject.maps["proton_density"] > 0)
        centre = np.argwhere(chosen) @ subject.affine[:3, :3].T + subject.affine[:3, 3]
        half_diagonal = np.linalg.norm(voxel_size(subject)) / 2
        b1 = transmitting.transmit(centre, self.weights, self.system, self.faults)
        x, y, z = np.nonzero(chosen)
        tilts[chosen] = largest_tilt(
            program,
            (
                self.courses.place(centre, self._velocity(x, y, z)),
                self.offset()[chosen].astype(np.float64),
                np.abs(b1),
            ),
            (float(half_diagonal), _MARGIN),
            self.effort.settings.threads,
        )
        return tilts

    def spins(
        self,
        program: Program,
        block: Block,
        n_each: int,
    ) -> tuple[Spins, Weigh | None]:
        """Sample the part of the subject that the programme excites.

        Of a subject that moves, also what each isochromat adds to each coil at any time.
        """
        column = slice_axis(program, self.subject.affine) if self.effort.columns else None
        grains = [
            isochromats(self.subject, where, n, self.seed, column=column, before=count)
            for where, n, count in zip(block.chosen, (n_each, 1), block.before, strict=True)
        ]
        grains = [self._with_peaks(part)[0] for part in grains]
        spins = joined([self._part(part) for part in grains])
        motion = self.faults.motion
        if motion is None or not self.faults.coils:
            return spins, None
        rest = np.concatenate([part.position for part in grains])
        start = fields.receive(rest, self.array, self.faults)
        largest = np.abs(start).argmax(axis=1)[:, None]
        scale = np.take_along_axis(spins.weight, largest, 1) / np.take_along_axis(start, largest, 1)

        def weigh(time: Second) -> Complex64[np.ndarray, "spin coil"]:
            matrix, shift = pose(motion, np.array([time]))
            now = fields.receive(rest @ matrix[0].T + shift[0], self.array, self.faults)
            return np.asarray(now * scale, np.complex64)

        return spins, weigh

    def classes(
        self,
        program: Program,
        bright: Bool[np.ndarray, "x y z"],
        faint: Bool[np.ndarray, "x y z"],
    ) -> tuple[Voxels, Classes] | None:
        """The part of the subject that the programme excites, and nodes for it."""
        subject, faults = self.subject, self.faults
        size = float(np.linalg.norm(np.array(bright.shape) * voxel_size(subject)))
        axis = slice_axis_of(program, subject.affine, size)
        if axis is None or len(self.weights) > 1:
            return None
        index, maps = np.argwhere(bright | faint), subject.maps
        share, more = np.ones(len(index)), np.zeros(len(index))
        if self._has_peaks:
            rows, more, share = split(maps["chemical_shift"][tuple(index.T)].astype(np.float64))
            index = index[rows]
        x, y, z = index.T
        field = self.static_field()
        slope = np.stack([fields.slope(field, k)[x, y, z] for k in range(3)], axis=1)
        position = index @ subject.affine[:3, :3].T + subject.affine[:3, 3]
        scale = (
            share
            * maps["proton_density"][x, y, z]
            * signal_scale(self.system.field, float(np.prod(voxel_size(subject))))
        )
        weight = fields.receive(position, self.array, faults)
        weight *= scale.astype(np.float32)[:, None]
        r2_prime = np.zeros(len(x), np.float32)
        if faults.t2_prime and "t2_prime" in maps:
            r2_prime = rate(maps["t2_prime"][x, y, z])
        voxels = Voxels(
            index=index,
            affine=subject.affine,
            offset=self.offset()[x, y, z].astype(np.float64) + more * self.system.larmor,
            slope=slope,
            **longitudinal(subject, (x, y, z), wanted=faults.transfer),
            r2=rate(maps["t2"][x, y, z]),
            r2_prime=r2_prime,
            transmit=transmitting.transmit(position, self.weights, self.system, faults),
            weight=weight,
            faint=faint[x, y, z],
            diffusion=diffusion_at(self.subject, (x, y, z), wanted=self.diffuses),
        )
        classes = classes_of(program, voxels, axis, self.effort.settings.error)
        return None if classes is None else (voxels, classes)

    def boxes(self, program: Program, chosen: tuple[np.ndarray, np.ndarray]) -> list[Boxes]:
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
                    diffusion=diffusion_at(self.subject, (x, y, z), wanted=self.diffuses),
                )
            )
        return parts

    @property
    def diffuses(self) -> bool:
        """Whether diffusion is asked for, and the subject knows its own."""
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
        offset = fields.at_isochromats(self.static_field(), grains)
        if faults.chemical_shift and "chemical_shift" in maps:
            shift = maps["chemical_shift"][x, y, z] + grains.more_shift
            offset += shift * self.system.larmor
        if faults.t2_prime and "t2_prime" in maps and grains.spread.any():
            offset += rate(maps["t2_prime"][x, y, z]) / (2 * np.pi) * grains.spread
        volume = float(np.prod(voxel_size(self.subject))) / grains.n_per_voxel
        scale = grains.share * maps["proton_density"][x, y, z]
        scale = scale * signal_scale(self.system.field, volume)
        weight = fields.receive(grains.position, self.array, faults)
        weight *= scale.astype(np.float32)[:, None]
        return Spins(
            position=self.courses.place(grains.position, self._velocity(x, y, z)),
            offset=offset,
            **longitudinal(self.subject, (x, y, z), wanted=faults.transfer),
            r2=rate(maps["t2"][x, y, z]),
            transmit=transmitting.transmit(grains.position, self.weights, self.system, faults),
            weight=weight,
        )

    def _velocity(
        self, x: Int[np.ndarray, " n"], y: Int[np.ndarray, " n"], z: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n 3"] | None:
        """Velocity [m/s] of voxels; None where nothing flows."""
        if not self.courses.flow:
            return None
        maps, still = self.subject.maps, np.zeros(len(x))
        parts = [maps[name][x, y, z] if name in maps else still for name in VELOCITY]
        return np.stack(parts, axis=1).astype(np.float64)
