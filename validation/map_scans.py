"""Vials scanned on the twin by sequences written for maps, and their images in units of noise.

Each scan is played once without noise. Ten seeds are ten draws of what the twin's receiver gives
with nothing excited, added to the samples: noise does not hang on the signal.
"""

import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pypulseq as pp

from scanroom.core.result import Result
from scanroom.mri.drive.compile import compile_noise
from scanroom.mri.drive.compile.design import options
from scanroom.mri.drive.encoding import encode
from scanroom.mri.drive.model import Drive
from scanroom.mri.drive.seqfile import parse_seq
from scanroom.mri.raw.model import Readout
from scanroom.mri.raw.writer import RawWriter
from scanroom.mri.recon import reconstruct
from scanroom.mri.system import system
from scanroom.mri.twin import Faults, Twin
from scanroom.mri.twin.effort import Effort
from scanroom.physics.receiver import Receiver, noise_bandwidth
from scanroom.subject.model import Subject
from validation.drives import cleared

SCANNER = system("3T")
SYSTEM = options(SCANNER)
FIELD_OF_VIEW, MATRIX, DWELL = 0.2, 64, 10e-6
SLAB, SLICE = 0.06, 5e-3
N_COILS = 2
N_SEEDS = 10
FAULTS = Faults(b0=False, shim_error=(0.0, 0.0, 0.0, 0.0), t2_prime=False, quantisation=False)

SPOILING = 117.0
REFOCUSED = 1.3
FIRST_LOBE, LOBE, APART = 6e-3, 18e-3, 33e-3
EFFORT = Effort()

T1 = np.array([0.25, 0.5, 0.8, 1.1, 1.5, 2.0])
T2 = np.array([0.03, 0.05, 0.08, 0.11, 0.15, 0.25])
T2_PRIME = np.array([0.02, 0.03, 0.05, 0.08, 0.1, 0.15])
DIFFUSION = np.array([0.4, 0.7, 1.0, 1.4, 1.8, 2.2]) * 1e-9
RADIUS, RING, INSIDE = 14e-3, 52e-3, 8e-3
"""Of a vial, of the ring five of them stand on, and of what is measured of each [m]."""


def centres() -> np.ndarray:
    """Where vials stand [vial, (x, y)]: one in the middle, five around it."""
    angle = 2 * np.pi * np.arange(5) / 5 + 0.3
    return np.concatenate([[[0.0, 0.0]], RING * np.stack([np.cos(angle), np.sin(angle)], axis=1)])


@functools.cache
def vials(n_layers: int) -> Subject:
    """Six vials on voxels of 2 x 2 x 2.5 mm, so many of them deep, about z = 0."""
    n, voxel = 74, 2e-3
    affine = np.diag([voxel, voxel, 2.5e-3, 1.0])
    affine[:2, 3] = -voxel * (n - 1) / 2
    affine[2, 3] = -2.5e-3 * (n_layers - 1) / 2
    place = affine[0, 3] + voxel * np.arange(n)
    x, y = np.meshgrid(place, place, indexing="ij")
    shape = (n, n, n_layers)
    names = ("t1", "t2", "t2_prime", "diffusion")
    maps = {name: np.ones(shape, np.float32) for name in names}
    maps["proton_density"] = np.zeros(shape, np.float32)
    for (at_x, at_y), values in zip(
        centres(), zip(T1, T2, T2_PRIME, DIFFUSION, strict=True), strict=True
    ):
        body = np.hypot(x - at_x, y - at_y) < RADIUS
        maps["proton_density"][body] = 1.0
        for name, value in zip(names, values, strict=True):
            maps[name][body] = value
    return Subject(name="vials", field=SCANNER.field, affine=affine, maps=maps)


def regions(affine: np.ndarray, shape: tuple[int, int]) -> list[np.ndarray]:
    """Pixels [y, x] well inside each vial."""
    y, x = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    place = affine[:3, :2] @ np.stack([x.ravel(), y.ravel()]) + affine[:3, 3:]
    return [(np.hypot(place[0] - a, place[1] - b) < INSIDE).reshape(shape) for a, b in centres()]


# ---------------------------------------------------------------- sequences


