"""[EXTENSIONS]: labels, rotations, weights of channels, and what may be passed over."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Int

from scanroom.mri.drive.model import Shims
from scanroom.mri.drive.seqfile.header import Header
from scanroom.mri.drive.seqfile.sections import (
    LARGEST_ID,
    SPECIFICATION,
    Rows,
    Section,
    Source,
    rows,
)

LABELS = frozenset(
    {
        "SLC",
        "SEG",
        "REP",
        "AVG",
        "SET",
        "ECO",
        "PHS",
        "LIN",
        "PAR",
        "ACQ",
        "NAV",
        "REV",
        "SMS",
        "REF",
        "IMA",
        "NOISE",
        "PMC",
        "NOROT",
        "NOPOS",
        "NOSCL",
        "ONCE",
        "TRID",
        "OFF",
    }
)
"""Labels of Pulseq 1.5 (pypulseq.supported_labels_rf_use)."""
LARGEST_LABEL = 2**31 - 1
LONGEST_LIST = 64
MOST_CHANNELS = 64
LARGEST_WEIGHT = 100.0
_PLAYED = frozenset({"LABELSET", "LABELINC", "ROTATIONS", "RF_SHIMS"})
_NOT_FELT = frozenset({"TRIGGERS", "DELAYS"})
"""Triggers only mark or await; soft delays are played with the duration written in the block."""
_UNIT = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """What one extension list does to a block."""

    sets: tuple[tuple[str, int], ...] = ()
    increments: tuple[tuple[str, int], ...] = ()
    rotation: Float[np.ndarray, "3 3"] | None = None
    shim: Complex[np.ndarray, " channel"] | None = None


Entry = tuple[str, int] | Float[np.ndarray, "3 3"] | Complex[np.ndarray, " channel"]
Labels = tuple[tuple[str, ...], Int[np.ndarray, "block label"]]


def read_extensions(
    sections: dict[str, Section],
    header: Header,
    wanted: Int[np.ndarray, " block"],
    source: Source,
) -> dict[int, Extension]:
    """Resolve every extension list a block names.

    Raises
    ------
    FormatError
        If the file requires an extension we cannot play, or a list is broken or endless.
    """
    tables = _tables(sections, header, source)
    table = rows(sections.get("EXTENSIONS"), "EXTENSIONS", source, 4)
    kinds = table.integer(1, 0, LARGEST_ID, "the type").tolist()
    refs = table.integer(2, 0, LARGEST_ID, "the reference").tolist()
    following = table.integer(3, 0, LARGEST_ID, "the next identifier").tolist()
    chain = {
        key: (kind, ref, after, int(line))
        for key, kind, ref, after, line in zip(
            table.unique().tolist(), kinds, refs, following, table.number, strict=True
        )
    }
    found: dict[int, Extension] = {}
    for key in np.unique(wanted[wanted > 0]).tolist():
        source.tick()
        found[key] = _resolve(key, chain, tables, source)
    return found


@dataclass(frozen=True, slots=True)
class _Table:
    """One extension specification; ``None`` where it is passed over."""

    name: str
    entries: dict[int, Entry] | None


def _tables(sections: dict[str, Section], header: Header, source: Source) -> dict[int, _Table]:
    """Read every extension specification, by its number."""
    tables: dict[int, _Table] = {}
    for title, section in sections.items():
        if not title.startswith("extension "):
            continue
        _, name, number = title.split()
        if name in header.required and name not in _PLAYED | _NOT_FELT:
            raise source.fault(
                section.line,
                f"extension {name} is required by the file and cannot be played; we play "
                f"{', '.join(sorted(_PLAYED | _NOT_FELT))} ({SPECIFICATION}, RequiredExtensions). "
                "Write the sequence without it.",
            )
        if int(number) in tables:
            raise source.fault(
                section.line,
                f"two extensions have the number {number}; each needs its own ({SPECIFICATION}). "
                "Number them anew.",
            )
        tables[int(number)] = _Table(name, _entries(name, section, source))
    missing = header.required - {table.name for table in tables.values()} - _PLAYED - _NOT_FELT
    if missing:
        raise source.fault(
            None,
            f"extension {min(missing)[:40]} is required by the file and cannot be played; we play "
            f"{', '.join(sorted(_PLAYED | _NOT_FELT))} ({SPECIFICATION}, RequiredExtensions). "
            "Write the sequence without it.",
        )
    return tables


def _entries(name: str, section: Section, source: Source) -> dict[int, Entry] | None:
    if name in {"LABELSET", "LABELINC"}:
        table = rows(section, name, source, 2, 1)
        return dict(zip(table.unique().tolist(), _labels(table), strict=True))
    if name == "ROTATIONS":
        table = rows(section, name, source, 5)
        return dict(zip(table.unique().tolist(), _rotations(table), strict=True))
    if name == "RF_SHIMS":
        return _shims(section, source)
    return None


def _shims(section: Section, source: Source) -> dict[int, Entry]:
    """Weights by identifier: a count of channels, then magnitude and phase [rad] of each."""
    width = len(section.text[0].split()) if section.text else 4
    n_channels = max(width // 2 - 1, 1)
    if n_channels > MOST_CHANNELS:
        raise source.fault(
            section.number[0],
            f"an RF shim has {n_channels} channels; at most {MOST_CHANNELS} are allowed (limit of "
            "the reader). Name fewer channels.",
        )
    table = rows(section, "RF_SHIMS", source, 2 + 2 * n_channels)
    table.integer(1, n_channels, n_channels, "the number of channels")
    parts = [
        table.real(2 + 2 * c, 0.0, LARGEST_WEIGHT, "a magnitude")
        * np.exp(1j * table.real(3 + 2 * c, -1e9, 1e9, "a phase [rad]"))
        for c in range(n_channels)
    ]
    return dict(zip(table.unique().tolist(), np.stack(parts, axis=1), strict=True))


def _labels(table: Rows) -> list[tuple[str, int]]:
    value = table.integer(1, -LARGEST_LABEL, LARGEST_LABEL, "a label's value").tolist()
    for row, word in enumerate(table.word):
        if word not in LABELS:
            raise table.source.fault(
                int(table.number[row]),
                f"label {word[:20]!r} is unknown; known are {' '.join(sorted(LABELS))} "
                f"({SPECIFICATION} 1.5). Correct it.",
            )
    return list(zip(table.word, value, strict=True))


def _rotations(table: Rows) -> list[Float[np.ndarray, "3 3"]]:
    """Rotation matrices of unit quaternions, scalar part first."""
    quaternion = np.stack(
        [table.real(i, -1 - _UNIT, 1 + _UNIT, "a quaternion's part") for i in range(1, 5)], axis=1
    )
    size = np.linalg.norm(quaternion, axis=1)
    for row in np.flatnonzero(np.abs(size - 1) > _UNIT)[:1]:
        raise table.source.fault(
            int(table.number[row]),
            f"a quaternion has the length {size[row]:.6g}; it must be 1 within {_UNIT:g} "
            f"({SPECIFICATION} 1.5). Normalise it.",
        )
    matrices = []
    for w, x, y, z in (quaternion / size[:, None]).tolist():
        matrices.append(
            np.array(
                [
                    [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                    [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                    [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
                ]
            )
        )
    return matrices


def _resolve(
    key: int,
    chain: dict[int, tuple[int, int, int, int]],
    tables: dict[int, _Table],
    source: Source,
) -> Extension:
    """Follow one list to its end; later entries were added first and act first."""
    sets: list[tuple[str, int]] = []
    increments: list[tuple[str, int]] = []
    rotation: Float[np.ndarray, "3 3"] | None = None
    shim: Complex[np.ndarray, " channel"] | None = None
    at, line, count = key, None, 0
    while at:
        if at not in chain or count == LONGEST_LIST:
            raise source.fault(
                line,
                f"an extension list names entry {at}, which "
                f"{'[EXTENSIONS] does not hold' if at not in chain else 'makes it endless'}; "
                f"lists of up to {LONGEST_LIST} entries end with 0 ({SPECIFICATION}). "
                "Correct the list.",
            )
        kind, ref, at, line = chain[at]
        count += 1
        table = tables.get(kind)
        if table is None or (table.entries is not None and ref not in table.entries):
            raise source.fault(
                line,
                f"an extension list names entry {ref} of extension {kind}, which the file does "
                f"not specify ({SPECIFICATION}). The file is cut or damaged: get it anew.",
            )
        if table.entries is None:
            continue
        entry = table.entries[ref]
        if isinstance(entry, tuple):
            (sets if table.name == "LABELSET" else increments).append(entry)
        elif table.name == "ROTATIONS":
            rotation = entry
        elif shim is not None:
            raise source.fault(
                line,
                f"an extension list names two RF shims; a pulse is played with one "
                f"({SPECIFICATION} 1.5). Leave one of them out.",
            )
        else:
            shim = entry
    return Extension(
        sets=tuple(sets[::-1]), increments=tuple(increments[::-1]), rotation=rotation, shim=shim
    )


def follow_shims(
    extension: Int[np.ndarray, " block"],
    pulse: Int[np.ndarray, " block"],
    found: dict[int, Extension],
    lines: Int[np.ndarray, " block"],
    source: Source,
) -> Shims | None:
    """Sets of weights, each once, and the set of every pulse; None if no block names any.

    Raises
    ------
    FormatError
        If a block without a pulse is given a shim.
    """
    shims = {key: e.shim for key, e in found.items() if e.shim is not None}
    if not shims:
        return None
    bare = np.isin(extension, list(shims)) & (pulse < 0)
    if bare.any():
        raise source.fault(
            int(lines[int(np.argmax(bare))]),
            f"a block has an RF shim and no pulse; a shim weighs the pulse of its block "
            f"({SPECIFICATION} 1.5). Leave it out.",
        )
    sets: dict[bytes, int] = {}
    of_key = {key: sets.setdefault(weight.tobytes(), len(sets)) for key, weight in shims.items()}
    return Shims(
        weight=np.stack([np.frombuffer(row, np.complex128) for row in sets]),
        of_pulse=np.array([of_key.get(key, -1) for key in extension[pulse >= 0].tolist()], int),
    )


def follow_labels(extension: Int[np.ndarray, " block"], found: dict[int, Extension]) -> Labels:
    """Value of every label used at every block: sets act before increments, both at once."""
    names = sorted({name for e in found.values() for name, _ in (*e.sets, *e.increments)})
    keys = np.array(sorted(found), dtype=np.int64)
    which = np.searchsorted(keys, extension)
    out = np.zeros((len(extension), len(names)), dtype=np.int64)
    for column, name in enumerate(names):
        value = np.zeros((3, len(keys) + 1), dtype=np.int64)
        for i, key in enumerate(keys.tolist()):
            for label, number in found[key].sets:
                if label == name:
                    value[0, i], value[1, i] = 1, number
            value[2, i] = sum(n for label, n in found[key].increments if label == name)
        given = np.where(extension > 0, which, len(keys))
        is_set, number, more = value[:, given]
        total = np.cumsum(more)
        place = np.maximum.accumulate(np.where(is_set, np.arange(len(extension)), -1))
        base = np.where(place >= 0, number[place] - total[place] + more[place], 0)
        out[:, column] = total + base
    return tuple(names), out
