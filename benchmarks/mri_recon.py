"""Reconstruction beside published programs: equal data, one thread, CPU seconds, error, memory.

``python -m benchmarks mri_recon`` prints every pair and writes
``docs/reference/generated/recon-benchmarks.md``; ``python -m benchmarks.mri_recon WORD ...``
runs the
tasks whose names hold a word and prints them only, ``--strengths`` tries the strengths of the
wavelets' penalty. Data are those of `brain_kspace`; each program makes each image in a process of
its own, by its script ``run_<program>_recon.py``; errors of everybody are found by the same lines
here, from the images that were saved.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.brain_kspace import BRIGHT, CENTRE, N_SPOKES, TASKS, Task, prepared
from benchmarks.large_recon import rows as large_rows
from benchmarks.large_recon import waits
from benchmarks.peers import ROOT, run
from benchmarks.recon_page import reference, write_page

FOLDER = ROOT / "build" / "recon"
STEPS, STEPS_SPARSE = 30, 50
QUIET = 0.5
"""Load of the machine, before the run, above which figures are called provisional."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A program's way to do a task, and what it is asked for."""

    label: str
    program: str
    options: Any = field(default_factory=dict)
    said: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def script(self) -> str:
        """File of this folder that does it."""
        return f"run_{self.program.replace('-', '')}_recon.py"


STRENGTHS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
STRENGTH = {
    "bart": (3.0, 3.0),
    "bartorch": (3.0, 3.0),
    "sigpy": (3.0, 3.0),
    "mrpro": (3.0, 3.0),
}
"""Penalty of each peer's wavelets, in units of the noise: of `STRENGTHS`, the one of least error
(4 x 1, variable density), found with ``python -m benchmarks.mri_recon --strengths``."""


def ways(name: str) -> list[Way]:
    """Everybody who can do a task, ours first."""
    task = TASKS[name]
    found = {
        "calibrate": _calibrations,
        "grappa": _fillings,
        "sense": _unfoldings,
        "radial": _spokes,
    }
    if task.method == "wavelet":
        at = int(task.sampling == "random")
        return _sparse({key: value[at] for key, value in STRENGTH.items()})
    return found[task.method]()


def _calibrations() -> list[Way]:
    patch = f"centre {CENTRE}, patches of 6"
    return [
        Way(
            label="Scanroom",
            program="scanroom",
            said=patch + ", signal told from noise by its known size",
        ),
        Way(
            label="BART",
            program="bart",
            options=["-m1", "-c0", f"-r{CENTRE}"],
            said=patch + ", one set, not cropped",
        ),
        Way(
            label="bartorch",
            program="bartorch",
            options={"maps": 1, "crop": 0.0, "calib_size": CENTRE},
            said=patch + ", one set, not cropped",
        ),
        Way(
            label="SigPy",
            program="sigpy",
            options={"calib_width": CENTRE, "crop": 0.0},
            said=patch + ", not cropped, else its defaults",
        ),
        Way(
            label="MRpro, Inati",
            program="mrpro",
            options={"way": "inati", "centre": CENTRE, "smoothing_width": 5},
            said="images of the centre under a Hann window, width 5 (its default); not ESPIRiT",
        ),
        Way(
            label="MRpro, Walsh",
            program="mrpro",
            options={"way": "walsh", "centre": CENTRE, "smoothing_width": 5},
            said="images of the centre under a Hann window, width 5 (its default); not ESPIRiT",
        ),
    ]


def _fillings() -> list[Way]:
    return [
        Way(label="Scanroom", program="scanroom", said="its defaults"),
        Way(
            label="pygrappa cgrappa",
            program="pygrappa",
            options={"way": "cgrappa"},
            more={"centre": CENTRE},
            said="5 x 5, lamda 0.01: its defaults",
        ),
        Way(
            label="pygrappa mdgrappa",
            program="pygrappa",
            options={"way": "mdgrappa"},
            more={"centre": CENTRE},
            said="5 x 5, lamda 0.01: its defaults",
        ),
    ]


def _unfoldings() -> list[Way]:
    same = f"{STEPS} steps, not regularised"
    return [
        Way(
            label="Scanroom",
            program="scanroom",
            options={"noise": 1.0},
            said=f"up to {STEPS} steps, each place until its residual is that of the noise",
        ),
        Way(
            label="Scanroom, all steps",
            program="scanroom",
            options={"n_iterations": STEPS, "tolerance": 0.0},
            said=same,
        ),
        Way(label="BART", program="bart", options=["-l2", "-r0", f"-i{STEPS}", "-S"], said=same),
        Way(label="bartorch", program="bartorch", options={"l2": 0.0, "maxiter": STEPS}, said=same),
        Way(label="SigPy", program="sigpy", options={"max_iter": STEPS}, said=same),
        Way(
            label="MRpro",
            program="mrpro",
            options={"max_iterations": STEPS, "tolerance": 0.0},
            said=same,
        ),
    ]