class Writer:
    """A sequence, block by block, with the parts that all of them share."""

    def __init__(self, name: str) -> None:
        self.sequence, self.now = pp.Sequence(SYSTEM), 0.0
        self.sequence.set_definition("Name", name)
        self.sequence.set_definition("FOV", [FIELD_OF_VIEW, FIELD_OF_VIEW, SLICE])
        flat = 2 * MATRIX * DWELL
        self.read = pp.make_trapezoid(
            "x", flat_area=MATRIX / FIELD_OF_VIEW, flat_time=flat, system=SYSTEM
        )
        self.window = pp.make_adc(2 * MATRIX, dwell=DWELL, delay=self.read.rise_time, system=SYSTEM)
        self.spoiler = pp.make_trapezoid("z", area=4 / SLICE, duration=2e-3, system=SYSTEM)

    def add(self, *events: object) -> None:
        """One block."""
        self.sequence.add_block(*events)
        self.now += self.sequence.block_durations[max(self.sequence.block_durations)]

    def wait(self, time: float) -> None:
        """Nothing, for a time."""
        self.add(pp.make_delay(round(time / 1e-5) * 1e-5))

    def until(self, time: float) -> None:
        """Wait for a moment."""
        if time < self.now - 1e-9:
            raise ValueError(f"{time:.5f} s is past; it is {self.now:.5f} s.")
        self.wait(time - self.now)

    @staticmethod
    @functools.cache
    def pulse(flip: float, thickness: float, use: str) -> tuple[object, object, object]:
        """Selective pulse, its gradient, and what takes the gradient back."""
        refocusing = use != "excitation"
        return pp.make_sinc_pulse(
            flip, duration=4e-3 if refocusing else 3e-3, slice_thickness=thickness,
            time_bw_product=8 if thickness == SLAB else 4, apodization=0.46, use=use,
            delay=SYSTEM.rf_dead_time, system=SYSTEM, return_gz=True,
        )  # fmt: skip

    def line(self, line: int, *, back: bool = False) -> object:
        """Phase encoding of a line, or the way back."""
        area = (line - MATRIX // 2) / FIELD_OF_VIEW * (-1 if back else 1)
        return pp.make_trapezoid("y", area=area, duration=1e-3, system=SYSTEM)

    def before(self, sign: float = -1.0) -> object:
        """Half a readout's area."""
        return pp.make_trapezoid("x", area=sign * self.read.area / 2, duration=1e-3, system=SYSTEM)

    def excite(self, flip: float, thickness: float, phase: float = 0.0) -> float:
        """Excitation; the moment of its middle."""
        pulse, gradient, _ = self.pulse(flip, thickness, "excitation")
        pulse.phase_offset = phase
        begin = self.now
        self.add(pulse, gradient)
        return float(begin + pulse.delay + pulse.shape_dur / 2)

    def turn(self, middle: float, thickness: float, use: str, phase: float = 0.0) -> None:
        """Pulse of 180 degrees with its middle at a moment; crushers on both sides, but for one."""
        pulse, gradient, _ = self.pulse(np.pi, thickness, use)
        pulse.phase_offset = phase
        crush = use == "refocusing"
        lead = pulse.delay + pulse.shape_dur / 2 + (1e-3 if crush else 0.0)
        self.until(middle - lead)
        lobe = pp.make_trapezoid("z", area=2 / SLICE, duration=1e-3, system=SYSTEM)
        if crush:
            self.add(lobe)
        self.add(pulse, gradient)
        if crush:
            self.add(lobe)

    def wind(self, line: int, flip: float, thickness: float, sign: float) -> None:
        """Take back the slice's gradient, go to the beginning of a line."""
        self.add(self.pulse(flip, thickness, "excitation")[2], self.before(sign), self.line(line))

    def readout(self, middle: float | None, line: int, **label: int) -> float:
        """One window, with its middle at a moment or at once; that moment."""
        half = float(self.read.rise_time + (MATRIX + 0.5) * DWELL)
        if middle is not None:
            self.until(middle - half)
        begin = self.now
        labels = [pp.make_label("LIN", "SET", line)]
        labels += [pp.make_label(name, "SET", value) for name, value in label.items()]
        self.add(self.read, self.window, *labels)
        return begin + half

    def lobes(self, size: float) -> None:
        """A diffusion gradient on all axes."""
        self.add(
            *(
                pp.make_trapezoid(
                    axis, amplitude=size, rise_time=1e-3, flat_time=LOBE - 2e-3, system=SYSTEM
                )
                for axis in "xyz"
            )
        )

    def drive(self) -> Drive:
        """The sequence as the gate and the twin take it."""
        self.sequence.set_definition("TotalDuration", self.now)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "s.seq"
            self.sequence.write(str(path))
            text = path.read_bytes()
        return parse_seq(text, "maps", field=SCANNER.field)


Played = tuple[Drive, np.ndarray]


def inversion(times: Sequence[float], repetition: float) -> Played:
    """Inversion, a wait, 90 degrees, a gradient echo; after one repetition that is not recorded."""
    w = Writer("inversion recovery")
    for number, time in enumerate(times):
        for line in [-1, *range(MATRIX)]:
            begin = w.now
            middle = begin + 4e-3
            w.turn(middle, SLAB, "inversion")
            w.add(w.spoiler)
            w.until(middle + time - SYSTEM.rf_dead_time - 1.5e-3)
            w.excite(np.pi / 2, SLAB)
            w.wind(max(line, 0), np.pi / 2, SLAB, -1.0)
            if line >= 0:
                w.readout(None, line, REP=number)
            w.add(w.spoiler)
            w.until(begin + repetition)
    return w.drive(), np.array(times)


def gradient_echoes(spacing: float, n_echoes: int, repetition: float) -> Played:
    """Echoes of one excitation of 60 degrees, all in one direction."""
    w, times = Writer("gradient echoes"), np.zeros(n_echoes)
    for line in range(MATRIX):
        begin = w.now
        middle = w.excite(np.pi / 3, SLAB)
        w.wind(line, np.pi / 3, SLAB, -1.0)
        first = w.readout(None, line, ECO=0)
        times[0] = first - middle
        back = pp.make_trapezoid("x", area=-w.read.area, duration=1e-3, system=SYSTEM)
        for echo in range(1, n_echoes):
            w.add(back)
            times[echo] = w.readout(first + echo * spacing, line, ECO=echo) - middle
        w.add(w.spoiler, w.line(line, back=True))
        w.until(begin + repetition)
    return w.drive(), times


def flip_angles(angles: Sequence[float], repetition: float, longest: float) -> Played:
    """Spoiled steady states; what is not recorded before leaves a thousandth for that T1."""
    w = Writer("flip angles")
    for number, flip in enumerate(angles):
        rate = 1 / longest - np.log(np.cos(flip)) / repetition
        n_before = int(np.ceil(np.log(1e3) / rate / repetition))
        for shot in range(n_before + MATRIX):
            begin, line = w.now, shot - n_before
            phase = np.radians(SPOILING) * shot * (shot + 1) / 2 % (2 * np.pi)
            w.window.phase_offset = phase
            w.excite(flip, SLAB, phase)
            w.wind(max(line, 0), flip, SLAB, -1.0)
            if line >= 0:
                w.readout(None, line, REP=number)
            else:
                w.add(w.read)
            w.add(w.spoiler, w.line(max(line, 0), back=True))
            w.until(begin + repetition)
    return w.drive(), np.array(angles)


def single_angles(angles: Sequence[float], repetition: float) -> Played:
    """Gradient echoes from equilibrium at several flip angles."""
    w = Writer("single angles")
    for number, flip in enumerate(angles):
        for line in range(MATRIX):
            begin = w.now
            w.excite(flip, SLAB)
            w.wind(line, flip, SLAB, -1.0)
            w.readout(None, line, REP=number)
            w.add(w.spoiler)
            w.until(begin + repetition)
    return w.drive(), np.array(angles)


def echo_train(spacing: float, n_echoes: int, repetition: float) -> Played:
    """Carr, Purcell, Meiboom, Gill: refocusing pulses as wide as `REFOCUSED` slices."""
    w = Writer("echo train")
    for line in range(MATRIX):
        begin = w.now
        middle = w.excite(np.pi / 2, SLICE, np.pi / 2)
        w.add(w.pulse(np.pi / 2, SLICE, "excitation")[2], w.before(1.0))
        for echo in range(n_echoes):
            at = middle + spacing * (echo + 0.5)
            w.turn(at, REFOCUSED * SLICE, "refocusing")
            w.add(w.line(line))
            w.readout(at + spacing / 2, line, ECO=echo)
            w.add(w.line(line, back=True))
        w.add(w.spoiler)
        w.until(begin + repetition)
    return w.drive(), spacing * (1 + np.arange(n_echoes))


def spin_echoes(
    times: Sequence[float], repetition: float, sizes: Sequence[float] = (0.0,)
) -> Played:
    """Single spin echoes of a slab, one scan for each echo time and each diffusion gradient.

    Diffusion gradients [Hz/m] are two lobes of `LOBE`, `APART` from begin to begin, along x, y and
    z alike. What is left of an excitation is spoiled; repetitions are long.
    """
    w = Writer("spin echoes")
    for number, (time, size) in enumerate(itertools.product(times, sizes)):
        for line in range(MATRIX):
            begin = w.now
            middle = w.excite(np.pi / 2, SLAB, np.pi / 2)
            w.wind(MATRIX - line, np.pi / 2, SLAB, 1.0)
            turned = middle + time / 2
            if size:
                w.until(middle + FIRST_LOBE)
                w.lobes(size)
            # The line was wound before the refocusing pulse, which turns it round.
            w.turn(turned, SLAB, "refocusing")
            if size:
                w.until(middle + FIRST_LOBE + APART)
                w.lobes(size)
            w.readout(middle + time, line, REP=number)
            w.add(w.spoiler)
            w.until(begin + repetition)
    return w.drive(), np.array(times)


# ---------------------------------------------------------------- scans


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Images [seed image y x] in units of their noise, what they were taken at, and the vials."""

    images: np.ndarray
    at: np.ndarray
    regions: list[np.ndarray]
    engine: str
    drive: Drive


def scan(played: Played, n_layers: int, louder: float, faults: Faults = FAULTS) -> Scan:
    """Play once without noise, then reconstruct with the noise of every seed.

    Noise is so much ``louder`` than the twin's: 3 x 3 x 10 mm are larger than a patient's voxel.
    """
    drive, at = played
    still = dataclasses.replace(faults, noise=False)
    twin = Twin(vials(n_layers), system=SCANNER, faults=still, n_coils=N_COILS, effort=EFFORT)
    twin.arm(cleared(drive))
    signals = [readout.signal for readout in twin.play()]
    images, places = [], []
    for seed in range(N_SEEDS):
        noisy = louder * noise(len(signals) * signals[0].shape[1], seed, n_layers, faults)
        spare = louder * noise(8192, seed + N_SEEDS, n_layers, faults)
        parts = np.split(noisy, len(signals), axis=1)
        results = imaged(drive, [s + n for s, n in zip(signals, parts, strict=True)], spare)
        images.append(np.stack([result.array[0] for result in results]))
        places = regions(results[0].affine, results[0].array.shape[1:])
    return Scan(
        images=np.stack(images),
        at=at,
        regions=places,
        engine=str(twin.truth["engine"]),
        drive=drive,
    )


@functools.cache
def noise(n_samples: int, seed: int, n_layers: int, faults: Faults) -> np.ndarray:
    """Samples [coil sample] of the twin's receiver with nothing excited."""
    twin = Twin(vials(n_layers), system=SCANNER, faults=faults, n_coils=N_COILS, seed=seed)
    found = []
    while sum(part.shape[1] for part in found) < n_samples:
        twin.arm(cleared(compile_noise(SCANNER, DWELL, 8192)))
        found += [readout.signal for readout in twin.play()]
    return np.concatenate(found, axis=1)[:, :n_samples]


def imaged(drive: Drive, signals: list[np.ndarray], spare: np.ndarray) -> list[Result]:
    """Images of all echoes and repetitions."""
    encoding = encode(drive, field=SCANNER.field)
    share = noise_bandwidth(Receiver(full_scale=1.0))
    encoding = dataclasses.replace(encoding, noise_dwell=DWELL, noise_bandwidth=share)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.h5"
        with RawWriter(raw, encoding, n_coils=N_COILS) as writer:
            writer.write_noise(Readout(index=0, time=0.0, signal=spare))
            for index, signal in enumerate(signals):
                writer.write(Readout(index=index, time=1e-3 * index, signal=signal))
        return list(reconstruct(raw, trusted=True))
