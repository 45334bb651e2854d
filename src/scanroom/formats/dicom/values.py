"""How numbers, texts and names are written in DICOM's value representations."""

import math
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid5

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

NAMESPACE = UUID("6d1a4f0e-4c38-5f5c-9a53-5ca2200a3001")
"""Ours alone; it keeps our identifiers apart from all others made the same way."""


def uid(*parts: object) -> str:
    """Return the identifier that belongs to these parts, the same every time: 2.25.<integer>.

    References
    ----------
    DICOM PS3.5 B.2: a UUID written as an integer under the root 2.25.
    """
    return f"2.25.{uuid5(NAMESPACE, '/'.join(map(str, parts))).int}"


def decimal(value: float | np.floating[Any]) -> str:
    """Write a decimal string (DS) with as many of its 16 characters as the number needs."""
    return format_number_as_ds(0.0 if value == 0 else float(value))


def decimals(values: Iterable[float | np.floating[Any]]) -> list[str]:
    """Write several decimal strings."""
    return [decimal(value) for value in values]


def text(value: object, length: int = 64) -> str:
    """Make one line fit for LO, SH or PN: no backslash, no control characters, not too long.

    The standard counts characters, some readers count bytes: neither is more than ``length``.
    """
    line = "".join(c if c.isprintable() else " " for c in str(value)).replace("\\", "/")
    line = " ".join(line.split())
    return line.encode("utf-8")[:length].decode("utf-8", "ignore").strip()


def code(value: object) -> str:
    """Make a code string (CS): capitals, digits, space and underscore, at most 16."""
    line = "".join(c if c.isascii() and c.isalnum() else "_" for c in str(value).upper())
    return line[:16]


def dataset(values: Mapping[str, Any]) -> Dataset:
    """Make a data set of keywords; nested mappings and lists of them become sequences."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, _nested(value))
    return made


def finite(value: float | None) -> bool:
    """Whether there is a number to write."""
    return value is not None and math.isfinite(value)


def _nested(value: Any) -> Any:
    if isinstance(value, Mapping):
        return [dataset(value)]
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return [dataset(item) for item in value]
    return value
