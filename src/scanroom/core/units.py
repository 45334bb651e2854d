"""SI units as type aliases: a plain ``float`` at run time, a unit to readers, forms and reports."""

from dataclasses import dataclass
from typing import Annotated, get_type_hints


@dataclass(frozen=True, slots=True)
class Unit:
    """Symbol of an SI unit, carried by an annotation."""

    symbol: str


Second = Annotated[float, Unit("s")]
Metre = Annotated[float, Unit("m")]
Hertz = Annotated[float, Unit("Hz")]
Radian = Annotated[float, Unit("rad")]
Tesla = Annotated[float, Unit("T")]
Kilogram = Annotated[float, Unit("kg")]
Kelvin = Annotated[float, Unit("K")]
Pascal = Annotated[float, Unit("Pa")]
Ohm = Annotated[float, Unit("ohm")]
TeslaPerMetre = Annotated[float, Unit("T/m")]
TeslaPerMetrePerSecond = Annotated[float, Unit("T/m/s")]
HertzPerMetre = Annotated[float, Unit("Hz/m")]
HertzPerTesla = Annotated[float, Unit("Hz/T")]
WattPerKilogram = Annotated[float, Unit("W/kg")]
Ratio = Annotated[float, Unit("1")]


def units(record: type) -> dict[str, str]:
    """Return the unit symbol of every annotated field of a dataclass."""
    hints = get_type_hints(record, include_extras=True)
    return {
        name: mark.symbol
        for name, hint in hints.items()
        for mark in getattr(hint, "__metadata__", ())
        if isinstance(mark, Unit)
    }
