"""[RF] and [ADC]: radio-frequency pulses and receiver windows as the file states them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from scanroom.core.units import Hertz, Second
from scanroom.mri.drive.model import PulseShape
from scanroom.mri.drive.seqfile.header import Header
from scanroom.mri.drive.seqfile.sections import (
    LARGEST_ID,
    SPECIFICATION,
    Rows,
    Section,
    Source,
    rows,
)
from scanroom.mri.drive.seqfile.shapes import Shapes

LARGEST_FREQUENCY: Hertz = 1e8
LONGEST_DELAY_US = 4e9
LONGEST_PULSE: Second = 2.0
MOST_STEPS = 8_000_000
MOST_WINDOW_SAMPLES = 1 << 24
_PPM = 1e-6
_MICRO = 1e-6
_PLATEAU = 0.99999
"""Samples above this fraction of the peak belong to it (pypulseq.calc_rf_center)."""
_EXCITES_UP_TO = 90.01 / 360
"""Turns up to which an unlabelled pulse excites (pypulseq.Sequence.read)."""
_SATURATES_FROM: Second = 6e-3
_FAT_PPM = (-3.55e-6, -3.35e-6)
_MAGNETS = (0.35, 0.55, 1.0, 1.5, 2.89, 3.0, 4.7, 7.0, 9.4, 10.5, 11.7)
_USES = frozenset("ersipou")
_EVEN = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseEvents:
    """The library of pulses; ``end`` and ``delay`` count from the start of the block."""

    key: Int[np.ndarray, " event"]
    shape: Int[np.ndarray, " event"]
    delay: Float[np.ndarray, " event"]
    end: Float[np.ndarray, " event"]
    frequency: Float[np.ndarray, " event"]
    phase: Float[np.ndarray, " event"]
    use: tuple[str, ...]
    shapes: tuple[PulseShape, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowEvents:
    """The library of receiver windows."""

    key: Int[np.ndarray, " event"]
    delay: Float[np.ndarray, " event"]
    end: Float[np.ndarray, " event"]
    dwell: Float[np.ndarray, " event"]
    n_samples: Int[np.ndarray, " event"]
    frequency: Float[np.ndarray, " event"]
    phase: Float[np.ndarray, " event"]
    modulation_index: Int[np.ndarray, " event"]
    modulation: tuple[Float[np.ndarray, " _"], ...]


def read_pulses(
    section: Section | None, header: Header, shapes: Shapes, source: Source
) -> PulseEvents:
    """Read the library of pulses and build each distinct envelope once.

    Raises
    ------
    FormatError
        If a value is out of bounds or a shape is missing or does not fit.
    """
    v14, v15 = header.since(4), header.since(5)
    table = rows(section, "RF", source, 11 if v15 else 8 if v14 else 7, 1 if v15 else 0)
    after = 4 + v14
    delay = table.integer(after + v15, 0, int(LONGEST_DELAY_US), "the delay [us]") * _MICRO
    offsets = after + v15 + 1
    frequency, phase = _offsets(table, offsets, header)
    index, built = _build(table, header, shapes, source)
    length = np.array([shape.edge[-1] for shape in built])
    if v15:
        use = _stated_uses(table)
    else:
        use = tuple(
            _guess(built[i], float(f)) for i, f in zip(index.tolist(), frequency, strict=True)
        )
    return PulseEvents(
        key=table.unique(),
        shape=index,
        delay=delay,
        end=delay + length[index] if len(index) else delay,
        frequency=frequency,
        phase=phase,
        use=use,
        shapes=tuple(built),
    )


def _offsets(
    table: Rows, column: int, header: Header
) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, " row"]]:
    """Frequency [Hz] and phase [rad], with the ppm parts of version 1.5 at the field given."""
    extra_frequency = extra_phase = np.zeros(len(table))
    if header.since(5):
        ppm = table.real(column, -1e6, 1e6, "the frequency offset [ppm]")
        turn = table.real(column + 1, -1e9, 1e9, "the phase offset [rad/MHz]")
        column += 2
        if ppm.any() or turn.any():
            if header.field is None:
                row = int(np.argmax((ppm != 0) | (turn != 0)))
                raise table.source.fault(
                    int(table.number[row]),
                    f"an offset of [{table.section}] is in ppm of the scanner frequency; the "
                    f"field is not known ({SPECIFICATION} 1.5). Give the field the file is to be "
                    "played at.",
                )
            larmor = header.gamma * header.field
            extra_frequency, extra_phase = ppm * _PPM * larmor, turn * _PPM * larmor
    frequency = table.real(column, -LARGEST_FREQUENCY, LARGEST_FREQUENCY, "the frequency [Hz]")
    phase = table.real(column + 1, -1e9, 1e9, "the phase [rad]")
    return frequency + extra_frequency, phase + extra_phase


def _build(
    table: Rows, header: Header, shapes: Shapes, source: Source
) -> tuple[Int[np.ndarray, " row"], list[PulseShape]]:
    """Make an envelope for each distinct set of amplitude, shapes and centre."""
    columns = 5 if header.since(4) else 4
    amplitude = table.real(1, -LARGEST_FREQUENCY, LARGEST_FREQUENCY, "the amplitude [Hz]")
    magnitude = table.integer(2, 0, LARGEST_ID, "the magnitude shape")
    angle = table.integer(3, 0, LARGEST_ID, "the phase shape")
    clock = table.integer(4, 0, LARGEST_ID, "the time shape") if columns == 5 else 0 * angle
    centre = (
        table.real(5, 0.0, LONGEST_PULSE / _MICRO, "the centre [us]") * _MICRO
        if header.since(5)
        else np.full(len(table), np.nan)
    )
    keys: dict[tuple[float, ...], int] = {}
    built: list[PulseShape] = []
    index = np.zeros(len(table), np.int64)
    n_steps = 0
    parts = zip(amplitude, magnitude, angle, clock, centre, strict=True)
    for row, (peak, mag, turn, beat, middle) in enumerate(parts):
        key = (float(peak), int(mag), int(turn), int(beat), float(np.nan_to_num(middle, nan=-1.0)))
        if key not in keys:
            source.tick()
            line = int(table.number[row])
            samples = _signal(float(peak), int(mag), int(turn), shapes, line, source)
            time = _times(int(beat), len(samples), header, shapes, line, source)
            keys[key] = len(built)
            built.append(_envelope(time, samples, header, float(middle)))
            n_steps += len(built[-1].step) + len(samples)
            if n_steps > MOST_STEPS:
                raise source.fault(
                    line,
                    f"pulses hold more than {MOST_STEPS} samples (limit of the reader). "
                    "Use coarser or fewer pulse shapes.",
                )
        index[row] = keys[key]
    return index, built


def shape_of(
    shapes: Shapes, key: int, line: int, what: str, source: Source
) -> Float[np.ndarray, " _"]:
    """Look up a shape.

    Raises
    ------
    FormatError
        If there is none of that number.
    """
    if key not in shapes:
        raise source.fault(
            line,
            f"{what} is shape {key}, which [SHAPES] does not hold ({SPECIFICATION}). The file is "
            "cut or damaged: get it anew.",
        )
    return shapes[key]


def _signal(
    peak: float, magnitude: int, angle: int, shapes: Shapes, line: int, source: Source
) -> Complex[np.ndarray, " sample"]:
    """Return the envelope in Hz; no phase shape (0) means no phase."""
    mag = shape_of(shapes, magnitude, line, "the magnitude of a pulse", source)
    if angle == 0:
        return (peak * mag).astype(np.complex128)
    turn = shape_of(shapes, angle, line, "the phase of a pulse", source)
    if len(turn) != len(mag):
        raise source.fault(
            line,
            f"a pulse has {len(mag)} samples of magnitude and {len(turn)} of phase; they must be "
            f"equally many ({SPECIFICATION}). Correct the shapes.",
        )
    return np.asarray(peak * mag * np.exp(2j * np.pi * turn))


def _times(
    clock: int, count: int, header: Header, shapes: Shapes, line: int, source: Source
) -> Float[np.ndarray, " sample"]:
    """When the samples of a pulse are due."""
    raster = header.rasters.pulse
    if clock == 0:
        time = (np.arange(count) + 0.5) * raster
    else:
        time = raster * shape_of(shapes, clock, line, "the time of a pulse", source)
    check_times(time, count, line, "a pulse", source)
    if time[-1] > LONGEST_PULSE:
        raise source.fault(
            line,
            f"a pulse lasts {time[-1]:.6g} s; at most {LONGEST_PULSE:g} s are allowed "
            "(limit of the reader). Shorten it.",
        )
    return time


def check_times(
    time: Float[np.ndarray, " sample"], count: int, line: int, what: str, source: Source
) -> None:
    """Refuse times that are not as many as the samples, or do not grow from zero on.

    Raises
    ------
    FormatError
        If so.
    """
    if len(time) != count:
        raise source.fault(
            line,
            f"{what} has {count} samples and {len(time)} times; they must be equally many "
            f"({SPECIFICATION}). Correct the shapes.",
        )
    if time[0] < 0 or (np.diff(time) <= 0).any():
        raise source.fault(
            line,
            f"the times of {what} do not grow from sample to sample, from zero on "
            f"({SPECIFICATION}). Correct the time shape.",
        )


def _envelope(
    time: Float[np.ndarray, " sample"],
    signal: Complex[np.ndarray, " sample"],
    header: Header,
    centre: float,
) -> PulseShape:
    """What leaves the amplifier: evenly spaced samples are held, others joined by straight lines.

    Samples at ``(i + 1/2) dwell`` are the middles of held steps. Otherwise the amplifier follows
    straight lines between the samples on the raster of the file, each step at its middle value,
    which keeps the area exact.
    """
    raster = header.rasters.pulse
    dwell = 2 * time[0]
    even = dwell > 0 and np.allclose(
        time, (np.arange(len(time)) + 0.5) * dwell, rtol=0, atol=_EVEN * raster
    )
    if even:
        edge, step = np.arange(len(time) + 1) * dwell, signal
    else:
        fine = max(1, int(np.ceil((time[-1] - time[0]) / raster - _EVEN)))
        edge = np.minimum(time[0] + np.arange(fine + 1) * raster, time[-1])
        middle = (edge[1:] + edge[:-1]) / 2
        step = np.interp(middle, time, signal.real) + 1j * np.interp(middle, time, signal.imag)
        if len(time) == 1:
            edge, step = np.array([max(0.0, time[0] - raster / 2), time[0] + raster / 2]), signal
    keep = np.concatenate([[True], step[1:] != step[:-1]])
    edge = np.concatenate([edge[:-1][keep], edge[-1:]])
    if np.isnan(centre):
        peak = np.abs(signal)
        high = np.flatnonzero(peak >= _PLATEAU * peak.max())
        centre = float(time[high[0]] + time[high[-1]]) / 2
    return PulseShape(time=time, signal=signal, edge=edge, step=step[keep], centre=centre)


def _stated_uses(table: Rows) -> tuple[str, ...]:
    for row, word in enumerate(table.word):
        if word not in _USES:
            raise table.source.fault(
                int(table.number[row]),
                f"the use of a pulse is {word[:20]!r}; it may be one of {' '.join(sorted(_USES))} "
                f"({SPECIFICATION} 1.5). Correct it.",
            )
    return tuple(table.word)


def _guess(shape: PulseShape, frequency: Hertz) -> str:
    """Use of a pulse older files do not state: by flip angle, length and offset, as Pulseq does."""
    length = np.diff(shape.edge)
    if abs(np.sum(shape.step * length)) < _EXCITES_UP_TO:
        return "e"
    if shape.edge[-1] > _SATURATES_FROM and any(
        _FAT_PPM[0] <= frequency / (42.576e6 * magnet) <= _FAT_PPM[1] for magnet in _MAGNETS
    ):
        return "s"
    return "r"


def read_windows(
    section: Section | None, header: Header, shapes: Shapes, source: Source
) -> WindowEvents:
    """Read the library of receiver windows.

    Raises
    ------
    FormatError
        If a value is out of bounds or a phase shape does not fit.
    """
    v15 = header.since(5)
    table = rows(section, "ADC", source, 9 if v15 else 6)
    n_samples = table.integer(1, 1, MOST_WINDOW_SAMPLES, "the number of samples")
    dwell = table.real(2, 1.0, 1e9, "the dwell time [ns]") * 1e-9
    delay = table.integer(3, 0, int(LONGEST_DELAY_US), "the delay [us]") * _MICRO
    frequency, phase = _offsets(table, 4, header)
    index = np.full(len(table), -1, np.int64)
    modulation: list[Float[np.ndarray, " _"]] = []
    if v15:
        keys = table.integer(8, 0, LARGEST_ID, "the phase shape")
        index, modulation = _modulations(keys, n_samples, table, shapes)
    return WindowEvents(
        key=table.unique(),
        delay=delay,
        end=delay + n_samples * dwell,
        dwell=dwell,
        n_samples=n_samples,
        frequency=frequency,
        phase=phase,
        modulation_index=index,
        modulation=tuple(modulation),
    )


def _modulations(
    keys: Int[np.ndarray, " row"],
    n_samples: Int[np.ndarray, " row"],
    table: Rows,
    shapes: Shapes,
) -> tuple[Int[np.ndarray, " row"], list[Float[np.ndarray, " _"]]]:
    """Find the phase shapes windows are demodulated with."""
    index = np.full(len(keys), -1, np.int64)
    used: Bool[np.ndarray, " row"] = keys > 0
    found: dict[int, int] = {}
    modulation: list[Float[np.ndarray, " _"]] = []
    for row in np.flatnonzero(used).tolist():
        line, key = int(table.number[row]), int(keys[row])
        shape = shape_of(shapes, key, line, "the phase of a window", table.source)
        if len(shape) != n_samples[row]:
            raise table.source.fault(
                line,
                f"a window has {n_samples[row]} samples and {len(shape)} phases; they must be "
                f"equally many ({SPECIFICATION} 1.5). Correct the shape.",
            )
        if key not in found:
            found[key] = len(modulation)
            modulation.append(shape)
        index[row] = found[key]
    return index, modulation
