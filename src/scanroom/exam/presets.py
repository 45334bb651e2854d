"""Whole exams: a subject and the protocols in their order."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from scanroom.core.choice import one_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamPreset:
    """What one order means."""

    title: str
    subject: str
    protocols: tuple[str, ...]
    mode: str = "normal"


EXAMS: Mapping[str, ExamPreset] = MappingProxyType(
    {
        "brain": ExamPreset(
            title="Brain: T1 gradient echo, T2 turbo spin echo, spin echo",
            subject="brain",
            protocols=("brain-t1-gre", "brain-t2-tse", "brain-se"),
        ),
        "acr": ExamPreset(
            title="ACR large phantom: T1 spin echo",
            subject="acr",
            protocols=("acr-t1-se",),
        ),
    }
)


def exam_preset(name: str) -> ExamPreset:
    """Return an exam by name.

    Raises
    ------
    ProtocolError
        If there is no such exam; the text lists them.
    """
    remedy = "Choose one of them, or run single scans with 'mri scan'."
    return EXAMS[one_of("exam", name, sorted(EXAMS), "scanroom.exam.presets", remedy=remedy)]
