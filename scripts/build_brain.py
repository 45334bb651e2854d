"""Build the built-in head from the MNI ICBM152 2009a symmetric maps: python scripts/build_brain.py.

Grey and white matter are the maps themselves; what remains inside the skull is cerebrospinal fluid.
Deep nuclei are ellipsoids, met with the maps where those show them. The maps are stripped of the
skull, so bone, fat and scalp are layers of published thickness around the inside of the skull, and
what lies below is filled with muscle: this head has no eyes, teeth, sinuses or airways.
"""

import argparse
import io
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import nibabel as nib
import numpy as np
from scipy import ndimage

from scanroom.subject.brain import DATA, TISSUES
from scanroom.subject.mixture import WHOLE, Mixture

MAPS = Path(__file__).resolve().parents[2] / "shared/data/mri_phantom/pypi_nilearn"

SUBARACHNOID = 1.0
"""Cerebrospinal fluid between the brain mask and bone [mm]."""

INNER_TABLE, DIPLOE, OUTER_TABLE = 1.0, 4.0, 1.5
"""Bone [mm]: benchmark 4 of Aubry et al., J Acoust Soc Am 152:1003, doi:10.1121/10.0013426."""

FAT, SKIN = 2.5, 2.0
"""Subcutaneous fat and skin [mm], to the grid: the same benchmark has 4 mm of soft tissue."""

ROUNDING, SKULL_ROUNDING, HEAD_ROUNDING = 4.0, 15.0, 35.0
"""Radius [mm] of the closing that smooths the inside of the skull, its outside and the head; what
the last fills at the temples and the nape is muscle."""

FACE_TOP = -22.0
"""Height [mm, MNI] below which the outline of the head goes straight down to a neck."""

TAPER = 0.12
"""Relative narrowing of that outline from FACE_TOP to the lower edge of the maps."""

SINUS_RADIUS = 3.5
"""Superior sagittal sinus [mm]."""

LEVELS = 15
"""Steps of a volume share: the maps are averages of 152 heads, finer steps are noise."""

