"""Diffusion maps: closed forms, efficiency, the twin's hidden truth, a head, and DIPY beside."""

import dataclasses
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.peers import environment
from scanroom.mri.drive.model import Drive
from scanroom.mri.maps.diffusion import (
    Tensor,
    apparent_diffusion,
    b_matrices,
    b_matrix_of,
    diffusion_tensor,
)
from scanroom.mri.maps.model import Map
from validation import map_scans as scans
from validation import uih_diffusion as head
from validation.mri_diffusion import APART, FLAT, RISE, STRONG, b_value
from validation.table import markdown, say, show

COMMAND = "python -m validation.mri_maps_diffusion"
PAGE = Path("docs/reference/generated/maps-diffusion.md")
PICTURE = Path("docs/images/maps-diffusion.png")
SIZES = [0.0, 0.55e6, 0.8e6, 1.03e6]
N_DIRECTIONS, N_SEEDS, N_VOXELS = 30, 10, 2000
BASSER = "Basser, Mattiello, LeBihan 1994, doi:10.1006/jmrb.1994.1037"
DIPY = """
import sys
import numpy as np
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel
given = np.load(sys.argv[1])
table = gradient_table(given["b"] * 1e-6, bvecs=given["directions"], b0_threshold=10)
found = TensorModel(table, fit_method="WLS").fit(given["images"], mask=given["mask"])
np.savez(sys.argv[2], md=found.md * 1e-6, fa=found.fa, direction=found.directions[..., 0, :])
"""


def scheme() -> np.ndarray:
    """b-matrices of four images without and thirty directions with b = 1000 s/mm2."""
    turn = np.pi * (1 + np.sqrt(5)) * (np.arange(N_DIRECTIONS) + 0.5)
    height = 1 - (np.arange(N_DIRECTIONS) + 0.5) / N_DIRECTIONS
    flat = np.sqrt(1 - height**2)
    ways = np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1)
    directions = np.concatenate([np.zeros((4, 3)), ways])
    return b_matrices(np.concatenate([np.zeros(4), np.full(N_DIRECTIONS, 1e9)]), directions)


