"""Cost of the spin engines against spins, samples and coils, beside their peers, on a head in 3-D.

*Exact*: isochromats, one per voxel, block pulses; blochsimulator and MRzero play the same points.
*Fast*: classes with an error of 1e-3 asked for, pulses that select; pulserver plays the same cubes.
Both are run on four sequences, 128 and 256 lines, about 10^4, 10^5 and 10^6 voxels, 1, 8 and 32
coils. Everybody has two threads; compiling and reading of files are not in the times. A peer that
would need longer than `PATIENCE`, by its own rate on the smaller case, is not run: its row says so.

Errors: the root-mean-square difference from the truth over its root mean square, one constant phase
taken out. Of points, the truth is `benchmarks.isochromats` in double precision, on 10^4 voxels; of
cubes, a thousand isochromats in each of 2000, which differ from a fifth fewer by `of_truth`.

``python -m benchmarks mri_scaling`` runs all of it and writes the picture and the page; with
``SCALING=small`` in the environment, the smallest of each.
"""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pypulseq

from benchmarks.head_scenes import SEQUENCES, Design, head
from benchmarks.isochromats import signal, steps_of
from benchmarks.mri_simulation import SYSTEM, Scene
from benchmarks.peers import run
from benchmarks.roofline import limits, work_of_a_repetition
from benchmarks.scaling_page import draw, write_page
from scanroom.mri.drive.model import Drive
from scanroom.mri.drive.seqfile import read_seq
from scanroom.mri.twin.programme import programme
from scanroom.physics.receiver import demodulation
from scanroom.physics.spins.classes import Voxels, classes_of, slice_axis
from scanroom.physics.spins.classwise import simulate_classes
from scanroom.physics.spins.engine import Settings, simulate
from scanroom.physics.spins.ensemble import Spins
from validation.table import say

PATIENCE = 40.0
ASKED = 1e-3
# Isochromats along x, y and z of a cube, for the truth of cubes.
_MANY, _FEWER = (4, 4, 64), (4, 4, 51)
_AT_ONCE = 2_000_000
# Windows of about this many samples, summed with coil weights of a plane wave each.
_WAVE = 3.0


@dataclass(frozen=True, slots=True)
class Case:
    """One sequence on one head."""

    kind: str
    sequence: str
    n: int
    spins: str
    coils: int


def _cases(small: bool) -> list[Case]:  # noqa: FBT001
    numbers = ("1e4",) if small else ("1e4", "1e5", "1e6")
    lines = (128,) if small else (128, 256)
    found = []
    for kind in ("exact", "fast"):
        for sequence in SEQUENCES:
            found += [Case(kind, sequence, n, s, 1) for s in numbers for n in lines]
            found += [Case(kind, sequence, 128, numbers[-1], c) for c in (8, 32)]
    return found


def coils(scene: Scene, n_coils: int) -> np.ndarray:
    """Weights of each voxel: plane waves of three turns over a metre, one phase per coil."""
    turns = scene.position @ slopes(n_coils) + np.arange(n_coils) / n_coils
    if n_coils == 1:
        turns = np.zeros((len(scene.index), 1))
    waves = np.exp(2j * np.pi * turns) * scene.maps["proton_density"][:, None]
    return waves.astype(np.complex64)


def slopes(n_coils: int) -> np.ndarray:
    """Wave vector of each coil [1/m]."""
    angle = 2 * np.pi * np.arange(n_coils) / n_coils
    return _WAVE * np.stack([np.cos(angle), np.sin(angle), 0 * angle])


def _demodulated(drive: Drive, windows: list[np.ndarray]) -> np.ndarray:
    """Samples of all windows in the receiver's frame, coil by sample."""
    turned = []
    for at, window in enumerate(windows):
        dwell = float(drive.windows.dwell[at])
        frequency, phase = float(drive.windows.frequency[at]), float(drive.windows.phase[at])
        turn = demodulation(window.shape[1], dwell, frequency=frequency, phase=phase)
        turned.append(window * turn)
    return np.concatenate(turned, axis=1)


def _rates(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / values, np.float32)


def exact(drive: Drive, scene: Scene, n_coils: int) -> tuple[np.ndarray, float]:
    """Isochromats: signal and seconds of the second run."""
    maps, n = scene.maps, len(scene.index)
    spins = Spins(
        position=scene.position,
        offset=maps["off_resonance"],
        r1=_rates(maps["t1"]),
        r2=_rates(maps["t2"]),
        transmit=np.ones(n, np.complex64),
        weight=coils(scene, n_coils),
    )
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        windows = list(simulate(programme(drive), spins, Settings(threads=2)))
        seconds = time.perf_counter() - start
    return _demodulated(drive, windows), seconds


