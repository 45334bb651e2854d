"""Compressed sensing and low rank against CG-SENSE, on the same lines with the same coil maps.

Maps come from the centre of the very lines measured. CG-SENSE is given the number of iterations
that suits it best, which nobody knows at the scanner; compressed sensing gets its own default
settings, the strength found from the noise. Truth: the noise-free image of all lines. Errors are
those of magnitudes over the whole field of view, air included.

Bounds say what compressed sensing is for: less error and more likeness than parallel imaging, at
each acceleration, by a fifth where the truth is free of noise; of real lines the truth is a noisy
image, which a less noisy one resembles less, so that there no likeness is asked for. A strength
within a tenth of the best that can be found by trying.
"""

import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from scanroom.mri.hardware.siemens import import_twix
from scanroom.mri.raw.reader import read_raw
from scanroom.mri.recon.compressed_sensing import (
    compressed_sensing,
    frames,
    joint_compressed_sensing,
)
from scanroom.mri.recon.geometry import axes_of
from scanroom.mri.recon.kspace import Options, coil_images
from scanroom.mri.recon.low_rank import locally_low_rank, low_rank_plus_sparse
from scanroom.mri.recon.noise import covariance, whiten, whitener
from scanroom.mri.recon.parallel import centre_maps
from scanroom.mri.recon.sensitivities import combine, sensitivities
from scanroom.mri.recon.sort import stacks
from scanroom.operators.fourier import to_kspace
from scanroom.operators.solvers import conjugate_gradients
from validation.sparse_scenes import (
    Scene,
    beating,
    brain,
    lines,
    nrmse,
    shapes,
    ssim,
)
from validation.table import markdown, show

COMMAND = "python -m validation.mri_recon_sparse"
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/reference/generated/recon-sparse.md"
PICTURE = ROOT / "docs/images/recon-sparse.png"
REAL = ROOT.parent / "shared/data/mri_raw"
SOURCE = "doi:10.1002/mrm.21391, doi:10.1002/mrm.22595, doi:10.1002/mrm.25240"
SNR = 40.0
ACCELERATIONS = (4, 6, 8)
PENALTIES = ("wavelet", "tv", "tgv")
RIVAL = "CG-SENSE, best"
KEYS = ("object", "R", "method", "NRMSE", "SSIM")
PHANTOM = REAL / "pehses+twixtools/example_data/gre.dat"
SPHERE = (
    REAL / "pulseq+MR-Physics-with-Pulseq/tutorials/04_hardware_and_imprefections/data"
    "/2024-02-06-160052.dat"
)
Row = dict[str, Any]


def unfolded(kspace: np.ndarray, sampled: np.ndarray, maps: np.ndarray) -> list[np.ndarray]:
    """CG-SENSE after some numbers of iterations."""
    encode = frames(kspace, sampled, maps)
    right = encode.H(kspace)
    return [
        conjugate_gradients(encode.N, right, n_iterations=n, tolerance=0)
        for n in (1, 2, 3, 5, 8, 12, 20, 30)
    ]


def best(images: list[np.ndarray], truth: np.ndarray) -> np.ndarray:
    """Of least error."""
    return min(images, key=lambda image: nrmse(image, truth))


def row(name: str, acceleration: float, method: str, pair: tuple[np.ndarray, np.ndarray]) -> Row:
    """One line of the table."""
    return {
        "object": name, "R": acceleration, "method": method,
        "NRMSE": round(nrmse(*pair), 4), "SSIM": round(ssim(*pair), 4),
    }  # fmt: skip


