"""The door to subjects: built-in names and files."""

import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Metre, Tesla
from scanroom.subject.acr import acr
from scanroom.subject.brain import NOTICE, brain
from scanroom.subject.files import read_subject
from scanroom.subject.mixture import MAGNETIC, Mixture, box, crop_mixture, mixed
from scanroom.subject.model import Subject
from scanroom.subject.shapes import Point, asymmetric, sphere

BUILDERS: Mapping[str, Callable[..., Mixture]] = {
    "acr": acr,
    "asymmetric": asymmetric,
    "brain": brain,
    "sphere": sphere,
}
"""Built-in subjects; what each can be told are its keyword arguments."""


def subject_names() -> tuple[str, ...]:
    """Built-in names."""
    return tuple(sorted(BUILDERS))


def load_subject(
    name_or_path: str | Path,
    field: Tesla,
    *,
    properties: Collection[str] = MAGNETIC,
    region: tuple[Point, Point] | None = None,
    **options: object,
) -> Subject:
    """Make a built-in subject at a field strength, or read one from a file.

    ``properties`` says which maps to build; ``region`` keeps the voxels between two corners [m].
    Other options are those of the builder (scanroom.subject.shapes, acr, brain).

    Raises
    ------
    ProtocolError
        If there is no such subject, option, property or region, or if the file is of another field.
    FormatError
        If the file is broken.
    """
    name = str(name_or_path)
    if name in BUILDERS:
        mixture = build(name, **options)
        if region is not None:
            mixture = crop_mixture(mixture, np.array(region[0]), np.array(region[1]))
        notice = NOTICE if name == "brain" else ""
        return mixed(mixture, name=name, field=field, properties=properties, notice=notice)
    path = Path(name)
    if not path.is_file():
        raise ProtocolError(
            f"subject {name!r} is neither a file nor one of {', '.join(subject_names())} "
            "(scanroom.subject). Choose a name or give a subject file (.h5)."
        )
    if options:
        raise ProtocolError(
            f"{', '.join(sorted(options))} cannot be chosen for a file (scanroom.subject). "
            "Leave it out."
        )
    subject = read_subject(path)
    if abs(subject.field - field) > 0.01 * field:
        raise ProtocolError(
            f"{path.name} was made for {subject.field:.4g} T; the scanner has {field:.4g} T, and "
            "relaxation times differ (scanroom.subject). Make it for this field."
        )
    return subject if region is None else crop(subject, *region)


def build(name: str, **options: object) -> Mixture:
    """Tissues of a built-in subject, before a field is chosen."""
    if name not in BUILDERS:
        raise ProtocolError(
            f"subject {name!r} is not built in; there are {', '.join(subject_names())} "
            "(scanroom.subject). Choose one of them."
        )
    try:
        inspect.signature(BUILDERS[name]).bind(**options)
    except TypeError as problem:
        raise ProtocolError(
            f"{name} cannot be built: {problem} (scanroom.subject). "
            "Look up its options in docs/reference/subjects.md."
        ) from problem
    return BUILDERS[name](**options)


def crop(
    subject: Subject,
    lower: tuple[Metre, Metre, Metre],
    upper: tuple[Metre, Metre, Metre],
) -> Subject:
    """Keep the voxels whose centres lie between two corners, scanner coordinates [m]."""
    shape = subject.maps["proton_density"].shape
    span, affine = box(subject.affine, shape, np.array(lower), np.array(upper))
    return Subject(
        name=subject.name,
        field=subject.field,
        affine=affine,
        maps={name: values[span] for name, values in subject.maps.items()},
        notice=subject.notice,
    )
