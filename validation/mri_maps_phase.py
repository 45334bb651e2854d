"""Maps of phase against closed forms: field, fat, susceptibility, velocity, temperature, pushes.

Every truth is put in by formula, noise is white, each figure is over ten seeds. `score` is the
deviation over the standard error that the map states: its spread is 1 where errors are true.

``python -m validation.mri_maps_phase`` also writes ``docs/reference/generated/maps-phase.md`` and
``docs/images/maps-phase.png``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import binary_erosion

from scanroom.mri.maps.background import boundary_value, mean_value, projected
from scanroom.mri.maps.displacement import displacement
from scanroom.mri.maps.field import field_map
from scanroom.mri.maps.model import Map
from scanroom.mri.maps.susceptibility import Local, total_variation, truncated
from scanroom.mri.maps.temperature import (
    Unheated,
    hertz_per_kelvin,
    referenceless,
    temperature_change,
)
from scanroom.mri.maps.unwrapping import TURN, unwrap
from scanroom.mri.maps.velocity import flow_rate, velocity
from scanroom.mri.maps.water_fat import WaterFat, water_fat
from scanroom.physics.fat import PEAKS, SHARES
from validation.mri_bloch_truths import write_page
from validation.spheres import VOXEL, outside, phantom, slope
from validation.table import say, show

COMMAND = "python -m validation.mri_maps_phase"
PAGE = Path("docs/reference/generated/maps-phase.md")
PICTURE = Path("docs/images/maps-phase.png")
LARMOR = 127.728e6
SEEDS = range(10)
N = 88
Y, X = (np.mgrid[:N, :N].astype(float)[:, None] - N / 2 + 0.5) / (N / 2)
BODY = X**2 + Y**2 < 0.95
FRACTION = np.floor((X + 1) / 2 * 11) / 10
STEEP = 420 * X**3 + 380 * Y * np.abs(Y) + 160 * X
WIDE = (
    f"{np.ptp(STEEP[BODY]):.0f} Hz across, "
    f"{np.abs(np.diff(STEEP, axis=2))[BODY[..., 1:] & BODY[..., :-1]].max():.0f} Hz per pixel"
)
DECAY = 40 + 25 * Y
TIMES = 1.2e-3 + 1.0e-3 * np.arange(6)
OBLIQUE = (0.9, 0.1, 0.42)
Row = tuple[str, float, float, str, str]
"""Claim, value, bound, truth, source."""


def noisy(signal: np.ndarray, snr: float, seed: int) -> np.ndarray:
    """Signal of unit size at an SNR, in units of the noise."""
    noise = np.random.default_rng(seed).normal(size=(2, *signal.shape))
    return np.asarray(snr * signal + noise[0] + 1j * noise[1])


def scores(found: list[Map], truth: np.ndarray) -> tuple[float, float]:
    """Mean deviation, and how far the spread over standard errors is from 1."""
    inside = np.logical_and.reduce([one.valid for one in found])
    away = np.stack([(one.array - truth)[inside] for one in found])
    error = np.stack([one.error[inside] for one in found])
    return float(abs(away.mean())), float(abs((away / error).std() - 1))


def unwrapping() -> list[Row]:
    """A paraboloid of 6 turns in three dimensions at SNR 6, in a ball."""
    z, y, x = np.mgrid[:24, :64, :64] - np.array([12, 32, 32]).reshape(3, 1, 1, 1)
    phase = 0.03 * x**2 + 0.02 * x * y + 0.5 * z
    ball = (2.4 * z) ** 2 + y**2 + x**2 < 28**2
    wrong = 0
    for seed in SEEDS:
        image = noisy(ball * np.exp(1j * phase), 6.0, seed)
        found = unwrap(np.angle(image), mask=ball, magnitude=np.abs(image))
        turns = np.round((found.phase - phase)[ball] / TURN)
        wrong += int((turns != np.median(turns)).sum())
    n = int(ball.sum())
    return [(f"voxels a turn off, of 10 x {n}, steps up to 2.3 rad, SNR 6", wrong, 0,
             "paraboloid", "Dymerska et al. 2021, doi:10.1002/mrm.28563")]  # fmt: skip


def field() -> list[Row]:
    """A steep field from five uneven echoes at SNR 30."""
    times = np.array([2.0, 4.3, 7.0, 10.1, 15.0]) * 1e-3
    t = times[:, None, None, None]
    clean = BODY * np.exp(-(2j * np.pi * STEEP + 25.0) * t + 1j * (X + 2))
    found = [field_map(noisy(clean, 30.0, seed), times) for seed in SEEDS]
    mean, spread = scores(found, STEEP)
    source = "Robinson et al. 2017, doi:10.1002/nbm.3601"
    return [
        ("field map, mean error [Hz]", mean, 0.02, WIDE, source),
        ("field map, spread of scores less 1", spread, 0.03, "stated standard error", source),
    ]


def echoes(times: np.ndarray = TIMES) -> np.ndarray:
    """Signal of fractions 0 to 100 % in columns, in the steep field."""
    t = times[:, None, None, None]
    fat = np.exp(-2j * np.pi * LARMOR * t[..., None] * PEAKS) @ (SHARES / SHARES.sum())
    turn = np.exp(-(DECAY + 2j * np.pi * STEEP) * t + 1j * (1 + X))
    return np.asarray(BODY * (1 - FRACTION + FRACTION * fat) * turn)


def fat() -> list[Row]:
    """Fractions of 0 to 100 % at SNR 30 and 12, complex and mixed."""
    rows: list[Row] = []
    source = "Hernando et al. 2010, doi:10.1002/mrm.22177; Yu et al. 2008, doi:10.1002/mrm.21737"
    for snr, n_magnitude in ((30.0, 0), (12.0, 0), (30.0, 1)):
        found = [water_fat(noisy(echoes(), snr, seed), TIMES, LARMOR, mask=BODY,
                           n_magnitude=n_magnitude) for seed in SEEDS]  # fmt: skip
        mean = np.mean([one.fraction.array - FRACTION for one in found], axis=0)
        levels = [mean[BODY & np.isclose(FRACTION, n / 10)].mean() for n in range(11)]
        how = f"SNR {snr:g}, {'first echo as magnitude' if n_magnitude else 'complex'}"
        columns = "columns of 0, 10 .. 100 % fat"
        rows.append((f"fat fraction, worst mean error of a column, {how} [points]",
                     100 * float(np.abs(levels).max()), 2.0, columns, source))  # fmt: skip
        rows.append((f"swapped voxels of 10 x {int(BODY.sum())}, {how}",
                     swapped(found), 0, WIDE, source))  # fmt: skip
        spread = scores([one.fraction for one in found], FRACTION)[1]
        rows.append((f"fat fraction, spread of scores less 1, {how}", spread, 0.1,
                     "stated standard error", source))  # fmt: skip
        decay = scores([one.r2_star for one in found], DECAY)[0]
        rows.append((f"R2*, mean error, {how} [1/s]", decay, 1.0, "15 to 65 /s", source))
    return rows


def swapped(found: list[WaterFat]) -> int:
    """Voxels whose field is more than 100 Hz off."""
    return sum(int((np.abs(one.field.array - STEEP)[BODY] > 100).sum()) for one in found)


def local(field_in: np.ndarray, error: float, mask: np.ndarray | None = None) -> Local:
    """Local field of the spheres."""
    return Local(
        field=field_in.astype(np.float32),
        error=np.full(field_in.shape, error, np.float32),
        mask=phantom(OBLIQUE)[0] if mask is None else mask,
        voxel=VOXEL,
        direction=OBLIQUE,
    )


def susceptibility() -> list[Row]:
    """Spheres of 0.1, 0.2, -0.1 ppm in an oblique field, error of the field 0.004 ppm."""
    mask, own, chi, regions = phantom(OBLIQUE)
    rows: list[Row] = []
    error = 0.004
    found: dict[str, list[float]] = {}
    leaves = []
    for seed in SEEDS:
        data = own + error * np.random.default_rng(seed).normal(size=own.shape)
        found.setdefault("TKD", []).append(
            slope(truncated(local(data, error)).array, chi, regions, mask)
        )
        if seed >= 3:
            continue  # total variation takes seconds
        alone = total_variation(local(data, error), n_replicas=2)
        found.setdefault("total variation", []).append(slope(alone.array, chi, regions, mask))
        for name, removed in (("V-SHARP", mean_value), ("LBV", boundary_value)):
            clean, known = removed(data + outside(OBLIQUE), mask, VOXEL)
            leaves.append((clean - data)[known].std() / outside(OBLIQUE)[known].std())
            whole = total_variation(local(clean, error, known), n_replicas=2)
            key = f"{name} and total variation"
            found.setdefault(key, []).append(slope(whole.array, chi, regions, known))
    spheres = "interior of spheres in closed form, B0 25 degrees askew"
    sources = {
        "TKD": (0.05, "Shmueli et al. 2009, doi:10.1002/mrm.22135"),
        "total variation": (0.05, "Bilgic et al. 2014, doi:10.1002/mrm.25029"),
        "V-SHARP and total variation": (0.1, "Wu et al. 2012, doi:10.1002/mrm.23000"),
        "LBV and total variation": (0.1, "Zhou et al. 2014, doi:10.1002/nbm.3064"),
    }
    for name, values in found.items():
        bound, source = sources[name]
        mean = float(np.mean(values))
        rows.append((f"susceptibility, |slope - 1|, {name} (slope {mean:.3f})", abs(mean - 1),
                     bound, spheres, source))  # fmt: skip
    rows.append(("background, share left or lost field, V-SHARP and LBV, the worse",
                 float(np.max(leaves)), 0.05, "two strong spheres outside",
                 "Wu et al. 2012, doi:10.1002/mrm.23000"))  # fmt: skip
    kept = projected(own + outside(OBLIQUE), mask, VOXEL, OBLIQUE)
    core = binary_erosion(mask, iterations=2)
    lost = 1 - float(np.polyfit(own[core], kept[core], 1)[0])
    rows.append(("share of the local field that PDF takes for background", lost, 0.2,
                 "field of spheres in the outer half",
                 "Liu et al. 2011, doi:10.1002/nbm.1670"))  # fmt: skip
    return rows


PIXEL, RADIUS, PEAK = 1e-3, 12e-3, 0.9
PIPE = np.hypot(X, Y) * N / 2 * PIXEL < RADIUS
SPEED = np.where(PIPE, PEAK * (1 - (np.hypot(X, Y) * N / 2 * PIXEL / RADIUS) ** 2), 0.0)


def flow() -> list[Row]:
    """Poiseuille's parabola beyond venc, through eddy currents, SNR 20."""
    venc, found = 0.6, []
    for seed in SEEDS:
        coil = BODY * np.exp(1j * (1.3 + 2 * X))
        turn = np.exp(1j * (np.pi * SPEED / venc + 0.3 + 0.5 * X - 0.3 * Y))
        found.append(velocity(noisy(coil, 20.0, 2 * seed), noisy(coil * turn, 20.0, 2 * seed + 1),
                              venc))  # fmt: skip
    mean, spread = scores(found, SPEED)
    rates = [flow_rate(one, PIPE, (PIXEL, PIXEL))[0] for one in found]
    truth = np.pi * RADIUS**2 * PEAK / 2
    source = "Pelc et al. 1991, doi:10.1002/jmri.1880010404"
    return [
        ("velocity, mean error [m/s], peak 1.5 venc", mean, 1e-3, "parabola", source),
        ("velocity, spread of scores less 1", spread, 0.05, "stated standard error", source),
        ("flow through the pipe, relative error", float(abs(np.mean(rates) / truth - 1)), 0.01,
         "Poiseuille: pi R^2 v / 2", source),
    ]  # fmt: skip


