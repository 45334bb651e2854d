"""Signal of uniform tissue through a slice, from the pulses and gradients of a drive.

Independent of the spin engine: double precision, a pulse is a product of the rotations of its own
raster steps at every place through the slice, between pulses gradients and relaxation are exact.
Relaxation within a pulse is taken at its centre. Three answers to one question: `plain` at the
nominal flip angle, `through_slice` with the flip angles that Bloch's equation gives and perfect
spoiling, and `as_played` with the spoiling that the drive has.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from scanroom.mri.drive.compile.order import train_table
from scanroom.mri.drive.model import Drive
from scanroom.mri.protocol import GradientEcho, SpinEcho, TurboSpinEcho

Tissue = Mapping[str, float]
REACH = 0.012  # on either side of the slice's centre [m]; 20 mm change no preset's signal by 1e-4
N_PLACES = 481
N_ACROSS = 64  # places over one period of the read gradients: exact for 63 dephasings
COMMENSURATE = 1e-3  # in orders of dephasing; a window may lie half a microsecond off its echo


@dataclass(frozen=True, slots=True)
class Rotation:
    """Turn of the magnetisation at every place, by Cayley and Klein's parameters.

    References
    ----------
    J. Pauly et al., IEEE Trans. Med. Imaging 10, 53 (1991), doi:10.1109/42.75611.
    """

    alpha: Complex[np.ndarray, " place"]
    beta: Complex[np.ndarray, " place"]

    @property
    def kept(self) -> Float[np.ndarray, " place"]:
        """Share of the longitudinal magnetisation that stays: the cosine of the flip angle."""
        return np.asarray(np.abs(self.alpha) ** 2 - np.abs(self.beta) ** 2)

    @property
    def tipped(self) -> Complex[np.ndarray, " place"]:
        """Transverse magnetisation made of longitudinal one."""
        return np.asarray(2 * self.alpha.conj() * self.beta)

    def turned(self, phase: float) -> "Rotation":
        """The same pulse at a later phase of the transmitter."""
        return Rotation(self.alpha, self.beta * np.exp(-1j * phase))

    def __call__(self, m: np.ndarray, mz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn transverse and longitudinal magnetisation; places are the last axis."""
        lost = 2 * np.real(self.alpha.conj() * self.beta.conj() * m)
        refocused = self.beta**2 * m.conj()
        turned = self.alpha.conj() ** 2 * m - refocused + self.tipped * mz
        return turned, self.kept * mz - lost


def hard(angle: float, phase: float = 0.0) -> Rotation:
    """A pulse without a profile, one place; its phase as Pulseq counts it."""
    return Rotation(np.array([np.cos(angle / 2) + 0j]), np.array([1j * np.sin(angle / 2)])).turned(
        phase
    )


def moment(
    drive: Drive, direction: Float[np.ndarray, " axis"], at: Float[np.ndarray, " time"]
) -> Float[np.ndarray, " time"]:
    """Integral of the gradients along a direction since the start of the drive [1/m]."""
    total = np.zeros(at.shape)
    for share, gradient in zip(direction, drive.gradients, strict=True):
        if share == 0 or gradient.time.size < 2:
            continue
        knots = np.union1d(gradient.time, at)
        amplitude = np.interp(knots, gradient.time, gradient.amplitude, left=0.0, right=0.0)
        pieces = np.diff(knots) * (amplitude[1:] + amplitude[:-1]) / 2
        running = np.concatenate([[0.0], np.cumsum(pieces)])
        total += share * running[np.searchsorted(knots, at)]
    return total


def centre(drive: Drive, number: int) -> float:
    """Moment at which a pulse counts as played [s]."""
    pulses = drive.pulses
    return float(pulses.start[number] + drive.shapes[pulses.shape[number]].centre)


