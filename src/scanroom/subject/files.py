"""Subjects in files: one HDF5 file of maps, and label maps in NIfTI with a table of tissues."""

import csv
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import h5py
import nibabel as nib
import numpy as np

from scanroom.core.apart import done_apart
from scanroom.core.errors import FormatError
from scanroom.core.units import Tesla
from scanroom.subject.mixture import MAGNETIC, WHOLE, Mixture, mixed
from scanroom.subject.model import PROPERTIES, Subject
from scanroom.subject.tissue import TissueTable

FORMAT = "scanroom-subject"
VERSION = 1
MAX_VOXELS = 512_000_000
MAX_FIELD: Tesla = 30.0
"""Above every magnet with room for a subject."""
BYTES_PER_SECOND = 2e6
"""Slower than raw data, since maps are compressed, on paper up to 1000 to 1."""
_PROBLEMS = (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, MemoryError)


def save_subject(subject: Subject, path: Path) -> None:
    """Write a subject as one HDF5 file, aside and then renamed.

    Attributes ``format``, ``version``, ``name``, ``field`` [T], ``notice``; a dataset ``affine``;
    a group ``maps`` with one float32 dataset per property, axes x y z, attribute ``unit``.
    """
    aside = path.with_name(f".part-{uuid4().hex[:12]}-{path.name[-200:]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with h5py.File(aside, "w") as file:
            file.attrs.update(
                format=FORMAT,
                version=VERSION,
                name=subject.name,
                field=subject.field,
                notice=subject.notice,
            )
            file["affine"] = np.asarray(subject.affine, np.float64)
            maps = file.create_group("maps")
            for name, values in subject.maps.items():
                item = maps.create_dataset(name, data=values, compression="gzip", shuffle=True)
                item.attrs["unit"] = PROPERTIES[name][0]
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_subject(
    path: Path, *, properties: Collection[str] | None = None, trusted: bool = False
) -> Subject:
    """Read a subject file; only the maps asked for, or all.

    The HDF5 library reads it in a process apart, since a broken file can make the library loop or
    crash; ``trusted`` saves that for a file that this process has just written.

    Raises
    ------
    FormatError
        If the file is damaged, or is no subject.
    """
    path = Path(path)
    if trusted:
        return _load(path, properties)
    words = () if properties is None else (",".join(sorted(properties)),)
    kind = "a subject is HDF5 written by save_subject"
    with done_apart(hand_over, path, words, kind=kind, bytes_per_second=BYTES_PER_SECOND) as handed:
        said = json.loads(handed.readline())
        names, affine = said.pop("maps"), _array(handed)
        maps = {name: _array(handed) for name in names}
        return Subject(affine=affine, maps=maps, **said)


def hand_over(path: Path, out: BinaryIO, words: str | None = None) -> None:
    """What the process apart does: a line of texts, then the affine and the maps asked for."""
    subject = _load(path, None if words is None else words.split(","))
    said = {"name": subject.name, "field": subject.field, "notice": subject.notice}
    out.write(json.dumps({**said, "maps": list(subject.maps)}).encode() + b"\n")
    for values in (subject.affine, *subject.maps.values()):
        np.lib.format.write_array(out, values, allow_pickle=False)


def _array(stream: BinaryIO) -> np.ndarray:
    values: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
    return values


def _load(path: Path, properties: Collection[str] | None) -> Subject:
    """Read with the HDF5 library, in this process."""
    try:
        with h5py.File(path, "r") as file:
            return _read(file, path, properties)
    except FormatError:
        raise
    except _PROBLEMS as problem:
        raise _broken(path, " ".join(str(problem).split())[:200]) from problem


def _read(file: h5py.File, path: Path, properties: Collection[str] | None) -> Subject:
    if file.attrs.get("format") != FORMAT or int(file.attrs["version"]) != VERSION:
        raise _broken(path, f"its format is {file.attrs.get('format')!r}")
    stored = file["maps"]
    names = [name for name in PROPERTIES if name in stored]
    if properties is not None:
        missing = sorted(set(properties) - set(names))
        if missing:
            raise _broken(path, f"it has no map of {', '.join(missing)}")
        names = [name for name in names if name in {"proton_density", *properties}]
    if "proton_density" not in names:
        raise _broken(path, "it has no map of proton_density")
    shapes = {stored[name].shape for name in names}
    shape = shapes.pop()
    if shapes or len(shape) != 3 or not 0 < np.prod(shape) <= MAX_VOXELS:
        raise _broken(path, f"its maps have the shapes {sorted({shape, *shapes})}")
    affine = np.asarray(file["affine"][()], np.float64)
    check_affine(affine, path)
    field = float(file.attrs["field"])
    if not 0 < field <= MAX_FIELD:
        raise _broken(path, f"its field is {field:g} T; it may be up to {MAX_FIELD:g} T")
    maps = {name: np.asarray(stored[name][()], np.float32) for name in names}
    for name, values in maps.items():
        if np.isnan(values).any():
            raise _broken(path, f"its map of {name} holds values that are not numbers")
    return Subject(
        name=str(file.attrs["name"]),
        field=field,
        affine=affine,
        maps=maps,
        notice=str(file.attrs.get("notice", "")),
    )


def check_affine(affine: np.ndarray, path: Path) -> None:
    """Refuse a grid that is flat, unreal or not the size of anything that fits a scanner."""
    good = affine.shape == (4, 4) and bool(np.isfinite(affine).all())
    if good:
        edges = np.linalg.norm(affine[:3, :3], axis=0)
        volume = abs(float(np.linalg.det(affine[:3, :3])))
        good = bool((edges > 1e-6).all() and (edges < 0.1).all())
        good = good and volume > 0.01 * float(edges.prod())
    if not good:
        raise _broken(path, "its affine is not a grid of voxels between 1 um and 100 mm")


def _broken(path: Path, what: str) -> FormatError:
    return FormatError(
        f"{path} is not a subject file: {what} (scanroom.subject.files). Give a file written by "
        "save_subject, or one of the built-in names."
    )


def from_labels(
    labels: Path,
    table: Path,
    field: Tesla,
    *,
    properties: Collection[str] = MAGNETIC,
    tissues: TissueTable | None = None,
) -> Subject:
    """Import a NIfTI label map (millimetres, RAS+ by its affine) with a table of its labels.

    The table is CSV with the header ``label,tissue``: one line for each whole number that the map
    holds, and the name of a tissue of the tissue table.

    Raises
    ------
    FormatError
        If either file is broken, or the map holds a label the table does not name.
    ProtocolError
        If a tissue is unknown.
    """
    values, affine = _read_labels(labels)
    names = _read_names(table)
    present = [int(label) for label in np.unique(values)]
    missing = [label for label in present if label not in names]
    if missing:
        raise FormatError(
            f"{labels} holds the labels {missing[:10]} that {table} does not name "
            "(scanroom.subject.files). Add a line for each."
        )
    kinds = tuple(dict.fromkeys(names[label] for label in present))
    if len(kinds) > 255:
        raise FormatError(
            f"{labels} holds {len(kinds)} tissues; the most is 255 (scanroom.subject.files). "
            "Join some of them."
        )
    place = np.searchsorted(present, values)
    index = np.array([kinds.index(names[label]) for label in present], np.uint8)[place]
    mixture = Mixture(
        tissues=kinds,
        first=index,
        second=index,
        share=np.full(index.shape, WHOLE, np.uint8),
        affine=affine,
    )
    return mixed(mixture, name=labels.name, field=field, properties=properties, table=tissues)


def _read_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers and their affine in metres."""
    try:
        image: Any = nib.load(path)
        shape = tuple(int(n) for n in image.shape)
        small = len(shape) == 3 and 0 < int(np.prod(shape)) <= MAX_VOXELS
        values = np.asarray(image.dataobj) if small else np.zeros(0)
        affine = np.array(image.affine, np.float64)
    except Exception as problem:  # nibabel raises whatever the file provokes
        raise _no_labels(path, " ".join(str(problem).split())[:200]) from problem
    if not small:
        raise _no_labels(path, f"its shape is {shape}")
    if not np.isfinite(values).all() or np.any(values != np.round(values)):
        raise _no_labels(path, "its values are not whole numbers")
    affine[:3] *= 1e-3
    check_affine(affine, path)
    return values.astype(np.int64), affine


def _no_labels(path: Path, what: str) -> FormatError:
    return FormatError(
        f"{path} is not a label map: {what} (NIfTI, three axes, whole numbers). "
        "Give a segmentation."
    )


def _read_names(path: Path) -> Mapping[int, str]:
    """Tissue of each label."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        return {int(line["label"]): line["tissue"].strip() for line in lines}
    except (
        OSError,
        UnicodeDecodeError,
        csv.Error,
        KeyError,
        ValueError,
        AttributeError,
        TypeError,
    ) as problem:
        raise FormatError(
            f"{path} is not a table of labels: {' '.join(repr(problem).split())[:200]} (CSV with "
            "the header label,tissue). Give one line per label."
        ) from problem
