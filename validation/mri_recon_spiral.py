"""Spirals and spokes: JEMRIS' own signals, and a brain in an uneven field, late and bent gradients.

Signals that nobody has simulated for us are exact sums over the voxels of JEMRIS' brain phantom,
off the grid of the image (FINUFFT's transform between scattered points, 1e-9); the image to be
found is that of the same scan with nothing wrong. ``python -m validation.mri_recon_spiral`` also
writes the picture of the explanation page.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import finufft
import h5py
import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt
from scipy.interpolate import griddata

from scanroom.mri.raw.reader import read_raw
from scanroom.mri.recon import reconstruct
from scanroom.mri.recon.autofocus import autofocus
from scanroom.mri.recon.delays import from_crossings, moved
from scanroom.mri.recon.girf import corrected, response_of
from scanroom.mri.recon.noise import whiten
from scanroom.mri.recon.noncartesian import (
    N_ITERATIONS,
    centre_maps,
    encoding,
    gridded,
    sense,
    sensed,
    solved,
)
from scanroom.mri.recon.off_resonance import factors, off_resonance
from scanroom.operators.nufft import density, nufft
from validation.table import markdown, show

COMMAND = "python -m validation.mri_recon_spiral"
ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
PAGE = ROOT / "docs/reference/generated/recon-noncartesian.md"
PICTURE = ROOT / "docs/images/recon-noncartesian.png"
BONN = "mri_sim_truth/mrphysics-bonn+python-ismrmrd-reco"
SCANNER = "mri_raw/mrphysics-bonn+python-ismrmrd-reco/dependency"
BRAIN = "mri_sim_truth/JuliaHealth+KomaMRI.jl/examples/2.phantoms/brain_susceptibility.h5"
SOURCE = "github: mrphysics-bonn/python-ismrmrd-reco, JuliaHealth/KomaMRI.jl, see MANIFEST.tsv"
N, PIXEL = 220, 1e-3
DWELL, START = 2e-6, 5e-3
"""Of the JEMRIS spirals: their .seq and .xml."""
GAMMA = 42.577478518e6
TRIES = np.arange(-90.0, 191.0, 10.0)
SHIFT = np.array([[1.3, 0.2], [0.2, -0.7]])
"""Delays [samples] of the radial scan: late along x, early along y, coupled."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Voxels of the phantom: where [pixels], how bright, how far off resonance [Hz]."""

    place: np.ndarray
    bright: np.ndarray
    offset: np.ndarray

    def signal(
        self, place: np.ndarray, time: np.ndarray | None = None, maps: np.ndarray | None = None
    ) -> np.ndarray:
        """Exact samples, "coil sample", of coils whose ``maps`` are given voxel by voxel."""
        time = np.zeros(len(place)) if time is None else time
        source = self.bright * (np.ones((1, len(self.bright))) if maps is None else maps)
        axes = (*np.ascontiguousarray(self.place.T), self.offset)
        freqs = (*np.ascontiguousarray(2 * np.pi * place.T), 2 * np.pi * time)
        samples = finufft.nufft3d3(*axes, source.astype(complex), *freqs, eps=1e-9, isign=-1)
        return np.atleast_2d(samples).astype(np.complex64) / N


def brain() -> Scene:
    """JEMRIS' brain with its susceptibility, 1 mm voxels, 0.3 pixels off the image's grid."""
    with h5py.File(DATA / BRAIN) as file:
        data = file["sample/data"][()]
    density_, _, r2, _, offset = (data[..., i] for i in range(5))
    y, x = np.nonzero(density_)
    place = np.stack([y - data.shape[0] / 2, x - data.shape[1] / 2], axis=1) + 0.3
    bright = (density_ * np.exp(-30 * r2))[y, x]
    return Scene(place, bright, offset[y, x] / (2 * np.pi))


def ring(place: np.ndarray, n_coils: int = 8) -> np.ndarray:
    """Sensitivities of a ring of coils at places in pixels, "coil place", unit norm."""
    turn = 2 * np.pi * np.arange(n_coils) / n_coils
    away = place / N - 0.75 * np.stack([np.sin(turn), np.cos(turn)], axis=1)[:, None]
    maps = np.exp(1j * turn)[:, None] / (away**2).sum(axis=-1)
    return np.asarray(maps / np.sqrt((np.abs(maps) ** 2).sum(axis=0)))


def pixels() -> np.ndarray:
    y, x = np.indices((N, N)) - N // 2
    return np.stack([y.ravel(), x.ravel()], axis=1)


def image_maps() -> np.ndarray:
    return ring(pixels()).reshape(8, 1, N, N).astype(np.complex64)


