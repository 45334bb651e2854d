"""Results as MRD image messages and back."""

import json
from typing import Any

import numpy as np

from scanroom.core.result import Result
from scanroom.core.units import Metre
from scanroom.mri.raw.encoding import Encoding
from scanroom.mri.raw.messages import COMPLEX, DATA_TYPES, IMAGE_HEAD, MAGNITUDE, Image
from scanroom.mri.recon.inline.live import Counter
from scanroom.mri.recon.sort import FRAME

LPS = np.array([-1.0, -1.0, 1.0])
_MILLIMETRE = 1e3
_OF_DTYPE = {np.dtype(name): number for number, name in DATA_TYPES.items()}
_DIRECTIONS = ("read_dir", "phase_dir", "slice_dir")


def to_image(result: Result, number: int, counter: Counter, index: int) -> Image:
    """Spell one result as an image message: LPS millimetres, its name, unit and steps beside."""
    head = np.zeros((), IMAGE_HEAD)
    spacing = np.linalg.norm(result.affine[:3, :3], axis=0)
    sizes = result.array.shape[::-1]
    # MRD's position is the middle of the image, ours the centre of voxel n // 2
    middle = result.affine @ [*((n - 1) / 2 for n in sizes), 1.0]
    head["version"], head["image_type"] = 1, COMPLEX if np.iscomplexobj(result.array) else MAGNITUDE
    head["data_type"] = _OF_DTYPE[result.array.dtype]
    head["matrix_size"], head["channels"] = sizes, 1
    head["field_of_view"] = spacing * sizes * _MILLIMETRE
    head["position"] = middle[:3] * LPS * _MILLIMETRE
    for axis, name in enumerate(_DIRECTIONS):
        head[name] = result.affine[:3, axis] / spacing[axis] * LPS
    head["slice"], head["image_index"], head["image_series_index"] = number, index, 1
    for name, value in zip(FRAME, counter, strict=True):
        head[name] = value
    return Image(head=head, attributes=_said(result), pixels=result.array[None])


def _said(result: Result) -> dict[str, str]:
    return {
        "DataRole": "Image",
        "ImageProcessingHistory": "Scanroom",
        "scanroom_name": result.name,
        "scanroom_unit": result.unit,
        "scanroom_steps": json.dumps(list(result.provenance.get("steps", ()))),
    }


def affine_of(image: Image) -> np.ndarray:
    """Voxel index to scanner position, RAS+ metres, from an image's header.

    Directions of others may be missing: then the scanner's axes are taken.
    """
    head = image.head
    sizes = np.maximum(head["matrix_size"].astype(np.float64), 1)
    spacing: Any = np.maximum(head["field_of_view"].astype(np.float64), 1e-6) / sizes / _MILLIMETRE
    columns = np.stack([head[name].astype(np.float64) * LPS for name in _DIRECTIONS], axis=1)
    if not np.allclose(columns.T @ columns, np.eye(3), atol=1e-2):
        columns = np.diag([-1.0, -1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = columns * spacing
    middle = head["position"].astype(np.float64) * LPS / _MILLIMETRE
    affine[:3, 3] = middle - affine[:3, :3] @ ((sizes - 1) / 2)
    return affine


def from_image(image: Image, name: str, encoding: Encoding) -> Result:
    """Take an image of anybody as it is: one volume, its place from its own header."""
    array = image.pixels[0] if len(image.pixels) == 1 else _combined(image.pixels)
    return Result(
        name=image.attributes.get("scanroom_name", name),
        array=array.astype(np.float32) if not np.iscomplexobj(array) else array,
        axes=("z", "y", "x"),
        affine=affine_of(image),
        unit=image.attributes.get("scanroom_unit", "a.u."),
        provenance=provenance_of(image, encoding),
    )


def provenance_of(image: Image, encoding: Encoding) -> dict[str, Any]:
    """What an export needs to know, from the raw data's header and the image's attributes."""
    counter = {name: int(image.head[name]) for name in FRAME}
    thickness: Metre = encoding.encoded_fov[2] / encoding.encoded_matrix[2]
    return {
        "protocol": encoding.protocol_name,
        **counter,
        "field": encoding.field,
        "frequency": encoding.frequency,
        "subject_position": encoding.subject_position,
        "slice_thickness": thickness if thickness > 0 else 1e-3,
        "steps": steps_of(image),
        "user": dict(encoding.user),
    }


def steps_of(image: Image) -> tuple[str, ...]:
    """What the other side says it did."""
    text = image.attributes.get("scanroom_steps", "")
    if text:
        try:
            found = json.loads(text)
        except ValueError:
            found = [text[:200]]
        return tuple(str(item) for item in found) if isinstance(found, list) else (str(found),)
    said = image.attributes.get("ImageProcessingHistory", "")
    return (f"reconstructed elsewhere{': ' + said[:200] if said else ''}",)


def _combined(pixels: np.ndarray) -> np.ndarray:
    """Channels that the other side left apart."""
    power: np.ndarray = np.sqrt((np.abs(pixels.astype(np.complex64)) ** 2).sum(axis=0))
    return power