def still(scene: Scene, acceleration: int) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Every method on one slice."""
    n, truth = scene.truth.shape[-1], SNR * scene.truth[0]
    sampled = lines(n, acceleration, n_centre=24 if acceleration < 8 else 16)
    kspace = scene.measured(sampled[None], SNR)[0]
    maps = centre_maps(kspace, sampled)
    images = compared(kspace, sampled, maps, truth)
    return [row(scene.name, acceleration, k, (v, truth)) for k, v in images.items()], images


def compared(
    kspace: np.ndarray, sampled: np.ndarray, maps: np.ndarray, truth: np.ndarray
) -> dict[str, np.ndarray]:
    """Zeros, CG-SENSE and compressed sensing of one slice."""
    encode = frames(kspace[None], sampled[None], maps)
    images = {
        "zero-filled": encode.H(kspace[None])[0],
        RIVAL: best([x[0] for x in unfolded(kspace[None], sampled[None], maps)], truth),
    }
    for name in PENALTIES:
        images[name] = compressed_sensing(kspace, sampled, maps, sparse_in=name)
    return images


def moving(acceleration: int) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Every method on a series of frames, each with lines of its own."""
    scene = beating()
    n, truth = scene.truth.shape[-1], SNR * scene.truth
    sampled = np.stack([lines(n, acceleration, n_centre=6, seed=i) for i in range(len(truth))])
    kspace = scene.measured(sampled, SNR)
    together = kspace.sum(axis=0) / np.maximum(sampled.sum(axis=0), 1)[None, :, :, None]
    maps = centre_maps(together, sampled.any(axis=0))
    images = {
        RIVAL: best(unfolded(kspace, sampled, maps), truth),
        "wavelet": np.stack(
            [compressed_sensing(k, s, maps) for k, s in zip(kspace, sampled, strict=True)]
        ),
        "wavelet, joint": joint_compressed_sensing(kspace, sampled, maps),
        "locally low rank": locally_low_rank(kspace, sampled, maps),
        "low rank + sparse": low_rank_plus_sparse(kspace, sampled, maps).image,
    }
    return [row(scene.name, acceleration, k, (v, truth)) for k, v in images.items()], images


def real(path: Path, acceleration: float, n_centre: int) -> list[Row]:
    """Fully sampled lines of a scanner, some of them left out; truth is the image of all."""
    with tempfile.TemporaryDirectory() as folder:
        import_twix(path, None, Path(folder) / "raw.h5")
        measurement = whiten(read_raw(Path(folder) / "raw.h5"))
    axes, (stack, *_) = axes_of(measurement.encoding), stacks(measurement.encoding)
    windows = stack.frames[0].windows[0]
    seen = coil_images(measurement, windows, np.zeros(0, np.int64), axes, Options()).signal
    images = whitened(seen)
    truth = np.abs(combine(images, sensitivities(images)))
    kspace = to_kspace(images, (2,))
    sampled = lines(kspace.shape[2], acceleration, n_centre=n_centre)
    kspace = (kspace * sampled[None, :, :, None]).astype(np.complex64)
    found = compared(kspace, sampled, centre_maps(kspace, sampled), truth)
    name = f"{path.name}: {len(kspace)} coils, {truth.shape[1]} lines"
    return [row(name, acceleration, k, (v, truth)) for k, v in found.items()]


