"""The folder of one exam: raw data, images, report, record, each in its place."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scanroom.core.errors import ProtocolError
from scanroom.exam.record import ExamRecord, load_record, new_record

ROOMS = ("sequences", "raw", "dicom", "nifti", "pictures", "truth")


@dataclass(frozen=True, slots=True)
class ExamFolder:
    """An exam on disk. ``truth`` holds what the twin knew; nothing in Scanroom reads it back."""

    path: Path
    record: ExamRecord

    def room(self, name: str) -> Path:
        """Return one of the sub-folders, made when first needed."""
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def next_scan(self, name: str) -> str:
        """Name the next scan: its number in the exam and what it is."""
        return f"{len(self.record.scans) + 1:02d}_{name}"

    def with_scan(self, scan: dict[str, Any]) -> "ExamFolder":
        """Add a scan to the record and write it."""
        folder = replace(self, record=self.record.with_scan(scan))
        folder.record.save(folder.path)
        return folder


def open_exam(path: Path, *, subject: str, system: str, device: str) -> ExamFolder:
    """Open the exam in a folder, or begin one in an empty or new folder.

    Nothing is made yet: the folder appears with its first room.

    Raises
    ------
    ProtocolError
        If the folder belongs to something else or to an exam of another subject.
    """
    if (path / "exam.json").exists():
        record = load_record(path)
        if (record.subject, record.system) != (subject, system):
            raise ProtocolError(
                f"{path} holds an exam of {record.subject!r} on {record.system!r}; this scan is of "
                f"{subject!r} on {system!r}. An exam has one subject and one scanner "
                "(scanroom.exam.folder): give another --out."
            )
        return ExamFolder(path, record)
    strangers = (
        [item.name for item in path.iterdir() if item.name not in ROOMS] if path.is_dir() else []
    )
    if strangers:
        raise ProtocolError(
            f"{path} is not empty (it holds {strangers[0]!r}) and is no exam; an exam begins in a "
            "new or empty folder (scanroom.exam.folder). Give another --out."
        )
    return ExamFolder(path, new_record(subject=subject, system=system, device=device))