def rotation(
    drive: Drive,
    number: int,
    normal: Float[np.ndarray, " axis"],
    place: Float[np.ndarray, " place"],
) -> Rotation:
    """One pulse at places along the slice's normal [m], gradients reckoned as if at its centre."""
    pulses, shape = drive.pulses, drive.shapes[drive.pulses.shape[number]]
    edge = shape.edge + pulses.start[number]
    middle = (shape.edge[1:] + shape.edge[:-1]) / 2
    carrier = np.exp(1j * (pulses.phase[number] + 2 * np.pi * pulses.frequency[number] * middle))
    turns = np.conj(shape.step * carrier) * np.diff(edge)
    wound = moment(drive, normal, edge)
    alpha, beta = np.ones(place.size, complex), np.zeros(place.size, complex)
    for turn, tilt in zip(turns, np.diff(wound), strict=True):
        # Bloch's equation turns the magnetisation about -2 pi (Re turn, Im turn, tilt place).
        across = -2 * np.pi * tilt * place
        angle = np.hypot(2 * np.pi * abs(turn), across) + np.finfo(float).tiny
        half = np.sin(angle / 2) / angle
        step_alpha = np.cos(angle / 2) - 1j * across * half
        step_beta = 2j * np.pi * turn * half
        alpha, beta = (
            step_alpha * alpha - step_beta.conj() * beta,
            step_beta * alpha + step_alpha.conj() * beta,
        )
    middle_wound = float(moment(drive, normal, np.array([centre(drive, number)]))[0])
    after = 2 * np.pi * (wound[-1] - middle_wound) * place
    before = 2 * np.pi * (middle_wound - wound[0]) * place
    return Rotation(
        alpha * np.exp(-0.5j * (after + before)), beta * np.exp(0.5j * (after - before))
    )


def nominal(protocol: Any) -> tuple[Rotation, ...]:
    """Pulses of a protocol as the textbook has them."""
    if isinstance(protocol, GradientEcho):
        return (hard(protocol.flip_angle),)
    return (hard(protocol.flip_angle, math.pi / 2), hard(protocol.refocusing_angle))


def through(protocol: Any, drive: Drive) -> tuple[Rotation, ...]:
    """Pulses of the first repetition at places through the slice."""
    normal = protocol.geometry.rotation[:, 2]
    place = float(normal @ protocol.geometry.centre) + offsets()
    count = 1 if isinstance(protocol, GradientEcho) else 2
    return tuple(rotation(drive, number, normal, place) for number in range(count))


def offsets() -> Float[np.ndarray, " place"]:
    """Places through the slice, from its centre [m]."""
    return np.linspace(-REACH, REACH, N_PLACES)


def plain(protocol: Any, of: Tissue) -> float:
    """Signal by the equation of the sequence at its nominal flip angles."""
    return float(np.abs(steady(protocol, nominal(protocol), of)[0]))


def through_slice(protocol: Any, pulses: tuple[Rotation, ...], of: Tissue) -> float:
    """Signal of the whole slice, in nominal thicknesses: the equation at every place."""
    return float(np.abs(steady(protocol, pulses, of).sum())) * _share(protocol)


def steady(
    protocol: Any, pulses: tuple[Rotation, ...], of: Tissue
) -> Complex[np.ndarray, " place"]:
    """Echo at every place in the steady state, nothing transverse left from before."""
    if isinstance(protocol, GradientEcho):
        echo = spoiled(protocol, pulses[0], of)
    elif isinstance(protocol, TurboSpinEcho):
        echo = train(protocol, pulses, of)
    else:
        echo = refocused(protocol, pulses, of)
    return of["proton_density"] * echo


def spoiled(protocol: GradientEcho, pulse: Rotation, of: Tissue) -> Complex[np.ndarray, " place"]:
    """Ernst and Anderson 1966, doi:10.1063/1.1719961, with T2' decay at the echo."""
    left = math.exp(-protocol.repetition_time / of["t1"])
    rate = 1 / of["t2"] + 1 / of["t2_prime"]
    steady_z = (1 - left) / (1 - left * pulse.kept)
    return np.asarray(pulse.tipped * steady_z * math.exp(-protocol.echo_time * rate))


def refocused(
    protocol: SpinEcho, pulses: tuple[Rotation, ...], of: Tissue
) -> Complex[np.ndarray, " place"]:
    """Hahn 1950, doi:10.1103/PhysRev.80.580: the echo that crushers leave, between repetitions.

    Longitudinal magnetisation before the excitation is a + b times that of the last repetition.
    """
    excite, refocus = pulses
    half = math.exp(-protocol.echo_time / 2 / of["t1"])
    rest = math.exp(-(protocol.repetition_time - protocol.echo_time / 2) / of["t1"])
    again = excite.kept * half * refocus.kept * rest
    steady_z = (1 - rest + (1 - half) * refocus.kept * rest) / (1 - again)
    decay = math.exp(-protocol.echo_time / of["t2"])
    return np.asarray(-(refocus.beta**2) * np.conj(excite.tipped) * steady_z * decay)