SPOT = np.exp(-(X**2 + Y**2) / (2 * 0.12**2))
UNHEATED = BODY & (np.hypot(X, Y) > 0.5)


def warm(times: np.ndarray, kelvin: np.ndarray, drift: float) -> np.ndarray:
    """Images of a spot in a field that drifts, with a slope."""
    t = times[:, None, None, None]
    hertz = 30 * X * Y + 20 * X + drift * (1 + 0.3 * X) + hertz_per_kelvin(LARMOR) * kelvin
    return np.asarray(BODY * np.exp(-(2j * np.pi * hertz + 30.0) * t + 0.7j))


def temperature() -> list[Row]:
    """A spot of 10, 25, 45 K through drift at SNR 40: one echo, four, no baseline."""
    rows: list[Row] = []
    rate = hertz_per_kelvin(LARMOR)
    truth = np.stack([rise * SPOT for rise in (10.0, 25.0, 45.0)])
    source = "Rieke and Butts Pauly 2008, doi:10.1002/jmri.21265"
    for times in (np.array([12e-3]), np.array([4e-3, 8e-3, 12e-3, 16e-3])):
        found = []
        for seed in SEEDS:
            frames = np.stack([noisy(warm(times, rise, 2.0 * n), 40.0, 100 * seed + n)
                               for n, rise in enumerate(truth)])  # fmt: skip
            base = np.stack([noisy(warm(times, 0 * X, 0.0), 40.0, 100 * seed + 50 + n)
                             for n in range(4)])  # fmt: skip
            still = Unheated(region=UNHEATED, order=1)
            found.append(temperature_change(frames, base, times, rate, unheated=still))
        mean, spread = scores(found, truth)
        how = f"{len(times)} echo{'es' if len(times) > 1 else ''}"
        error = float(np.median(found[0].error[found[0].valid]))
        rows.append((f"temperature, mean error, {how} (error of a pixel {error:.2f} K) [K]", mean,
                     0.02, "Gaussian spot, drift of 4 Hz", source))  # fmt: skip
        rows.append((f"temperature, spread of scores less 1, {how}", spread, 0.05,
                     "stated standard error", source))  # fmt: skip
    one = np.array([12e-3])
    frames = np.stack([noisy(warm(one, 12 * SPOT, 0.0), 40.0, seed) for seed in SEEDS])
    ring = Unheated(region=BODY & (np.hypot(X, Y) > 0.45), order=3)
    found_one = referenceless(frames, one, rate, unheated=ring)
    middle = np.hypot(X, Y) < 0.2
    away = float(abs((found_one.array - 12 * SPOT)[:, middle].mean()))
    rows.append(("temperature without baseline, mean error in the spot [K]", away, 0.2,
                 "Gaussian spot, 12 K", "Rieke et al. 2004, doi:10.1002/mrm.20090"))  # fmt: skip
    return rows


