"""Stiffness from shear waves: plane and round waves, an inclusion, noise, and a real head.

Truths are closed forms (a plane wave, Hankel's function), a wave equation with a stiffness that
changes in space, solved by finite differences, and two scans of one volunteer, which must agree.

``python -m validation.mri_maps_stiffness`` also writes
``docs/reference/generated/maps-stiffness.md`` and ``docs/images/maps-stiffness.png``.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import nibabel
import numpy as np
from scipy import sparse
from scipy.ndimage import binary_fill_holes, binary_opening, label
from scipy.sparse.linalg import spsolve
from scipy.special import hankel2

from scanroom.mri.maps.stiffness import (
    DENSITY,
    Stiffness,
    inverted,
    local_frequency,
    phase_gradient,
)
from scanroom.mri.maps.waves import Field, band, eroded, harmonic
from validation.mri_bloch_truths import write_page
from validation.table import say, show

COMMAND = "python -m validation.mri_maps_stiffness"
PAGE = Path("docs/reference/generated/maps-stiffness.md")
PICTURE = Path("docs/images/maps-stiffness.png")
ROOT = Path(__file__).resolve().parents[1]
BRAIN = ROOT.parent / (
    "shared/data/elastography/MATHplus-Young-Academy+P5-Elastography/data/patient_1/IRMRE_NII/IRMRE"
)
OLIPHANT = "Oliphant et al. 2001, doi:10.1002/1522-2594(200102)45:2<299::AID-MRM1039>3.0.CO;2-O"
MANDUCA = "Manduca et al. 2001, doi:10.1016/S1361-8415(00)00039-6"
EDGE, HERTZ = 2e-3, 50.0
VOXEL = (EDGE, EDGE, EDGE)
MODULI = (2000 + 0j, 2000 + 800j, 5000 + 1500j)
DIRECTIONS = ((0.0, 0.6, 0.8), (0.0, -1.0, 0.0), (0.48, 0.6, -0.64))
SHAPE = (20, 56, 56)
Z, Y, X = (
    np.mgrid[:20, :56, :56].astype(float) - np.array([10, 28, 28]).reshape(3, 1, 1, 1)
) * EDGE
Row = tuple[str, float, float, str, str]
"""Claim, value, bound, truth, source."""


def number(modulus: complex, frequency: float = HERTZ) -> complex:
    """Wave number [rad/m] of ``exp(2 pi i f t - i k r)``."""
    return complex(2 * np.pi * frequency * np.sqrt(DENSITY / modulus))


def plane(modulus: complex, peak: float = 2.0) -> np.ndarray:
    """Three waves along three directions, each at most ``peak`` radians of phase."""
    rows = []
    for z, y, x in DIRECTIONS:
        wave = np.exp(-1j * number(modulus) * (z * Z + y * Y + x * X))
        rows.append(peak * wave / np.abs(wave).max())
    return np.stack(rows)


def images(waves: np.ndarray, snr: float, seed: int) -> np.ndarray:
    """Eight images of a period with a static phase that wraps, in units of the noise."""
    steps = np.exp(2j * np.pi * np.arange(8) / 8)[None, :, None, None, None]
    phase = (waves[:, None] * steps).real + 20 * X + 300 * Y
    noise = np.random.default_rng(seed).normal(size=(2, *phase.shape))
    return np.asarray(snr * np.exp(1j * phase) + noise[0] + 1j * noise[1])


def clean(waves: np.ndarray) -> Field:
    """A field that is hardly noisy."""
    shape = waves.shape[1:]
    return Field(waves=waves, error=np.full(waves.shape, 1e-6), valid=np.ones(shape, bool))


def modulus_error(found: Stiffness, truth: complex) -> float:
    """Mean storage and loss against the truth, relative to its size."""
    mean = [one.array[one.valid].mean() for one in (found.storage, found.loss)]
    return float(abs(complex(*mean) - truth) / abs(truth))


def plane_waves() -> list[Row]:
    """Three moduli by inversion; elastic waves by local frequency and by phase."""
    rows: list[Row] = []
    for modulus in MODULI:
        found = inverted(clean(plane(modulus)), VOXEL, HERTZ)
        rows.append((f"inversion of plane waves, G = {modulus.real:g} + {modulus.imag:g}i Pa, "
                     "error of G over |G|", modulus_error(found, modulus), 0.005, "plane waves",
                     OLIPHANT))  # fmt: skip
    for method, bound, source in (
        (local_frequency, 0.02, MANDUCA),
        (phase_gradient, 0.03, "Tzschaetzsch et al. 2016, doi:10.1016/j.media.2016.01.001"),
    ):
        found_speed = method(clean(plane(2500 + 0j)), VOXEL, HERTZ, n_replicas=2)
        inner = eroded(found_speed.valid, 4)
        away = abs(float(found_speed.array[inner].mean()) / np.sqrt(2.5) - 1)
        rows.append((f"{method.__name__} of elastic plane waves, relative error of the speed", away,
                     bound, "plane waves", source))  # fmt: skip
    return rows


def round_wave() -> list[Row]:
    """A damped wave from a line source: Hankel's function, distance 20 mm and more."""
    modulus = 2500 + 600j
    radius = np.hypot(X + 0.09, Y)
    wave = hankel2(0, number(modulus) * radius)[None]
    found = inverted(clean(2 * wave / np.abs(wave).max()), VOXEL, HERTZ, flat=True)
    return [("inversion of a round damped wave, error of G over |G|", modulus_error(found, modulus),
             0.01, "Hankel's function", OLIPHANT)]  # fmt: skip