def fast(drive: Drive, scene: Scene, n_coils: int) -> tuple[np.ndarray, float]:
    """Classes: signal and seconds of the second run, nodes and all."""
    maps, n = scene.maps, len(scene.index)
    affine = np.diag([*scene.voxel, 1.0])
    affine[:3, 3] = scene.origin
    seconds, windows = 0.0, []
    for _ in range(2):
        start = time.perf_counter()
        voxels = Voxels(
            index=scene.index,
            affine=affine,
            offset=maps["off_resonance"],
            slope=np.zeros((n, 3), np.float32),
            r1=_rates(maps["t1"]),
            r2=_rates(maps["t2"]),
            r2_prime=np.zeros(n, np.float32),
            transmit=np.ones(n, np.complex64),
            weight=coils(scene, n_coils),
            faint=np.zeros(n, bool),
        )
        program = programme(drive)
        axis = slice_axis(program, affine, 0.3)
        classes = None if axis is None else classes_of(program, voxels, axis, ASKED)
        if classes is None:
            raise RuntimeError("these voxels have no classes")
        settings = Settings(threads=2, error=ASKED, faintest=ASKED)
        windows = list(simulate_classes(program, voxels, classes, settings))
        seconds = time.perf_counter() - start
    return _demodulated(drive, windows), seconds


