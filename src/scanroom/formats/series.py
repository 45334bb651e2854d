"""What a hospital wants to know of an image besides its voxels: exam and series, in SI.

Instruments fill these records from their protocol and drive; the files of `scanroom.formats` are
written from them alone.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal
from uuid import uuid4

from scanroom import __version__
from scanroom.core.errors import FormatError
from scanroom.core.units import (
    Hertz,
    Kilogram,
    Metre,
    Radian,
    Ratio,
    Second,
    Tesla,
    WattPerKilogram,
)

RESEARCH_USE = "RESEARCH USE ONLY. Not for diagnosis. Scanroom is not an approved medical device."


def _now() -> datetime:
    return datetime.now(UTC).astimezone()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamInfo:
    """Patient, study and equipment.

    ``patient_name`` follows DICOM: ``Family^Given``. ``uid`` seeds every DICOM UID of the exam:
    the same seed gives the same files. ``synthetic`` says that no living being and no real object
    was measured: the device is a twin.
    """

    patient_name: str
    patient_id: str
    synthetic: bool
    uid: str = field(default_factory=lambda: str(uuid4()))
    when: datetime = field(default_factory=_now)
    birth_date: str = ""
    sex: Literal["", "M", "F", "O"] = ""
    weight: Kilogram | None = None
    size: Metre | None = None
    is_phantom: bool = False
    patient_position: str = "HFS"
    study_id: str = "1"
    study_description: str = ""
    accession: str = ""
    referring_physician: str = ""
    institution: str = ""
    station: str = ""
    model: str = "Scanroom"
    device: str = "unknown"
    field: Tesla
    software: str = f"Scanroom {__version__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesInfo:
    """One series and how it was measured.

    ``echo_times`` holds one entry per image given to the writers. ``phase_axis`` is the axis of
    the array along which phase was encoded. ``slice_thickness`` None means: as thick as the
    distance between slices. ``encoding_steps`` counts (frequency, phase in plane, partitions).
    """

    exam: ExamInfo
    number: int
    description: str
    sequence_name: str
    echo: Literal["gradient", "spin"]
    echo_times: tuple[Second, ...]
    repetition_time: Second
    flip_angle: Radian
    contrast: Literal["T1", "T2", "T2_STAR", "PROTON_DENSITY", "UNKNOWN"] = "UNKNOWN"
    component: Literal["MAGNITUDE", "PHASE", "REAL", "IMAGINARY"] = "MAGNITUDE"
    is_3d: bool = False
    inversion_time: Second | None = None
    frequency: Hertz
    bandwidth: Hertz
    averages: int = 1
    echo_train_length: int = 1
    encoding_steps: tuple[int, int, int]
    phase_axis: Literal["x", "y"] = "y"
    percent_sampling: float = 100.0
    percent_phase_fov: float = 100.0
    partial_fourier: Ratio = 1.0
    acceleration: Ratio = 1.0
    rf_spoiled: bool = False
    slice_thickness: Metre | None = None
    when: datetime = field(default_factory=_now)
    duration: Second = 0.0
    body_part: str = "HEAD"
    receive_coil: str = "ARRAY"
    n_coils: int = 1
    transmit_coil: str = "BODY"
    sar: WattPerKilogram | None = None
    operating_mode: Literal["normal", "first-level"] = "normal"
    comment: str = ""

    def __post_init__(self) -> None:
        if not self.echo_times:
            raise FormatError(
                f"series {self.description!r} has no echo time; an MR image has one "
                "(DICOM PS3.3 C.8.3.1). Give one for each image."
            )

    @property
    def research_use(self) -> str:
        """The warning that travels inside every file."""
        origin = " Synthetic data of a digital twin." if self.exam.synthetic else ""
        return f"{RESEARCH_USE}{origin} {self.comment}".strip()
