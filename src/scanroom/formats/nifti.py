"""NIfTI-1 files with the names and sidecars of the Brain Imaging Data Structure (BIDS)."""

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np

from scanroom.core.errors import FormatError
from scanroom.core.result import Result
from scanroom.formats.files import atomic
from scanroom.formats.quantise import quantised as _quantised
from scanroom.formats.series import RESEARCH_USE, SeriesInfo

_NIBABEL: Any = nibabel  # it is only partly typed
BIDS_VERSION = "1.10.0"
SCANNER = 1
"""NIfTI code of scanner coordinates, for sform and qform."""
MAX_BYTES = 2**32
Suffix = Literal["T1w", "T2w", "T2starw", "PDw", "MEGRE", "MESE", "localizer"]
SUFFIXES: Mapping[str, Suffix] = {
    "T1": "T1w",
    "T2": "T2w",
    "T2_STAR": "T2starw",
    "PROTON_DENSITY": "PDw",
    "UNKNOWN": "T1w",
}
"""BIDS suffix by acquisition contrast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BidsName:
    """The entities of an anatomical image, in the order that BIDS prescribes."""

    subject: str
    suffix: str
    acquisition: str = ""
    run: int | None = None
    echo: int | None = None
    part: str = ""

    @property
    def stem(self) -> str:
        """File name without its ending."""
        entities = (
            ("sub", label(self.subject)),
            ("acq", label(self.acquisition)),
            ("run", "" if self.run is None else str(self.run)),
            ("echo", "" if self.echo is None else str(self.echo)),
            ("part", label(self.part)),
        )
        return "_".join([*(f"{key}-{value}" for key, value in entities if value), self.suffix])

    @property
    def path(self) -> Path:
        """Place of the image in the data set."""
        return Path(f"sub-{label(self.subject)}", "anat", f"{self.stem}.nii.gz")


def label(text: str) -> str:
    """Make a BIDS label: letters and digits; words run together in camel case."""
    words: list[str] = re.findall(r"[A-Za-z0-9]+", text)
    return "".join(words[:1] + [word[:1].upper() + word[1:] for word in words[1:]])


def sidecar_of(info: SeriesInfo, *, image: int = 0, unit: str = "") -> dict[str, Any]:
    """Describe a series in BIDS terms and units: s, degrees, T, mm, MHz."""
    exam = info.exam
    items: dict[str, Any] = {
        "Modality": "MR",
        "Manufacturer": "Scanroom",
        "ManufacturersModelName": exam.model,
        "DeviceSerialNumber": exam.device,
        "SoftwareVersions": exam.software,
        "StationName": exam.station or None,
        "InstitutionName": exam.institution or None,
        "MagneticFieldStrength": exam.field,
        "ImagingFrequency": round(info.frequency * 1e-6, 9),
        "ReceiveCoilName": info.receive_coil,
        "MRTransmitCoilSequence": info.transmit_coil,
        "PatientPosition": exam.patient_position,
        "BodyPart": info.body_part,
        "SeriesNumber": info.number,
        "SeriesDescription": info.description,
        "ProtocolName": info.description,
        "SequenceName": info.sequence_name,
        "ScanningSequence": "GR" if info.echo == "gradient" else "SE",
        "MRAcquisitionType": "3D" if info.is_3d else "2D",
        "AcquisitionTime": f"{info.when:%H:%M:%S.%f}",
        "EchoTime": info.echo_times[image],
        "EchoNumber": image + 1 if len(info.echo_times) > 1 else None,
        "RepetitionTime": info.repetition_time,
        "InversionTime": info.inversion_time,
        "FlipAngle": round(float(np.degrees(info.flip_angle)), 9),
        "EchoTrainLength": info.echo_train_length if info.echo_train_length > 1 else None,
        "NumberOfAverages": info.averages,
        "PixelBandwidth": info.bandwidth,
        "PartialFourier": info.partial_fourier,
        "ParallelReductionFactorInPlane": info.acceleration if info.acceleration > 1 else None,
        "PhaseEncodingAxis": {"x": "i", "y": "j"}[info.phase_axis],
        "SliceThickness": None if info.slice_thickness is None else info.slice_thickness * 1e3,
        "SAR": info.sar,
        "Units": unit or None,
        "SyntheticData": exam.synthetic,
        "ImageComments": info.research_use,
        "ConversionSoftware": "Scanroom",
    }
    return {key: value for key, value in items.items() if value is not None}


def write_nifti(
    result: Result,
    path: Path,
    sidecar: Mapping[str, Any],
    *,
    quantised: bool = True,
) -> tuple[Path, Path]:
    """Write an image, single precision, and its JSON sidecar; return both paths.

    With ``quantised`` the values are rounded as in `scanroom.formats.quantise`, so that they equal
    those of the DICOM series to the last bit; without it they stay as they are.

    Raises
    ------
    FormatError
        If the result is no stack of slices or holds values that a file cannot.
    """
    if result.axes != ("z", "y", "x"):
        raise FormatError(
            f"result {result.name!r} has the axes {result.axes}; a NIfTI image is written from "
            "('z', 'y', 'x') (scanroom.formats.nifti). Split it into volumes."
        )
    if not path.name.endswith((".nii", ".nii.gz")):
        raise FormatError(
            f"{path.name} does not end in .nii or .nii.gz; NIfTI readers go by the ending "
            "(NIfTI-1 standard). Rename it."
        )
    array = (_quantised(result) if quantised else result).array
    data = _encode(array, result.affine)
    beside = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    with atomic(beside) as aside:
        aside.write_text(json.dumps(dict(sidecar), indent=2, allow_nan=False) + "\n", "utf-8")
    with atomic(path) as aside:
        aside.write_bytes(
            gzip.compress(data, compresslevel=2, mtime=0) if path.suffix == ".gz" else data
        )
    return path, beside


def _encode(array: np.ndarray, affine: np.ndarray) -> bytes:
    """Return the file: x fastest, millimetres, scanner coordinates in both forms."""
    placed = np.diag([1e3, 1e3, 1e3, 1.0]) @ affine
    image = _NIBABEL.Nifti1Image(np.asarray(array, dtype=np.float32).T, placed)
    image.set_sform(placed, SCANNER)
    image.set_qform(placed, SCANNER)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = RESEARCH_USE.split(".", maxsplit=1)[0].encode()
    data: bytes = image.to_bytes()
    return data


def read_nifti(path: Path) -> Result:
    """Read a volume; its sidecar, if there is one, becomes the provenance.

    Raises
    ------
    FormatError
        If the file is damaged, too large, or not a volume.
    """
    try:
        image = _NIBABEL.load(path)
        shape = image.shape
        if len(shape) != 3 or np.prod(shape, dtype=float) * 8 > MAX_BYTES:
            raise FormatError(
                f"{path} has the shape {shape}; a volume of three axes and at most {MAX_BYTES} "
                "bytes is read (scanroom.formats.nifti). Split or crop it."
            )
        array = np.asarray(image.dataobj, dtype=np.float32).T
        affine = np.diag([1e-3, 1e-3, 1e-3, 1.0]) @ image.affine
        beside = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")
        sidecar = json.loads(beside.read_text("utf-8")) if beside.exists() else {}
    except (OSError, ValueError, EOFError, nibabel.filebasedimages.ImageFileError) as error:
        raise FormatError(
            f"{path} is not a NIfTI image that can be read ({type(error).__name__}: {error}); "
            "it must be a whole .nii or .nii.gz file. Export it again."
        ) from error
    return Result(
        name=path.name.split(".")[0],
        array=array,
        axes=("z", "y", "x"),
        affine=affine,
        unit=str(sidecar.get("Units", "")),
        provenance=sidecar,
    )


def write_dataset_description(folder: Path, name: str) -> Path:
    """Write what BIDS asks of every data set."""
    path = folder / "dataset_description.json"
    items = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "Scanroom"}],
        "Acknowledgements": RESEARCH_USE,
    }
    with atomic(path) as aside:
        aside.write_text(json.dumps(items, indent=2) + "\n", "utf-8")
    return path
