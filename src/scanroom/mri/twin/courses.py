"""From a drive's gradients to the moments of every field they make, faults included.

Where nothing but the three gradients acts, a moment is an integral of straight lines. Else every
field is a waveform in time, made from the gradients, times a coordinate in space: `Courses` knows
both sides.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from scanroom.core.units import Hertz, Metre, Second
from scanroom.mri.drive.model import Drive, Gradient
from scanroom.mri.twin.faults import Faults
from scanroom.physics.gradient_fields import (
    Eddy,
    bent,
    concomitant_drive,
    concomitant_place,
    lagging,
    respond,
)
from scanroom.physics.motion import knots, pose

REACH: Metre = 0.3
"""Distance from the centre of the magnet [m] up to which phases are to be right."""
_RASTER: Second = 1e-5
# A waveform is sampled this often within the time constant of an eddy current, and at least so
# often in a motion.
_PER_CONSTANT = 32
_POSE: Second = 1e-3
_TAIL: Second = 0.05


@runtime_checkable
class Timeline(Protocol):
    """Moments of all fields up to any time, and how large each coordinate may be."""

    reach: Float[np.ndarray, " axis"]

    def __call__(self, at: Float[np.ndarray, " *shape"]) -> Float[np.ndarray, " *shape axis"]:
        """Moments at the given times."""
        ...


class Moments:
    """Integral of the three gradients since the start of the drive, each axis with its delay."""

    reach = np.full(3, REACH)

    def __init__(
        self, gradients: tuple[Gradient, Gradient, Gradient], delay: tuple[Second, Second, Second]
    ) -> None:
        self._axes = []
        for gradient, late in zip(gradients, delay, strict=True):
            time = np.asarray(gradient.time, np.float64) + late
            amplitude = np.asarray(gradient.amplitude, np.float64)
            steps = np.diff(time) * (amplitude[1:] + amplitude[:-1]) / 2
            self._axes.append((time, amplitude, np.concatenate([[0.0], np.cumsum(steps)])))

    def __call__(self, at: Float[np.ndarray, " *shape"]) -> Float[np.ndarray, " *shape axis"]:
        """Moments [1/m] at the given times."""
        out = np.zeros((*at.shape, 3))
        for axis, (time, amplitude, total) in enumerate(self._axes):
            if len(time) < 2:
                continue
            segment = np.clip(np.searchsorted(time, at, side="right") - 1, 0, len(time) - 2)
            length = time[segment + 1] - time[segment]
            part = np.clip(at - time[segment], 0.0, length)
            slope = (amplitude[segment + 1] - amplitude[segment]) / np.where(length > 0, length, 1)
            out[..., axis] = total[segment] + part * (amplitude[segment] + slope * part / 2)
        return out

    @property
    def knots(self) -> Float[np.ndarray, " knot"]:
        """Times [s] between which every gradient is a straight line."""
        return np.unique(np.concatenate([time for time, _, _ in self._axes]))


def dephasing(moments: Moments, at: Float[np.ndarray, " *shape"]) -> Float[np.ndarray, " *shape 9"]:
    """Integrals over time of the moment [s/m] and of its products [s/m2], see `Program`.

    Between knots a moment is a parabola, a product of two a polynomial of fourth degree: three
    nodes of Gauss's rule are exact.
    """
    times = np.unique(np.concatenate([[0.0], moments.knots, at.ravel()]))
    times = times[times >= 0.0]
    nodes, weights = np.polynomial.legendre.leggauss(3)
    half = np.diff(times)[:, None] / 2
    m = moments(times[:-1, None] + half * (1 + nodes))
    products = m[..., [0, 1, 2, 0, 0, 1]] * m[..., [0, 1, 2, 1, 2, 2]]
    parts = np.einsum("sn,snc->sc", half * weights, np.concatenate([m, products], axis=-1))
    total = np.concatenate([np.zeros((1, 9)), np.cumsum(parts, axis=0)])
    return np.asarray(total[np.searchsorted(times, at)])


@dataclass(frozen=True, slots=True)
class Courses:
    """Which fields act beside plain gradients: in time (`drive`) and in space (`place`).

    Columns: three gradients; one uniform field; four concomitant fields; three gradients times
    time, which act on velocity. The last three groups are there only when they are needed.
    """

    faults: Faults
    larmor: Hertz
    speed: float = 0.0
    """Of what flows [m/s]."""

    @property
    def flow(self) -> bool:
        """Whether anything flows."""
        return self.speed > 0

    @property
    def plain(self) -> bool:
        """Whether gradients are all that acts, and as they are asked for."""
        return not (self._more or self.faults.nonlinearity is not None)

    @property
    def _more(self) -> bool:
        return self.uniform or self.faults.concomitant or self.flow

    @property
    def uniform(self) -> bool:
        """Whether there is a uniform field that changes in time."""
        faults = self.faults
        lags = bool(faults.eddy) or faults.response is not None
        return lags or faults.motion is not None or faults.field_drift != 0.0

    @property
    def reach(self) -> Float[np.ndarray, " axis"]:
        """Size of the coordinates up to which phases are to be right."""
        parts = [np.full(3, REACH)]
        parts += [np.ones(1)] * self.uniform
        parts += [np.array([1.0, 0.5, 1.0, 1.0]) * REACH**2] * self.faults.concomitant
        parts += [np.full(3, self.speed)] * self.flow
        return np.concatenate(parts)

    def drive(
        self, time: Float[np.ndarray, " time"], made: Float[np.ndarray, "time 4"]
    ) -> Float[np.ndarray, "time axis"]:
        """Strength of each field, given gradients [Hz/m] and the uniform field [Hz]."""
        gradient, uniform = made[:, :3], made[:, 3] + self.faults.field_drift * time
        if self.faults.motion is not None:
            matrix, shift = pose(self.faults.motion, time)
            uniform = uniform + (gradient * shift).sum(axis=1)
            gradient = np.einsum("tij,ti->tj", matrix, gradient)
        parts = [gradient]
        parts += [uniform[:, None]] * self.uniform
        if self.faults.concomitant:
            parts.append(concomitant_drive(made, self.larmor))
        if self.flow:
            parts.append(gradient * time[:, None])
        return np.concatenate(parts, axis=1)

    def place(
        self, position: Float[np.ndarray, "spin 3"], velocity: Float[np.ndarray, "spin 3"] | None
    ) -> Float[np.ndarray, "spin axis"]:
        """Coordinates of points that lie at ``position`` [m] at the start of the drive."""
        at = (
            position
            if self.faults.nonlinearity is None
            else bent(position, self.faults.nonlinearity)
        )
        parts = [at]
        parts += [np.ones((len(position), 1))] * self.uniform
        if self.faults.concomitant:
            parts.append(concomitant_place(position))
        if self.flow:
            parts.append(np.zeros_like(position) if velocity is None else velocity)
        return np.concatenate(parts, axis=1)

    def timeline(self, drive: Drive) -> Timeline:
        """Moments of a drive."""
        if self._more:
            return FieldMoments(self, drive)
        return Moments(drive.gradients, self.faults.gradient_delay)


class FieldMoments:
    """Integrals of `Courses.drive` along waveforms of straight lines, by Simpson's rule.

    That is exact for products of two straight lines; where poses or eddy currents change, segments
    are short.
    """

    def __init__(self, courses: Courses, drive: Drive) -> None:
        self.reach = courses.reach
        self._courses = courses
        faults, end = courses.faults, max(drive.duration, 1e-3) + _TAIL
        lines = [
            (np.asarray(g.time, np.float64) + late, np.asarray(g.amplitude, np.float64))
            for g, late in zip(drive.gradients, faults.gradient_delay, strict=True)
        ]
        uniform = (np.array([0.0, end]), np.zeros(2))
        if faults.response is not None:
            raster = np.arange(0.0, end, _RASTER)
            asked = np.stack([_at(line, raster) for line in lines])
            made = respond(asked, _RASTER, faults.response)
            lines, uniform = [(raster, axis) for axis in made[1:]], (raster, made[0])
        for axis in range(3):
            terms = [term for term in faults.eddy if term.axis == axis]
            if terms:
                lines[axis], uniform = _with_eddies(lines[axis], uniform, terms, end)
        edges = [np.array([0.0, end]), *(line[0] for line in lines), uniform[0]]
        if faults.motion is not None:
            edges += [knots(faults.motion, end), np.arange(0.0, end, _POSE)]
        edge = np.unique(np.clip(np.concatenate(edges), 0.0, end))
        self._edge = edge
        third = np.diff(edge) / 3
        values = [
            np.stack([_at(line, edge[:-1] + n * third) for line in (*lines, uniform)], axis=1)
            for n in (1, 2)
        ]
        self._first = 2 * values[0] - values[1]
        self._slope = (values[1] - values[0]) / third[:, None]
        parts = self._parts(np.arange(len(third)), np.diff(edge))
        self._total = np.concatenate([np.zeros((1, parts.shape[1])), np.cumsum(parts, axis=0)])

    def _parts(self, segment: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Integrals from the start of segments over ``length``."""

        def strength(share: float) -> np.ndarray:
            since = share * length
            made = self._first[segment] + self._slope[segment] * since[:, None]
            return self._courses.drive(self._edge[segment] + since, made)

        total = strength(0.0) + 4 * strength(0.5) + strength(1.0)
        return np.asarray(total * (length / 6)[:, None])

    def __call__(self, at: Float[np.ndarray, " *shape"]) -> Float[np.ndarray, " *shape axis"]:
        """Moments at the given times."""
        time = np.clip(np.asarray(at, np.float64).ravel(), 0.0, self._edge[-1])
        segment = np.clip(
            np.searchsorted(self._edge, time, side="right") - 1, 0, len(self._first) - 1
        )
        out = self._total[segment] + self._parts(segment, time - self._edge[segment])
        return np.asarray(out.reshape(*np.shape(at), out.shape[1]))


