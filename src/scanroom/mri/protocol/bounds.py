"""What a value may be, who says so and what to do: one bound per field, one line per refusal."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Ratio, units

PI = Decimal("3.14159265358979323846264338327950288419716939937510")
# SI symbol: the unit people write, the suffix of its key in a file, and how many SI units it is.
SHOWN: Mapping[str, tuple[str, str, Decimal]] = {
    "s": ("ms", "_ms", Decimal("1e-3")),
    "m": ("mm", "_mm", Decimal("1e-3")),
    "rad": ("deg", "_deg", PI / 180),
    "Hz": ("Hz", "_hz", Decimal(1)),
    "1": ("", "", Decimal(1)),
}
MISSING = dataclasses.MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The range of one field in SI, or its choices, with the reason and the remedy."""

    low: Ratio | int | None = None
    high: Ratio | int | None = None
    choices: tuple[str, ...] = ()
    reason: str
    remedy: str
    even: bool = False
    length: int = 1


def bounded(
    low: float | int,
    high: float | int,
    reason: str,
    remedy: str,
    *,
    default: Any = MISSING,
    even: bool = False,
    length: int = 1,
) -> Any:
    """Declare a dataclass field of numbers with its bound."""
    bound = Bound(low=low, high=high, reason=reason, remedy=remedy, even=even, length=length)
    return dataclasses.field(default=default, metadata={"bound": bound})


def chosen(choices: tuple[str, ...], reason: str, remedy: str, *, default: str) -> Any:
    """Declare a dataclass field that takes one of a few words."""
    bound = Bound(choices=choices, reason=reason, remedy=remedy)
    return dataclasses.field(default=default, metadata={"bound": bound})


def shown_unit(record: type, name: str) -> tuple[str, str, Decimal]:
    """Unit people read, suffix of the key in files, and its size in SI, for one field."""
    return SHOWN[units(record).get(name, "1")]


def show(value: Any, unit: tuple[str, str, Decimal]) -> str:
    """Write a value as a person would: in ms, mm, degrees."""
    if isinstance(value, tuple):
        return f"({', '.join(show(item, ('', '', unit[2])) for item in value)}) {unit[0]}".strip()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return repr(value)
    if isinstance(value, int) and unit[2] == 1:
        return f"{value} {unit[0]}".strip() if abs(value) < 10**15 else f"{float_of(value):.4g}"
    return f"{float_of(value) / float(unit[2]):.6g} {unit[0]}".strip()


def float_of(value: float | int) -> float:
    """Return any Python number as a float; a too large integer is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def wrong_values(record: type, values: Mapping[str, Any]) -> list[str]:
    """One line for each value outside its bound or of another kind; fields not given are left."""
    lines = []
    for field in dataclasses.fields(record):
        bound = field.metadata.get("bound")
        if bound is None or field.name not in values:
            continue
        if line := _wrong(record, field, bound, values[field.name]):
            lines.append(line)
    return lines


def _wrong(record: type, field: "dataclasses.Field[Any]", bound: Bound, value: Any) -> str:
    """Say what is wrong with one value, or nothing."""
    unit = shown_unit(record, field.name)
    if bound.choices:
        right = isinstance(value, str) and value in bound.choices
        rule = "" if right else f"it may be {', '.join(bound.choices)}"
    elif bound.length == 1:
        rule = _broken_rule(bound, (value,), int if field.type is int else float, unit)
    elif isinstance(value, tuple) and len(value) == bound.length:
        rule = _broken_rule(bound, value, float, unit)
    else:
        rule = f"it needs {bound.length} numbers"
    said = f"{field.name} is {show(value, unit)}"
    return f"{said}; {rule} ({bound.reason}). {bound.remedy}" if rule else ""


def _broken_rule(
    bound: Bound, items: tuple[Any, ...], kind: type, unit: tuple[str, str, Decimal]
) -> str:
    """Say what numbers have to be, if they are not."""
    if not all(_is_number(item, kind) for item in items):
        return f"it must be {'a whole number' if kind is int else 'a finite number'}"
    low, high = bound.low or 0.0, bound.high or 0.0
    if not all(low <= float_of(item) <= high for item in items):
        return f"it may be {show(low, unit)} to {show(high, unit)}"
    if bound.even and any(item % 2 for item in items):
        return "it must be even, so that k = 0 is a sample"
    return ""


def _is_number(value: Any, kind: type) -> bool:
    """Is it a finite number of this kind? A truth value is not a number."""
    if isinstance(value, bool):
        return False
    if kind is int:
        return isinstance(value, int)
    return isinstance(value, int | float) and math.isfinite(float_of(value))


def check_record(record: Any, relations: Callable[[], list[str]]) -> None:
    """Refuse a record whose values are outside their bounds.

    Raises
    ------
    ProtocolError
        One line for each wrong value; ``relations``, the lines about several values at once, are
        looked at only when every single value is right.
    """
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    lines = wrong_values(type(record), values) or relations()
    if lines:
        raise ProtocolError("\n".join(lines))
