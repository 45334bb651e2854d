"""MR Image Storage: one file per slice (DICOM PS3.3 A.4)."""

from typing import Any

from pydicom.uid import MRImageStorage

from scanroom.formats.dicom.modules import (
    VALUE_3,
    common,
    degrees,
    milliseconds,
    pixels,
    rescale,
    series_uid,
    window,
)
from scanroom.formats.dicom.planes import Planes
from scanroom.formats.dicom.values import decimal, decimals, text, uid
from scanroom.formats.quantise import Quantised
from scanroom.formats.series import SeriesInfo


def series_values(info: SeriesInfo) -> dict[str, Any]:
    """Attributes that all files of the series share."""
    return {
        **common(info, "classic"),
        # No side, and no list tells a program that a phantom has none (PS3.3 C.7.3.1.1.2).
        **({"Laterality": ""} if info.body_part.upper() == "PHANTOM" else {}),
        "SOPClassUID": MRImageStorage,
        "ImageType": ["ORIGINAL", "PRIMARY", VALUE_3[info.component]],
        "ComplexImageComponent": info.component,
        "ContentQualification": "RESEARCH",
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "ImageComments": text(info.research_use, 10240),
        "AcquisitionNumber": info.number,
        "AcquisitionDate": f"{info.when:%Y%m%d}",
        "AcquisitionTime": f"{info.when:%H%M%S}",
        "ContentDate": f"{info.when:%Y%m%d}",
        "ContentTime": f"{info.when:%H%M%S}",
        "AcquisitionDuration": float(info.duration),
        **_mr(info),
    }


def _mr(info: SeriesInfo) -> dict[str, Any]:
    """How it was measured (PS3.3 C.8.3.1)."""
    values: dict[str, Any] = {
        "ScanningSequence": "GR" if info.echo == "gradient" else "SE",
        "SequenceVariant": _variant(info),
        "ScanOptions": _options(info),
        "MRAcquisitionType": "3D" if info.is_3d else "2D",
        "SequenceName": text(info.sequence_name, 16),
        "RepetitionTime": milliseconds(info.repetition_time),
        "FlipAngle": decimal(degrees(info.flip_angle)),
        "NumberOfAverages": str(info.averages),
        "ImagingFrequency": decimal(info.frequency * 1e-6),
        "ImagedNucleus": "1H",
        "MagneticFieldStrength": decimal(info.exam.field),
        "EchoTrainLength": info.echo_train_length,
        "PercentSampling": decimal(info.percent_sampling),
        "PercentPhaseFieldOfView": decimal(info.percent_phase_fov),
        "PixelBandwidth": decimal(info.bandwidth),
        "ReceiveCoilName": text(info.receive_coil, 16),
        "TransmitCoilName": text(info.transmit_coil, 16),
        "VariableFlipAngleFlag": "N",
    }
    if info.inversion_time is not None:
        values["ScanningSequence"] = [values["ScanningSequence"], "IR"]
        values["InversionTime"] = milliseconds(info.inversion_time)
    if info.sar is not None:
        values["SAR"] = decimal(info.sar)
    return values


def _variant(info: SeriesInfo) -> list[str] | str:
    variants = [
        name
        for name, there in (("SK", info.echo_train_length > 1), ("SP", info.rf_spoiled))
        if there
    ]
    return variants or "NONE"


def _options(info: SeriesInfo) -> list[str] | str:
    return ["PFP"] if info.partial_fourier < 1 else ""


def slice_values(
    planes: Planes, image: Quantised, info: SeriesInfo, *, echo: int, index: int
) -> dict[str, Any]:
    """Attributes of one slice of one echo, with its pixels."""
    instance = echo * len(planes.pixels) + index + 1
    direction = planes.phase_direction(info.phase_axis)
    n_read, n_phase = info.encoding_steps[:2]
    thickness = planes.spacing if info.slice_thickness is None else info.slice_thickness * 1e3
    return {
        "SOPInstanceUID": uid(series_uid(info, "classic"), instance),
        "InstanceNumber": instance,
        "EchoTime": milliseconds(info.echo_times[echo]),
        "EchoNumbers": echo + 1,
        "InPlanePhaseEncodingDirection": direction,
        "AcquisitionMatrix": (
            [0, n_read, n_phase, 0] if direction == "COL" else [n_read, 0, 0, n_phase]
        ),
        "SliceThickness": decimal(thickness),
        "SpacingBetweenSlices": decimal(planes.spacing),
        "PixelSpacing": decimals(planes.pixel_spacing),
        "ImageOrientationPatient": decimals(planes.orientation),
        "ImagePositionPatient": decimals(planes.position[index]),
        "SliceLocation": decimal(planes.location[index]),
        **pixels(planes),
        **window(image),
        **rescale(image),
        "PixelData": planes.pixels[index].astype(planes.pixels.dtype.newbyteorder("<")).tobytes(),
    }
