"""Real scanner data, and raw data of other programs, become images.

``python -m validation.mri_real_raw`` also writes ``build/real/*.png``, the contact sheet
``docs/images/real-input.png`` and the table ``docs/reference/generated/real-input.md``.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from scanroom.core.errors import ScanroomError
from scanroom.mri.hardware.arrays import import_array
from scanroom.mri.hardware.siemens import import_twix
from scanroom.mri.raw.encoding import Flag
from scanroom.mri.raw.reader import read_raw
from scanroom.mri.recon import reconstruct
from validation.table import markdown, show

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
PAGE = ROOT / "docs" / "reference" / "generated" / "real-input.md"
SHEET = ROOT / "docs" / "images" / "real-input.png"
PICTURES = ROOT / "build" / "real"
COMMAND = "python -m validation.mri_real_raw"
SOURCE = "github: pulseq/tutorials, pulseq/MR-Physics-with-Pulseq and others, see MANIFEST.tsv"

TUTORIALS = "mri_raw/pulseq+tutorials"
PHYSICS = "mri_raw/pulseq+MR-Physics-with-Pulseq/tutorials"
RF_PULSES = {
    # Told apart by their slice profiles: disc, Gaussian, side lobes, none.
    "meas_MID00243_FID33257_pulseq": "se_2D_sinc_img",
    "meas_MID00246_FID33260_pulseq": "se_2D_gauss_spr",
    "meas_MID00249_FID33263_pulseq": "se_2D_sinc_wo_apod_spr",
    "meas_MID00250_FID33264_pulseq": "se_2D_sinc_w_apod_spr",
}
NOTES = {
    "02_GRE_noSpoil_noRephase": "bright band: the tutorial's missing spoiling and rewinding",
    "03_GRE_withSpoil_noRephase": "bright band: the tutorial's missing phase rewinding",
    "04_GRE_xSpoil_yRephase": "shading: the tutorial's missing RF spoiling",
    "05_GRE_xSpoil_yRephase_RFspoil": "smeared: the tutorial lets the pulse phase run and keeps "
    "the receiver's; file 06 mends it",
    "04c_improvised_EPI_noPE": "a band: measured with phase encoding off, its .seq says on",
    "06_EPI_singleTraj": "gridded from one window over the whole train; N/2 ghost stays, as odd "
    "and even lines lie in one trajectory that is not corrected for gradient delay",
    "04_01_epi_no_fat_sat": "no fat suppression; strongly distorted, object not identified",
    "04_01_epi_with_fat_sat": "with fat suppression; strongly distorted, object not identified",
    "2024-02-06-160052": "no .seq: lines as numbered by the scanner, size of the interpreter's",
    "2024-02-06-160115": "no .seq: lines as numbered by the scanner, size of the interpreter's",
    "cartesian_ksp": "87.6 % zeros (compressed sensing data): zero-filled, so noise-like aliasing",
    "Koma_signal": "simulated EPI of the brain; N/2 ghost free by nature",
}
REFUSED = "no image: "


@dataclass(frozen=True)
class Case:
    """One file, the sequence played, and the raw file made of it."""

    path: Path
    seq: Path | None
    raw: Path


def cases(work: Path) -> Iterator[Case]:
    """Every TWIX file, and every raw file of another program."""
    for folder in (TUTORIALS, PHYSICS):
        for path in sorted((DATA / folder).rglob("*.dat")):
            seq: Path | None = path.with_name(f"{RF_PULSES.get(path.stem, path.stem)}.seq")
            yield Case(path, seq if seq and seq.exists() else None, work / f"{path.stem}.h5")
    yield Case(DATA / "mri_raw/pehses+twixtools/example_data/gre.dat", None, work / "gre.h5")
    array = DATA / "mri_raw/mikgroup+sigpy-mri-tutorial/data/cartesian_ksp.npy"
    yield Case(array, None, work / "cartesian_ksp.h5")
    for name in (
        "mri_raw/debian_ismrmrd-tools/shepp_logan_m64_c4_r2.h5",
        "mri_sim_truth/JuliaHealth+KomaMRI.jl/test/test_files/Koma_signal.mrd",
    ):
        yield Case(DATA / name, None, DATA / name)


def prepare(case: Case) -> None:
    """Bring the file to MRD if it is not."""
    if case.path.suffix == ".dat":
        import_twix(case.path, case.seq, case.raw)
    elif case.path.suffix == ".npy":
        import_array(case.path, case.raw)


def run_case(case: Case) -> tuple[dict[str, Any], np.ndarray | None]:
    """Import, encode and reconstruct one file; say what came of it."""
    start = time.perf_counter()
    row: dict[str, Any] = {"file": case.path.name, "sequence": case.seq.name if case.seq else "-"}
    empty = dict.fromkeys(("windows", "coils", "type", "kind", "matrix", "FOV [mm]", "slices"), "-")
    image: np.ndarray | None = None
    try:
        prepare(case)
        raw = read_raw(case.raw)
        encoding = raw.encoding
        kind = dict(encoding.user).get("kind", "image")
        row |= {
            "windows": len(raw.readouts),
            "coils": raw.n_coils,
            "type": encoding.trajectory_type,
            "kind": kind,
            "matrix": " x ".join(map(str, encoding.recon_matrix)),
            "FOV [mm]": " x ".join(f"{1e3 * x:.4g}" for x in encoding.recon_fov),
            "slices": int(encoding.slice.max()) + 1,
            "echoes": int(encoding.contrast.max()) + 1,
            "navigators": int(encoding.has(Flag.PHASE_CORRECTION).sum()),
        }
        if kind != "image":
            row["result"] = REFUSED + {
                "projection": "no phase encoding (calibration scan)",
                "spectroscopy": "no spatial encoding (FID, spin echo, PRESS)",
            }.get(kind, kind)
        else:
            results = reconstruct(case.raw)
            middle = [np.abs(r.array)[r.array.shape[0] // 2] for r in results]
            image = np.concatenate(middle[:3], axis=1)
            shape = " x ".join(map(str, results[0].array.shape))
            note = NOTES.get(case.path.stem, "")
            row["result"] = f"{len(results)} image(s) of {shape}" + (f"; {note}" if note else "")
    except ScanroomError as error:
        row = empty | row | {"result": f"refused: {error}"}
    row = empty | {"echoes": "-", "navigators": "-"} | row
    row["seconds"] = round(time.perf_counter() - start, 2)
    return row, image


def run_all() -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Every case in a folder of its own."""
    rows, images = [], {}
    with tempfile.TemporaryDirectory() as work:
        for case in cases(Path(work)):
            row, image = run_case(case)
            rows.append(row)
            if image is not None:
                images[case.path.stem] = image
    return rows, images


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two magnitude images of one size, the better of both ways up."""
    fixed = (other - other.mean()).ravel()
    best = 0.0
    for turned in (one, one[::-1], one[:, ::-1], one[::-1, ::-1]):
        for shift in (-1, 0, 1):
            moved = np.roll(turned, shift, axis=0)
            flat = (moved - moved.mean()).ravel()
            best = max(best, float(flat @ fixed / np.linalg.norm(flat) / np.linalg.norm(fixed)))
    return best


def ghost(image: np.ndarray) -> float:
    """Signal at the edge of the field of view along phase, relative to the centre's."""
    n, third = max(2, image.shape[0] // 20), image.shape[1] // 3
    edge = np.concatenate([image[:n, third:-third], image[-n:, third:-third]])
    middle = image[image.shape[0] // 3 : -image.shape[0] // 3, third:-third]
    return float(np.median(edge) / np.median(middle))


def background(image: np.ndarray) -> float:
    """Typical signal of the four corners, relative to the object's."""
    n = image.shape[0] // 8
    corners = [image[:n, :n], image[:n, -n:], image[-n:, :n], image[-n:, -n:]]
    return float(np.median(np.concatenate([c.ravel() for c in corners])) / np.percentile(image, 95))


def _claim(claim: str, value: float, bound: float, truth: str, *, at_least: bool) -> dict[str, Any]:
    return {
        "claim": claim,
        "value": value,
        "unit": "1",
        "bound": bound,
        "truth": truth,
        "source": SOURCE,
        "command": COMMAND,
        "passes": bool(value >= bound if at_least else value <= bound),
    }


def judge(rows: list[dict[str, Any]], images: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Claims about what came out."""
    wanted = [row for row in rows if row["kind"] == "image"]
    refused = sum(row["result"].startswith("refused") for row in rows)
    found = [
        _claim("raw files that end in an error", refused, 0, "0 wanted", at_least=False),
        _claim(
            "share of files with spatial encoding that give an image",
            len(images) / max(1, len(wanted)),
            1.0,
            f"{len(wanted)} files",
            at_least=True,
        ),
    ]
    same = "01_GRE of the same phantom and session"
    if {"04a_GRE_3seg", "01_GRE"} <= images.keys():
        value = likeness(images["04a_GRE_3seg"], images["01_GRE"])
        found.append(_claim("correlation of 04a_GRE_3seg", value, 0.9, same, at_least=True))
    for name in ("02_01_ro_dur_1200_pe+", "02_10_ro_dur_240_pe+", "04_03_basic_epi_96x96_pe+"):
        if name in images:
            value = ghost(images[name])
            air = "air above and below the ball, where only the ghost can be"
            found.append(_claim(f"N/2 ghost of {name}", value, 0.1, air, at_least=False))
    for name in ("01_GRE", "06_GRE_xSpoil_yRephase_RFspoilADC", "gre", "cartesian_ksp"):
        if name in images:
            value = background(images[name])
            found.append(
                _claim(f"corner signal of {name}", value, 0.2, "air is dark", at_least=False)
            )
    return found


def claims() -> list[dict[str, Any]]:
    """Import and reconstruct everything."""
    every, pictures = run_all()
    found = judge(every, pictures)
    write_pictures(pictures)
    write_page(every, found)
    return found


def write_pictures(images: dict[str, np.ndarray]) -> None:
    """One picture each, and all of them on one sheet."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    SHEET.parent.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        plt.imsave(PICTURES / f"{name}.png", image, cmap="gray", vmax=np.percentile(image, 99.8))
    columns = 7
    n_rows = -(-len(images) // columns)
    figure, axes = plt.subplots(n_rows, columns, figsize=(columns * 1.5, n_rows * 1.65))
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, image) in zip(axes.flat, images.items(), strict=False):
        axis.imshow(image, cmap="gray", vmax=np.percentile(image, 99.8))
        axis.set_title(name.removeprefix("meas_")[:26], fontsize=5)
    figure.tight_layout(pad=0.3)
    figure.savefig(SHEET, dpi=70)
    plt.close(figure)


def write_page(rows: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    """Write the table that the documentation shows."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    keys = ("file", "sequence", "windows", "coils", "type", "matrix", "FOV [mm]", "slices")
    keys += ("echoes", "navigators", "result")
    PAGE.write_text(
        f"# Real input\n\nMade by `{COMMAND}`. {SOURCE}.\n\n![contact sheet](../../images/"
        f"real-input.png)\n\n{markdown(rows, keys)}\n"
        f"{markdown(found, ('claim', 'value', 'bound', 'truth', 'passes'))}"
    )


if __name__ == "__main__":
    show(claims())
