"""Text of a Pulseq file to sections and tables of finite numbers, every fault with its line."""

import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from scanroom.core.errors import FormatError
from scanroom.core.units import Second

LARGEST_ID = 2**31 - 1
LARGEST_ROWS = 4_000_000
LONGEST_LINE = 20_000
_SIGNED = re.compile(rb"^[ \t]*\[SIGNATURE\]", re.MULTILINE)
TIME_BUDGET: Second = 60.0
SPECIFICATION = "Pulseq file specification"
KNOWN = frozenset(
    {
        "VERSION",
        "DEFINITIONS",
        "BLOCKS",
        "RF",
        "GRADIENTS",
        "TRAP",
        "ADC",
        "DELAYS",
        "EXTENSIONS",
        "SHAPES",
        "SIGNATURE",
    }
)


@dataclass(frozen=True, slots=True)
class Source:
    """One file being read: its name for messages and how long reading may take."""

    name: str
    started: float = field(default_factory=time.monotonic)

    def fault(self, line: int | None, what: str) -> FormatError:
        """Make the one-line error."""
        where = self.name if line is None else f"{self.name}, line {line}"
        return FormatError(f"{where}: {what}")

    def tick(self) -> None:
        """Stop when the file takes too long.

        Raises
        ------
        FormatError
            If the time budget is spent.
        """
        spent = time.monotonic() - self.started
        if spent > TIME_BUDGET:
            raise self.fault(
                None,
                f"reading took {spent:.0f} s; at most {TIME_BUDGET:.0f} s are allowed "
                "(time budget of the reader). Split the sequence.",
            )


@dataclass(frozen=True, slots=True)
class Section:
    """Lines of one section without blanks and comments, each with its number in the file."""

    name: str
    line: int
    text: list[str] = field(default_factory=list)
    number: list[int] = field(default_factory=list)


def split(text: str, source: Source) -> dict[str, Section]:
    """Split a file at its headers; an ``extension NAME ID`` line opens a section of that name.

    Raises
    ------
    FormatError
        If a section is unknown or comes twice, or text stands outside any section.
    """
    sections: dict[str, Section] = {}
    current: Section | None = None
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line[0] == "#":
            continue
        if len(line) > LONGEST_LINE:
            raise source.fault(
                number,
                f"the line has {len(line)} characters; at most {LONGEST_LINE} are allowed "
                "(limit of the reader). Write one entry per line.",
            )
        if line[0] == "[" or line.startswith("extension"):
            current = Section(_header(line, number, source), number)
            if current.name in sections:
                raise source.fault(
                    number,
                    f"section {current.name} comes again; it may come once ({SPECIFICATION}). "
                    "Merge the two.",
                )
            sections[current.name] = current
        elif current is None:
            raise source.fault(
                number,
                f"{line[:40]!r} stands before any section; a Pulseq file starts with [VERSION] "
                f"({SPECIFICATION}). Check that this is a .seq text file.",
            )
        else:
            current.text.append(line)
            current.number.append(number)
    return sections


def _header(line: str, number: int, source: Source) -> str:
    """Name of the section a header opens."""
    if line[0] == "[":
        name = line[1:-1].strip()
        if line[-1] != "]" or name not in KNOWN:
            raise source.fault(
                number,
                f"{line[:40]!r} is no known section; known are {', '.join(sorted(KNOWN))} "
                f"({SPECIFICATION} 1.2 to 1.5). Correct or remove it.",
            )
        return name
    words = line.split()
    if words[0] != "extension" or len(words) != 3 or not re.fullmatch(r"[0-9]{1,9}", words[2]):
        raise source.fault(
            number,
            f"{line[:60]!r} is no extension header; expected 'extension NAME ID' "
            f"({SPECIFICATION}). Correct it.",
        )
    return " ".join(words)


@dataclass(frozen=True, slots=True)
class Rows:
    """A numeric table of one section; an optional last column of words."""

    source: Source
    section: str
    number: Int[np.ndarray, " row"]
    value: Float[np.ndarray, "row column"]
    word: Sequence[str]

    def __len__(self) -> int:
        return len(self.number)

    def real(self, column: int, low: float, high: float, what: str) -> Float[np.ndarray, " row"]:
        """One column, every value within bounds.

        Raises
        ------
        FormatError
            At the first row that is not.
        """
        values = self.value[:, column]
        self._check((values >= low) & (values <= high), values, (float(low), float(high)), what)
        return values

    def integer(self, column: int, low: int, high: int, what: str) -> Int[np.ndarray, " row"]:
        """One column of whole numbers within bounds.

        Raises
        ------
        FormatError
            At the first row that is not.
        """
        values = self.value[:, column]
        good = (values >= low) & (values <= high) & (values == np.floor(values))
        self._check(good, values, (float(low), float(high)), f"{what} (a whole number)")
        return values.astype(np.int64)

    def unique(self) -> Int[np.ndarray, " row"]:
        """Column 0 as identifiers, each positive and given once.

        Raises
        ------
        FormatError
            At the first identifier that is not.
        """
        ids = self.integer(0, 1, LARGEST_ID, "an identifier")
        order = np.argsort(ids, kind="stable")
        again = order[1:][np.diff(ids[order]) == 0]
        if len(again):
            row = int(again.min())
            raise self.source.fault(
                int(self.number[row]),
                f"identifier {ids[row]} of [{self.section}] comes again; each may come once "
                f"({SPECIFICATION}). Number the events anew.",
            )
        return ids

    def _check(
        self, good: np.ndarray, values: np.ndarray, bounds: tuple[float, float], what: str
    ) -> None:
        if not good.all():
            row = int(np.argmin(good))
            raise self.source.fault(
                int(self.number[row]),
                f"{what} of [{self.section}] is {values[row]:.6g}; it may be {bounds[0]:.6g} to "
                f"{bounds[1]:.6g} ({SPECIFICATION}, limits of the reader). Correct the file.",
            )


