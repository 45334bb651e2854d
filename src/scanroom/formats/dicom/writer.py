"""Results become DICOM series."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from scanroom import __version__
from scanroom.core.errors import FormatError
from scanroom.core.result import Result
from scanroom.formats.dicom.classic import series_values, slice_values
from scanroom.formats.dicom.enhanced import enhanced_values
from scanroom.formats.dicom.planes import planes
from scanroom.formats.dicom.values import dataset, uid
from scanroom.formats.files import atomic_folder
from scanroom.formats.quantise import quantise
from scanroom.formats.series import SeriesInfo


def write_dicom(
    results: Result | Sequence[Result], folder: Path, info: SeriesInfo, *, enhanced: bool = False
) -> tuple[Path, ...]:
    """Write one series into a new folder: a file per slice, or one Enhanced file.

    Several results are the echoes of one series, one for each of ``info.echo_times``, on one grid.
    Values are rounded as in `scanroom.formats.quantise`, hence equal those of `write_nifti`.

    Raises
    ------
    FormatError
        If a result is no stack of slices, or the folder holds something already.
    """
    stacks = (results,) if isinstance(results, Result) else tuple(results)
    _check(stacks, info)
    images = [quantise(stack.array) for stack in stacks]
    cuts = [planes(image.stored, stack.affine) for image, stack in zip(images, stacks, strict=True)]
    with atomic_folder(folder) as aside:
        if enhanced:
            names = ["enhanced.dcm"]
            _save(enhanced_values(cuts, images, info), aside / names[0])
        else:
            shared = series_values(info)
            names = []
            for echo, (cut, image) in enumerate(zip(cuts, images, strict=True)):
                for index in range(len(cut.pixels)):
                    names.append(f"{echo * len(cut.pixels) + index + 1:04d}.dcm")
                    own = slice_values(cut, image, info, echo=echo, index=index)
                    _save(shared | own, aside / names[-1])
    return tuple(folder / name for name in names)


def _check(stacks: tuple[Result, ...], info: SeriesInfo) -> None:
    for stack in stacks:
        if stack.axes != ("z", "y", "x"):
            raise FormatError(
                f"result {stack.name!r} has the axes {stack.axes}; a DICOM series is written from "
                "('z', 'y', 'x') (scanroom.formats.dicom). Split it into stacks."
            )
    first = stacks[0]
    if len(stacks) != len(info.echo_times):
        raise FormatError(
            f"series {info.description!r} has {len(stacks)} images and {len(info.echo_times)} echo "
            "times; each image is one echo (scanroom.formats.dicom). Give one for each."
        )
    for stack in stacks[1:]:
        if stack.array.shape != first.array.shape or abs(stack.affine - first.affine).max() > 1e-9:
            raise FormatError(
                f"result {stack.name!r} lies on another grid than {first.name!r}; the echoes of "
                "one series share one (scanroom.formats.dicom). Write two series."
            )


def _save(values: dict[str, Any], path: Path) -> None:
    """Write one file, Explicit VR Little Endian."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = values["SOPClassUID"]
    meta.MediaStorageSOPInstanceUID = values["SOPInstanceUID"]
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(uid("implementation"))
    meta.ImplementationVersionName = f"SCANROOM_{__version__}"[:16]
    file = FileDataset(str(path), dataset(values), file_meta=meta, preamble=b"\0" * 128)
    file.save_as(path, enforce_file_format=True)
