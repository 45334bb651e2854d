"""Picture and page of `benchmarks.mri_scaling`."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "generated" / "simulation-scaling.md"
PICTURE = ROOT / "docs" / "images" / "simulation-cost.png"
COMMAND = "python -m benchmarks mri_scaling"
_COLOURS = {"exact": "tab:blue", "fast": "tab:orange", "blochsimulator": "tab:red",
            "mrzero": "tab:purple", "pulserver": "tab:green"}  # fmt: skip


def draw(rows: list[dict[str, Any]]) -> None:
    """Seconds against voxels, samples and coils, of the gradient echo."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    chosen = [row for row in rows if row["case"].sequence == "gradient echo"]
    panels = (
        ("voxels", "spins", lambda c: c.coils == 1 and c.n == 128),
        ("samples", "samples", lambda c: c.coils == 1 and c.spins == "1e5"),
        ("coils", "coils", lambda c: c.n == 128 and c.spins == "1e6"),
    )
    for axis, (label, key, keep) in zip(axes, panels, strict=True):
        lines: dict[str, list[tuple[float, float, bool]]] = {}
        for row in chosen:
            if not keep(row["case"]):
                continue
            at = row["case"].coils if key == "coils" else row[key]
            lines.setdefault(row["case"].kind, []).append((at, row["ours"], True))
            if row["peer"] is not None and np.isfinite(row["peer"]):
                run = "not run" not in row["version"]
                lines.setdefault(row["version"].split()[0].strip(","), []).append(
                    (at, row["peer"], run)
                )
        for name, points in lines.items():
            x, y, run = (np.array(part) for part in zip(*sorted(set(points)), strict=True))
            colour = _COLOURS.get(name.rstrip(":"), "grey")
            ours = "ours, " if name in {"exact", "fast"} else ""
            axis.loglog(x, y, "-", color=colour, lw=1, label=f"{ours}{name}")
            axis.loglog(x[run], y[run], "o", color=colour)
            axis.loglog(x[~run], y[~run], "o", color=colour, mfc="none")
        axis.set_xlabel(label)
        axis.grid(visible=True, which="both", alpha=0.2)
    axes[0].set_ylabel("seconds, two threads")
    axes[0].legend(fontsize=8)
    figure.suptitle("A gradient echo of a head; hollow: expected by its own rate, not run")
    figure.savefig(PICTURE, dpi=110)
    plt.close(figure)


def _number(value: float | None) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.3g}"


def write_page(
    rows: list[dict[str, Any]],
    known: dict[tuple[str, str, str], float],
    able: dict[str, float],
    work: dict[str, float],
) -> None:
    """The table, the errors, and how far from the limits of the machine."""
    lines = [
        "# Cost of simulation",
        "",
        f"Made by `{COMMAND}`; what is compared with what, and how errors are taken, is said in",
        "`benchmarks/mri_scaling.py`. Seconds of wall-clock time, two threads, one run.",
        "",
        "![cost](../../images/simulation-cost.png)",
        "",
        "| task | voxels, coils | ours [s] | per voxel and sample [ns] | error | peer | peer [s] |"
        " its error | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        per = 1e9 * row["ours"] / (row["spins"] * row["samples"])
        cells = (
            row["task"], row["size"], _number(row["ours"]), _number(per),
            _number(row["error_ours"]), row["version"], _number(row["peer"]),
            _number(row["error_peer"]), _number(row["ratio"]),
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    heading = "| sequence | ours, 1e-3 asked for | pulserver | of the truth |"
    lines += ["", "## Errors of the fast engines, cubes of 5 mm", "", heading, "|---|---|---|---|"]
    for sequence in dict.fromkeys(key[1] for key in known):
        cells = [
            _number(known.get(("fast", sequence, w))) for w in ("ours", "pulserver", "of_truth")
        ]
        lines.append(f"| {sequence} | " + " | ".join(cells) + " |")
    lines += ["", "## How far from the limits of the machine", "", *_roof(able, work)]
    PAGE.write_text("\n".join(lines) + "\n")


def _roof(able: dict[str, float], work: dict[str, float]) -> list[str]:
    """Shares of bandwidth and arithmetic that the exact engine reaches."""
    flops, moved = work["flops"] / work["seconds"], work["bytes"] / work["seconds"]
    plain = 8 * work["coils"] * work["samples"]
    return [
        f"Two threads reach {able['bandwidth'] / 1e9:.1f} GB/s (triad, from memory) and "
        f"{able['arithmetic'] / 1e9:.0f} Gflop/s (single precision, chains of multiply-adds).",
        f"One repetition of a gradient echo, {work['samples']:.0f} samples and "
        f"{work['coils']:.0f} coils, takes the exact engine {work['seconds'] * 1e9:.1f} ns a spin, "
        f"in which it does {work['flops']:.0f} flop and moves {work['bytes']:.0f} B:",
        f"{flops / 1e9:.1f} Gflop/s or {100 * flops / able['arithmetic']:.0f} % of the arithmetic, "
        f"{moved / 1e9:.1f} GB/s or {100 * moved / able['bandwidth']:.0f} % of the bandwidth. "
        f"The sum over samples alone would be {plain:.0f} flop a spin, "
        f"{plain / able['arithmetic'] * 1e9:.0f} ns at the limit of the arithmetic: "
        f"{plain / able['arithmetic'] / work['seconds']:.1f} times what the whole takes.",
    ]
