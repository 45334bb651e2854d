"""What a report says: plain records that the exam fills."""

from dataclasses import dataclass

from scanroom.core.gate import Finding
from scanroom.core.units import Second
from scanroom.mri.report.words import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A PNG and what it shows."""

    png: bytes
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyLine:
    """One limit of the gate and what it saw."""

    name: str
    value: float
    ceiling: float
    unit: str
    source: str

    @classmethod
    def of(cls, finding: Finding) -> "SafetyLine":
        """Take it from the gate."""
        limit = finding.limit
        return cls(
            name=limit.name,
            value=float(finding.value),
            ceiling=float(limit.ceiling),
            unit=limit.unit,
            source=limit.source,
        )

    @property
    def passes(self) -> bool:
        """NaN never passes."""
        return self.value <= self.ceiling


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPage:
    """One scan.

    ``highlights`` are the few figures that people look for first: (name, value). ``files`` are
    (what it is, path relative to the report).
    """

    name: str
    title: str
    pictures: tuple[Picture, ...] = ()
    highlights: Rows = ()
    protocol: Rows = ()
    safety: tuple[SafetyLine, ...] = ()
    sequence_plot: Picture | None = None
    timings: tuple[tuple[str, Second], ...] = ()
    quality: Rows = ()
    provenance: Rows = ()
    files: Rows = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamPage:
    """One exam. ``is_twin`` says that the device is a simulation."""

    title: str
    subject: str
    system: str
    device: str
    date: str
    is_twin: bool
    software: str
    uid: str = ""
    summary: Rows = ()
    scans: tuple[ScanPage, ...] = ()
    notes: tuple[str, ...] = ()
