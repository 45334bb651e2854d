"""Who or what is measured: voxel maps and tissue tables, each number with its source."""

from scanroom.subject.files import from_labels, read_subject, save_subject
from scanroom.subject.library import build, crop, load_subject, subject_names
from scanroom.subject.model import PROPERTIES, Subject
from scanroom.subject.tissue import tissue_table

__all__ = [
    "PROPERTIES",
    "Subject",
    "build",
    "crop",
    "from_labels",
    "load_subject",
    "read_subject",
    "save_subject",
    "subject_names",
    "tissue_table",
]
