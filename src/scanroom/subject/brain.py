"""The head: tissues of the MNI152 brain in a skull and scalp of published thickness."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float64

from scanroom.core.errors import FormatError
from scanroom.core.units import Metre
from scanroom.subject.mixture import WHOLE, Mixture

DATA = Path(__file__).parent / "data"

TISSUES: tuple[str, ...] = (
    "air", "csf", "grey", "white", "caudate", "putamen", "pallidum", "thalamus", "subthalamic",
    "nigra", "dentate", "fat", "muscle", "scalp", "cortical_bone", "marrow", "blood",
)  # fmt: skip
"""Tissue of each index in the packed file."""

NOTICE = (DATA / "MNI152-NOTICE.txt").read_text(encoding="utf-8").strip()

AC = np.array([0.25, 1.298, -5.003]) * 1e-3
PC = np.array([-0.188, -24.756, -2.376]) * 1e-3
"""Commissures in MNI152 2009 [m]; Lead-DBS, A. Horn et al., NeuroImage 150:395 (2017),
doi:10.1016/j.neuroimage.2017.02.004."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landmark:
    """A named place in the brain, MNI152 coordinates [m]."""

    name: str
    position: Float64[np.ndarray, "3"]
    source: str


# Lateral, anterior and superior of the mid-commissural point [mm].
_TARGETS: Mapping[str, tuple[tuple[float, float, float], str]] = {
    "stn": (
        (12.0, -3.0, -4.0),
        "common stereotactic target of the subthalamic nucleus, Benabid et al., Mov Disord 17 "
        "Suppl 3:S123 (2002), doi:10.1002/mds.10153",
    ),
    "gpi": (
        (20.0, 2.0, -4.0),
        "common stereotactic target of the internal pallidum, Starr, Stereotact Funct Neurosurg "
        "79:118 (2002), doi:10.1159/000070828",
    ),
    "vim": (
        (14.0, -6.5, 0.0),
        "common stereotactic target of the ventral intermediate nucleus, Benabid et al., Mov "
        "Disord 17 Suppl 3:S123 (2002), doi:10.1002/mds.10153",
    ),
}


@cache
def landmarks() -> Mapping[str, Landmark]:
    """Targets on both sides, from commissural coordinates turned into MNI152; AC and PC."""
    forward = (AC - PC) / np.linalg.norm(AC - PC)
    right = np.array([1.0, 0.0, 0.0])
    right = right - forward * (right @ forward)
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    middle = 0.5 * (AC + PC)
    horn = "Horn et al., NeuroImage 150:395 (2017), doi:10.1016/j.neuroimage.2017.02.004"
    places = {
        "ac": Landmark(name="ac", position=AC, source=horn),
        "pc": Landmark(name="pc", position=PC, source=horn),
    }
    for name, (offset, source) in _TARGETS.items():
        for side, sign in (("left", -1), ("right", 1)):
            lateral, anterior, superior = np.array(offset) * 1e-3
            place = middle + sign * lateral * right + anterior * forward + superior * up
            key = f"{name}_{side}"
            places[key] = Landmark(name=key, position=place, source=source)
    return places


def brain(*, marker: bool = False, path: Path = DATA / "brain.npz") -> Mixture:
    """Read the packed head, 1 mm; with ``marker`` an oil capsule lies on the right temple.

    The MNI152 2009 symmetric template has no left and right of its own; the capsule (radius 6 mm,
    fat) tells them apart in images.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as packed:
            if tuple(packed["tissues"].tolist()) != TISSUES:
                raise FormatError(
                    f"{path} holds other tissues than {', '.join(TISSUES)} "
                    "(scripts/build_brain.py). Build it again."
                )
            mixture = Mixture(
                tissues=TISSUES,
                first=packed["first"],
                second=packed["second"],
                share=packed["share"],
                affine=packed["affine"],
            )
    except (OSError, KeyError, ValueError, BadZipFile) as problem:
        raise FormatError(
            f"{path} cannot be read as the packed head: {' '.join(str(problem).split())[:200]} "
            "(scripts/build_brain.py). Install scanroom again or build it."
        ) from problem
    return _marked(mixture) if marker else mixture


def _marked(mixture: Mixture, radius: Metre = 6e-3) -> Mixture:
    """Put a ball of fat on the right temple."""
    affine = mixture.affine
    row = np.argmin(np.abs(affine[1, 1] * np.arange(mixture.first.shape[1]) + affine[1, 3] - 0.02))
    layer = np.argmin(np.abs(affine[2, 2] * np.arange(mixture.first.shape[2]) + affine[2, 3]))
    edge = int(np.flatnonzero(mixture.first[:, row, layer])[-1])
    centre = np.array([edge + radius / affine[0, 0], row, layer])
    reach = radius / affine[0, 0]
    extra = max(0, int(np.ceil(centre[0] + reach + 2)) - mixture.first.shape[0])
    wide = [
        np.pad(part, ((0, extra), (0, 0), (0, 0)), constant_values=fill)
        for part, fill in ((mixture.first, 0), (mixture.second, 0), (mixture.share, WHOLE))
    ]
    x, y, z = np.ogrid[tuple(slice(n) for n in wide[0].shape)]
    away = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
    ball = (away <= reach**2) & (wide[0] == 0)
    wide[0][ball] = TISSUES.index("fat")
    wide[1][ball] = TISSUES.index("fat")
    wide[2][ball] = WHOLE
    return Mixture(
        tissues=mixture.tissues, first=wide[0], second=wide[1], share=wide[2], affine=affine
    )
