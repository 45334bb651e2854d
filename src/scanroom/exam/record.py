"""``exam.json``: what was done, in which order, and where it lies. Written whole or not at all."""

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from scanroom import __version__
from scanroom.core.errors import FormatError
from scanroom.formats.files import atomic

RESEARCH_USE = "Research use only. Scanroom is not an approved medical device."
MAX_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamRecord:
    """One exam: who, on what, when, and every scan in order."""

    uid: str
    subject: str
    system: str
    device: str
    created: str
    scans: tuple[dict[str, Any], ...] = ()
    software: str = f"Scanroom {__version__}"
    notice: str = RESEARCH_USE
    study: dict[str, str] = field(default_factory=dict)

    def with_scan(self, scan: dict[str, Any]) -> "ExamRecord":
        """Return the record with one more scan."""
        return ExamRecord(**{**self._items(), "scans": (*self.scans, scan)})

    def _items(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def save(self, folder: Path) -> Path:
        """Write ``exam.json`` aside and rename it."""
        path = folder / "exam.json"
        with atomic(path) as aside:
            aside.write_text(json.dumps(_plain(self._items()), indent=1, allow_nan=False) + "\n")
        return path


def new_record(*, subject: str, system: str, device: str) -> ExamRecord:
    """Begin an exam."""
    now = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
    return ExamRecord(uid=str(uuid4()), subject=subject, system=system, device=device, created=now)


def load_record(folder: Path) -> ExamRecord:
    """Read ``exam.json`` of a folder.

    Raises
    ------
    FormatError
        If it is not one of ours.
    """
    path = folder / "exam.json"
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(
            f"{path} has {path.stat().st_size} bytes; an exam record has at most {MAX_BYTES} "
            "(scanroom.exam.record). Give another folder."
        )
    try:
        items = json.loads(path.read_text())
        return ExamRecord(**{**items, "scans": tuple(items["scans"])})
    except (ValueError, TypeError, KeyError) as error:
        raise FormatError(
            f"{path} is not an exam record of Scanroom ({type(error).__name__}: {error}); "
            "it must be JSON written by scanroom. Give another folder."
        ) from error


def _plain(value: Any) -> Any:
    """JSON has no NumPy numbers, paths or NaN."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | int | bool | None):
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