def smooth_field(place: np.ndarray) -> np.ndarray:
    """Field [Hz] at places in pixels: what sinuses and ears do to a head at 3 T, in closed form."""

    def bump(y: float, x: float, width: float) -> np.ndarray:
        return np.exp(-((place - [y, x]) ** 2).sum(axis=1) / (2 * width**2))

    shade: np.ndarray = 150 * bump(-70, 0, 25) - 60 * bump(15, 65, 18) - 60 * bump(15, -65, 18)
    return shade + 0.2 * place[:, 0]


def jagged_field(scene: Scene) -> np.ndarray:
    """Field map of the phantom at the image's pixels; beyond the head that of its nearest voxel."""
    wanted = pixels()
    field = griddata(scene.place, scene.offset, wanted, method="linear")
    nearest = griddata(scene.place, scene.offset, wanted, method="nearest")
    return np.where(np.isfinite(field), field, nearest)


def spiral() -> tuple[np.ndarray, np.ndarray]:
    """Places [cycles per pixel] of the 15 JEMRIS interleaves, and the time of each sample [s]."""
    raw = read_raw(DATA / BONN / "example_data/simu/signals_spiralout_clean_slc30.h5")
    shots = [k[:, 1::-1] for k in raw.encoding.trajectory if len(k) > 1]
    time = START + DWELL * (np.arange(len(shots[0])) + 0.5)
    return np.concatenate(shots).astype(float) * PIXEL, np.tile(time, len(shots))


def away(found: np.ndarray, truth: np.ndarray) -> float:
    """Root-mean-square difference of magnitudes over that of the truth, the best scale taken."""
    found, truth = np.abs(found).ravel(), np.abs(truth).ravel()
    found = found * (found @ truth) / (found @ found)
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def claim(
    text: str, value: float, bound: float, truth: str, *, above: bool = False
) -> dict[str, Any]:
    return {
        "claim": text,
        "value": value,
        "unit": "1",
        "bound": bound,
        "truth": truth,
        "source": SOURCE,
        "command": COMMAND,
        "passes": bool(value >= bound if above else value <= bound),
    }


def theirs() -> list[dict[str, Any]]:
    """JEMRIS' signals beside the images that their authors made of them with BART."""
    rows = []
    for case in ("clean", "CS"):
        path = DATA / BONN / f"example_data/simu/signals_spiralout_{case}_slc30.h5"
        with h5py.File(DATA / BONN / f"recon/simu/reco_spiralout_{case}_slc30.h5") as file:
            image = file["images/image_1/data"][0, 0, 0].astype(float)
        place, _ = spiral()
        signal = whiten(read_raw(path)).signal
        samples = np.concatenate([shot for shot in signal if shot.shape[1] > 1], axis=1)
        one = np.ones((1, 1, N, N), np.complex64)
        found = {
            "gridding (recon.reconstruct)": reconstruct(path)[0].array[0],
            "least squares (noncartesian.sense)": sense(samples, place, one)[0],
        }
        for name, ours in found.items():
            match = float(np.corrcoef(np.abs(ours).ravel(), image.ravel())[0, 1])
            text = f"JEMRIS spiral, {case}, {name}: correlation with BART's image"
            rows.append(claim(text, match, 0.99, "image of the data's authors", above=True))
    return rows