def _sparse(strength: dict[str, float]) -> list[Way]:
    def said(program: str) -> str:
        return f"{STEPS_SPARSE} FISTA steps, strength {strength[program]:g} (of least error)"

    return [
        Way(
            label="Scanroom",
            program="scanroom",
            said="up to 40 FISTA steps, strength from the noise alone",
        ),
        Way(
            label="BART",
            program="bart",
            options=["-R", f"W:3:0:{strength['bart']:g}", f"-i{STEPS_SPARSE}", "-w1"],
            said=said("bart"),
        ),
        Way(
            label="bartorch",
            program="bartorch",
            options={"strength": strength["bartorch"], "maxiter": STEPS_SPARSE, "scaling": 1.0},
            said=said("bartorch"),
        ),
        Way(
            label="SigPy",
            program="sigpy",
            options={"strength": strength["sigpy"], "max_iter": STEPS_SPARSE, "alpha": 1.0},
            said=said("sigpy"),
        ),
        Way(
            label="MRpro",
            program="mrpro",
            options={"strength": strength["mrpro"], "max_iterations": STEPS_SPARSE, "level": 4},
            said=said("mrpro"),
        ),
    ]


def _spokes() -> list[Way]:
    same = f"{STEPS} steps, not regularised"
    return [
        Way(label="Scanroom", program="scanroom", said="8 preconditioned steps"),
        Way(label="BART", program="bart", options=["-l2", "-r0", f"-i{STEPS}", "-S"], said=same),
        Way(
            label="bartorch",
            program="bartorch",
            options={"l2": 0.0, "maxiter": STEPS},
            more={"spokes": N_SPOKES},
            said=same,
        ),
        Way(label="SigPy", program="sigpy", options={"max_iter": STEPS}, said=same),
        Way(
            label="MRpro",
            program="mrpro",
            options={"max_iterations": STEPS, "spokes": N_SPOKES},
            said=same + ", convolution",
        ),
        Way(
            label="mri-nufft, FINUFFT",
            program="mri-nufft",
            options={"optim": "lsqr", "max_iter": STEPS},
            said=same + ", its lsqr",
        ),
    ]


def measured(name: str, way: Way, place: Path) -> dict[str, Any]:
    """CPU seconds, peak memory, version and error of one program at one task."""
    asked = {"method": TASKS[name].method, "options": way.options} | way.more
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.npy"
        found = run(way.program, way.script, place, json.dumps(asked), out, n_threads=1)
        return found | {"error": error(TASKS[name], place, np.load(out))}


def error(task: Task, place: Path, result: np.ndarray) -> float:
    """Error against the truth, relative to the truth's norm; nothing is fitted.

    Of maps: what they miss of the noise-free coil images within the head.
    """
    truth, maps = (np.load(place / f"{key}.npy") for key in ("truth", "maps"))
    if task.method == "grappa":
        result = (maps.conj() * result.reshape(maps.shape)).sum(axis=0)
    if task.method != "calibrate":
        return float(np.linalg.norm(result.reshape(truth.shape) - truth) / np.linalg.norm(truth))
    seen = maps * truth * (np.abs(truth) > 0.2 * BRIGHT)
    found = result.reshape(maps.shape)
    found = found / np.maximum(np.linalg.norm(found, axis=0), 1e-12)
    missed = seen - found * (found.conj() * seen).sum(axis=0)
    return float(np.linalg.norm(missed) / np.linalg.norm(seen))


def tables(words: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Every task (whose name holds one of the words), through everybody."""
    chosen = [name for name in TASKS if not words or any(word in name for word in words)]
    found = []
    for name in chosen:
        place = prepared(name, FOLDER)
        for way in ways(name):
            if way.program == "bart" and shutil.which("bart") is None:
                print(f"{name}: bart is not installed; left out", flush=True)
                continue
            start = time.perf_counter()
            cell = measured(name, way, place)
            about = {"task": name, "size": TASKS[name].size, "method": TASKS[name].method}
            found.append(about | {"way": way} | cell)
            print(
                f"{name} | {way.label} {cell['version']} | {cell['seconds']:.3f} s | "
                f"{cell['error']:.4f} | {cell['megabytes']:.0f} MB | best of {cell['runs']}"
                + (
                    f" | FFT {cell['floor']:.4f} s, {cell['steps']:.1f} steps"
                    if "floor" in cell
                    else ""
                )
                + f" ({time.perf_counter() - start:.0f} s in all)",
                flush=True,
            )
    return found


def rows() -> list[dict[str, Any]]:
    """Ours and each peer, in CPU seconds, and how long one waits for ours; writes the page."""
    load, start = os.getloadavg()[0], time.perf_counter()
    cells, long = tables(), waits()
    seconds = time.perf_counter() - start
    write_page(cells, long, load=load, quiet=load < QUIET, seconds=seconds)
    found = []
    for cell in cells:
        ours = reference([other for other in cells if other["task"] == cell["task"]])
        if cell["way"].program != "scanroom":
            found.append(
                {
                    "task": f"{cell['task']} [CPU s, one thread]",
                    "size": cell["size"],
                    "ours": ours["seconds"],
                    "peer": cell["seconds"],
                    "version": f"{cell['way'].label} {cell['version']}",
                    "ratio": cell["seconds"] / ours["seconds"],
                    "error_ours": ours["error"],
                    "error_peer": cell["error"],
                }
            )
    return found + large_rows(long)


def strengths() -> None:
    """Errors of the peers at every strength, each run once."""
    os.environ["STOPWATCH_RUNS"] = "0"
    for name in (name for name, task in TASKS.items() if task.method == "wavelet"):
        place = prepared(name, FOLDER)
        for strength in STRENGTHS:
            for way in _sparse(dict.fromkeys(STRENGTH, strength))[1:]:
                print(
                    f"{name} | {way.label} | {strength:g} | "
                    f"{measured(name, way, place)['error']:.4f}",
                    flush=True,
                )


if __name__ == "__main__":
    if sys.argv[1:] == ["--strengths"]:
        strengths()
    else:
        tables(sys.argv[1:])
