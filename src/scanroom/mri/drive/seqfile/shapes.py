"""[SHAPES]: run-length encoded derivatives, with the number of samples agreed before unpacking."""

import re

import numpy as np
from jaxtyping import Float

from scanroom.mri.drive.seqfile.sections import (
    LARGEST_ID,
    SPECIFICATION,
    Section,
    Source,
    numbers,
)

LARGEST_SAMPLES = 8_000_000
LARGEST_VALUE = 1e10
_HEADER = re.compile(r"(shape_id|num_samples|num_uncompressed)\s+([0-9]{1,10})", re.IGNORECASE)

Shapes = dict[int, Float[np.ndarray, " _"]]


def read_shapes(section: Section | None, source: Source, *, stored: bool) -> Shapes:
    """Unpack every shape.

    ``stored`` tells files from 1.4 on, where a shape as long as its declared number of samples is
    not packed; before, every shape is.

    Raises
    ------
    FormatError
        If a shape is malformed, comes twice or unpacks to another length than declared.
    """
    shapes: Shapes = {}
    total = 0
    heads = _heads(section, source) if section else []
    for head, following in zip(heads, [*heads[1:], None], strict=False):
        source.tick()
        key, count, first, line = head
        last = following[2] - 2 if following else len(section.text) if section else 0
        total += count
        if total > LARGEST_SAMPLES:
            raise source.fault(
                line,
                f"shapes unpack to {total} samples; at most {LARGEST_SAMPLES} are allowed "
                "(limit of the reader). Use coarser or fewer shapes.",
            )
        if key in shapes:
            raise source.fault(
                line,
                f"shape {key} comes again; each may come once ({SPECIFICATION}). Number it anew.",
            )
        values = section.text[first:last] if section else []
        lines = section.number[first:last] if section else []
        packed = numbers(values, lines, 1, source)
        if np.abs(packed).max(initial=0.0) > LARGEST_VALUE:
            raise source.fault(
                line,
                f"shape {key} holds {np.abs(packed).max():.6g}; values up to {LARGEST_VALUE:g} are "
                "allowed (limit of the reader). Normalise the shape.",
            )
        shapes[key] = (
            packed if stored and len(packed) == count else _unpack(packed, count, line, source)
        )
    return shapes


def _heads(section: Section, source: Source) -> list[tuple[int, int, int, int]]:
    """Find each shape: identifier, number of samples, index of its first value, line."""
    found: list[tuple[int, int, int, int]] = []
    at = [i for i, line in enumerate(section.text) if line[0] in "sSnN" and line != "nan"]
    if section.text and (not at or at[0] != 0):
        at.insert(0, 0)
    position = 0
    while position < len(at):
        i = at[position]
        first = _HEADER.fullmatch(section.text[i])
        second = _HEADER.fullmatch(section.text[i + 1]) if i + 1 < len(section.text) else None
        if not (first and second and first[1].lower() == "shape_id" != second[1].lower()):
            raise source.fault(
                section.number[i],
                f"{section.text[i][:40]!r} does not begin a shape; expected 'shape_id ID' and on "
                f"the next line 'num_samples N' ({SPECIFICATION}). Correct the file.",
            )
        key, count = int(first[2]), int(second[2])
        if not (1 <= key <= LARGEST_ID and 1 <= count <= LARGEST_SAMPLES):
            raise source.fault(
                section.number[i],
                f"shape {key} declares {count} samples; identifiers are 1 to {LARGEST_ID} and "
                f"samples 1 to {LARGEST_SAMPLES} (limits of the reader). Correct the shape.",
            )
        found.append((key, count, i + 2, section.number[i]))
        position += 2
    return found


def _unpack(
    packed: Float[np.ndarray, " value"], count: int, line: int, source: Source
) -> Float[np.ndarray, " sample"]:
    """Undo the run-length code, ``v v n`` standing for ``n + 2`` times ``v``, then sum."""
    repeats = np.ones(len(packed), dtype=np.int64)
    free = 0
    for at in np.flatnonzero(packed[1:] == packed[:-1]).tolist():
        if at < free:
            continue
        if at + 2 >= len(packed):
            raise _wrong(line, count, "a run without its length", source)
        more = packed[at + 2]
        if not (0 <= more <= count and more == np.floor(more)):
            raise _wrong(line, count, f"a run of {more:.6g} more samples", source)
        repeats[at : at + 3] = (int(more) + 2, 0, 0)
        free = at + 3
    length = int(repeats.sum())
    if length != count:
        raise _wrong(line, count, f"{length} samples", source)
    return np.cumsum(np.repeat(packed, repeats))


def _wrong(line: int, count: int, what: str, source: Source) -> Exception:
    return source.fault(
        line,
        f"the shape unpacks to {what}; it declares {count} samples ({SPECIFICATION}). The file is "
        "cut or damaged: get it anew.",
    )
