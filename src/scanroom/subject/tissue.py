"""What tissues are made of: one table of numbers and laws of the field, each with its source."""

import functools
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scanroom.core.errors import FormatError, ProtocolError
from scanroom.core.units import Tesla
from scanroom.subject.model import PROPERTIES

GAMMA_BAR = 42.577478518e6
"""Gyromagnetic ratio of the proton over 2 pi [Hz/T]; CODATA 2018."""

VACUUM_PERMITTIVITY = 8.8541878128e-12

FIELDS: tuple[Tesla, ...] = (0.05, 0.55, 1.5, 3.0, 7.0)
"""Field strengths [T] the table is printed and tested at; any between 0.01 and 12 T is computed."""

LOWEST, HIGHEST = 0.01, 12.0

# Gelman et al. 1999 [1/s, 3 T], iron of the pallidum by Hallgren and Sourander 1958 [mg/100 g]
_IRON_PALLIDUM = 21.30
_SLOPE_R2 = (25.8 - 12.7) / _IRON_PALLIDUM
_INTERCEPT_R2_PRIME = 2.2
_SLOPE_R2_PRIME = (12.0 - _INTERCEPT_R2_PRIME) / _IRON_PALLIDUM
# Langkammer et al. 2012: 0.89e-9 per mg/kg is ten times that per mg/100 g
_SLOPE_SUSCEPTIBILITY = 0.89e-8


@dataclass(frozen=True, slots=True)
class Number:
    """A value in the unit of its property, and who measured it."""

    value: float
    source: str


