"""[VERSION] and [DEFINITIONS]: what else in the file depends on."""

import re
from dataclasses import dataclass

from scanroom.core.units import HertzPerTesla, Second, Tesla
from scanroom.mri.drive.model import Rasters
from scanroom.mri.drive.seqfile.sections import SPECIFICATION, Section, Source, pairs
from scanroom.mri.system import PULSEQ_GAMMA

OLDEST, NEWEST = (1, 2), (1, 5)
MOST_DEFINITIONS = 10_000
_RASTERS: dict[str, Second] = {
    "GradientRasterTime": 10e-6,
    "RadiofrequencyRasterTime": 1e-6,
    "AdcRasterTime": 100e-9,
    "BlockDurationRaster": 10e-6,
}
_FINEST, _COARSEST = 1e-9, 1e-2


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Version, clocks and definitions of a file, and the field its ppm offsets refer to."""

    version: tuple[int, int, int]
    rasters: Rasters
    definitions: tuple[tuple[str, str], ...]
    required: frozenset[str]
    field: Tesla | None = None
    gamma: HertzPerTesla = PULSEQ_GAMMA

    def since(self, minor: int) -> bool:
        """Whether the file is of version 1.``minor`` or later."""
        return self.version[:2] >= (1, minor)


def read_header(sections: dict[str, Section], source: Source, field: Tesla | None) -> Header:
    """Read version and definitions.

    Raises
    ------
    FormatError
        If the version is missing or unknown, or a raster is out of bounds.
    """
    definitions = pairs(sections.get("DEFINITIONS"))
    if len(definitions) > MOST_DEFINITIONS:
        raise source.fault(
            sections["DEFINITIONS"].line,
            f"{len(definitions)} definitions; at most {MOST_DEFINITIONS} are allowed "
            "(limit of the reader). Remove some.",
        )
    clocks = [_raster(definitions, key, source) for key in _RASTERS]
    required = definitions.get("RequiredExtensions", ("", 0))[0].split()
    return Header(
        version=_version(sections.get("VERSION"), source),
        rasters=Rasters(gradient=clocks[0], pulse=clocks[1], window=clocks[2], block=clocks[3]),
        definitions=tuple((key, value) for key, (value, _) in definitions.items()),
        required=frozenset(required),
        field=field,
    )


def _version(section: Section | None, source: Source) -> tuple[int, int, int]:
    if section is None:
        raise source.fault(
            None,
            f"there is no [VERSION] section; every Pulseq file has one ({SPECIFICATION}). "
            "Check that this is a complete .seq text file.",
        )
    parts = []
    entries = pairs(section)
    for key in ("major", "minor", "revision"):
        text, line = entries.get(key, ("0" if key == "revision" else "", section.line))
        match = re.match(r"[0-9]{1,6}", text)
        if not match:
            raise source.fault(
                line,
                f"{key} of [VERSION] is {text[:20]!r}; it must be a whole number "
                f"({SPECIFICATION}). Correct the file.",
            )
        parts.append(int(match[0]))
    if not OLDEST <= (parts[0], parts[1]) <= NEWEST:
        raise source.fault(
            section.line,
            f"the version is {parts[0]}.{parts[1]}.{parts[2]}; 1.2 to 1.5 can be read "
            "(scanroom.mri.drive.seqfile). Write the file with a Pulseq of these versions.",
        )
    return parts[0], parts[1], parts[2]


def _raster(definitions: dict[str, tuple[str, int]], key: str, source: Source) -> Second:
    text, line = definitions.get(key, ("", 0))
    if not text:
        return _RASTERS[key]
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not _FINEST <= value <= _COARSEST:
        raise source.fault(
            line,
            f"{key} is {text[:40]!r}; it may be {_FINEST:g} to {_COARSEST:g} s "
            "(limit of the reader). Correct the definition.",
        )
    return value
