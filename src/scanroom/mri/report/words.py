"""SI numbers as people say them."""

import math
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from scanroom.core.units import Second, units

Rows = tuple[tuple[str, str], ...]
_SCALES: dict[str, tuple[tuple[float, float, str], ...]] = {
    # unit: (from this magnitude on, factor, symbol), largest first
    "s": ((1.0, 1.0, "s"), (1e-4, 1e3, "ms"), (0.0, 1e6, "µs")),
    "m": ((1.0, 1.0, "m"), (1e-4, 1e3, "mm"), (0.0, 1e6, "µm")),
    "Hz": ((1e6, 1e-6, "MHz"), (1e4, 1e-3, "kHz"), (0.0, 1.0, "Hz")),
    "T": ((1e-2, 1.0, "T"), (1e-4, 1e3, "mT"), (0.0, 1e6, "µT")),
    "T/m": ((0.0, 1e3, "mT/m"),),
    "rad": ((0.0, 180 / math.pi, "°"),),
    "1": ((0.0, 1.0, ""),),
}
_NAMES = {"acs": "ACS", "fourier": "Fourier", "b1": "B1", "t1": "T1", "t2": "T2", "snr": "SNR"}


def quantity(value: float | int, unit: str, figures: int = 4) -> str:
    """Write a number with the unit people use for its size: 0.02 s is 20 ms."""
    if not math.isfinite(value):
        return "not known"
    scales = _SCALES.get(unit, ((0.0, 1.0, unit),))
    factor, symbol = next(
        (factor, symbol)
        for least, factor, symbol in scales
        if abs(value) >= least or (value == 0 and least <= 1e-4)
    )
    number = _plain(value * factor, figures)
    return f"{number}{symbol}" if symbol == "°" else f"{number} {symbol}".strip()


def duration(seconds: Second) -> str:
    """Write a time span: 850 ms, 12.3 s, 4:05 min, 1:02:03 h."""
    if not math.isfinite(seconds):
        return "not known"
    if seconds < 60:
        return quantity(seconds, "s", 3)
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h" if hours else f"{minutes}:{rest:02d} min"


def rows_of(record: Any, skip: Iterable[str] = ()) -> Rows:
    """List the fields of a dataclass with their units; nested dataclasses follow in place.

    What is empty, switched off, or all zeros without a unit says nothing and is left out.
    """
    rows: list[tuple[str, str]] = []
    symbols = units(type(record))
    for field in fields(record):
        value = getattr(record, field.name)
        silent = isinstance(value, tuple) and not any(value) and symbols.get(field.name) != "m"
        if field.name in skip or value is None or value is False or value == "" or silent:
            continue
        if is_dataclass(value):
            rows += rows_of(value, skip)
        else:
            rows.append((title(field.name), _said(value, symbols.get(field.name, ""))))
    return tuple(rows)


def title(name: str) -> str:
    """``echo_time`` is read as Echo time, ``n_slices`` as Number of slices."""
    words = " ".join(_NAMES.get(word, word) for word in name.removeprefix("n_").split("_"))
    words = f"number of {words}" if name.startswith("n_") else words
    return words[:1].upper() + words[1:]


def _said(value: Any, unit: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return quantity(value, unit)
    if isinstance(value, tuple):
        return ", ".join(_said(item, unit) for item in value)
    return str(value)


def _plain(value: float, figures: int) -> str:
    """Significant figures without an exponent where one can do without."""
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{figures}g}"
    rounded = float(f"{value:.{figures}g}")
    text = f"{rounded:.10f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
