"""Enhanced MR Image Storage: one file for the whole series (DICOM PS3.3 A.36)."""

import math
from collections.abc import Sequence
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.uid import EnhancedMRImageStorage

from scanroom.formats.dicom.modules import (
    MANUFACTURER,
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

# Code values of the SNOMED CT subset that DICOM may use freely (PS3.16 CID 4031).
_ANATOMY = {
    "HEAD": ("69536005", "Head"),
    "BRAIN": ("12738006", "Brain"),
    "KNEE": ("72696002", "Knee"),
    "ABDOMEN": ("818983003", "Abdomen"),
    "PHANTOM": ("706342009", "Phantom"),
}
_MODES = {"normal": "IEC_NORMAL", "first-level": "IEC_FIRST_LEVEL"}
_DIMENSIONS = (
    ("StackID", "FrameContentSequence"),
    ("EffectiveEchoTime", "MREchoSequence"),
    ("InStackPositionNumber", "FrameContentSequence"),
)


def enhanced_values(
    planes: Sequence[Planes], images: Sequence[Quantised], info: SeriesInfo
) -> dict[str, Any]:
    """Everything in the file; each frame is one slice of one echo."""
    first = planes[0]
    echoes = range(len(images))
    frames = [
        _frame(planes[echo], images[echo], info, echo=echo, index=index)
        for echo in echoes
        for index in range(len(first.pixels))
    ]
    stored = b"".join(p.pixels.astype(p.pixels.dtype.newbyteorder("<")).tobytes() for p in planes)
    return {
        **common(info, "enhanced"),
        "SOPClassUID": EnhancedMRImageStorage,
        "SOPInstanceUID": uid(series_uid(info, "enhanced"), 1),
        "InstanceNumber": 1,
        "ContentDate": f"{info.when:%Y%m%d}",
        "ContentTime": f"{info.when:%H%M%S}",
        "NumberOfFrames": len(frames),
        **_image(info),
        **_pulse_sequence(info),
        **pixels(first),
        **_dimensions(info),
        "AcquisitionContextSequence": [],
        "SharedFunctionalGroupsSequence": _shared(first, info),
        "PerFrameFunctionalGroupsSequence": frames,
        "PixelData": stored,
    }


def _image_kind(info: SeriesInfo) -> dict[str, Any]:
    """Attributes that stand both in the file's head and in each frame's type."""
    return {
        "PixelPresentation": "MONOCHROME",
        "VolumetricProperties": "VOLUME",
        "VolumeBasedCalculationTechnique": "NONE",
        "ComplexImageComponent": info.component,
        "AcquisitionContrast": info.contrast,
    }


def _image(info: SeriesInfo) -> dict[str, Any]:
    return {
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        **_image_kind(info),
        "AcquisitionNumber": info.number,
        "AcquisitionDateTime": f"{info.when:%Y%m%d%H%M%S}",
        "AcquisitionDuration": float(info.duration),
        "ResonantNucleus": "1H",
        "MagneticFieldStrength": float(info.exam.field),
        "KSpaceFiltering": "NONE",
        "ContentQualification": "RESEARCH",
        "ImageComments": text(info.research_use, 10240),
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "PresentationLUTShape": "IDENTITY",
        "ApplicableSafetyStandardAgency": "IEC",
        "ApplicableSafetyStandardDescription": "IEC 60601-2-33 values; no conformity is claimed",
    }


def _pulse_sequence(info: SeriesInfo) -> dict[str, Any]:
    """PS3.3 C.8.13.4."""
    n_trajectories = info.encoding_steps[1] * max(1, info.encoding_steps[2])
    values: dict[str, Any] = {
        "PulseSequenceName": text(info.sequence_name, 16),
        "MRAcquisitionType": "3D" if info.is_3d else "2D",
        "EchoPulseSequence": info.echo.upper(),
        "MultiPlanarExcitation": "NO",
        "PhaseContrast": "NO",
        "TimeOfFlightContrast": "NO",
        "SteadyStatePulseSequence": "NONE",
        "EchoPlanarPulseSequence": "NO",
        "SaturationRecovery": "NO",
        "SpectrallySelectedSuppression": "NONE",
        "OversamplingPhase": "NONE",
        "GeometryOfKSpaceTraversal": "RECTILINEAR",
        "RectilinearPhaseEncodeReordering": "LINEAR",
        "SegmentedKSpaceTraversal": "FULL" if info.echo_train_length > 1 else "SINGLE",
        "NumberOfKSpaceTrajectories": n_trajectories,
    }
    if info.echo == "spin":
        values["MultipleSpinEcho"] = "YES" if info.echo_train_length > 1 else "NO"
    if info.is_3d:
        values["CoverageOfKSpace"] = "FULL"
    return values


def _dimensions(info: SeriesInfo) -> dict[str, Any]:
    organisation = uid(series_uid(info, "enhanced"), "dimensions")
    return {
        "DimensionOrganizationSequence": {"DimensionOrganizationUID": organisation},
        "DimensionIndexSequence": [
            {
                "DimensionOrganizationUID": organisation,
                "DimensionIndexPointer": tag_for_keyword(pointer),
                "FunctionalGroupPointer": tag_for_keyword(group),
                "DimensionDescriptionLabel": pointer,
            }
            for pointer, group in _DIMENSIONS
        ],
    }


def _shared(planes: Planes, info: SeriesInfo) -> dict[str, Any]:
    """Functional groups that hold for every frame."""
    thickness = planes.spacing if info.slice_thickness is None else info.slice_thickness * 1e3
    anatomy, meaning = _ANATOMY.get(info.body_part.upper(), _ANATOMY["HEAD"])
    return {
        "PixelMeasuresSequence": {
            "PixelSpacing": decimals(planes.pixel_spacing),
            "SliceThickness": decimal(thickness),
            "SpacingBetweenSlices": decimal(planes.spacing),
        },
        "PlaneOrientationSequence": {"ImageOrientationPatient": decimals(planes.orientation)},
        "FrameAnatomySequence": {
            "FrameLaterality": "U",
            "AnatomicRegionSequence": {
                "CodeValue": anatomy,
                "CodingSchemeDesignator": "SCT",
                "CodeMeaning": meaning,
            },
        },
        "MRImageFrameTypeSequence": {
            "FrameType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
            **_image_kind(info),
        },
        "MRTimingAndRelatedParametersSequence": _timing(info),
        "MRFOVGeometrySequence": _geometry(planes, info),
        "MRModifierSequence": _modifier(info),
        "MRImagingModifierSequence": {
            "MagnetizationTransfer": "NONE",
            "BloodSignalNulling": "NO",
            "Tagging": "NONE",
            "TransmitterFrequency": float(info.frequency * 1e-6),
            "PixelBandwidth": decimal(info.bandwidth),
        },
        "MRReceiveCoilSequence": _receiver(info),
        "MRTransmitCoilSequence": {
            "TransmitCoilName": text(info.transmit_coil, 16),
            "TransmitCoilManufacturerName": MANUFACTURER,
            "TransmitCoilType": "BODY",
        },
        "MRAveragesSequence": {"NumberOfAverages": str(info.averages)},
    }


def _timing(info: SeriesInfo) -> dict[str, Any]:
    spin = info.echo == "spin"
    return {
        "RepetitionTime": milliseconds(info.repetition_time),
        "FlipAngle": decimal(degrees(info.flip_angle)),
        "EchoTrainLength": info.echo_train_length,
        "RFEchoTrainLength": info.echo_train_length if spin else 0,
        "GradientEchoTrainLength": 0 if spin else info.echo_train_length,
        # Required of every original image; not a number where nobody knows.
        "SpecificAbsorptionRateSequence": {
            "SpecificAbsorptionRateDefinition": "IEC_WHOLE_BODY",
            "SpecificAbsorptionRateValue": math.nan if info.sar is None else float(info.sar),
        },
        "OperatingModeSequence": {
            "OperatingModeType": "RF",
            "OperatingMode": _MODES[info.operating_mode],
        },
    }


def _geometry(planes: Planes, info: SeriesInfo) -> dict[str, Any]:
    n_read, n_phase, n_partitions = info.encoding_steps
    direction = planes.phase_direction(info.phase_axis)
    values: dict[str, Any] = {
        "InPlanePhaseEncodingDirection": "COLUMN" if direction == "COL" else "ROW",
        "MRAcquisitionFrequencyEncodingSteps": n_read,
        "MRAcquisitionPhaseEncodingStepsInPlane": n_phase,
        "PercentSampling": decimal(info.percent_sampling),
        "PercentPhaseFieldOfView": decimal(info.percent_phase_fov),
    }
    if info.is_3d:
        values["MRAcquisitionPhaseEncodingStepsOutOfPlane"] = n_partitions
    return values


def _modifier(info: SeriesInfo) -> dict[str, Any]:
    """What the sequence does besides (PS3.3 C.8.13.5.4)."""
    inverted, accelerated = info.inversion_time is not None, info.acceleration > 1
    values: dict[str, Any] = {
        "InversionRecovery": "YES" if inverted else "NO",
        "FlowCompensation": "NONE",
        "Spoiling": (
            "RF_AND_GRADIENT"
            if info.rf_spoiled
            else ("GRADIENT" if info.echo == "gradient" else "NONE")
        ),
        "T2Preparation": "NO",
        "SpectrallySelectedExcitation": "NONE",
        "SpatialPresaturation": "NONE",
        "PartialFourier": "YES" if info.partial_fourier < 1 else "NO",
        "ParallelAcquisition": "YES" if accelerated else "NO",
    }
    if inverted:
        values["InversionTimes"] = [float(info.inversion_time or 0) * 1e3]
    if info.partial_fourier < 1:
        values["PartialFourierDirection"] = "PHASE"
    if accelerated:
        values["ParallelAcquisitionTechnique"] = "SENSE"
        values["ParallelReductionFactorInPlane"] = float(info.acceleration)
        values["ParallelReductionFactorOutOfPlane"] = 1.0
        values["ParallelReductionFactorSecondInPlane"] = 1.0
    return values


def _receiver(info: SeriesInfo) -> dict[str, Any]:
    values: dict[str, Any] = {
        "ReceiveCoilName": text(info.receive_coil, 16),
        "ReceiveCoilManufacturerName": MANUFACTURER,
        "ReceiveCoilType": "MULTICOIL" if info.n_coils > 1 else "SURFACE",
        "QuadratureReceiveCoil": "NO",
    }
    if info.n_coils > 1:
        values["MultiCoilDefinitionSequence"] = [
            {"MultiCoilElementName": f"C{coil + 1}", "MultiCoilElementUsed": "YES"}
            for coil in range(info.n_coils)
        ]
    return values


def _frame(
    planes: Planes, image: Quantised, info: SeriesInfo, *, echo: int, index: int
) -> dict[str, Any]:
    """Functional groups of one frame."""
    return {
        "FrameContentSequence": {
            "FrameAcquisitionNumber": info.number,
            "FrameReferenceDateTime": f"{info.when:%Y%m%d%H%M%S}",
            "FrameAcquisitionDateTime": f"{info.when:%Y%m%d%H%M%S}",
            "FrameAcquisitionDuration": float(info.duration) * 1e3,
            "StackID": "1",
            "InStackPositionNumber": index + 1,
            "DimensionIndexValues": [1, echo + 1, index + 1],
        },
        "PlanePositionSequence": {"ImagePositionPatient": decimals(planes.position[index])},
        "MREchoSequence": {"EffectiveEchoTime": round(info.echo_times[echo] * 1e3, 9)},
        "FrameVOILUTSequence": window(image),
        "PixelValueTransformationSequence": rescale(image),
    }
