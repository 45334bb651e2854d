"""A slice of the head at 7 T, its B1+ made even by the weights of eight channels, end to end.

Weights are found on the twin's own maps, written into a Pulseq file as RF shims, read, cleared
and played; B1+ is then measured in the scan by the ratio of two flip angles, and compared with
what Maxwell's field of those weights is at each voxel.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pypulseq

from scanroom.core.gate import clear
from scanroom.mri.drive.kspace import trajectory
from scanroom.mri.drive.model import Drive
from scanroom.mri.drive.seqfile import read_seq
from scanroom.mri.limits import limits_for
from scanroom.mri.twin import Faults, Twin
from scanroom.mri.twin.transmitting import transmit_maps
from scanroom.physics.transmit_array import circular
from scanroom.subject.library import build, load_subject
from scanroom.subject.model import Subject
from validation.mri_parallel_transmit import SYSTEM, N, by_curl
from validation.table import say, show

COMMAND = "python -m validation.mri_b1_shimming"
FIGURE = Path("docs/images/b1-shimming.png")
FAULTS = replace(
    Faults(), b0=False, chemical_shift=False, t2_prime=False, coils=False, noise=False,
    filter=False, quantisation=False, gradient_delay=(0.0, 0.0, 0.0),
)  # fmt: skip
EVERY, MATRIX = 4, 60
FLIP = np.deg2rad(50.0)
REPETITION = 25.0
HEIGHT = 0.02
_CEREBRUM = ("csf", "grey", "white", "caudate", "putamen", "pallidum", "thalamus")


def head() -> tuple[Subject, np.ndarray]:
    """Every fourth voxel of a slice, as a subject, and where the brain is."""
    region = ((-1.0, -1.0, HEIGHT - 4e-4), (1.0, 1.0, HEIGHT + 4e-4))
    names = ("proton_density", "t1", "t2")
    fine = load_subject("brain", SYSTEM.field, region=region, properties=names)
    mixture, affine = build("brain"), fine.affine.copy()
    inside = sum(mixture.fraction(name) for name in _CEREBRUM) > 0.5
    layer = round(float(np.linalg.solve(mixture.affine, [0, 0, affine[2, 3], 1])[2]))
    affine[:3, :3] *= EVERY
    maps = {
        name: np.ascontiguousarray(values[::EVERY, ::EVERY]) for name, values in fine.maps.items()
    }
    return replace(fine, affine=affine, maps=maps), inside[::EVERY, ::EVERY, layer]


def even(b1: np.ndarray, *, rounds: int = 200) -> np.ndarray:
    """Weights that bring ``|sum w b1|`` [channel point] nearest to 1: least squares of magnitudes.

    The phase wanted is that of the round before (K. Setsompop et al., Magn. Reson. Med. 59, 908
    (2008), doi:10.1002/mrm.21513); of several first phases the best serves.
    """
    best, least = circular(N), np.inf
    inverse = np.linalg.pinv(b1.T, rcond=1e-2)
    starts = [circular(N), *np.exp(2j * np.pi * np.random.default_rng(0).random((40, N)))]
    for start in starts:
        weights = start
        for _ in range(rounds):
            weights = inverse @ np.exp(1j * np.angle(weights @ b1))
        away = float(((np.abs(weights @ b1) - 1) ** 2).mean())
        if away < least:
            best, least = weights, away
    return best


def with_shims(text: str, sets: np.ndarray, of_pulse: np.ndarray) -> str:
    """Write RF shims into a Pulseq file without extensions (specification 1.5.1).

    Every block with a pulse gets an extension list of its own set.
    """
    lines, pulse, inside = [], 0, False
    for line in text.split("[SIGNATURE]", maxsplit=1)[0].split("\n"):
        inside = line == "[BLOCKS]" or (inside and not line.startswith("["))
        words = line.split()
        plays = inside and len(words) == 8 and words[0].isdigit() and words[2] != "0"
        lines.append(" ".join([*words[:7], str(of_pulse[pulse] + 1)]) if plays else line)
        pulse += plays
    lists = [f"{i} 1 {i} 0" for i in range(1, len(sets) + 1)]
    rows = [
        f"{i} {len(row)} " + " ".join(f"{abs(w):.9g} {np.angle(w):.9g}" for w in row)
        for i, row in enumerate(sets, start=1)
    ]
    return "\n".join([*lines, "[EXTENSIONS]", *lists, "", "extension RF_SHIMS 1", *rows, ""])


def scan(sets: np.ndarray, pixel: float) -> Drive:
    """Two flip angles by each set, line by line, long apart: written, and read again."""
    limits = pypulseq.Opts(
        max_grad=30, grad_unit="mT/m", max_slew=100, slew_unit="T/m/s", B0=SYSTEM.field,
        rf_dead_time=100e-6, rf_ringdown_time=30e-6, adc_dead_time=10e-6,
    )  # fmt: skip
    sequence, delta = pypulseq.Sequence(limits), 1 / (MATRIX * pixel)
    read = pypulseq.make_trapezoid(
        "x", flat_area=MATRIX * delta, flat_time=MATRIX * 10e-6, system=limits
    )
    adc = pypulseq.make_adc(MATRIX, dwell=10e-6, delay=read.rise_time, system=limits)
    back = pypulseq.make_trapezoid("x", area=-read.area / 2, duration=1e-3, system=limits)
    of_pulse = []
    for number in range(len(sets)):
        for flip in (FLIP, 2 * FLIP):
            pulse = pypulseq.make_block_pulse(
                flip, duration=1e-3, delay=100e-6, use="excitation", system=limits
            )
            for line in range(MATRIX):
                area = (line - MATRIX // 2) * delta
                step = pypulseq.make_trapezoid("y", area=area, duration=1e-3, system=limits)
                sequence.add_block(pulse)
                sequence.add_block(back, step)
                sequence.add_block(read, adc)
                sequence.add_block(pypulseq.make_delay(REPETITION))
                of_pulse.append(number)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b1-shimming.seq"
        sequence.write(str(path), create_signature=False)
        path.write_text(with_shims(path.read_text(), sets, np.array(of_pulse)))
        return read_seq(path)


def images(drive: Drive, subject: Subject, n_sets: int) -> np.ndarray:
    """Play, and transform to the voxels: their edges are those of the pixels, so exactly."""
    twin = Twin(subject, system=SYSTEM, faults=FAULTS, n_coils=1)
    twin.arm(clear(drive, limits_for(SYSTEM)))
    samples = np.array([readout.signal[0] for readout in twin.play()])
    say(f"engine {twin.truth['engine']}")
    k = np.array(trajectory(drive))
    pixel = float(subject.affine[0, 0])
    samples = samples / np.sinc(k[..., 0] * pixel) / np.sinc(k[..., 1] * pixel)
    shape = subject.maps["proton_density"].shape
    x, y = (subject.affine[i, i] * np.arange(shape[i]) + subject.affine[i, 3] for i in (0, 1))
    out = []
    for each, where in zip(
        samples.reshape(2 * n_sets, MATRIX, MATRIX), k.reshape(2 * n_sets, MATRIX, MATRIX, 3),
        strict=True,
    ):  # fmt: skip
        along = each @ np.exp(2j * np.pi * np.outer(where[0, :, 0], x))
        out.append(along.T @ np.exp(2j * np.pi * np.outer(where[:, 0, 1], y)))
    return np.abs(np.array(out)).reshape(n_sets, 2, *shape[:2])


def unevenness(b1: np.ndarray) -> float:
    """Standard deviation over mean."""
    return float(b1.std() / b1.mean())


def measured() -> tuple[list[dict[str, Any]], list[np.ndarray], np.ndarray]:
    """Claims; B1+ computed and measured, before and after; where the brain is."""
    subject, brain = head()
    maps = transmit_maps(subject, SYSTEM, FAULTS)[..., 0]
    sets = np.stack([circular(N), even(maps[:, brain])])
    found = images(scan(sets, float(subject.affine[0, 0])), subject, 2)
    single, double = found[:, 0], found[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.clip(double / (2 * single), -1.0, 1.0)
    scanned = np.arccos(ratio) / FLIP
    index = np.argwhere(brain)
    where = np.column_stack([index, np.zeros(len(index))]) @ subject.affine[:3, :3].T
    bx, by = by_curl(where + subject.affine[:3, 3])
    computed = np.full((2, *brain.shape), np.nan)
    computed[:, brain] = np.abs(sets @ ((bx - 1j * by) / 2).T)
    error = np.abs(scanned - computed)[:, brain]
    before, after = (unevenness(part[brain]) for part in scanned)
    source = "double angle: Insko, Bolinger 1993, doi:10.1006/jmra.1993.1133"
    rows = [
        ("B1+ of a head at 7 T measured by two flip angles, CP mode, largest error",
         float(error[0].max()), 5e-3, "computed at each voxel", source),
        ("B1+ of a head at 7 T measured by two flip angles, shimmed, largest error",
         float(error[1].max()), 5e-3, "computed at each voxel", source),
        ("standard deviation of B1+ in a brain slice at 7 T over its mean, shimmed, scanned",
         after, before, "that of the CP mode, scanned",
         "Setsompop et al. 2008, doi:10.1002/mrm.21513"),
    ]  # fmt: skip
    claims_ = [
        {"claim": claim, "value": value, "unit": "1", "bound": bound, "truth": truth,
         "source": origin, "command": COMMAND, "passes": bool(value <= bound)}
        for claim, value, bound, truth, origin in rows
    ]  # fmt: skip
    scanned[:, ~brain] = np.nan
    return claims_, [*computed, *scanned], brain


def sheet(b1: list[np.ndarray], brain: np.ndarray) -> None:
    """Four maps: computed and scanned, CP mode and shimmed."""
    figure, axes = plt.subplots(2, 2, figsize=(5.4, 6.2))
    titles = ("CP mode, computed", "shimmed, computed", "CP mode, scanned", "shimmed, scanned")
    for axis, part, title in zip(axes.flat, b1, titles, strict=True):
        shown = axis.imshow(part.T, origin="lower", vmin=0.0, vmax=1.6, cmap="viridis")
        axis.set_title(f"{title}\nCV {100 * unevenness(part[brain]):.1f} %", fontsize=9)
        axis.axis("off")
    figure.colorbar(shown, ax=axes, shrink=0.6, label="B1+ relative to nominal")
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=80)
    plt.close(figure)


def claims() -> list[dict[str, Any]]:
    """What the scan says, and a picture of it."""
    rows, b1, brain = measured()
    sheet(b1, brain)
    return rows


if __name__ == "__main__":
    show(claims())