def cubes(drive: Drive, scene: Scene, counts: tuple[int, int, int]) -> np.ndarray:
    """Voxels filled with isochromats by Gauss's rule, nothing left out."""
    rules = [np.polynomial.legendre.leggauss(n) for n in counts]
    nodes = np.stack(np.meshgrid(*(r[0] / 2 for r in rules), indexing="ij"), -1).reshape(-1, 3)
    share = np.einsum("i,j,k->ijk", *(r[1] / 2 for r in rules)).ravel()
    n, maps, program = len(share), scene.maps, programme(drive)
    parts = np.array_split(np.arange(len(scene.index)), len(scene.index) * n // _AT_ONCE + 1)
    total: Any = 0
    for some in parts:
        place = np.repeat(scene.index[some], n, axis=0) + np.tile(nodes, (len(some), 1))
        weight = np.repeat(maps["proton_density"][some], n) * np.tile(share, len(some))
        spins = Spins(
            position=place * np.array(scene.voxel) + scene.origin,
            offset=np.repeat(maps["off_resonance"][some], n),
            r1=_rates(np.repeat(maps["t1"][some], n)),
            r2=_rates(np.repeat(maps["t2"][some], n)),
            transmit=np.ones(len(place), np.complex64),
            weight=weight.astype(np.complex64)[:, None],
        )
        windows = simulate(program, spins, Settings(tolerance=0.0, silence=0.0))
        total = total + _demodulated(drive, list(windows))
    return np.asarray(total)


def apart(found: np.ndarray, truth: np.ndarray) -> float:
    """Relative root-mean-square difference, one constant phase taken out."""
    turn = np.vdot(found, truth)
    return float(np.linalg.norm(found * turn / abs(turn) - truth) / np.linalg.norm(truth))


def _write(case: Case, scene: Scene, folder: Path) -> Path:
    """The .seq file and the voxels that everybody gets."""
    slab = scene.voxel[2] * scene.shape[2]
    how = Design(case.n, slab, scene.voxel[0], case.kind == "fast")
    path = folder / "task.seq"
    SEQUENCES[case.sequence](how).write(str(path))
    np.savez(
        folder / "spins.npz", shape=scene.shape, voxel=scene.voxel, origin=scene.origin,
        index=scene.index, repeats=1, n_coils=case.coils, coil_slope=slopes(case.coils),
        **scene.maps,
    )  # fmt: skip
    return path


def _peers(case: Case) -> tuple[str, ...]:
    if case.kind == "fast":
        return ("pulserver",)
    if case.coils > 1:
        return ()
    return ("blochsimulator", "mrzero") if case.n == 128 else ("blochsimulator",)


class Patience:
    """Runs peers, and remembers their rates so as not to wait for what takes too long."""

    def __init__(self) -> None:
        self._rate: dict[tuple[str, str], float] = {}

    def run(
        self, peer: str, case: Case, work: float, folder: Path
    ) -> tuple[dict[str, Any], np.ndarray | None]:
        """What a peer says, and its signal; a lower bound and nothing where it is too slow."""
        key = (peer, case.sequence)
        expected = self._rate.get(key, 0.0) * work
        late = {"seconds": expected, "version": f"{peer}, not run: expected by its own rate"}
        if expected > PATIENCE:
            return late, None
        say(f"    {peer} ...")
        out = folder / f"{peer}.npy"
        arguments = (folder / "task.seq", folder / "spins.npz", out)
        try:
            found = run(peer, f"run_{peer}.py", *arguments, timeout=PATIENCE + 80.0)
        except (TimeoutError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - a peer that cannot is a figure too
            why = str(error).strip().splitlines()[-1][:80] if str(error) else type(error).__name__
            self._rate[key] = np.inf
            return {"seconds": np.nan, "version": f"{peer}: {why}"}, None
        if peer != "pulserver":
            self._rate[key] = found["seconds"] / work
        return found | {"version": f"{peer} {found['version']}"}, np.load(out)


def errors(small: bool) -> dict[tuple[str, str, str], float]:  # noqa: FBT001
    """Error by engine, sequence and who."""
    out: dict[tuple[str, str, str], float] = {}
    scene = head("2e3")
    for sequence in SEQUENCES:
        case = Case("fast", sequence, 128, "2e3", 1)
        with tempfile.TemporaryDirectory() as name:
            path = _write(case, scene, Path(name))
            drive = read_seq(path)
            say(f"  error of fast engines: {sequence} ...")
            truth = cubes(drive, scene, _MANY)
            out["fast", sequence, "ours"] = apart(fast(drive, scene, 1)[0], truth)
            told, theirs = Patience().run("pulserver", case, 1.0, Path(name))
            del told
            if theirs is not None:
                out["fast", sequence, "pulserver"] = apart(theirs, truth)
            if not small:
                out["fast", sequence, "of_truth"] = apart(cubes(drive, scene, _FEWER), truth)
    return out


def rows() -> list[dict[str, Any]]:
    """Seconds of everybody, and what the machine could do."""
    small = os.environ.get("SCALING") == "small"
    known = errors(small)
    patience, found = Patience(), []
    for case in _cases(small):
        say(f"  {case} ...")
        found += _case(case, patience, known)
    able = limits()
    found_work = work_of_a_repetition()
    if not small:
        draw(found)
        write_page(found, known, able, found_work)
    return found


def _case(
    case: Case, patience: Patience, known: dict[tuple[str, str, str], float]
) -> list[dict[str, Any]]:
    """One sequence on one head, through everybody who can play it."""
    scene = head(case.spins)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = _write(case, scene, folder)
        drive = read_seq(path)
        mine, seconds = (exact if case.kind == "exact" else fast)(drive, scene, case.coils)
        n_samples = mine.shape[1]
        work = float(len(scene.index) * n_samples)
        truth = _truth(case, path, scene)
        ours = (
            known.get((case.kind, case.sequence, "ours")) if truth is None else apart(mine, truth)
        )
        common = {
            "task": f"{case.kind}: {case.sequence} {case.n} x {case.n}",
            "size": f"{len(scene.index)} voxels, {case.coils} coils",
            "ours": seconds,
            "error_ours": ours,
            "case": case,
            "spins": len(scene.index),
            "samples": n_samples,
        }
        found = []
        for peer in _peers(case):
            told, theirs = patience.run(peer, case, work, folder)
            error = known.get((case.kind, case.sequence, peer))
            if truth is not None and theirs is not None:
                error = apart(theirs, truth)
            more = {"peer": told["seconds"], "version": told["version"], "error_peer": error}
            found.append(common | more | {"ratio": told["seconds"] / seconds, "told": told})
        alone = {"peer": None, "version": "-", "ratio": None, "error_peer": None, "told": {}}
        return found or [common | alone]


def _truth(case: Case, path: Path, scene: Scene) -> np.ndarray | None:
    """Of points, where it does not take too long."""
    if case.kind != "exact" or (case.n, case.spins, case.coils) != (128, "1e4", 1):
        return None
    written = pypulseq.Sequence(SYSTEM)  # what the file says, to the digits it has
    written.read(str(path))
    return signal(steps_of(written), scene.position, dict(scene.maps))[None]
