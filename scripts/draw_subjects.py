"""Write docs/reference/generated/tissues.md and docs/images/subjects.png from the subjects.

python scripts/draw_subjects.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np

from scanroom.subject import load_subject, tissue_table
from scanroom.subject.acr import SLICES
from scanroom.subject.model import PROPERTIES
from scanroom.subject.tissue import FIELDS

mpl.use("Agg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parents[1] / "docs"
COLUMNS = (
    ("proton_density", 1, "proton density"),
    ("t1", 1e3, "T1 [ms]"),
    ("t2", 1e3, "T2 [ms]"),
    ("t2_prime", 1e3, "T2' [ms]"),
    ("chemical_shift", 1e6, "shift [ppm]"),
    ("susceptibility", 1e6, "susceptibility [ppm]"),
    ("diffusion", 1e9, "ADC [1e-9 m2/s]"),
    ("conductivity", 1, "conductivity [S/m]"),
    ("bound_fraction", 1, "bound protons per free one"),
    ("exchange_rate", 1, "exchange with them [1/s]"),
    ("t1_bound", 1, "T1 bound [s]"),
    ("t2_bound", 1e6, "T2 bound [us]"),
)


def magnetic_table() -> list[str]:
    """Magnetic numbers at 3 T."""
    table = tissue_table()
    lines = [
        "## Magnetic properties at 3 T",
        "",
        "| tissue | " + " | ".join(title for *_, title in COLUMNS) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for name in table.names:
        cells = [f"{table.number(name, key, 3.0).value * unit:.4g}" for key, unit, _ in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def field_table() -> list[str]:
    """Relaxation at every field."""
    table = tissue_table()
    lines = [
        "## T1 / T2 in milliseconds",
        "",
        "| tissue | " + " | ".join(f"{field:g} T" for field in FIELDS) + " |",
        "|---|" + "---|" * len(FIELDS),
    ]
    for name in table.names:
        cells = [
            " / ".join(f"{1e3 * table.number(name, key, field).value:.4g}" for key in ("t1", "t2"))
            for field in FIELDS
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def other_table() -> list[str]:
    """Acoustic, elastic and thermal numbers; a dash where none is known."""
    table = tissue_table()
    told = {column[0] for column in COLUMNS}
    somewhere = {key for name in table.names for key in table.properties(name)}
    keys = [key for key in PROPERTIES if key in somewhere - told]
    lines = [
        "## Sound, elasticity, heat",
        "",
        "| tissue | " + " | ".join(f"{key} [{PROPERTIES[key][0]}]" for key in keys) + " |",
        "|---|" + "---|" * len(keys),
    ]
    for name in table.names:
        known = table.properties(name)
        cells = [
            f"{table.number(name, key, 3.0).value:.4g}" if key in known else "-" for key in keys
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def source_table() -> list[str]:
    """Who says so."""
    table = tissue_table()
    lines = ["## Sources", "", "| source | numbers |", "|---|---|"]
    used: dict[str, list[str]] = {}
    for name in table.names:
        for key in table.properties(name):
            used.setdefault(table.number(name, key, 3.0).source, []).append(f"{name} {key}")
    lines += [f"| {source} | {', '.join(numbers)} |" for source, numbers in used.items()]
    return lines


def head_pictures(axes: np.ndarray) -> None:
    """T1 weighting, T2 weighting and susceptibility of the head in three planes."""
    subject = load_subject("brain", 3.0)
    maps = subject.maps
    rows = {
        "TR 600, TE 10 ms": maps["proton_density"]
        * (1 - np.exp(-0.6 / maps["t1"]))
        * np.exp(-0.010 / maps["t2"]),
        "TR 4000, TE 90 ms": maps["proton_density"]
        * (1 - np.exp(-4.0 / maps["t1"]))
        * np.exp(-0.090 / maps["t2"]),
    }
    x, y, z = (
        round(-subject.affine[i, 3] / subject.affine[i, i]) + step
        for i, step in ((0, 2), (1, -10), (2, 4))
    )
    for row, (title, image) in zip(axes, rows.items(), strict=True):
        bright = float(np.percentile(image[image > 0], 99))
        for axis, plane in zip(row, (image[::-1, :, z], image[::-1, y], image[x]), strict=True):
            axis.imshow(plane.T, origin="lower", cmap="gray", vmin=0, vmax=bright)
        row[0].set_title(title, loc="left", fontsize=9)


def phantom_pictures(axes: np.ndarray) -> None:
    """Slices of the ACR phantom as 5 mm means of the solution."""
    for axis, n in zip(axes, (1, 5, 7, 11), strict=False):
        z = SLICES[n - 1]
        subject = load_subject(
            "acr",
            3.0,
            properties=["proton_density"],
            resolution=(0.5e-3, 0.5e-3, 1e-3),
            lower=(-0.1, -0.1, z - 2e-3),
            upper=(0.1, 0.1, z + 2e-3),
        )
        image = subject.maps["proton_density"].mean(axis=2)[::-1]
        least = 0.9 if n == 11 else 0.0
        axis.imshow(image.T, origin="lower", cmap="gray", vmin=least, vmax=1)
        axis.set_title(f"ACR slice {n}", loc="left", fontsize=9)


def asymmetric_pictures(axes: np.ndarray) -> None:
    """The asymmetric phantom, axial and coronal; the right is on the left."""
    subject = load_subject("asymmetric", 3.0, properties=["t1"])
    image = np.where(subject.maps["proton_density"] > 0, 1 / subject.maps["t1"], 0)
    middle = image.shape[2] // 2
    axes[0].imshow(image[::-1, :, middle - 5].T, origin="lower", cmap="gray")
    axes[0].set_title("asymmetric, axial", loc="left", fontsize=9)
    axes[1].imshow(image[::-1, middle].T, origin="lower", cmap="gray")
    axes[1].set_title("asymmetric, coronal", loc="left", fontsize=9)


def main() -> None:
    """Write both files."""
    parts = (magnetic_table, field_table, other_table, source_table)
    text = "\n".join("\n".join([*part(), ""]) for part in parts)
    target = DOCS / "reference/generated/tissues.md"
    target.write_text("# Tissues\n\nMade by `python scripts/draw_subjects.py`.\n\n" + text)
    figure, axes = plt.subplots(4, 3, figsize=(7.5, 10))
    head_pictures(axes[:2])
    phantom_pictures(axes[2:].ravel()[:4])
    asymmetric_pictures(axes[3, 1:])
    for axis in axes.ravel():
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(DOCS / "images/subjects.png", dpi=100)


if __name__ == "__main__":
    main()