def rows(section: Section | None, name: str, source: Source, columns: int, words: int = 0) -> Rows:
    """Read a table of ``columns`` finite numbers followed by ``words`` (0 or 1) words.

    Raises
    ------
    FormatError
        If a row has another length, or holds anything but finite numbers.
    """
    if section is None or not section.text:
        return Rows(source, name, np.zeros(0, np.int64), np.zeros((0, columns)), [])
    if len(section.text) > LARGEST_ROWS:
        raise source.fault(
            section.line,
            f"[{name}] has {len(section.text)} rows; at most {LARGEST_ROWS} are allowed "
            "(limit of the reader). Split the sequence.",
        )
    split_rows = [line.split() for line in section.text]
    width = columns + words
    for row, line in enumerate(split_rows):
        if len(line) != width:
            raise source.fault(
                section.number[row],
                f"a row of [{name}] has {len(line)} entries; {width} are expected "
                f"({SPECIFICATION} of this version). Correct the row or the version.",
            )
    word = [line.pop() for line in split_rows] if words else []
    flat = [token for line in split_rows for token in line]
    value = numbers(flat, section.number, columns, source).reshape(-1, columns)
    return Rows(source, name, np.array(section.number, np.int64), value, word)


def numbers(
    tokens: list[str], line: Sequence[int], per_line: int, source: Source
) -> Float[np.ndarray, " token"]:
    """Convert words to finite numbers.

    Raises
    ------
    FormatError
        At the first word that is none.
    """
    try:
        value = np.array(tokens, dtype=np.float64)
    except (ValueError, OverflowError):
        value = np.array([np.nan])
    if np.isfinite(value).all() and not any("_" in token for token in tokens):
        return value
    at = next(i for i, token in enumerate(tokens) if not _is_number(token))
    raise source.fault(
        int(line[at // per_line]),
        f"{tokens[at][:40]!r} is no finite number; only finite decimal numbers are allowed "
        f"({SPECIFICATION}). Correct the file.",
    )


def _is_number(token: str) -> bool:
    try:
        return "_" not in token and bool(np.isfinite(float(token)))
    except ValueError:
        return False


def pairs(section: Section | None) -> dict[str, tuple[str, int]]:
    """Read lines of ``key value``; each value with its line number, the last of a key wins."""
    found = {}
    for line, number in zip(section.text, section.number, strict=True) if section else ():
        key, _, value = line.partition(" ")
        found[key] = (value.strip(), number)
    return found


def check_signature(raw: bytes, section: Section | None, source: Source) -> None:
    """Compare a file with the MD5 sum it carries; files without one pass.

    Writers sum up to the line break before ``[SIGNATURE]`` (Pulseq) or including it (JEMRIS), with
    the line ends of their system.

    Raises
    ------
    FormatError
        If no sum agrees: the file was cut or altered after it was written.
    """
    if section is None:
        return
    entries = pairs(section)
    kind, digest = entries.get("Type", ("", 0))[0], entries.get("Hash", ("", 0))[0].lower()
    if not digest:
        return
    if kind.lower() != "md5":
        raise source.fault(
            section.line,
            f"the signature is of type {kind[:20]!r}; it may be md5 ({SPECIFICATION}). "
            "Sign the file anew or remove the section.",
        )
    unix = raw.replace(b"\r\n", b"\n")
    for body in (raw, unix, unix.replace(b"\n", b"\r\n")):
        end = max((match.start() for match in _SIGNED.finditer(body)), default=0)
        for cut in (1, 2, 0):
            if hashlib.md5(body[: end - cut], usedforsecurity=False).hexdigest() == digest:
                return
    raise source.fault(
        section.line,
        f"the MD5 sum is not {digest[:32]!r} as signed; the file was cut or altered after it was "
        "written ([SIGNATURE]). Get the file anew, or remove the section if you altered it "
        "yourself.",
    )
