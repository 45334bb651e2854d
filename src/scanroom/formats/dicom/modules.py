"""Attributes that classic and Enhanced MR images share, module by module of DICOM PS3.3."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from scanroom.formats.dicom.planes import Planes
from scanroom.formats.dicom.values import code, decimal, text, uid
from scanroom.formats.quantise import Quantised
from scanroom.formats.series import ExamInfo, SeriesInfo

MANUFACTURER = "Scanroom"
VALUE_3: Mapping[str, str] = MappingProxyType(
    {"MAGNITUDE": "M", "PHASE": "P", "REAL": "R", "IMAGINARY": "I"}
)
"""The third value of a classic Image Type, as every maker writes it and every reader expects."""


def study_uid(exam: ExamInfo) -> str:
    """Identify the study."""
    return uid(exam.uid, "study")


def series_uid(info: SeriesInfo, form: str) -> str:
    """Identify the series; its classic and its Enhanced form are two series."""
    return uid(info.exam.uid, "series", info.number, info.component, form)


def common(info: SeriesInfo, form: str) -> dict[str, Any]:
    """Patient, study, series, frame of reference, equipment, SOP common."""
    return {
        **_patient(info.exam),
        **_study(info.exam),
        **_series(info, form),
        **_equipment(info.exam),
        "FrameOfReferenceUID": uid(info.exam.uid, "frame of reference"),
        "PositionReferenceIndicator": "",
        "SpecificCharacterSet": "ISO_IR 192",
        "InstanceCreationDate": f"{info.when:%Y%m%d}",
        "InstanceCreationTime": f"{info.when:%H%M%S}",
        "TimezoneOffsetFromUTC": f"{info.when:%z}" or "+0000",
        "SyntheticData": "YES" if info.exam.synthetic else "NO",
    }


def _patient(exam: ExamInfo) -> dict[str, Any]:
    values: dict[str, Any] = {
        "PatientName": text(exam.patient_name),
        "PatientID": text(exam.patient_id),
        "PatientBirthDate": exam.birth_date,
        "PatientSex": exam.sex,
        "QualityControlSubject": "YES" if exam.is_phantom else "NO",
    }
    if exam.weight is not None:
        values["PatientWeight"] = decimal(exam.weight)
    if exam.size is not None:
        values["PatientSize"] = decimal(exam.size)
    return values


def _study(exam: ExamInfo) -> dict[str, Any]:
    return {
        "StudyInstanceUID": study_uid(exam),
        "StudyDate": f"{exam.when:%Y%m%d}",
        "StudyTime": f"{exam.when:%H%M%S}",
        "StudyID": text(exam.study_id, 16),
        "StudyDescription": text(exam.study_description),
        "AccessionNumber": text(exam.accession, 16),
        "ReferringPhysicianName": text(exam.referring_physician),
    }


def _series(info: SeriesInfo, form: str) -> dict[str, Any]:
    return {
        "Modality": "MR",
        "SeriesInstanceUID": series_uid(info, form),
        "SeriesNumber": info.number,
        "SeriesDate": f"{info.when:%Y%m%d}",
        "SeriesTime": f"{info.when:%H%M%S}",
        "SeriesDescription": text(info.description),
        "ProtocolName": text(info.description),
        "BodyPartExamined": code(info.body_part),
        "PatientPosition": code(info.exam.patient_position),
    }


def _equipment(exam: ExamInfo) -> dict[str, Any]:
    return {
        "Manufacturer": MANUFACTURER,
        "ManufacturerModelName": text(exam.model),
        "DeviceSerialNumber": text(exam.device),
        "SoftwareVersions": text(exam.software),
        "InstitutionName": text(exam.institution),
        "StationName": text(exam.station, 16),
    }


def pixels(planes: Planes) -> dict[str, Any]:
    """Image pixel, without the pixels."""
    stored = planes.pixels
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[1],
        "Columns": stored.shape[2],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": int(stored.dtype == np.int16),
    }


def window(image: Quantised) -> dict[str, Any]:
    """Window of the whole series.

    A linear window may not be narrower than 1 (PS3.3 C.11.2.1.2); an exact one may.
    """
    low, high = (edge * image.slope for edge in image.window)
    width = high - low
    return {
        "WindowCenter": decimal((low + high) / 2),
        "WindowWidth": decimal(width),
        "VOILUTFunction": "LINEAR" if width >= 1 else "LINEAR_EXACT",
    }


def rescale(image: Quantised) -> dict[str, Any]:
    """From stored numbers to the image."""
    return {
        "RescaleIntercept": "0",
        "RescaleSlope": decimal(image.slope),
        "RescaleType": "US",
    }


def milliseconds(seconds: float) -> str:
    """Decimal string of a time."""
    return decimal(round(seconds * 1e3, 9))


def degrees(radians: float) -> float:
    """Angle without the dust of the conversion."""
    return round(math.degrees(radians), 9)