def whitened(images: np.ndarray) -> np.ndarray:
    """Coil images in units of their noise, which is taken from the corners of k-space."""
    kspace = to_kspace(images, (2, 3))
    far = [np.abs(np.arange(n) - n // 2) > 0.42 * n for n in kspace.shape[2:]]
    corners = kspace[:, 0][:, np.ix_(*far)[0], np.ix_(*far)[1]].reshape(len(kspace), -1)
    white: np.ndarray = np.einsum("dc,czyx->dzyx", whitener(covariance(corners)), images)
    return white.astype(np.complex64)


def tuned() -> list[tuple[str, float]]:
    """Error with the strength from the noise over the least of strengths a factor two apart."""
    found = []
    for make in (brain, shapes):
        for snr in (15.0, 40.0, 100.0):
            scene, sampled = make(), lines(256, 4)
            truth, kspace = snr * scene.truth[0], scene.measured(sampled[None], snr)[0]
            maps = centre_maps(kspace, sampled)
            errors = [
                nrmse(compressed_sensing(kspace, sampled, maps, strength=strength), truth)
                for strength in (1.0, 0.25, 0.5, 2.0, 4.0)
            ]
            found.append((f"{scene.name}, SNR {snr:g}", errors[0] / min(errors)))
    return found


def claim(text: str, value: float, bound: float, truth: str) -> Row:
    """A value that is to stay at or below its bound."""
    return {
        "claim": text, "value": value, "unit": "1", "bound": f"<= {bound:g}", "truth": truth,
        "source": SOURCE, "command": COMMAND, "passes": value <= bound,
    }  # fmt: skip


def judged(
    rows: list[Row], names: tuple[str, ...], bound: float, *, alike: bool = True
) -> list[Row]:
    """Errors over those of CG-SENSE on the same lines, worst of accelerations; and of 1 - SSIM."""
    found = []
    for kind in dict.fromkeys(r["object"] for r in rows):
        several = [
            {r["method"]: r for r in rows if (r["object"], r["R"]) == (kind, acceleration)}
            for acceleration in dict.fromkeys(r["R"] for r in rows if r["object"] == kind)
        ]
        of = f"{kind}, R " + ", ".join(f"{next(iter(one.values()))['R']:g}" for one in several)
        for name in names:
            share = max(one[name]["NRMSE"] / one[RIVAL]["NRMSE"] for one in several)
            text = f"{of}: error of {name} over that of CG-SENSE, worst"
            found.append(claim(text, share, bound, "image of all lines"))
            lost = max((1 - one[name]["SSIM"]) / (1 - one[RIVAL]["SSIM"]) for one in several)
            if alike:
                text = f"{of}: 1 - SSIM of {name} over that of CG-SENSE, worst"
                found.append(claim(text, lost, bound, "image of all lines"))
    return found


def claims() -> list[Row]:
    """Slices, a series, real lines, and the strength."""
    rows, pictures = [], {}
    for make in (brain, shapes):
        for acceleration in ACCELERATIONS:
            some, images = still(make(), acceleration)
            rows += some
            if (make, acceleration) == (brain, 6):
                pictures = images
    found = judged(rows, PENALTIES, 0.8)
    series: list[Row] = []
    films: dict[str, np.ndarray] = {}
    for acceleration in (6, 10):
        some, films = moving(acceleration)
        series += some
    found += judged(series, ("locally low rank", "low rank + sparse"), 0.8)
    measured = real(PHANTOM, 2, 20) + real(PHANTOM, 3, 20) + real(SPHERE, 4, 16)
    found += judged(measured, PENALTIES, 1.0, alike=False)
    strengths = tuned()
    text, worst = max(strengths, key=lambda pair: pair[1])
    found.append(
        claim(
            f"error with the strength from the noise over the least by trying, worst ({text})",
            worst, 1.1, "strengths a factor of two apart, 1/4 to 4",
        )
    )  # fmt: skip
    draw(pictures, films)
    write_page((rows, series, measured), strengths, found)
    return found


def draw(pictures: dict[str, np.ndarray], films: dict[str, np.ndarray]) -> None:
    """Slices with their errors, and a line through the heart over time."""
    truth, still_names = SNR * brain().truth[0], list(pictures)
    film = SNR * beating().truth
    figure, axes = plt.subplots(3, 6, figsize=(12, 6.8))
    top = float(np.percentile(truth, 99.7))
    for column, name in enumerate(["truth", *still_names]):
        image = truth if name == "truth" else np.abs(pictures[name])
        axes[0, column].imshow(image[0][::-1], cmap="gray", vmin=0, vmax=top)
        away = np.abs(image - truth)[0][::-1]
        axes[1, column].imshow(away, cmap="gray", vmin=0, vmax=top / 5)
        axes[0, column].set_title(name, fontsize=8)
    high = float(film.max())
    for column, name in enumerate(["truth", *films]):
        course = film if name == "truth" else np.abs(films[name])
        middle = course[:, 0, :, course.shape[3] // 2 + 2].T
        axes[2, column].imshow(middle, cmap="gray", vmin=0, vmax=high, aspect="auto")
        axes[2, column].set_title(name, fontsize=8)
    for axis, text in zip(axes[:, 0], ("R 6", "error x 5", "R 10, over time"), strict=True):
        axis.text(0.02, 0.04, text, color="w", fontsize=7, transform=axis.transAxes)
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout(pad=0.8)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=85)
    plt.close(figure)


def write_page(
    tables: tuple[list[Row], list[Row], list[Row]],
    strengths: list[tuple[str, float]],
    found: list[Row],
) -> None:
    """Write the tables that the documentation shows."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    slices, series, measured = (markdown(rows, KEYS) for rows in tables)
    tried = markdown(
        [{"lines of": name, "error over the least": value} for name, value in strengths],
        ("lines of", "error over the least"),
    )
    PAGE.write_text(
        f"# Compressed sensing and low rank\n\nMade by `{COMMAND}`. 8 coils, SNR {SNR:g} (mean "
        "signal of the object over the noise of one component, all lines), variable density, maps "
        "from the centre of the lines measured. CG-SENSE has the number of iterations that suits "
        "it best, the others their defaults.\n\n![slices, their errors and a course over time]"
        f"(../../images/recon-sparse.png)\n\n## Slices, 256 x 256\n\n{slices}\n"
        f"## A series, 96 x 96, 24 frames\n\n{series}\n"
        "## Real lines, some left out\n\nTruth is the noisy image of all lines; noise from the "
        f"corners of k-space.\n\n{measured}\n"
        f"## Strength from the noise, R 4, wavelets\n\n{tried}\n"
        f"## Claims\n\n{markdown(found, ('claim', 'value', 'bound', 'passes'))}"
    )


if __name__ == "__main__":
    show(claims())