PURE = 0.85
"""From this share on a voxel is taken as one tissue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nucleus:
    """An ellipsoid on both sides, MNI mm; where it meets the tissues it takes, they are its own.

    ``turn`` [degree] swings the front end of the long axis towards the midline.
    """

    tissue: str
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    turn: float = 0.0
    takes: tuple[str, ...] = ("grey", "white")


# Places and extents are read off the maps (grey against white) where they show the nucleus; the
# subthalamic nucleus lies at its commissural target (scanroom.subject.brain.landmarks).
NUCLEI = (
    Nucleus(tissue="pallidum", centre=(19.0, -4.0, -0.5), radii=(4.5, 9.5, 6.5), turn=28.0),
    Nucleus(
        tissue="putamen",
        centre=(26.5, 3.0, 1.0),
        radii=(6.5, 17.0, 11.5),
        turn=14.0,
        takes=("grey",),
    ),
    Nucleus(tissue="caudate", centre=(13.0, 13.0, 7.0), radii=(7.0, 11.0, 11.5), takes=("grey",)),
    Nucleus(
        tissue="caudate",
        centre=(16.5, -4.0, 20.0),
        radii=(5.0, 14.0, 5.5),
        turn=14.0,
        takes=("grey",),
    ),
    Nucleus(tissue="thalamus", centre=(11.5, -18.5, 7.0), radii=(9.0, 14.0, 9.0), turn=25.0),
    Nucleus(tissue="subthalamic", centre=(11.5, -14.0, -7.5), radii=(2.2, 4.5, 3.0), turn=-35.0),
    Nucleus(tissue="nigra", centre=(10.0, -18.5, -12.0), radii=(2.5, 6.5, 4.0), turn=-30.0),
    Nucleus(tissue="dentate", centre=(15.0, -57.0, -35.0), radii=(6.0, 9.0, 7.0)),
)


def load(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """One map as float32 in [0, 1], and the affine in mm."""
    image = nib.load(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
    return np.asarray(image.dataobj, np.float32) / 255, np.asarray(image.affine)


def distance_outside(mask: np.ndarray) -> np.ndarray:
    """Distance [mm] from the nearest voxel of a mask; zero inside."""
    return np.asarray(ndimage.distance_transform_edt(~mask), np.float32)


def closed(mask: np.ndarray, radius: float) -> np.ndarray:
    """Morphological closing with a ball, holes filled; beneath the grid the mask goes on."""
    n = int(radius) + 2
    wide = np.pad(np.pad(mask, ((n, n), (n, n), (0, n))), ((0, 0), (0, 0), (n, 0)), mode="edge")
    wide = distance_outside(wide) <= radius
    wide = np.asarray(ndimage.distance_transform_edt(wide)) > radius
    return np.asarray(ndimage.binary_fill_holes(wide[n:-n, n:-n, n:-n] | mask))


def coverage(ellipsoid: Nucleus, points: tuple[np.ndarray, ...]) -> np.ndarray:
    """Share of each voxel inside an ellipsoid of either side, a linear ramp 1 mm wide."""
    turned = np.deg2rad(ellipsoid.turn)
    x = np.abs(points[0]) - ellipsoid.centre[0]
    y = points[1] - ellipsoid.centre[1]
    z = points[2] - ellipsoid.centre[2]
    along = np.cos(turned) * y - np.sin(turned) * x
    across = np.sin(turned) * y + np.cos(turned) * x
    a, b, c = ellipsoid.radii
    level = np.sqrt((across / a) ** 2 + (along / b) ** 2 + (z / c) ** 2)
    slope = np.sqrt((across / a**2) ** 2 + (along / b**2) ** 2 + (z / c**2) ** 2)
    signed = (level - 1) * level / np.maximum(slope, 1e-6)
    return np.clip(0.5 - signed, 0, 1).astype(np.float32)


def deep_grey(
    fractions: dict[str, np.ndarray], points: tuple[np.ndarray, ...]
) -> dict[str, np.ndarray]:
    """Take each nucleus out of the grey (and white) it lies in."""
    for nucleus in NUCLEI:
        inside = coverage(nucleus, points)
        found = fractions[nucleus.tissue]
        for donor in nucleus.takes:
            found += inside * fractions[donor]
            fractions[donor] -= inside * fractions[donor]
    return fractions


def sinus(inside: np.ndarray, points: tuple[np.ndarray, ...]) -> np.ndarray:
    """Voxels of the superior sagittal sinus, under the midline of the vault."""
    x, y, z = points
    middle = int(np.argmin(np.abs(x[:, 0, 0])))
    curve = np.ones_like(inside)
    for column in range(inside.shape[1]):
        high = np.flatnonzero(inside[middle, column])
        if high.size and -102 <= y[0, column, 0] <= 55:
            top = min(high.max() - 2, inside.shape[2] - 1)
            if z[0, 0, top] > 0:
                curve[middle, column, top] = False
    return np.asarray((ndimage.distance_transform_edt(curve) <= SINUS_RADIUS) & inside)


def outline(head: np.ndarray, points: tuple[np.ndarray, ...]) -> np.ndarray:
    """The head with a face and a neck: its outline below FACE_TOP goes down, narrowing a little."""
    x, y, z = (axis.ravel() for axis in points)
    start = int(np.argmin(np.abs(z - FACE_TOP)))
    shape = ndimage.binary_fill_holes(head[:, :, start]).astype(np.float32)
    centre = np.array([np.argmin(np.abs(x)), np.argmin(np.abs(y + 15))], float)
    whole = head.copy()
    for level in range(start):
        scale = 1 + TAPER * (start - level) / max(start, 1)
        moved = ndimage.affine_transform(shape, np.eye(2) * scale, centre - scale * centre, order=1)
        whole[:, :, level] |= moved > 0.5
    return whole


def outside(inside: np.ndarray, points: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
    """Bone, marrow, fat, skin and muscle as masks around the inside of the skull."""
    away = distance_outside(inside)
    skull = distance_outside(closed(inside, SKULL_ROUNDING)) <= INNER_TABLE + DIPLOE + OUTER_TABLE
    whole = outline(closed(distance_outside(skull) <= FAT + SKIN, HEAD_ROUNDING), points)
    # The maps end at the neck, the head does not: neither bone nor skin closes it there.
    bone = skull & ~inside
    table = (away <= INNER_TABLE) | (depth_below(skull) <= OUTER_TABLE)
    depth = depth_below(whole)
    soft = whole & ~skull
    return {
        "marrow": bone & ~table,
        "cortical_bone": bone & table,
        "scalp": soft & (depth <= SKIN),
        "fat": soft & (depth > SKIN) & (depth <= SKIN + FAT),
        "muscle": soft & (depth > SKIN + FAT),
    }


def depth_below(mask: np.ndarray) -> np.ndarray:
    """Distance [mm] from the surface of a mask that goes on beneath the grid."""
    below = np.repeat(mask[:, :, :1], 12, axis=2)
    longer = np.pad(np.concatenate([below, mask], axis=2), ((1, 1), (1, 1), (0, 1)))
    return np.asarray(ndimage.distance_transform_edt(longer), np.float32)[1:-1, 1:-1, 12:-1]


def two_largest(fractions: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep the two largest tissues of every voxel, the rest shared among them."""
    shape = fractions["csf"].shape
    first, second = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    most, next_most = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for index, tissue in enumerate(TISSUES):
        if tissue not in fractions:
            continue
        here = fractions[tissue]
        leads, follows = here > most, (here <= most) & (here > next_most)
        second = np.where(leads, first, np.where(follows, index, second)).astype(np.uint8)
        next_most = np.where(leads, most, np.where(follows, here, next_most))
        first = np.where(leads, index, first).astype(np.uint8)
        most = np.where(leads, here, most)
    share = most / np.maximum(most + next_most, 1e-6)
    steps = np.where(share >= PURE, LEVELS, np.rint(share * LEVELS))
    share8 = (steps * (WHOLE // LEVELS)).astype(np.uint8)
    pure = share8 == WHOLE
    return first, np.where(pure, first, second).astype(np.uint8), share8


def crop(first: np.ndarray, margin: int = 2) -> tuple[slice, slice, slice]:
    """Index ranges of what is not air, with a margin."""
    found = np.argwhere(first > 0)
    lower, upper = np.maximum(found.min(axis=0) - margin, 0), found.max(axis=0) + margin + 1
    x, y, z = (slice(int(a), int(b)) for a, b in zip(lower, upper, strict=True))
    return x, y, z


def build(folder: Path) -> Mixture:
    """Build the head."""
    grey, affine = load(folder, "gm")
    white, _ = load(folder, "wm")
    t1, _ = load(folder, "t1")
    points = tuple(
        (np.arange(n) * affine[i, i] + affine[i, 3]).reshape(
            [-1 if i == j else 1 for j in range(3)]
        )
        for i, n in enumerate(grey.shape)
    )
    brain = closed(t1 > 0, ROUNDING)
    inside = distance_outside(brain) <= SUBARACHNOID
    fractions = {tissue: np.zeros(grey.shape, np.float32) for tissue in TISSUES}
    fractions["grey"] = np.where(t1 > 0, grey, 0)
    fractions["white"] = np.where(t1 > 0, white, 0)
    fractions = deep_grey(fractions, points)
    solid = np.sum(list(fractions.values()), axis=0, dtype=np.float32)
    fractions["csf"] = np.where(inside, np.clip(1 - solid, 0, 1), 0)
    vessel = sinus(inside, points) & (fractions["grey"] + fractions["white"] < 0.5)
    for share in fractions.values():
        share[vessel] = 0
    fractions["blood"] = vessel.astype(np.float32)
    for tissue, mask in outside(inside, points).items():
        fractions[tissue] = mask.astype(np.float32)
    empty = np.sum(list(fractions.values()), axis=0) == 0
    fractions["air"] = empty.astype(np.float32)
    first, second, share = two_largest(fractions)
    span = crop(first)
    scaled = affine.copy()
    scaled[:3, 3] += scaled[:3, :3] @ [part.start for part in span]
    scaled[:3] *= 1e-3
    return Mixture(
        tissues=TISSUES, first=first[span], second=second[span], share=share[span], affine=scaled
    )


def write(path: Path, head: Mixture) -> None:
    """Pack a head, the same bytes every time; aside and then renamed."""
    packed = io.BytesIO()
    np.savez_compressed(
        packed,
        tissues=np.array(head.tissues),
        first=head.first,
        second=head.second,
        share=head.share,
        affine=head.affine,
    )
    aside = path.with_name(f".part-{uuid4().hex[:12]}")
    aside.write_bytes(packed.getvalue())
    aside.replace(path)


def main() -> None:
    """Build and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=Path, default=MAPS, help="folder of the three MNI maps")
    parser.add_argument("--out", type=Path, default=DATA / "brain.npz", help="file to write")
    chosen = parser.parse_args()
    head = build(chosen.maps)
    write(chosen.out, head)
    print(f"{chosen.out}: {chosen.out.stat().st_size / 1e6:.2f} MB")
    for tissue in TISSUES:
        millilitres = head.fraction(tissue).sum() / 1e3, head.pure(tissue).sum() / 1e3
        print(f"{tissue:>14} {millilitres[0]:8.1f} ml, {millilitres[1]:8.1f} ml of it pure")


if __name__ == "__main__":
    main()