def push() -> list[Row]:
    """A push of 6 micrometres, 60 mT/m for 3 ms, SNR 25."""
    cycles = 42.576e6 * 60e-3 * 3e-3
    truth = 6e-6 * np.exp(-(X**2 / 0.02 + Y**2 / 0.1))

    def image(sign: int, moved: np.ndarray, seed: int) -> np.ndarray:
        turn = -TURN * sign * cycles * moved + sign * (0.4 + 0.3 * X) + 2 * X
        return noisy(BODY * np.exp(1j * turn), 25.0, seed)

    found = []
    for seed in SEEDS:
        on = [image(sign, truth, 4 * seed + n) for n, sign in enumerate((1, -1))]
        off = (image(1, 0 * truth, 4 * seed + 2), image(-1, 0 * truth, 4 * seed + 3))
        found.append(displacement(on[0], on[1], cycles, rest=off))
    mean, spread = scores(found, truth)
    source = "McDannold and Maier 2008, doi:10.1118/1.2956712"
    return [
        ("displacement, mean error [nm], peak 6000", 1e9 * mean, 10.0, "Gaussian push", source),
        ("displacement, spread of scores less 1", spread, 0.03, "stated standard error", source),
    ]


CASES: tuple[Callable[[], list[Row]], ...] = (
    unwrapping, field, fat, susceptibility, flow, temperature, push,
)  # fmt: skip


