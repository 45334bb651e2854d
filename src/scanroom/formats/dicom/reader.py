"""DICOM series become results: our own files, and others' uncompressed MR images."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from scanroom.core.errors import FormatError
from scanroom.core.result import Result
from scanroom.formats.dicom.planes import Planes, affine_of

MAX_FILES = 20_000
MAX_BYTES = 2**31


def read_dicom(folder: Path) -> tuple[Result, ...]:
    """Read every MR image below a folder: one result per series and echo, slices in order.

    Raises
    ------
    FormatError
        If there is no image, or a file cannot be understood.
    """
    from pydicom import dcmread  # noqa: PLC0415 - slow to import
    from pydicom.errors import InvalidDicomError  # noqa: PLC0415

    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if len(paths) > MAX_FILES or sum(path.stat().st_size for path in paths) > MAX_BYTES:
        raise FormatError(
            f"{folder} holds {len(paths)} files; at most {MAX_FILES} of {MAX_BYTES} bytes together "
            "are read (scanroom.formats.dicom). Give the folder of one series."
        )
    stacks: dict[tuple[str, float], list[_Frame]] = defaultdict(list)
    for path in paths:
        try:
            for frame in _frames(dcmread(path)):
                stacks[frame.key].append(frame)
        except (InvalidDicomError, AttributeError, KeyError, ValueError, TypeError) as error:
            raise FormatError(
                f"{path} is not an MR image that can be read ({type(error).__name__}: {error}); "
                "it must be uncompressed classic or Enhanced MR. Take it out of the folder."
            ) from error
    if not stacks:
        raise FormatError(
            f"{folder} holds no file; a DICOM series is a folder of files. Give another one."
        )
    return tuple(_stack(frames) for _, frames in sorted(stacks.items()))


class _Frame:
    """One slice with the attributes that place it."""

    def __init__(self, image: Any, pixels: np.ndarray, groups: Mapping[str, Any]) -> None:
        measures, value = groups["measures"], groups["value"]
        slope = float(getattr(value, "RescaleSlope", 1))
        intercept = float(getattr(value, "RescaleIntercept", 0))
        self.values = np.asarray(pixels * slope + intercept, dtype=np.float32)
        orientation = np.array(groups["orientation"].ImageOrientationPatient, dtype=float)
        self.row, self.column = orientation[:3], orientation[3:]
        self.position = np.array(groups["position"].ImagePositionPatient, dtype=float)
        between_rows, between_columns = map(float, measures.PixelSpacing)
        self.pixel_spacing = (between_rows, between_columns)
        thickness = float(getattr(measures, "SliceThickness", 0) or 1)
        self.spacing = float(getattr(measures, "SpacingBetweenSlices", 0) or thickness)
        self.name = str(getattr(image, "SeriesDescription", "")) or "image"
        self.key = (str(image.SeriesInstanceUID), groups["echo_time"])

    @property
    def location(self) -> float:
        return float(self.position @ np.cross(self.row, self.column))


def _frames(image: Any) -> list[_Frame]:
    """Classic images carry their attributes at the top, Enhanced ones in functional groups."""
    pixels = image.pixel_array
    if "PerFrameFunctionalGroupsSequence" not in image:
        names = ("measures", "value", "orientation", "position")
        groups = dict.fromkeys(names, image) | {"echo_time": float(image.get("EchoTime") or 0)}
        return [_Frame(image, pixels, groups)]
    shared = image.SharedFunctionalGroupsSequence[0]
    frames = []
    for index, own in enumerate(image.PerFrameFunctionalGroupsSequence):

        def group(name: str, own: Any = own) -> Any:
            return (own if name in own else shared)[name][0]

        groups = {
            "measures": group("PixelMeasuresSequence"),
            "value": group("PixelValueTransformationSequence"),
            "orientation": group("PlaneOrientationSequence"),
            "position": group("PlanePositionSequence"),
            "echo_time": float(group("MREchoSequence").EffectiveEchoTime),
        }
        frames.append(_Frame(image, pixels.reshape(-1, *pixels.shape[-2:])[index], groups))
    return frames


def _stack(frames: list[_Frame]) -> Result:
    frames = sorted(frames, key=lambda frame: frame.location)
    first = frames[0]
    if len({frame.values.shape for frame in frames}) > 1:
        raise FormatError(
            f"series {first.name!r} has slices of different sizes; a stack has one (PS3.3 A.4). "
            "Read its parts from folders of their own."
        )
    values: Float32[np.ndarray, "z y x"] = np.stack([frame.values for frame in frames])
    cut = Planes(
        pixels=np.zeros((len(frames), 1, 1), np.uint16),
        row=first.row,
        column=first.column,
        position=np.stack([frame.position for frame in frames]),
        pixel_spacing=first.pixel_spacing,
        spacing=first.spacing,
        is_turned=False,
    )
    return Result(
        name=first.name,
        array=values,
        axes=("z", "y", "x"),
        affine=affine_of(cut),
        unit="",
        provenance={"echo_time": first.key[1] * 1e-3},
    )
