"""Pulseq files of versions 1.2 to 1.5 to drives, bounded in time and memory.

A file that carries an MD5 sum must agree with it; whoever altered a file on purpose removes the
[SIGNATURE] section or reads it with ``verify=False``.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from scanroom.core.errors import FormatError
from scanroom.core.units import Second, Tesla
from scanroom.mri.drive.model import Drive
from scanroom.mri.drive.seqfile import timeline
from scanroom.mri.drive.seqfile.extensions import follow_labels, follow_shims, read_extensions
from scanroom.mri.drive.seqfile.gradients import complete, read_gradients
from scanroom.mri.drive.seqfile.header import Header, read_header
from scanroom.mri.drive.seqfile.pulses import read_pulses, read_windows
from scanroom.mri.drive.seqfile.sections import (
    Section,
    Source,
    check_signature,
    pairs,
    rows,
    split,
)
from scanroom.mri.drive.seqfile.shapes import read_shapes

__all__ = ["LARGEST_FILE", "parse_seq", "read_seq"]

LARGEST_FILE = 64 * 2**20
"""Bytes of text; 60 000 blocks of a 3-D gradient echo take 3 MB."""
MOST_SAMPLES = 1 << 31
_SAME_TOTAL, _SHORTEST = 1e-4, 1e-4


def read_seq(path: Path, *, field: Tesla | None = None, verify: bool = True) -> Drive:
    """Read a Pulseq file.

    ``field`` is where offsets in ppm (1.5) are played. ``verify`` compares the file with the MD5
    sum it carries.

    Raises
    ------
    FormatError
        If the file is not there, too large, cut, altered, malformed or unreasonable; the text
        gives the line, what is wrong and what to do.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise Source(path.name).fault(
                None,
                f"the file has {size} bytes; at most {LARGEST_FILE} are allowed "
                "(limit of the reader). Split the sequence.",
            )
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise FormatError(
            f"{path}: the file cannot be read: {error.strerror or error}. Check name and rights."
        ) from error
    return _parse(raw, path.stem, path.name, field, verify=verify)


def parse_seq(
    text: str | bytes, name: str, *, field: Tesla | None = None, verify: bool = True
) -> Drive:
    """Read the text of a Pulseq file, as `read_seq` does.

    Raises
    ------
    FormatError
        As `read_seq`.
    """
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    return _parse(raw, name, name, field, verify=verify)


def _parse(raw: bytes, name: str, title: str, field: Tesla | None, *, verify: bool) -> Drive:
    source = Source(title)
    if len(raw) > LARGEST_FILE or b"\0" in raw:
        raise source.fault(
            None,
            f"{len(raw)} bytes are no Pulseq text; it has at most {LARGEST_FILE} bytes and no "
            "zero among them (limit of the reader). Check that this is a .seq text file.",
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    sections = split(text.replace("\r\n", "\n").replace("\r", "\n"), source)
    if verify:
        check_signature(raw, sections.get("SIGNATURE"), source)
    header = read_header(sections, source, field)
    return _drive(sections, header, source, name)


def _drive(sections: dict[str, Section], header: Header, source: Source, name: str) -> Drive:
    blocks = timeline.read_blocks(sections, header, source)
    shapes = read_shapes(sections.get("SHAPES"), source, stored=header.since(4))
    pulses = read_pulses(sections.get("RF"), header, shapes, source)
    windows = read_windows(sections.get("ADC"), header, shapes, source)
    parsed = read_gradients(sections, header, shapes, source)
    delays = rows(None if header.since(4) else sections.get("DELAYS"), "DELAYS", source, 2)

    def place(key: Int[np.ndarray, " event"], column: int, what: str) -> np.ndarray:
        return timeline.find(key, blocks.named[:, column], what, blocks, source)

    pulse, window = place(pulses.key, 0, "pulse"), place(windows.key, 4, "window")
    axes = [place(parsed.key, 1 + axis, "gradient") for axis in range(3)]
    ends = [
        _at(pulses.end, pulse),
        _at(windows.end, window),
        *(_at(parsed.end, axis) for axis in axes),
    ]
    duration = timeline.durations(blocks, ends, delays, header, source)
    edge = timeline.edges(blocks, duration, header, source)
    _check_total(float(edge[-1]), sections, source)
    start = edge[:-1]
    extension = blocks.named[:, 5]
    found = read_extensions(sections, header, extension, source)
    events, index = timeline.rotate(
        complete(parsed, blocks.gradients, duration), np.stack(axes, 1), extension, found, source
    )
    _check_samples(windows.n_samples, window, source)
    x, y, z = (timeline.lay_gradient(events, index[:, axis], start, source) for axis in range(3))
    return Drive(
        name=name,
        gradients=(x, y, z),
        shapes=pulses.shapes,
        pulses=timeline.lay_pulses(pulses, pulse, start),
        windows=timeline.lay_windows(windows, window, start, follow_labels(extension, found)),
        block_edge=edge,
        rasters=header.rasters,
        definitions=header.definitions,
        version=header.version,
        shims=follow_shims(extension, pulse, found, blocks.line, source),
    )


def _at(
    value: Float[np.ndarray, " event"], index: Int[np.ndarray, " block"]
) -> Float[np.ndarray, " block"]:
    """Pick one value per block, 0 where there is no event."""
    return np.asarray(np.append(value, 0.0)[index])


def _check_samples(
    n_samples: Int[np.ndarray, " event"], window: Int[np.ndarray, " block"], source: Source
) -> None:
    total = int(np.append(n_samples, 0)[window].sum())
    if total > MOST_SAMPLES:
        raise source.fault(
            None,
            f"the windows take {total} samples; at most {MOST_SAMPLES} are allowed "
            "(limit of the reader). Split the sequence.",
        )


def _check_total(duration: Second, sections: dict[str, Section], source: Source) -> None:
    """Hold the blocks against the duration writers note in the definitions."""
    text, line = pairs(sections.get("DEFINITIONS")).get("TotalDuration", ("", 0))
    try:
        stated = float(text)
    except ValueError:
        return
    if not abs(stated - duration) <= _SAME_TOTAL * duration + _SHORTEST:
        raise source.fault(
            line,
            f"TotalDuration is {stated:.6g} s; the blocks last {duration:.6g} s (definition of "
            "Pulseq's writers). The file was cut or altered: get it anew.",
        )