def claims() -> list[dict[str, Any]]:
    """Every case; the page and the picture with them."""
    rows = []
    for case in CASES:
        say(f"  {case.__name__} ...")
        for claim, value, bound, truth, source in case():
            rows.append({"claim": claim, "value": value, "unit": "", "bound": f"<= {bound:g}",
                         "truth": truth, "source": source, "command": COMMAND,
                         "passes": bool(value <= bound)})  # fmt: skip
    write_page(PAGE, "Maps of phase against closed forms", COMMAND, rows)
    draw()
    return rows


def draw() -> None:
    """Truth, map and difference of four maps."""
    fats = water_fat(noisy(echoes(), 30.0, 0), TIMES, LARMOR, mask=BODY)
    mask, own, chi, _ = phantom(OBLIQUE)
    noise = np.random.default_rng(0).normal(size=own.shape)
    chis = [one(local(own + 0.004 * noise, 0.004)).array[20]
            for one in (truncated, lambda x: total_variation(x, n_replicas=2))]  # fmt: skip
    true = ((chi - chi[mask].mean()) * mask)[20]
    panels = [
        ("field put in [Hz]", (STEEP * BODY)[0], "RdBu_r", (-900, 900)),
        ("field found", fats.field.array[0], "RdBu_r", (-900, 900)),
        ("fat fraction put in", (FRACTION * BODY)[0], "viridis", (0, 1)),
        ("fat fraction found, SNR 30", fats.fraction.array[0], "viridis", (0, 1)),
        ("error stated", np.where(BODY, fats.fraction.error, 0)[0], "magma", (0, 0.03)),
        ("susceptibility put in [ppm]", true, "gray", (-0.15, 0.25)),
        ("by TKD", chis[0], "gray", (-0.15, 0.25)),
        ("by total variation", chis[1], "gray", (-0.15, 0.25)),
    ]
    figure, axes = plt.subplots(2, 4, figsize=(12, 6), layout="constrained")
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