def uneven(scene: Scene, pictures: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Readouts of 10 and 30 ms, one coil, in a smooth field and in JEMRIS' own."""
    place, time = spiral()
    smooth = replace(scene, offset=smooth_field(scene.place))
    fields = {
        "a smooth field": (smooth, smooth_field(pixels()), 0.5),
        "JEMRIS' field, jagged in the scalp": (scene, jagged_field(scene), 1.0),
    }
    even = np.ones((1, 1, N, N), np.complex64)
    weight = density(place, (N, N))
    root = np.sqrt(weight).astype(np.float32)
    truth = solved(encoding(place, even, weight=weight), scene.signal(place) * root, n_iterations=8)
    rows = []
    for name, (head, field, share) in fields.items():
        for longer in (1, 3):
            at = START + (time - START) * longer
            samples = head.signal(place, at) * root
            plain = encoding(place, even, weight=weight)
            mapped = off_resonance(place, at, field.reshape(N, N), weight=weight)
            found = {
                "uneven field": solved(plain, samples, n_iterations=8),
                "field map": solved(sensed(mapped, even), samples, n_iterations=8),
                "autofocus": autofocus(
                    samples / root, place, at, even, TRIES, weight=weight, width=4.0
                )[1],
            }
            if longer == 3 and head is smooth:
                pictures |= {"even field": truth} | found
            rows += _uneven_rows(name, at, field, found, truth, share)
    return rows


def _uneven_rows(
    name: str,
    time: np.ndarray,
    field: np.ndarray,
    found: dict[str, np.ndarray],
    truth: np.ndarray,
    share: float,
) -> list[dict[str, Any]]:
    before = away(found["uneven field"], truth)
    span = f"{1e3 * (time.max() - START):.0f} ms"
    n_terms = len(factors(time, field).of_time)
    made = "the same scan in an even field"
    return [
        claim(f"spiral of {span} in {name}: NRMSE without correction", before, 1.0, made),
        claim(
            f"... with the field map (SVD, {n_terms} terms)",
            away(found["field map"], truth),
            share * before,
            made,
        ),
        claim("... with autofocus, no map", away(found["autofocus"], truth), before, made),
    ]


def segments(scene: Scene) -> list[dict[str, Any]]:
    """Error of each way to segment, against the exact factor at every voxel and some samples."""
    field = scene.offset
    time = START + 3 * DWELL * np.arange(0, 4940, 20)
    exact = np.exp(-2j * np.pi * np.outer(time, field))
    rows = []
    for method in ("svd", "segments", "frequencies", "hann"):
        for n_terms in (8, 12, 16, 20):
            made = factors(time, field, n_terms=n_terms, method=method)
            missing = np.abs(np.einsum("lt,lr->tr", made.of_time, made.of_place) - exact)
            error = float(np.sqrt((missing**2).mean()))
            rows.append(
                claim(f"phase over 30 ms by {method}, {n_terms} terms: RMS error",
                      error, 1.2 * made.error + 1e-9, f"the exact phase; stated {made.error:.2g}")
            )  # fmt: skip
    return rows


def radial(n_spokes: int, n: int = 2 * N) -> tuple[np.ndarray, np.ndarray]:
    angle = np.arange(n_spokes) * np.pi / n_spokes
    radius = (np.arange(n) - n // 2) / n
    place = np.stack([np.outer(f(angle), radius).ravel() for f in (np.sin, np.cos)], axis=1)
    return place, angle


def few_spokes(scene: Scene) -> list[dict[str, Any]]:
    """A hundred spokes, eight coils, noise: preconditioned steps against plain ones."""
    place, _ = radial(100)
    samples = noisy(scene.signal(place, maps=ring(scene.place)))
    maps = image_maps()
    full, _ = radial(500)
    truth = sense(scene.signal(full, maps=ring(scene.place)), full, maps, n_iterations=20)
    plain = solved(encoding(place, maps), samples, n_iterations=30)
    own = centre_maps(samples, place, (1, N, N))
    weight = density(place, (N, N))
    grid = (maps.conj() * gridded(samples, place, (1, N, N), weight)[0]).sum(axis=0)
    made = "500 spokes without noise"
    bar = away(plain, truth)
    led, own_led = (sense(samples, place, chosen) for chosen in (maps, own))
    return [
        claim("100 spokes, 8 coils: NRMSE of gridding", away(grid, truth), 1.0, made),
        claim("... of 30 plain conjugate gradients", bar, 1.0, made),
        claim(f"... of {N_ITERATIONS} preconditioned ones", away(led, truth), bar, made),
        claim("... with maps of the data's own centre", away(own_led, truth), 1.0, made),
    ]


def noisy(samples: np.ndarray, share: float = 1e-3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    grain = rng.normal(size=(*samples.shape, 2)) @ [1, 1j]
    return (samples + share * np.abs(samples).max() * grain).astype(np.complex64)


def late(scene: Scene, pictures: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Spokes of late gradients, the delays found from the spokes."""
    place, angle = radial(300)
    maps = ring(scene.place)
    spacing = 1 / (2 * N)
    true_place = moved(place, angle, SHIFT, spacing)
    samples = noisy(scene.signal(true_place, maps=maps))
    found = from_crossings(samples.reshape(8, len(angle), -1), angle)
    truth = sense(scene.signal(place, maps=maps), place, image_maps())
    before = sense(samples, place, image_maps())
    after = sense(samples, moved(place, angle, found, spacing), image_maps())
    pictures |= {"late spokes": before, "delays found": after}
    made = "no delays, no noise"
    text = "300 spokes late by 1.3, -0.7, coupled by 0.2 samples: error of what is found [samples]"
    return [
        claim(text, float(np.abs(found - SHIFT).max()), 0.02, "the delays put in"),
        claim("... NRMSE without correction", away(before, truth), 1.0, made),
        claim("... NRMSE with it", away(after, truth), 0.5 * away(before, truth), made),
    ]


def bent(scene: Scene, pictures: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """A scanner's spiral protocol played by gradients whose response was measured."""
    with h5py.File(DATA / SCANNER / "metadata/spiralout_gre_fatsat_7T_15f2a.h5") as file:
        shots = [r["traj"].reshape(-1, 2).T for r in file["dataset/data"] if len(r["traj"])]
    raster, dwell = 1e-5, 4e-6
    gain = np.load(DATA / SCANNER / "girf_10us.npy")
    straight = np.zeros_like(gain)
    straight[range(3), range(1, 4)] = 1
    played, asked, turns = [], [], []
    for shot in shots:
        wave = np.pad(GAMMA * np.array(shot, float), ((0, 0), (0, 20)))
        at = np.arange(dwell / 2, wave.shape[1] * raster, dwell)
        place, uniform = corrected(wave, raster, at, response_of(gain, raster, "measured"))
        played.append(place[:, ::-1])
        turns.append(uniform)
        asked.append(corrected(wave, raster, at, response_of(straight, raster, "none"))[0][:, ::-1])
    made, meant, uniform = (np.concatenate(part) for part in (played, asked, turns))
    pixel = 0.5 / np.abs(meant).max()
    samples = scene.signal(made * pixel, maps=ring(scene.place)) * np.exp(-2j * np.pi * uniform)
    maps = image_maps()
    truth = sense(scene.signal(meant * pixel, maps=ring(scene.place)), meant * pixel, maps)
    before = sense(samples.astype(np.complex64), meant * pixel, maps)
    back = (samples * np.exp(2j * np.pi * uniform)).astype(np.complex64)
    after = sense(back, made * pixel, maps)
    pictures |= {"gradients as asked": before, "as they respond": after}
    made = "gradients that do as asked"
    text = f"a scanner's spiral of {len(shots)} shots by its measured gradients: NRMSE"
    bar = 0.5 * away(before, truth)
    return [
        claim(f"{text} with the trajectory asked for", away(before, truth), 1.0, made),
        claim("... with that of the measured response", away(after, truth), bar, made),
    ]


def exactness() -> list[dict[str, Any]]:
    """The normal operator of the benchmark's trajectory against both transforms."""
    n = 256
    angle = np.pi * np.arange(100) / 100
    radius = (np.arange(512) - 256) / 512
    place = np.stack([np.outer(f(angle), radius).ravel() for f in (np.sin, np.cos)], axis=1)
    image = np.random.default_rng(0).normal(size=(n, n, 2)) @ [1, 1j]
    x, y = (np.ascontiguousarray(2 * np.pi * k) for k in place.T)
    exact = {"eps": 1e-13, "upsampfac": 2.0}
    samples = finufft.nufft2d2(x, y, image, isign=-1, **exact)
    truth = finufft.nufft2d1(x, y, samples, (n, n), isign=1, **exact) / n**2
    rows = []
    for dtype, bound in ((np.complex64, 1e-4), (np.complex128, 1e-9)):
        found = nufft(place, (n, n)).N(image.astype(dtype))
        error = float(np.linalg.norm(found - truth) / np.linalg.norm(truth))
        rows.append(claim(f"100 spokes of 512, 256 x 256: A.N against A.H A, {np.dtype(dtype)}",
                          error, bound, "both transforms of FINUFFT, 1e-13"))  # fmt: skip
    return rows


def draw(pictures: dict[str, np.ndarray]) -> None:
    """Eight brains in two rows."""
    figure, axes = plt.subplots(2, 4, figsize=(11, 6.4))
    for axis, (name, image) in zip(axes.ravel(), pictures.items(), strict=True):
        magnitude = np.abs(image[0])
        axis.imshow(magnitude, cmap="gray", vmin=0, vmax=np.percentile(magnitude, 99.5))
        axis.set_title(name, fontsize=10)
        axis.axis("off")
    figure.tight_layout()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=90)
    plt.close(figure)


def claims() -> list[dict[str, Any]]:
    """Every case; also the page and the picture."""
    scene, pictures = brain(), {}
    rows = [
        *theirs(),
        *uneven(scene, pictures),
        *segments(scene),
        *few_spokes(scene),
        *late(scene, pictures),
        *bent(scene, pictures),
        *exactness(),
    ]
    draw(pictures)
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    table = markdown(rows, ("claim", "value", "bound", "truth", "passes"))
    PAGE.write_text(
        f"# Trajectories that are no grid, measured\n\nMade by `{COMMAND}`. Data: {SOURCE}. "
        f"Where the bound is 1, the figure is there to compare with.\n\n{table}"
    )
    return rows


if __name__ == "__main__":
    show(claims())