def tensors(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Tensors [voxel 3 3] and their eigenvalues, turned at random."""
    rng = np.random.Generator(np.random.Philox(key=[1, 2]))
    axes = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
    values = np.sort(rng.uniform(0.3e-9, 2e-9, (n, 3)), axis=1)[:, ::-1]
    return np.einsum("vij,vj,vkj->vik", axes, values, axes), values


def measures(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean diffusivity and fractional anisotropy of eigenvalues."""
    mean = values.mean(axis=1)
    away = ((values - mean[:, None]) ** 2).sum(axis=1)
    return mean, np.sqrt(1.5 * away / (values**2).sum(axis=1))


def closed() -> list[tuple[str, float, float]]:
    """Largest relative errors without noise, and of b-matrices."""
    b = scheme()
    truth, values = tensors(200)
    found = diffusion_tensor(100 * np.exp(-np.einsum("nij,vij->nv", b, truth)), b)
    mean, anisotropy = measures(values)
    slow = np.linspace(0.2e-9, 3e-9, 50)
    few = np.array([0.0, 0.2, 0.5, 1.0]) * 1e9
    adc = apparent_diffusion(100 * np.exp(-few[:, None] * slow), few)
    lobe = np.array([0, RISE, RISE + FLAT, 2 * RISE + FLAT])
    time = np.concatenate([5e-3 + lobe, 5e-3 + APART + lobe])
    size = STRONG * np.tile([0.0, 1, 1, 0], 2)
    matrix = b_matrix_of(time, np.stack([size, 0 * size, -0.5 * size]), (20e-3,), 40e-3)
    weigh = np.outer([1, 0, -0.5], [1, 0, -0.5]) * b_value(STRONG, APART)
    steady = b_matrix_of(np.array([0.0, 0.1]), np.full((1, 2), 3e4), (30e-3,), 60e-3)
    hahn = (2 * np.pi * 3e4) ** 2 * 60e-3**3 / 12
    return [
        ("tensor: MD", float(np.abs(found.mean.array / mean - 1).max()), 1e-6),
        ("tensor: FA", float(np.abs(found.anisotropy.array - anisotropy).max()), 1e-6),
        ("ADC of four b-values", float(np.abs(adc.array / slow - 1).max()), 1e-6),
        ("b-matrix, Stejskal and Tanner", float(np.abs(matrix - weigh).max() / weigh.max()), 1e-6),
        ("b-matrix, Hahn's constant gradient", float(abs(steady[0, 0] / hahn - 1)), 1e-6),
    ]


def efficiency() -> list[tuple[str, float, float]]:
    """Bias in standard errors, and spread over the bound of Cramer and Rao, at an SNR of 50.

    The bound is that of the signals themselves, by differences.
    """
    b = scheme()
    (truth,), (values,) = (part[:1] for part in tensors(3)[:2])
    signal = 50 * np.exp(-np.einsum("nij,ij->n", b, truth))
    rows = b[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]] * [1, 1, 1, 2, 2, 2]
    slopes = np.concatenate([signal[:, None] / 50, -rows * signal[:, None]], axis=1)
    scale = np.abs(slopes).max(axis=0)
    normal = (slopes / scale).T @ (slopes / scale)
    least = np.linalg.inv(normal)[1:, 1:] / np.outer(scale[1:], scale[1:])
    elements = truth[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    mean, anisotropy = (float(part[0]) for part in measures(values[None]))

    def of(change: np.ndarray) -> float:
        full = (elements + change)[[0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(3, 3)
        return float(measures(np.linalg.eigvalsh(full)[None])[1][0])

    step = 1e-13 * np.eye(6)
    slope = np.array([(of(one) - of(-one)) / 2e-13 for one in step])
    third = np.array([1, 1, 1, 0, 0, 0]) / 3
    bounds = {"MD": np.sqrt(third @ least @ third), "FA": np.sqrt(slope @ least @ slope)}
    found: dict[str, list[Map]] = {"MD": [], "FA": []}
    for seed in range(N_SEEDS):
        rng = np.random.Generator(np.random.Philox(key=[seed, 3]))
        data = signal[:, None] + rng.normal(size=(len(signal), N_VOXELS))
        made = diffusion_tensor(data, b, noise=1.0)
        found["MD"].append(made.mean)
        found["FA"].append(made.anisotropy)
    rows_found = []
    for name, value in (("MD", mean), ("FA", anisotropy)):
        every = np.concatenate([one.array for one in found[name]])
        reported = np.sqrt(np.mean([np.mean(one.error**2) for one in found[name]]))
        rows_found += [
            (f"{name}, SNR 50, {N_DIRECTIONS} directions: bias in standard errors",
             float(abs(every.mean() - value) / bounds[name]), 0.15),
            (f"{name}, SNR 50: spread over Cramer-Rao", float(every.std() / bounds[name]), 1.05),
            (f"{name}, SNR 50: reported error off Cramer-Rao",
             float(abs(reported / bounds[name] - 1)), 0.05),
        ]  # fmt: skip
    return rows_found


def b_of(drive: Drive, shot: int) -> np.ndarray:
    """b-matrix of one shot of spin echoes, imaging gradients and all."""
    pulses, windows = drive.pulses, drive.windows
    excited, turned = (
        float(pulses.start[k] + drive.shapes[pulses.shape[k]].centre)
        for k in (2 * shot, 2 * shot + 1)
    )
    echo = float(windows.start[shot] + (scans.MATRIX + 0.5) * windows.dwell[shot])
    knots = np.unique(np.concatenate([gradient.time for gradient in drive.gradients]))
    near = knots[(knots > excited - 0.01) & (knots < echo + 0.01)]
    amplitudes = np.stack(
        [np.interp(near, gradient.time, gradient.amplitude) for gradient in drive.gradients]
    )
    return b_matrix_of(near - excited, amplitudes, (turned - excited,), echo - excited)


def on_twin() -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """ADC of six vials with all gradients and with the diffusion gradients alone; b; spread."""
    faults = dataclasses.replace(scans.FAULTS, diffusion=True)
    scan = scans.scan(scans.spin_echoes([0.07], 8.0, SIZES), 4, 8.0, faults)
    middle = scans.MATRIX // 2
    full = np.array([np.trace(b_of(scan.drive, k * scans.MATRIX + middle)) for k in range(4)])
    rise, flat = 1e-3, scans.LOBE - 2e-3
    on = rise + flat
    unit = on**2 * (scans.APART - on / 3) + rise**3 / 30 - on * rise**2 / 6
    nominal = 3 * (2 * np.pi * np.array(SIZES)) ** 2 * unit
    biases, ratio = [], 0.0
    for b in (full, nominal):
        maps = [apparent_diffusion(images, b, noise=1.0) for images in scan.images]
        bias, ratios = [], []
        for region, truth in zip(scan.regions, scans.DIFFUSION, strict=True):
            values = np.array([found.array[region] for found in maps])
            errors = np.array([found.error[region] for found in maps])
            bias.append(values.mean() / truth - 1)
            ratios.append(np.sqrt(values.var(axis=0, ddof=1).mean() / (errors**2).mean()))
        biases.append(bias)
        ratio = float(np.median(ratios))
    return np.array(biases[0]), np.array(biases[1]), full, ratio


def by_dipy(images: np.ndarray, b: np.ndarray, directions: np.ndarray, mask: np.ndarray) -> Any:
    """DIPY's weighted least squares of the same images."""
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory() as name:
        given, found = Path(name) / "given.npz", Path(name) / "found.npz"
        np.savez(given, images=np.moveaxis(images, 0, -1), b=b, mask=mask,
                 directions=directions / np.where(length > 0, length, 1))  # fmt: skip
        subprocess.run(
            [environment("dipy"), "-c", DIPY, given, found], check=True, capture_output=True
        )
        with np.load(found) as result:
            return {key: result[key] for key in result.files}


def in_head() -> tuple[list[tuple[str, float, float]], tuple[np.ndarray, Tensor, np.ndarray]]:
    """The public series: read as dcm2niix reads it, fitted as DIPY fits it.

    Mean diffusivity of the brain: C. Pierpaoli et al. 1996, doi:10.1148/radiology.201.3.8939209.
    """
    images, b, directions = head.series()
    theirs, their_b = head.converted()
    found = diffusion_tensor(images, b_matrices(b, directions))
    brain = found.mean.valid & (images[0] > 0.35 * np.percentile(images[0], 99))
    peer = by_dipy(images, b, directions, brain)
    mean, anisotropy = found.mean.array[brain], found.anisotropy.array[brain]
    strong = anisotropy > 0.3
    along = np.abs((np.moveaxis(found.direction, 0, -1)[brain] * peer["direction"][brain]).sum(-1))
    angle = np.degrees(np.arccos(np.clip(along[strong], 0, 1)))
    return [
        ("head: pixels unlike dcm2niix's", float(np.abs(images - theirs).max()), 0.0),
        ("head: b-values unlike dcm2niix's [s/mm2]", float(np.abs(b - their_b).max() * 1e-6), 1e-3),
        ("head: MD from DIPY's, median", float(np.median(np.abs(peer["md"][brain] / mean - 1))),
         1e-3),
        ("head: FA from DIPY's, 99 of 100 voxels",
         float(np.percentile(np.abs(peer["fa"][brain] - anisotropy), 99)), 0.01),
        ("head: direction from DIPY's where FA > 0.3, median [degrees]", float(np.median(angle)),
         0.1),
        ("head: median MD [1e-9 m2/s] off 0.7, of white and grey matter (fluid is faster)",
         abs(float(np.median(mean)) * 1e9 - 0.7), 0.2),
    ], (images[0], found, brain)  # fmt: skip


def row(claim: str, value: float, limit: float, truth: str, source: str) -> dict[str, Any]:
    """One claim: at most a limit."""
    return {
        "claim": f"maps, diffusion, {claim}",
        "value": value,
        "unit": "1",
        "bound": f"<= {limit:g}",
        "truth": truth,
        "source": source,
        "command": COMMAND,
        "passes": value <= limit,
    }


def claims() -> list[dict[str, Any]]:
    """Closed forms, efficiency, the twin and a head; writes the page and the picture."""
    rows = [row(*case, "closed form", BASSER) for case in closed()]
    rows += [row(*case, "Cramer-Rao bound", BASSER) for case in efficiency()]
    say("  vials on the twin ...")
    bias, plain, b, ratio = on_twin()
    rows.append(row("vials on the twin, ADC of the worst vial: bias", float(np.abs(bias).max()),
                    0.05, "hidden truth", "validation/map_scans.py"))  # fmt: skip
    rows.append(row("vials on the twin: spread over reported error, off one", abs(ratio - 1), 0.1,
                    "ten seeds", "validation/map_scans.py"))  # fmt: skip
    vials = [
        {"vial": k + 1, "D [1e-9 m2/s]": scans.DIFFUSION[k] * 1e9,
         "bias, all gradients [%]": 100 * bias[k],
         "bias, diffusion gradients only [%]": 100 * plain[k]}
        for k in range(len(bias))
    ]  # fmt: skip
    if head.at_hand():
        found, shown = in_head()
        rows += [row(*case, "another program", head.SOURCE) for case in found]
        draw(*shown)
    text = (
        f"# Diffusion maps\n\nWritten by `{COMMAND}` from a run; do not edit.\n\n"
        + markdown(rows, ("claim", "value", "bound", "passes", "truth", "source"))
        + f"\n## Vials on the twin\n\nSpin echoes of 70 ms, b of all gradients at the middle line "
        f"{(b * 1e-6).round(1).tolist()} s/mm2, mean of some 20 pixels and ten seeds.\n\n"
        + markdown(vials, tuple(vials[0]))
    )
    if head.at_hand():
        text += (
            f"\n## A head\n\n{head.SOURCE}: b = 0 and 16 directions at 930 s/mm2, one of twenty "
            "slices.\n\n"
            "![MD, FA and direction](../../images/maps-diffusion.png)\n"
        )
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text)
    return rows


def draw(image: np.ndarray, found: Tensor, brain: np.ndarray) -> None:
    """One slice: image, MD, FA with its error, direction of fastest diffusion in colours."""
    figure, axes = plt.subplots(1, 5, figsize=(15, 3.3), layout="constrained")
    z = 7
    axes[0].imshow(image[z], cmap="gray")
    axes[0].set_title("b = 0")
    shown = (
        (found.mean.array * 1e9, "MD [1e-9 m2/s]", 2.5),
        (found.anisotropy.array, "FA", 0.9),
        (found.anisotropy.error, "standard error of FA", 0.1),
    )
    for axis, (array, title, top) in zip(axes[1:4], shown, strict=True):
        picture = axis.imshow(np.ma.masked_where(~brain[z], array[z]), vmin=0, vmax=top)
        figure.colorbar(picture, ax=axis, shrink=0.8)
        axis.set_title(title)
    colour = np.abs(found.direction[:, z]) * found.anisotropy.array[z] * brain[z]
    axes[4].imshow(np.clip(1.3 * colour, 0, 1).transpose(1, 2, 0))
    axes[4].set_title("direction, weighed by FA")
    for axis in axes:
        axis.set_axis_off()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    show(claims())
