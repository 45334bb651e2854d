"""A pypulseq sequence as Pulseq 1.5 text, with twelve digits.

pypulseq's own writer keeps six, an error of a thousandth of a k-space step at the edge of 256
lines; the format itself does not limit them.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import pypulseq
from pypulseq.supported_labels_rf_use import get_supported_labels

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Second

VERSION = (1, 5, 0)
_MICRO = 1e6


def sequence_text(sequence: pypulseq.Sequence) -> str:
    """Write a sequence of pulses, trapezoids, windows and labels, signed."""
    body = "\n".join(
        line
        for section in (
            _head(sequence),
            _blocks(sequence),
            _pulses(sequence),
            _trapezoids(sequence),
            _windows(sequence),
            _labels(sequence),
            _shapes(sequence),
        )
        for line in section
    )
    digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    return f"{body}\n[SIGNATURE]\nType md5\nHash {digest}\n"


def number(value: float | int) -> str:
    """Twelve digits."""
    return f"{value:.12g}"


def _head(sequence: pypulseq.Sequence) -> Iterator[str]:
    major, minor, revision = VERSION
    yield "# Pulseq sequence file"
    yield "# Created by Scanroom with pypulseq"
    yield ""
    yield "[VERSION]"
    yield f"major {major}"
    yield f"minor {minor}"
    yield f"revision {revision}"
    yield ""
    yield "[DEFINITIONS]"
    for key in sorted(sequence.definitions):
        yield f"{key} {_definition(sequence.definitions[key])}"
    yield ""


def _definition(value: Any) -> str:
    """One definition on one line."""
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, Iterable):
        return " ".join(number(float(item)) for item in value)
    return number(float(value))


def _blocks(sequence: pypulseq.Sequence) -> Iterator[str]:
    raster = sequence.block_duration_raster
    yield "# id duration rf gx gy gz adc ext"
    yield "[BLOCKS]"
    durations = sequence.block_durations
    for index, events in sequence.block_events.items():
        yield f"{index} {_ticks(durations[index], raster)} " + " ".join(map(str, events[1:]))
    yield ""


def _ticks(duration: Second, raster: Second) -> int:
    """Duration in ticks of a raster; never rounded silently."""
    ticks = round(duration / raster)
    if abs(ticks * raster - duration) > 1e-6 * raster:
        raise ProtocolError(
            f"a block lasts {duration * _MICRO:.6g} us; it must be a multiple of "
            f"{raster * _MICRO:.6g} us (block raster). Report this protocol as a fault."
        )
    return ticks


def _pulses(sequence: pypulseq.Sequence) -> Iterator[str]:
    yield "# id amplitude mag_id phase_id time_id centre delay freq_ppm phase_ppm freq phase use"
    yield "[RF]"
    library = sequence.rf_library
    for key, data in library.data.items():
        shapes = " ".join(f"{shape:.0f}" for shape in data[1:4])
        centre, delay = number(data[4] * _MICRO), f"{data[5] * _MICRO:.0f}"
        rest = " ".join(number(value) for value in data[6:10])
        yield f"{key} {number(data[0])} {shapes} {centre} {delay} {rest} {library.type[key]}"
    yield ""


def _trapezoids(sequence: pypulseq.Sequence) -> Iterator[str]:
    yield "# id amplitude rise flat fall delay"
    yield "[TRAP]"
    for key, data in sequence.grad_library.data.items():
        times = " ".join(f"{time * _MICRO:.0f}" for time in data[1:5])
        yield f"{key} {number(data[0])} {times}"
    yield ""


def _windows(sequence: pypulseq.Sequence) -> Iterator[str]:
    yield "# id num dwell delay freq_ppm phase_ppm freq phase phase_shape_id"
    yield "[ADC]"
    for key, data in sequence.adc_library.data.items():
        dwell, delay = number(data[1] * 1e9), f"{data[2] * _MICRO:.0f}"
        rest = " ".join(number(value) for value in data[3:7])
        yield f"{key} {data[0]:.0f} {dwell} {delay} {rest} {data[7]:.0f}"
    yield ""


def _labels(sequence: pypulseq.Sequence) -> Iterator[str]:
    if not sequence.extensions_library.data:
        return
    yield "[EXTENSIONS]"
    for key, data in sequence.extensions_library.data.items():
        yield f"{key} " + " ".join(f"{value:.0f}" for value in data)
    yield ""
    names = get_supported_labels()
    yield f"extension LABELSET {sequence.get_extension_type_ID('LABELSET')}"
    for key, (value, name) in sequence.label_set_library.data.items():
        yield f"{key} {value:.0f} {names[int(name) - 1]}"
    yield ""


def _shapes(sequence: pypulseq.Sequence) -> Iterator[str]:
    yield "[SHAPES]"
    for key, data in sequence.shape_library.data.items():
        yield ""
        yield f"shape_id {key}"
        yield f"num_samples {data[0]:.0f}"
        for value in data[1:]:
            yield number(value)
    yield ""