Line = tuple[np.ndarray, np.ndarray]


def _at(line: Line, time: np.ndarray) -> np.ndarray:
    """Value of a waveform; zero before its first and after its last knot."""
    if not len(line[0]):
        return np.zeros(len(time))
    return np.asarray(np.interp(time, *line, left=0.0, right=0.0))


def _with_eddies(line: Line, uniform: Line, terms: list[Eddy], end: Second) -> tuple[Line, Line]:
    """Add what eddy currents of one axis make to its waveform and to the uniform field."""
    time, amplitude = line
    if not len(time):
        return line, uniform
    step = min(term.time for term in terms) / _PER_CONSTANT
    grid = np.arange(time[0], end, step)
    fine = np.unique(np.concatenate([time, grid]))
    # Steps of the waveform, two knots at one time, stay steps.
    twice = time[1:][np.diff(time) == 0]
    fine = np.sort(np.concatenate([fine, twice]))
    value = _at(line, fine)
    for at in twice:
        here = np.flatnonzero(time == at)
        place = np.flatnonzero(fine == at)
        value[place[0]], value[place[-1]] = amplitude[here[0]], amplitude[here[-1]]
    made, alike = value.copy(), np.zeros(len(fine))
    for term in terms:
        lag = lagging(fine, value, term.time)
        made -= term.share * lag
        alike -= term.field * lag
    both = np.unique(np.concatenate([uniform[0], fine]))
    return (fine, made), (both, _at(uniform, both) + _at((fine, alike), both))