def noise() -> list[Row]:
    """Ten seeds at SNR 20, waves of at most 1 rad, damped across the volume."""
    modulus, found = 3000 + 600j, []
    for seed in range(10):
        field = harmonic(images(plane(modulus, 1.0), 20.0, seed))
        found.append(inverted(field, VOXEL, HERTZ))
    valid = np.logical_and.reduce([one.storage.valid for one in found])
    inner = eroded(valid, 3)
    rows: list[Row] = []
    for name in ("storage", "loss"):
        values = np.stack([getattr(one, name).array[valid] for one in found])
        truth = modulus.real if name == "storage" else modulus.imag
        bias = abs(float(values.mean()) - truth) / abs(modulus)
        rows.append((f"{name} modulus with noise, mean error over |G|", bias, 0.02,
                     "plane waves, SNR 20", OLIPHANT))  # fmt: skip
        spread = np.stack([getattr(one, name).array[inner] for one in found]).std(axis=0, ddof=1)
        stated = np.sqrt((getattr(found[0], name).error[inner] ** 2).mean())
        rows.append((f"{name} modulus, |spread over stated error - 1|, 6 voxels from the edge",
                     abs(float(np.sqrt((spread**2).mean()) / stated) - 1), 0.1,
                     "plane waves, SNR 20", OLIPHANT))  # fmt: skip
    return rows


def inclusion() -> tuple[np.ndarray, np.ndarray, float]:
    """Wave, modulus and cell of a plate with a stiff disc, 100 Hz, by finite differences.

    ``div(G grad u) + rho omega^2 u = 0`` on cells of 0.5 mm, driven at the left, damped at the
    other edges; every second cell is kept.
    """
    n, cell, omega = 240, 0.5e-3, 2 * np.pi * 100
    y, x = (np.mgrid[:n, :n] - n / 2 + 0.5) * cell
    modulus = np.where(np.hypot(x, y) < 0.015, 5000 + 750j, 2000 + 300j)
    rim = np.maximum(np.maximum(np.abs(y), x) - 0.045, 0) / 0.015
    modulus = modulus * (1 + 1j * rim**2)
    index = np.arange(n * n).reshape(n, n)
    main = np.full((n, n), DENSITY * omega**2, complex)
    rows, columns, values = [], [], []
    for here, there in (((slice(1, None), slice(None)), (slice(-1), slice(None))),
                        ((slice(None), slice(1, None)), (slice(None), slice(-1)))):  # fmt: skip
        a, b = modulus[here], modulus[there]
        link = 2 * a * b / (a + b) / cell**2
        main[here] -= link
        main[there] -= link
        for one, other in ((here, there), (there, here)):
            rows.append(index[one].ravel())
            columns.append(index[other].ravel())
            values.append(link.ravel())
    driven = np.zeros((n, n), bool)
    driven[:, 0] = True
    rows.append(index.ravel())
    columns.append(index.ravel())
    values.append(np.where(driven, 1.0, main).ravel())
    row = np.concatenate(rows)
    column, value = np.concatenate(columns), np.concatenate(values)
    keep = ~driven.ravel()[row] | (row == column)
    matrix = sparse.csr_matrix((value[keep], (row[keep], column[keep])), shape=(n * n, n * n))
    wave = spsolve(matrix.tocsc(), driven.ravel().astype(complex)).reshape(n, n)
    part = (slice(30, 210, 2), slice(30, 210, 2))
    return wave[part][None, None] * 2, modulus[part], 2 * cell


def disc() -> list[Row]:
    """Disc and plate in the middle of each, two voxels from the edge between them and more."""
    wave, _, cell = inclusion()
    found = inverted(clean(wave), (cell, cell, cell), 100.0, flat=True)
    n = wave.shape[-1]
    y, x = (np.mgrid[:n, :n] - n / 2 + 0.5) * cell
    radius = np.hypot(x, y)
    rows: list[Row] = []
    around = (radius > 0.022) & (radius < 0.035)
    for name, where, truth in (
        ("stiff disc", radius < 0.010, 5000.0),
        ("plate around", around, 2000.0),
    ):
        known = where & found.storage.valid[0]
        away = abs(float(np.median(found.storage.array[0][known])) / truth - 1)
        rows.append((f"{name} of {truth:g} Pa, relative error of the median storage modulus", away,
                     0.05, "finite differences", OLIPHANT))  # fmt: skip
    return rows