class TissueTable:
    """Numbers of tissues; the built-in table unless read from another file of the same form."""

    def __init__(self, document: Mapping[str, Any], name: str) -> None:
        self.name = name
        try:
            self._sources: Mapping[str, str] = dict(document["sources"])
            self._tissues: Mapping[str, Mapping[str, Any]] = {
                tissue: _completed(entry, document["tissues"])
                for tissue, entry in document["tissues"].items()
            }
        except (KeyError, TypeError, AttributeError) as problem:
            raise FormatError(
                f"{name} is not a tissue table: {problem!r} is missing or misplaced; it has "
                "[sources] and [tissues.NAME] (scanroom.subject.tissue). Follow data/tissues.toml."
            ) from problem

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tissues."""
        return tuple(self._tissues)

    def properties(self, tissue: str) -> tuple[str, ...]:
        """Names of the properties known of a tissue."""
        return tuple(name for name in PROPERTIES if name in self._entry(tissue))

    def number(self, tissue: str, quantity: str, field: Tesla) -> Number:
        """One property of one tissue at one field strength.

        Raises
        ------
        ProtocolError
            If the tissue, the property or the field is not one the table answers for.
        """
        if not LOWEST <= field <= HIGHEST:
            raise ProtocolError(
                f"field strength is {field:.4g} T; tissue laws hold from {LOWEST} to {HIGHEST} T "
                "(scanroom.subject.tissue). Choose one in that range."
            )
        entry = self._entry(tissue)
        if quantity not in entry:
            raise ProtocolError(
                f"{quantity} of {tissue} is not in {self.name}; it knows "
                f"{', '.join(self.properties(tissue))}. Leave the property out or add a number."
            )
        item = entry[quantity]
        try:
            source = self._sources[item["source"]]
            law = LAWS[item.get("law", "value")]
            value = law({**item, "iron": entry.get("iron", 0.0)}, field, self)
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as problem:
            raise FormatError(
                f"{quantity} of {tissue} in {self.name} cannot be computed ({problem!r}); a number "
                "has a value or a law, and a source out of [sources] (scanroom.subject.tissue). "
                "Follow data/tissues.toml."
            ) from problem
        return Number(float(value), source)

    def _entry(self, tissue: str) -> Mapping[str, Any]:
        if tissue not in self._tissues:
            raise ProtocolError(
                f"{tissue!r} is not a tissue of {self.name}; it has {', '.join(self.names)}. "
                "Choose one of them."
            )
        return self._tissues[tissue]

    def iron(self, tissue: str) -> float:
        """Iron in mg per 100 g of fresh tissue."""
        return float(self._entry(tissue).get("iron", 0.0))


def _completed(entry: Mapping[str, Any], tissues: Mapping[str, Any]) -> Mapping[str, Any]:
    """An entry that is like another takes its numbers; iron changes three of them."""
    base = entry.get("like")
    if base is None:
        return dict(entry)
    laws = {
        name: {"law": law, "base": base, "source": source}
        for name, law, source in (
            ("t2", "iron-r2", "iron-r2"),
            ("t2_prime", "iron-r2-prime", "iron-r2-prime"),
            ("susceptibility", "iron-susceptibility", "iron-chi"),
        )
    }
    internal = {
        "t1": {"law": "power", "scale": 0.857, "exponent": 0.376, "source": "rooney2007"},
    }
    return {**tissues[base], **laws, **internal, **entry}


@functools.cache
def tissue_table() -> TissueTable:
    """Read the built-in table."""
    return read_tissue_table(Path(__file__).parent / "data" / "tissues.toml")


def tissue_names() -> tuple[str, ...]:
    """Names of the tissues of the built-in table."""
    return tissue_table().names


def tissue(name: str, field: Tesla) -> Mapping[str, float]:
    """Every known property of a tissue of the built-in table at one field strength, SI units.

    Raises
    ------
    ProtocolError
        If there is no such tissue, or the field is outside what the table answers for.
    """
    table = tissue_table()
    return {
        quantity: table.number(name, quantity, field).value for quantity in table.properties(name)
    }


def read_tissue_table(path: Path) -> TissueTable:
    """Read a tissue table of the form of data/tissues.toml.

    Raises
    ------
    FormatError
        If it is no such table.
    """
    try:
        if path.stat().st_size > 1 << 20:
            raise FormatError(
                f"{path} has {path.stat().st_size} bytes; a tissue table has at most 1 MiB "
                "(scanroom.subject.tissue). Remove what does not belong to it."
            )
        return TissueTable(tomllib.loads(path.read_text(encoding="utf-8")), path.name)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise FormatError(
            f"{path} cannot be read as a tissue table: {' '.join(str(problem).split())} "
            "(TOML 1.0). Give a table like data/tissues.toml."
        ) from problem


Law = Callable[[Mapping[str, Any], Tesla, TissueTable], float]


def _value(item: Mapping[str, Any], _field: Tesla, _table: TissueTable) -> float:
    return float(item["value"])


def _power(item: Mapping[str, Any], field: Tesla, _table: TissueTable) -> float:
    return float(item["scale"] * field ** item["exponent"])


def _power_fit(item: Mapping[str, Any], field: Tesla, _table: TissueTable) -> float:
    fields, times = np.log(np.array(item["at"], np.float64)).T
    slope, offset = np.polyfit(fields, times, 1)
    return float(np.exp(offset + slope * np.log(field)))


def _measured(item: Mapping[str, Any], field: Tesla, _table: TissueTable) -> float:
    fields, times = np.log(np.array(item["at"], np.float64)).T
    inside = np.clip(np.log(field), fields[0], fields[-1])
    beyond = item["exponent"] * (np.log(field) - inside)
    return float(np.exp(np.interp(inside, fields, times) + beyond))


def _rate_line(item: Mapping[str, Any], field: Tesla, _table: TissueTable) -> float:
    fields, times = np.array(item["at"], np.float64).T
    slope, offset = np.polyfit(fields, 1 / times, 1)
    return float(1 / (offset + slope * field))


def _dephasing(item: Mapping[str, Any], field: Tesla, _table: TissueTable) -> float:
    return 1 / (float(item["rate"]) * field / 3)


def _iron_r2(item: Mapping[str, Any], field: Tesla, table: TissueTable) -> float:
    base = 1 / table.number(item["base"], "t2", field).value
    return 1 / (base + _SLOPE_R2 * _extra_iron(item, table) * field / 3)


def _iron_r2_prime(item: Mapping[str, Any], field: Tesla, _table: TissueTable) -> float:
    return 1 / ((_INTERCEPT_R2_PRIME + _SLOPE_R2_PRIME * float(item["iron"])) * field / 3)


def _iron_susceptibility(item: Mapping[str, Any], field: Tesla, table: TissueTable) -> float:
    base = table.number(item["base"], "susceptibility", field).value
    return base + _SLOPE_SUSCEPTIBILITY * _extra_iron(item, table)


def _extra_iron(item: Mapping[str, Any], table: TissueTable) -> float:
    return float(item["iron"]) - table.iron(item["base"])


def _solution(item: Mapping[str, Any], _field: Tesla, _table: TissueTable) -> float:
    return 1 / (1 / float(item["solvent"]) + float(item["relaxivity"]) * float(item["millimolar"]))


def _sum(item: Mapping[str, Any], _field: Tesla, _table: TissueTable) -> float:
    return float(sum(item["parts"]))


def _product(item: Mapping[str, Any], _field: Tesla, _table: TissueTable) -> float:
    return float(np.prod(item["factors"]))


def _cole_cole(item: Mapping[str, Any], field: Tesla, _table: TissueTable) -> float:
    omega = 2 * np.pi * GAMMA_BAR * field
    permittivity = item["optical"] + item["ionic"] / (1j * omega * VACUUM_PERMITTIVITY)
    for step, time, spread in item["dispersions"]:
        permittivity += step / (1 + (1j * omega * time) ** (1 - spread))
    return float(-permittivity.imag * omega * VACUUM_PERMITTIVITY)


def _viscosity(item: Mapping[str, Any], _field: Tesla, _table: TissueTable) -> float:
    return float(item["loss_modulus"] / (2 * np.pi * item["frequency"]))


def _attenuation(item: Mapping[str, Any], _field: Tesla, _table: TissueTable) -> float:
    neper_per_metre = item["decibel"] * 100 * np.log(10) / 20
    return float(neper_per_metre * item["megahertz"] ** -item["exponent"])


LAWS: Mapping[str, Law] = {
    "value": _value,
    "power": _power,
    "power-fit": _power_fit,
    "measured": _measured,
    "rate-line": _rate_line,
    "dephasing": _dephasing,
    "iron-r2": _iron_r2,
    "iron-r2-prime": _iron_r2_prime,
    "iron-susceptibility": _iron_susceptibility,
    "solution": _solution,
    "sum": _sum,
    "product": _product,
    "cole-cole": _cole_cole,
    "viscosity": _viscosity,
    "attenuation": _attenuation,
}
