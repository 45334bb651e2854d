"""The spin engine against JEMRIS and KomaMRI: their phantoms, their .seq file, their signals."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from scanroom.mri.drive.seqfile import read_seq
from scanroom.mri.twin.programme import programme
from scanroom.physics.spins.engine import simulate
from scanroom.physics.spins.ensemble import Spins
from validation.table import markdown, show

COMMAND = "python -m validation.mri_jemris"
PAGE = Path("docs/reference/generated/jemris.md")
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
KOMA = Path("mri_sim_truth/JuliaHealth+KomaMRI.jl")
CASES = Path("examples/5.koma_paper/comparison_accuracy")
SOURCE = "C. Castillo-Passi et al., Magn. Reson. Med. 90, 329 (2023), doi:10.1002/mrm.29635: data"
BOUND = 0.01  # KomaMRI's own bar in its test of the same signals


def column(folder: Path) -> Spins:
    """Isochromats of JEMRIS' column: axes y, x and (density, 1/T1, 1/T2, ..) per ms, 1 mm apart."""
    with h5py.File(folder / KOMA / "examples/2.phantoms/column1d.h5") as file:
        data = file["sample/data"][()]
    n_y, n_x, _ = data.shape
    x, y = np.meshgrid(np.arange(n_x) - (n_x - 1) / 2, np.arange(n_y) - (n_y - 1) / 2)
    inside = data[..., 0] > 0
    density, r1, r2 = data[inside][:, :3].T
    place = np.stack([x[inside], y[inside], 0 * x[inside]], axis=1) * 1e-3
    return isochromats(place, 0 * density, 1e3 * r1, 1e3 * r2, density)


def spheres(folder: Path) -> Spins:
    """Isochromats of the disc with a chemical shift of 200 rad/s inside, as KomaMRI tests it."""
    with h5py.File(folder / KOMA / "KomaMRICore/test/test_files/phantom_sphere.h5") as file:
        given = {name: values[()] for name, values in file.items()}
    place = np.stack([given["x"], given["y"], given["z"]], axis=1)
    offset = given["Δw"] / (2 * np.pi)
    return isochromats(place, offset, 1 / given["T1"], 1 / given["T2"], given["ρ"])


def isochromats(
    place: np.ndarray, offset: np.ndarray, r1: np.ndarray, r2: np.ndarray, density: np.ndarray
) -> Spins:
    """One uniform coil."""
    return Spins(
        position=place,
        offset=offset,
        r1=r1.astype(np.float32),
        r2=r2.astype(np.float32),
        transmit=np.ones(len(place), np.complex64),
        weight=density.astype(np.complex64)[:, None],
    )


def played(folder: Path, who: Spins) -> np.ndarray:
    """Our signal of the echo-planar sequence of both cases."""
    path = folder / KOMA / CASES / "sequences/EPI/epi_100x100_TE100_FOV230.seq"
    return np.concatenate([window[0] for window in simulate(programme(read_seq(path)), who)])


def theirs(folder: Path, case: str) -> tuple[np.ndarray, np.ndarray]:
    """Signals of JEMRIS and of KomaMRI."""
    with h5py.File(folder / KOMA / CASES / case / "signals.h5") as file:
        parts = file["signal/channels/00"][()]
    with h5py.File(folder / KOMA / CASES / case / "signal_koma.mat") as file:
        koma = file["signal"][()].ravel()
    return parts[:, 0] + 1j * parts[:, 1], koma["real"] + 1j * koma["imag"]


def difference(found: np.ndarray, truth: np.ndarray) -> float:
    """Root-mean-square difference over root-mean-square truth, one complex scale taken out."""
    scale = np.vdot(found, truth) / np.vdot(found, found)
    return float(np.linalg.norm(found * scale - truth) / np.linalg.norm(truth))


def compare(folder: Path) -> list[dict[str, Any]]:
    """Every case beside both programs, and the programs beside each other."""
    rows = []
    for name, case, who in (
        ("column", "a.column1d", column(folder)),
        ("disc with chemical shift", "b.spheresCS", spheres(folder)),
    ):
        ours = played(folder, who)
        jemris, koma = theirs(folder, case)
        between = difference(koma, jemris)
        for truth, value, bound in (
            ("JEMRIS", difference(ours, jemris), BOUND),
            ("KomaMRI", difference(ours, koma), 1e-3),
        ):
            rows.append(
                {
                    "claim": f"spin engine, NRMSE of {name}, EPI 100 x 100, against {truth}",
                    "value": value,
                    "unit": "1",
                    "bound": bound,
                    "truth": f"{truth} (KomaMRI against JEMRIS: {between:.3%})",
                    "source": SOURCE,
                    "command": COMMAND,
                    "passes": bool(value <= bound),
                }
            )
    return rows


def claims() -> list[dict[str, Any]]:
    """What the shared data let us compare."""
    rows = compare(DATA)
    write_page(rows)
    return rows


def write_page(rows: list[dict[str, Any]]) -> None:
    """Write the table that the documentation shows."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    table = markdown(rows, ("claim", "value", "bound", "truth", "passes"))
    PAGE.write_text(
        f"# Spin engine against JEMRIS and KomaMRI\n\nMade by `{COMMAND}`. Signals: {SOURCE}.\n\n"
        f"{table}"
    )


if __name__ == "__main__":
    show(claims())
