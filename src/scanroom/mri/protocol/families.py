"""What the operator may ask for: spoiled gradient echo, spin echo, turbo spin echo."""

# ruff: noqa: RUF009 - bounded and chosen make dataclass fields

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from scanroom.core.units import Hertz, Radian, Ratio, Second
from scanroom.mri.protocol.bounds import bounded, check_record
from scanroom.mri.protocol.geometry import Geometry

# Y. Zur, M. L. Wood, L. J. Neuringer, Magn. Reson. Med. 21, 251 (1991),
# doi:10.1002/mrm.1910210210.
ZUR_INCREMENT: Radian = math.radians(117.0)
MAX_FLIP: Radian = math.radians(120.0)
RELATIVE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Imaging:
    """What every Cartesian scan has.

    ``bandwidth`` is per pixel. ``partial_fourier`` is the share of lines measured, the rest is
    left out at the start; ``acceleration`` keeps every n-th line, and ``acs_lines`` around the
    centre in full. ``dummies`` are repetitions without a receiver window. ``gradient_share`` and
    ``slew_share`` say how much of the amplifiers the design uses.
    """

    name: str = ""
    source: str = ""
    geometry: Geometry
    echo_time: Second = bounded(
        0.5e-3, 1.0, "pulse and readout lengths; T2 of water", "Choose another echo time."
    )
    repetition_time: Second = bounded(
        2e-3, 60.0, "pulse and readout lengths; a minute's patience", "Choose another one."
    )
    bandwidth: Hertz = bounded(
        10.0, 10e3, "dwell times of common receivers", "Choose another bandwidth per pixel."
    )
    oversampling: int = bounded(
        1, 8, "receiver data rate", "Choose 2, unless the object ends inside.", default=2
    )
    averages: int = bounded(1, 256, "scan time", "Choose fewer averages.", default=1)
    dummies: int = bounded(0, 1000, "scan time", "Choose fewer dummies.", default=0)
    partial_fourier: Ratio = bounded(
        0.55, 1.0, "a phase map needs lines beyond the centre", "Choose 0.55 to 1.", default=1.0
    )
    acceleration: int = bounded(1, 16, "number of receive channels", "Choose less.", default=1)
    acs_lines: int = bounded(0, 512, "lines around the centre", "Choose fewer.", default=0)
    excitation_duration: Second = bounded(
        0.1e-3, 20e-3, "peak B1; T2 during the pulse", "Choose another duration.", default=3e-3
    )
    time_bandwidth: Ratio = bounded(
        2.0, 20.0, "sinc lobes in the pulse", "Choose 2 to 8.", default=4.0
    )
    gradient_share: Ratio = bounded(0.05, 1.0, "the amplifier", "Choose at most 1.", default=0.5)
    slew_share: Ratio = bounded(0.05, 1.0, "the amplifier", "Choose at most 1.", default=0.5)

    def __post_init__(self) -> None:
        check_record(self, self._relations)

    def _relations(self) -> list[str]:
        """What several values say together."""
        lines = [
            f"{name} is {value!r}; it must be a {kind.__name__} "
            "(scanroom.mri.protocol). Give another value."
            for name, value, kind in (
                ("name", self.name, str),
                ("source", self.source, str),
                ("geometry", self.geometry, Geometry),
            )
            if not isinstance(value, kind)
        ]
        if lines:
            return lines
        if any(not text.isprintable() for text in (self.name, self.source)):
            lines.append("name or source holds a line break or control character; write one line.")
        if not self.echo_time < self.repetition_time:
            lines.append(
                f"echo_time is {self.echo_time * 1e3:.6g} ms; it must be below repetition_time, "
                f"{self.repetition_time * 1e3:.6g} ms. Lengthen TR or shorten TE."
            )
        if self.acs_lines > self.geometry.matrix_phase:
            lines.append(
                f"acs_lines is {self.acs_lines}; matrix_phase has {self.geometry.matrix_phase} "
                "lines. Choose fewer."
            )
        if self.acceleration > 1 and self.acs_lines < self.acceleration:
            lines.append(
                f"acs_lines is {self.acs_lines} with acceleration {self.acceleration}; coil maps "
                f"need at least {self.acceleration} lines in full. Choose about 24."
            )
        return lines

    @property
    def lines(self) -> Int[np.ndarray, " line"]:
        """Phase-encoding lines that are measured; the centre line is ``matrix_phase // 2``."""
        n_lines = self.geometry.matrix_phase
        line = np.arange(n_lines)
        measured = line >= n_lines - round(n_lines * self.partial_fourier)
        return np.flatnonzero(measured & (self.is_grid(line) | self.is_acs(line)))

    def is_grid(self, line: Int[np.ndarray, " line"]) -> np.ndarray:
        """Whether it is on the regular grid of the accelerated scan."""
        grid: np.ndarray = (line - self.geometry.matrix_phase // 2) % self.acceleration == 0
        return grid

    def is_acs(self, line: Int[np.ndarray, " line"]) -> np.ndarray:
        """Whether it belongs to the fully measured centre of an accelerated scan."""
        first = self.geometry.matrix_phase // 2 - self.acs_lines // 2
        inside: np.ndarray = (line >= first) & (line < first + self.acs_lines)
        return inside if self.acceleration > 1 else np.zeros_like(inside)

    @property
    def partitions(self) -> Int[np.ndarray, " partition"]:
        """Partition-encoding steps that are measured; the centre is ``n_partitions // 2``."""
        return np.arange(self.geometry.n_partitions)


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientEcho(Imaging):
    """A spoiled gradient echo: 2-D with interleaved slices, or 3-D with one slab.

    ``spoiling_cycles`` of phase are left over each voxel along read and slice, each repetition.
    """

    flip_angle: Radian = bounded(
        math.radians(0.1), MAX_FLIP, "an excitation", "Choose 1 to 90 degrees."
    )
    spoiling_increment: Radian = bounded(
        0.0,
        2 * math.pi,
        "one turn; Zur 1991, doi:10.1002/mrm.1910210210",
        "Choose 117 degrees.",
        default=ZUR_INCREMENT,
    )
    spoiling_cycles: Ratio = bounded(0.0, 32.0, "gradient time", "Choose 1 to 4.", default=2.0)
    partial_fourier_slice: Ratio = bounded(
        0.55, 1.0, "a phase map needs data beyond the centre", "Choose 0.55 to 1.", default=1.0
    )

    @property
    def partitions(self) -> Int[np.ndarray, " partition"]:
        """Partition-encoding steps that are measured; the rest is left out at the start."""
        n_partitions = self.geometry.n_partitions
        skipped = n_partitions - max(1, round(n_partitions * self.partial_fourier_slice))
        return np.arange(skipped, n_partitions)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpinEcho(Imaging):
    """A 2-D spin echo with interleaved slices.

    ``crusher_cycles`` of phase are laid over the slice on each side of the refocusing pulse, whose
    slice is drawn ``refocusing_ratio`` times as thick as that of the excitation: a half turn is
    complete over two thirds of its slice alone.
    """

    flip_angle: Radian = bounded(
        math.radians(0.1),
        MAX_FLIP,
        "an excitation",
        "Choose 90 degrees.",
        default=math.pi / 2,
    )
    refocusing_angle: Radian = bounded(
        math.radians(10.0), math.pi, "a refocusing pulse", "Choose 180 degrees.", default=math.pi
    )
    refocusing_duration: Second = bounded(
        0.1e-3, 20e-3, "peak B1; T2 during the pulse", "Choose another duration.", default=4e-3
    )
    refocusing_ratio: Ratio = bounded(
        1.0, 4.0, "refocusing reaches into neighbouring slices", "Choose 1.2 to 2.", default=1.5
    )
    crusher_cycles: Ratio = bounded(0.5, 32.0, "gradient time", "Choose 2 to 8.", default=4.0)

    def _relations(self) -> list[str]:
        """What several values say together."""
        lines = super(SpinEcho, self)._relations()
        if not lines and self.geometry.is_3d:
            lines.append(
                f"n_partitions is {self.geometry.n_partitions}; spin echoes are 2-D here "
                "(scanroom.mri.protocol). Set it to 1, or choose a gradient echo."
            )
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class TurboSpinEcho(SpinEcho):
    """A 2-D turbo spin echo: a train of echoes after each excitation, interleaved slices.

    ``echo_time`` is the effective one: the echo that is encoded at k = 0.
    """

    echo_train_length: int = bounded(2, 256, "T2 decay", "Choose 4 to 32 echoes.")
    echo_spacing: Second = bounded(
        1e-3, 0.2, "pulse and readout lengths", "Choose another echo spacing."
    )

    @property
    def effective_echo(self) -> int:
        """Number of the echo that is encoded at k = 0, the first is 1."""
        return round(self.echo_time / self.echo_spacing)

    def _relations(self) -> list[str]:
        """What several values say together."""
        lines = super(TurboSpinEcho, self)._relations()
        if lines:
            return lines
        echo = min(max(self.effective_echo, 1), self.echo_train_length)
        if abs(echo * self.echo_spacing - self.echo_time) > RELATIVE_TOLERANCE * self.echo_time:
            lines.append(
                f"echo_time is {self.echo_time * 1e3:.6g} ms; it must be 1 to "
                f"{self.echo_train_length} times echo_spacing, {self.echo_spacing * 1e3:.6g} ms. "
                f"Choose {echo * self.echo_spacing * 1e3:.6g} ms."
            )
        if self.echo_train_length > self.lines.size:
            lines.append(
                f"echo_train_length is {self.echo_train_length}; only {self.lines.size} lines are "
                "measured. Choose a shorter train."
            )
        return lines


FAMILIES: dict[str, type[Imaging]] = {
    "gradient-echo": GradientEcho,
    "spin-echo": SpinEcho,
    "turbo-spin-echo": TurboSpinEcho,
}
Protocol = GradientEcho | SpinEcho | TurboSpinEcho


def family_of(protocol: Imaging) -> str:
    """Name of the family in protocol files and in the definitions of a sequence."""
    return next(name for name, kind in FAMILIES.items() if type(protocol) is kind)
