"""The only door to a device: a drive becomes ``Cleared`` here or nowhere."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from scanroom.core.errors import SafetyRefusal

D = TypeVar("D")
_MINT = object()


@dataclass(frozen=True, slots=True)
class Limit:
    """One ceiling, the document that sets it, and how to read the value off a drive."""

    name: str
    ceiling: float
    unit: str
    source: str
    measure: Callable[[Any], float]
    remedy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one limit saw."""

    limit: Limit
    value: float

    @property
    def passes(self) -> bool:
        """True only for a number at or below the ceiling; NaN never passes."""
        return self.value <= self.limit.ceiling

    def __str__(self) -> str:
        limit = self.limit
        return (
            f"{limit.name} is {self.value:.4g} {limit.unit}; "
            f"the ceiling is {limit.ceiling:.4g} {limit.unit} ({limit.source}). {limit.remedy}"
        )


class Cleared(Generic[D]):
    """A drive that passed every limit. Only `clear` can make one, only unchanged can it open."""

    def __init__(self, drive: D, findings: tuple[Finding, ...], mint: object) -> None:
        if mint is not _MINT:
            raise SafetyRefusal("Cleared was built by hand; call scanroom.core.gate.clear instead.")
        self._drive = drive
        self.findings = findings
        self.digest = digest(drive)

    def open(self) -> D:
        """Hand the drive to a device.

        Raises
        ------
        SafetyRefusal
            If the drive was altered after it was cleared.
        """
        if digest(self._drive) != self.digest:
            raise SafetyRefusal("The drive was altered after it was cleared; clear it again.")
        return self._drive


def digest(record: Any) -> str:
    """Fingerprint of nested dataclasses, tuples and mappings of numbers, strings and arrays."""
    mark = hashlib.blake2b(digest_size=16)
    _absorb(mark, record)
    return mark.hexdigest()


def _absorb(mark: "hashlib.blake2b", value: Any) -> None:
    """Feed one value with its type and shape, so that no two different drives look alike."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        mark.update(f"<{type(value).__qualname__}".encode())
        for field in dataclasses.fields(value):
            if getattr(value, field.name) is None:  # what a drive lacks leaves no mark
                continue
            mark.update(f"|{field.name}=".encode())
            _absorb(mark, getattr(value, field.name))
    elif isinstance(value, Mapping):
        mark.update(f"<map {len(value)}".encode())
        for key in sorted(value):
            mark.update(f"|{key}=".encode())
            _absorb(mark, value[key])
    elif isinstance(value, tuple | list):
        mark.update(f"<list {len(value)}".encode())
        for item in value:
            _absorb(mark, item)
    else:
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise SafetyRefusal(
                f"a drive holds a {type(value).__name__}, which cannot be fingerprinted; "
                "drives are made of numbers, strings and arrays. Remove it from the drive."
            )
        mark.update(f"{array.dtype} {array.shape}|".encode() + array.tobytes())
    mark.update(b">")


def clear(drive: D, limits: Sequence[Limit]) -> Cleared[D]:
    """Let a drive pass if it respects every limit.

    Raises
    ------
    SafetyRefusal
        If no limit is given, or any is exceeded; the message lists them all.
    """
    if not limits:
        raise SafetyRefusal("No limits were given; a gate without limits lets nothing pass.")
    findings = tuple(Finding(limit, limit.measure(drive)) for limit in limits)
    if refused := [finding for finding in findings if not finding.passes]:
        raise SafetyRefusal("\n".join(map(str, refused)))
    return Cleared(drive, findings, _MINT)