def train(
    protocol: TurboSpinEcho, pulses: tuple[Rotation, ...], of: Tissue
) -> Complex[np.ndarray, " place"]:
    """Echo at k = 0 of a train, a phase graph at every place; after it only Mz is left.

    Phases that crushers lay are places over one turn, as many as make every order of the graph
    exact (M. Weigel, J. Magn. Reson. Imaging 41, 266 (2015), doi:10.1002/jmri.24619).
    """
    excite, refocus = pulses
    n = protocol.echo_train_length
    crush = np.exp(2j * np.pi * np.arange(2 * n + 2) / (2 * n + 2))[:, None]
    half = Decay.over(protocol.echo_spacing / 2, of)
    rest = Decay.over(protocol.repetition_time - n * protocol.echo_spacing, of)
    mz = np.ones((1, excite.alpha.size))
    echo = np.zeros(excite.alpha.size, complex)
    for _ in range(protocol.dummies + _k0_shot(protocol) + 1):
        m, mz = excite(np.zeros((len(crush), 1)), np.repeat(mz, len(crush), axis=0))
        for number in range(1, n + 1):
            m, mz = half(m, mz)
            m, mz = refocus(m * crush, mz)
            m, mz = half(m, mz)
            m = m * crush
            if number == protocol.effective_echo:
                echo = m.mean(axis=0)
        mz = rest(m, mz)[1].mean(axis=0, keepdims=True)
    return echo


@dataclass(frozen=True, slots=True)
class Decay:
    """What a pause leaves of the magnetisation."""

    e1: float
    e2: float

    @classmethod
    def over(cls, time: float, of: Tissue) -> "Decay":
        """Relaxation of a tissue."""
        return cls(math.exp(-time / of["t1"]), math.exp(-time / of["t2"]))

    def __call__(self, m: np.ndarray, mz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Relax, towards an equilibrium of 1."""
        return m * self.e2, 1 + (mz - 1) * self.e1


def as_played(protocol: Any, drive: Drive, of: Tissue) -> float:
    """Signal of the whole slice when k = 0 is measured, in nominal thicknesses.

    The drive is played from its start to spins through the slice and over one period of the read
    gradients, which makes of them what a continuum is. Phase encoding, which every repetition
    takes back, is left out.
    """
    read, _, normal = protocol.geometry.rotation.T
    place = float(normal @ protocol.geometry.centre) + offsets()
    last, echo = _echo(drive, protocol.geometry.matrix_phase // 2)
    time = np.array([*(centre(drive, number) for number in range(last + 1)), echo])
    along, through = (np.diff(moment(drive, axis, time)) for axis in (read, normal))
    orders = along / along[0]
    if np.abs(orders - np.round(orders)).max() > COMMENSURATE:
        raise ValueError("read gradients between pulses are not multiples of one moment")
    period = np.arange(N_ACROSS)[:, None] / N_ACROSS
    known: dict[tuple[int, float], tuple[Rotation, float]] = {}
    m = np.zeros((N_ACROSS, place.size), complex)
    mz = np.ones(m.shape)
    for number in range(last + 1):
        key = int(drive.pulses.shape[number]), float(drive.pulses.frequency[number])
        phase = float(drive.pulses.phase[number])
        if key not in known:
            known[key] = rotation(drive, number, normal, place), phase
        pulse, first = known[key]
        m, mz = pulse.turned(phase - first)(m, mz)
        m, mz = Decay.over(float(time[number + 1] - time[number]), of)(m, mz)
        winding = np.exp(-2j * np.pi * np.round(orders[number]) * period)
        m = m * winding * np.exp(-2j * np.pi * through[number] * place)
    dephased = 0.0 if isinstance(protocol, SpinEcho) else protocol.echo_time / of["t2_prime"]
    density = of["proton_density"] * math.exp(-dephased)
    return density * float(np.abs(m.mean(axis=0).sum())) * _share(protocol)


def _echo(drive: Drive, line: int) -> tuple[int, float]:
    """Pulse before the window of a line, and when the middle of that window is sampled."""
    windows = drive.windows
    which = int(np.argmax(windows.label[:, windows.label_name.index("LIN")] == line))
    middle = windows.start[which] + (windows.n_samples[which] // 2 + 0.5) * windows.dwell[which]
    last = int(np.searchsorted(drive.pulses.start, windows.start[which])) - 1
    return last, float(middle)


def _k0_shot(protocol: TurboSpinEcho) -> int:
    """Train, after the dummies, whose effective echo encodes k = 0."""
    table = train_table(protocol)[:, protocol.effective_echo - 1]
    return int(np.argmax(table == protocol.geometry.matrix_phase // 2))


def _share(protocol: Any) -> float:
    """Part of the nominal slice that one place stands for."""
    return float(2 * REACH / (N_PLACES - 1) / protocol.geometry.slice_thickness)
