"""Build the built-in head from the MNI ICBM152 2009a symmetric maps: python scripts/build_brain.py.

Grey and white matter are the maps themselves; what remains inside the skull is cerebrospinal fluid.
Deep nuclei are ellipsoids, met with the maps where those show them. The maps are stripped of the
skull, so bone, fat and scalp are layers of published thickness around the inside of the skull, and
what lies below is filled with muscle: this head has no eyes, teeth, sinuses or airways.
"""

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from scanroom.subject.brain import DATA, LANDMARKS, NUCLEI, TISSUES, Ellipsoid, write_mixture
from scanroom.subject.mixture import WHOLE, Mixture

MAPS = Path(__file__).resolve().parents[2] / "shared/data/mri_phantom/pypi_nilearn"

SUBARACHNOID = 1.0
"""Cerebrospinal fluid between the brain mask and bone [mm]; part of the maps' own margin."""

INNER_TABLE, DIPLOE, OUTER_TABLE = 1.0, 4.0, 1.5
"""Bone [mm]: benchmark 4 of Aubry et al., J Acoust Soc Am 152:1003 (2022), 10.1121/10.0013426."""

FAT, SKIN = 2.5, 2.0
"""Subcutaneous fat and skin [mm], rounded to the grid: soft tissue of 4 to 5 mm (same benchmark)."""

FACE_TOP = -22.0
"""Height [mm, MNI] below which the outline of the head goes straight down to a neck."""

TAPER = 0.12
"""Relative narrowing of that outline from FACE_TOP to the lower edge of the maps."""

SINUS_RADIUS = 3.5
"""Superior sagittal sinus [mm]."""

LEVELS = 15
"""Steps of a volume share: the maps are averages of 152 heads, finer steps are noise."""

PURE = 0.9
"""From this share on a voxel is taken as one tissue."""


def load(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """One map as float32 in [0, 1], and the affine in mm."""
    image = nib.load(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
    return np.asarray(image.dataobj, np.float32) / 255, np.asarray(image.affine)


def distance_outside(mask: np.ndarray) -> np.ndarray:
    """Distance [mm] from the nearest voxel of a mask; zero inside."""
    return np.asarray(ndimage.distance_transform_edt(~mask), np.float32)


def closed(mask: np.ndarray, radius: float) -> np.ndarray:
    """Morphological closing with a ball, holes filled."""
    wide = np.pad(mask, 12)
    wide = distance_outside(wide) <= radius
    wide = np.asarray(ndimage.distance_transform_edt(wide)) > radius
    return np.asarray(ndimage.binary_fill_holes(wide[12:-12, 12:-12, 12:-12] | mask))


def coverage(ellipsoid: Ellipsoid, points: tuple[np.ndarray, ...]) -> np.ndarray:
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
    bone = INNER_TABLE + DIPLOE + OUTER_TABLE
    whole = outline(away <= bone + FAT + SKIN, points)
    # The maps end at the neck: below them the head goes on, so that no skin closes it there.
    depth = ndimage.distance_transform_edt(
        np.pad(np.concatenate([np.repeat(whole[:, :, :1], 12, axis=2), whole], axis=2), 1)
    )[1:-1, 1:-1, 13:-1]
    skull = (away > 0) & (away <= bone)
    diploe = (away > INNER_TABLE) & (away <= INNER_TABLE + DIPLOE)
    soft = whole & (away > bone)
    return {
        "marrow": skull & diploe,
        "cortical_bone": skull & ~diploe,
        "scalp": soft & (depth <= SKIN),
        "fat": soft & (depth > SKIN) & (depth <= SKIN + FAT),
        "muscle": soft & (depth > SKIN + FAT),
    }


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
    brain = closed(t1 > 0, 4.0)
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
    scaled = affine.copy()
    scaled[:3] *= 1e-3
    return Mixture(tissues=TISSUES, first=first, second=second, share=share, affine=scaled)


def main() -> None:
    """Build and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=Path, default=MAPS, help="folder of the three MNI maps")
    parser.add_argument("--out", type=Path, default=DATA, help="file to write")
    chosen = parser.parse_args()
    head = build(chosen.maps)
    write_mixture(chosen.out, head)
    print(f"{chosen.out}: {chosen.out.stat().st_size / 1e6:.2f} MB, {len(LANDMARKS)} landmarks")
    for tissue in TISSUES:
        print(f"{tissue:>14} {head.fraction(tissue).sum() / 1e3:8.1f} ml")


if __name__ == "__main__":
    main()
