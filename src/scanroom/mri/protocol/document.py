"""Protocols as TOML text: milliseconds, millimetres and degrees outside, SI inside."""

import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation, localcontext
from importlib import resources
from pathlib import Path
from typing import Any

from scanroom.core.errors import ProtocolError
from scanroom.mri.protocol.bounds import MISSING, shown_unit, wrong_values
from scanroom.mri.protocol.families import FAMILIES, Imaging, Protocol, family_of
from scanroom.mri.protocol.geometry import Geometry

MAX_BYTES = 65_536
PRESETS = resources.files("scanroom.mri.protocol") / "presets"
_DIGITS = 40


def preset_names() -> tuple[str, ...]:
    """Names of the protocols that come with Scanroom."""
    return tuple(
        sorted(item.name[:-5] for item in PRESETS.iterdir() if item.name.endswith(".toml"))
    )


def load_protocol(name_or_path: str | Path) -> Protocol:
    """Read a preset by name, or a TOML file by path.

    Raises
    ------
    ProtocolError
        If there is no such preset or file, or any value is wrong; one line each.
    """
    text_name = str(name_or_path)
    if text_name in preset_names():
        return parse_protocol((PRESETS / f"{text_name}.toml").read_text("utf-8"), text_name)
    path = Path(name_or_path)
    if path.suffix != ".toml":
        near = difflib.get_close_matches(text_name, preset_names(), 1)
        raise ProtocolError(
            f"protocol is {text_name!r}; it may be {', '.join(preset_names())}, or a .toml file "
            f"(scanroom.mri.protocol). {f'Did you mean {near[0]}?' if near else 'Choose one.'}"
        )
    return parse_protocol(_read(path), path.stem)


def _read(path: Path) -> str:
    """Read a small text file."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ProtocolError(
            f"protocol file {path} cannot be read: {error.strerror}. Check the path."
        ) from None
    if len(data) > MAX_BYTES:
        raise ProtocolError(
            f"protocol file {path} has more than {MAX_BYTES} bytes; a protocol is a page of text. "
            "Give another file."
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ProtocolError(f"protocol file {path} is not UTF-8 text. Save it as UTF-8.") from None


def parse_protocol(text: str, name: str) -> Protocol:
    """Make a protocol of TOML text.

    Raises
    ------
    ProtocolError
        If the text is not TOML, a key is unknown or missing, or a value is wrong; one line for all.
    """
    try:
        table = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, InvalidOperation, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ProtocolError(f"protocol {name} is not TOML: {reason}. Correct the line.") from None
    family = table.pop("family", None)
    if not isinstance(family, str) or family not in FAMILIES:
        raise ProtocolError(
            f"protocol {name}: family is {str(family)[:40]!r}; it may be {', '.join(FAMILIES)} "
            '(scanroom.mri.protocol). Add the line family = "...".'
        )
    kind = FAMILIES[family]
    geometry_table = table.pop("geometry", None)
    if not isinstance(geometry_table, dict):
        raise ProtocolError(f"protocol {name} has no [geometry] table. Add one.")
    table.setdefault("name", name)
    values, lines = _values(kind, table)
    geometry_values, geometry_lines = _values(Geometry, geometry_table)
    if lines := lines + geometry_lines:
        raise ProtocolError(f"protocol {name}: {' '.join(lines)}")
    try:
        return kind(geometry=Geometry(**geometry_values), **values)  # type: ignore[return-value]
    except ProtocolError as error:
        lines = str(error).splitlines()
        raise ProtocolError(f"protocol {name}: {' '.join(lines)}") from None


_KINDS: Mapping[Any, str] = {str: "a text in quotes", bool: "true or false"}


def _fields(record: type) -> dict[str, "dataclasses.Field[Any]"]:
    """Fields by their key in a file."""
    return {
        field.name + shown_unit(record, field.name)[1]: field
        for field in dataclasses.fields(record)
        if field.name != "geometry"
    }


def _values(record: type, table: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """SI values of one table, and a line for each thing that is wrong with it."""
    fields = _fields(record)
    lines = [_unknown(key, fields) for key in table if key not in fields]
    lines += [
        f"{key} is missing. {field.metadata['bound'].remedy}"
        for key, field in fields.items()
        if key not in table and field.default is MISSING
    ]
    lines += [
        f"{key} is {str(table[key])[:40]!r}; it must be {_KINDS[field.type]} (TOML). Correct it."
        for key, field in fields.items()
        if key in table
        and field.metadata.get("bound") is None
        and field.type in _KINDS
        and type(table[key]) is not field.type
    ]
    values = {
        field.name: _to_si(table[key], field.type, shown_unit(record, field.name)[2])
        for key, field in fields.items()
        if key in table
    }
    return values, lines + wrong_values(record, values)


def _unknown(key: str, fields: Mapping[str, Any]) -> str:
    """Line about a key nobody knows."""
    near = difflib.get_close_matches(key, fields, 1, 0.4)
    hint = f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(fields)}."
    return f"{key[:60]!r} is not a key. {hint}"


def _to_si(value: Any, kind: Any, size: Decimal) -> Any:
    """Take a number, or a list of numbers, to SI; leave everything else as it is."""
    if isinstance(value, list):
        return tuple(_to_si(item, kind, size) for item in value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return value
    if kind is int:
        return value if isinstance(value, int) else float(value)
    if isinstance(value, Decimal) and not value.is_finite():
        return float(value)
    with localcontext() as context:
        context.prec = _DIGITS
        return float(Decimal(value) * size)


def dump_protocol(protocol: Imaging) -> str:
    """Write a protocol as TOML text that `parse_protocol` takes back to an equal one."""
    lines = [f"family = {json.dumps(family_of(protocol))}"]
    lines += _lines(protocol)
    lines += ["", "[geometry]", *_lines(protocol.geometry)]
    return "\n".join(lines) + "\n"


def _lines(record: Any) -> list[str]:
    """``key = value`` of every field that is not at its default."""
    return [
        f"{key} = {_written(getattr(record, field.name), shown_unit(type(record), field.name)[2])}"
        for key, field in _fields(type(record)).items()
        if field.default is MISSING or getattr(record, field.name) != field.default
    ]


def _written(value: Any, size: Decimal) -> str:
    """TOML of one value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return f"[{', '.join(_written(item, size) for item in value)}]"
    if isinstance(value, int):
        return str(value)
    return _decimal(float(value), size)


def _decimal(value: float, size: Decimal) -> str:
    """Shortest decimal in the shown unit that reads back as the same float."""
    if not math.isfinite(value):
        return str(value)
    with localcontext() as context:
        context.prec = _DIGITS
        exact = Decimal(repr(value)) / size
        for digits in range(1, _DIGITS):
            short = Decimal(f"{exact:.{digits}g}")
            if float(short * size) == value:
                text = f"{short:f}"
                return text if "." in text else f"{text}.0"
    return f"{exact:f}"