def head(series: tuple[str, str]) -> Field:
    """Wave field of a volunteer: magnitude and phase series, three components, eight steps."""
    pair = []
    for name in series:
        files = sorted(BRAIN.glob(f"*-{name}-*.nii"))
        pair.append(np.stack([np.asarray(nibabel.load(path).dataobj) for path in files]))
    magnitude = pair[0].astype(np.float64)
    phase = pair[1].astype(np.float64) * np.pi / 4096
    air = np.concatenate([magnitude[:, :8, :8], magnitude[:, -8:, :8]])
    spread = air.mean() / np.sqrt(np.pi / 2)  # Rayleigh
    stacked = (magnitude * np.exp(1j * phase) / spread).reshape(3, 8, *magnitude.shape[1:])
    whole = stacked.transpose(0, 1, 4, 3, 2)
    size = np.abs(whole).mean(axis=(0, 1))
    bright = size > 0.15 * np.percentile(size, 99)
    solid = np.stack([binary_fill_holes(binary_opening(one, iterations=2)) for one in bright])
    parts = label(solid)[0]
    mask = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return harmonic(whole, mask=mask)


HEAD_VOXEL = (4e-3, 2e-3, 2e-3)


def head_speed(field: Field, lowest: float = 10.0, highest: float = 80.0) -> Stiffness:
    """Inversion in the slice at 20 Hz, of waves of 12 to 100 mm."""
    kept = band(field, HEAD_VOXEL, lowest=lowest, highest=highest, flat=True)
    return inverted(kept, HEAD_VOXEL, 20.0, flat=True)


def volunteer() -> list[Row]:
    """Two scans of one head, without and with inversion recovery; how the band moves the first."""
    fields = [head(("0045", "0046")), head(("0047", "0048"))]
    found = [head_speed(field) for field in fields]
    both = found[0].speed.valid & found[1].speed.valid
    medians = [float(np.median(one.speed.array[both])) for one in found]
    apart = abs(medians[0] / medians[1] - 1)
    alike = float(np.corrcoef(*[one.speed.array[both] for one in found])[0, 1])
    wide = [head_speed(fields[0], *edges) for edges in ((5.0, 80.0), (15.0, 100.0))]
    moved = [float(np.median(one.speed.array[one.speed.valid])) for one in wide]
    source = "github: MATHplus-Young-Academy/P5-Elastography, see MANIFEST.tsv"
    words = f"{medians[0]:.2f} and {medians[1]:.2f} m/s"
    return [
        (f"real head, two scans, relative difference of the median speed ({words})", apart, 0.1,
         "the other scan", source),
        ("real head, two scans, 1 - correlation of the speed maps (the band counts for more: "
         f"median {moved[0]:.2f} m/s for 5 to 80 /m, {moved[1]:.2f} for 15 to 100 /m)",
         1 - alike, 0.5, "the other scan", source),
    ]  # fmt: skip


CASES = (plane_waves, round_wave, noise, disc, volunteer)


def claims() -> list[dict[str, Any]]:
    """Every case; the page and the picture with them."""
    rows = []
    for case in CASES:
        say(f"  {case.__name__} ...")
        if case is volunteer and not BRAIN.is_dir():
            continue
        for claim, value, bound, truth, source in case():
            rows.append({"claim": claim, "value": value, "unit": "1", "bound": f"<= {bound:g}",
                         "truth": truth, "source": source, "command": COMMAND,
                         "passes": bool(value <= bound)})  # fmt: skip
    write_page(PAGE, "Stiffness from shear waves", COMMAND, rows)
    draw()
    return rows


def draw() -> None:
    """The inclusion and, where the data are there, the head: wave, speed, error."""
    wave, modulus, cell = inclusion()
    found = inverted(clean(wave), (cell, cell, cell), 100.0, flat=True)
    panels = [
        ("wave, real part [rad]", wave[0, 0].real, "RdBu_r", (-1.0, 1.0)),
        ("storage modulus put in [Pa]", modulus.real, "viridis", (0, 6000)),
        ("found", found.storage.array[0], "viridis", (0, 6000)),
    ]
    if BRAIN.is_dir():
        field = head(("0045", "0046"))
        one = head_speed(field)
        panels += [
            ("head, wave at 20 Hz, A to P [rad]", field.waves[1, 2].real, "RdBu_r", (-4.0, 4.0)),
            ("shear wave speed [m/s]", one.speed.array[2], "viridis", (0, 2)),
            ("where it is trusted", one.speed.valid[2].astype(float), "gray", (0, 1)),
        ]
    columns = 3
    size = (11, 3.6 * len(panels) // columns)
    figure, axes = plt.subplots(len(panels) // columns, columns, figsize=size, squeeze=False,
                                layout="constrained")  # fmt: skip
    for axis, (title, image, colours, limits) in zip(axes.ravel(), panels, strict=True):
        shown = axis.imshow(image, cmap=colours, vmin=limits[0], vmax=limits[1], origin="lower")
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
        figure.colorbar(shown, ax=axis, shrink=0.8)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=90, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    show(claims())
