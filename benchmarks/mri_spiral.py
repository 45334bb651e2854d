"""Windows without a constant gradient: one transform per shot beside the plain sum, and a peer.

A spiral of 96 x 96 in one shot (slew-limited: G. H. Glover, Magn. Reson. Med. 42, 412 (1999),
doi:10.1002/(SICI)1522-2594(199908)42:2<412::AID-MRM25>3.0.CO;2-U) and an echo-planar train of 64
lines sampled on its ramps, on a disc of 10,000 to a million isochromats of three tissues and +-50
Hz. Ours receives with 8 coils, all alike, as is; and once more with the fast way switched off
(`Settings(readout=0)`), which stands in the column of peers as "ours, summed". blochsimulator
receives with one coil and is asked for the two smaller discs. Everybody has two threads, and
compiling and reading of files are not in the times. Errors are as in `benchmarks.mri_simulation`,
against 256 samples in double precision.
"""

import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pypulseq

from benchmarks.isochromats import signal, steps_of, thinned
from benchmarks.mri_simulation import FIELD_OF_VIEW, PATIENCE, SYSTEM, Scene
from benchmarks.peers import run
from scanroom.mri.drive.seqfile import read_seq
from scanroom.mri.twin.programme import programme
from scanroom.physics.receiver import demodulation
from scanroom.physics.spins.engine import Settings, simulate
from scanroom.physics.spins.ensemble import Spins
from validation.table import say

MATRIX, LINES, COILS = 96, 64, 8
DWELL = 5e-6
SLEW = 0.8 * 200 * 42.576e6  # Hz/m/s
SIZES = (10_000, 100_000, 1_000_000)
LARGEST_OF_PEER = 100_000
N_TRUE = 256


def disc(n_spins: int) -> Scene:
    """So many isochromats, or a few less, on a square lattice within a disc."""
    radius = 0.41 * FIELD_OF_VIEW
    edge = radius * np.sqrt(np.pi / n_spins)
    n = 2 * int(np.ceil(radius / edge)) + 1
    index = np.argwhere(np.ones((n, n, 1), bool))
    place = (index[:, :2] - n // 2) * edge
    inside = np.hypot(*place.T) < radius
    index, place = index[inside], place[inside]
    tissue = np.floor(place / 0.012).astype(int).sum(axis=1) % 3
    maps = {
        "proton_density": np.array([0.8, 0.7, 1.0])[tissue],
        "t1": np.array([1.33, 0.83, 4.0])[tissue],
        "t2": np.array([0.083, 0.07, 1.5])[tissue],
        "off_resonance": 50 * np.sin(place @ np.array([30.0, 17.0])),
    }
    return Scene((n, n, 1), (edge, edge, 5e-3), index, maps)


def _pulse() -> Any:
    return pypulseq.make_block_pulse(
        np.pi / 2, duration=200e-6, system=SYSTEM, delay=100e-6, use="excitation"
    )


def spiral() -> pypulseq.Sequence:
    """One shot from the centre of k-space outwards."""
    per_radian = 1 / (2 * np.pi * FIELD_OF_VIEW)
    steep = SLEW / per_radian
    end = 2 / 3 * (np.pi * MATRIX) ** 1.5 / np.sqrt(steep)
    raster = SYSTEM.grad_raster_time
    time_of = np.arange(round(end / raster) + 1) * raster
    angle = 0.5 * steep * time_of**2
    angle /= 1 + 0.5 * steep / np.cbrt(2.25 * steep) * time_of ** (4 / 3)
    moment = per_radian * angle * np.exp(1j * angle)
    strength = np.diff(moment) / raster
    ramp = np.linspace(1, 0, 40)[1:]
    shape = np.concatenate([strength, strength[-1] * ramp])
    gradients = [
        pypulseq.make_arbitrary_grad(axis, np.ascontiguousarray(part), first=0.0, last=0.0,
                                     system=SYSTEM)
        for axis, part in (("x", shape.real), ("y", shape.imag))
    ]  # fmt: skip
    adc = pypulseq.make_adc(4 * int(end / DWELL / 4), dwell=DWELL, delay=1e-5, system=SYSTEM)
    sequence = pypulseq.Sequence(SYSTEM)
    sequence.add_block(_pulse())
    sequence.add_block(*gradients, adc)
    return sequence


def echo_planar() -> pypulseq.Sequence:
    """Lobes without pause, blips on their ramps; the receiver is open all along a lobe."""
    rise, flat = 160e-6, 200e-6
    area = LINES / FIELD_OF_VIEW
    gx = pypulseq.make_trapezoid(
        "x", amplitude=area / (rise + flat), rise_time=rise, flat_time=flat, system=SYSTEM
    )
    n_samples = 4 * int((2 * rise + flat - 2e-5) / DWELL / 4)
    adc = pypulseq.make_adc(n_samples, dwell=DWELL, delay=1e-5, system=SYSTEM)
    before = [
        pypulseq.make_trapezoid(axis, area=-area / 2, duration=1e-3, system=SYSTEM)
        for axis in ("x", "y")
    ]
    sequence, back = pypulseq.Sequence(SYSTEM), pypulseq.scale_grad(gx, -1)
    sequence.add_block(_pulse())
    sequence.add_block(*before)
    for line in range(LINES):
        blip = pypulseq.make_trapezoid(
            "y", area=1 / FIELD_OF_VIEW, duration=100e-6, delay=2 * rise + flat, system=SYSTEM
        )
        sequence.add_block(back if line % 2 else gx, adc, blip)
    return sequence


def ours(path: Path, scene: Scene, settings: Settings) -> tuple[np.ndarray, float]:
    """Signal of the first coil, and the seconds of a second run."""
    drive = read_seq(path)
    n_spins = len(scene.index)
    weight = scene.maps["proton_density"].astype(np.complex64)
    spins = Spins(
        position=scene.position,
        offset=scene.maps["off_resonance"],
        r1=(1 / scene.maps["t1"]).astype(np.float32),
        r2=(1 / scene.maps["t2"]).astype(np.float32),
        transmit=np.ones(n_spins, np.complex64),
        weight=np.repeat(weight[:, None], COILS, axis=1),
    )
    for _ in range(2):  # the first pays for what numba compiles
        start = time.perf_counter()
        windows = list(simulate(programme(drive), spins, settings))
        seconds = time.perf_counter() - start
    parts = [
        window[0] * demodulation(
            len(window[0]), float(drive.windows.dwell[i]),
            frequency=float(drive.windows.frequency[i]), phase=float(drive.windows.phase[i]),
        )
        for i, window in enumerate(windows)
    ]  # fmt: skip
    return np.concatenate(parts), seconds


TASKS: Mapping[str, Callable[[], pypulseq.Sequence]] = {
    "spiral 96 x 96": spiral,
    "echo-planar 64 x 64, ramps sampled": echo_planar,
}


def _error(found: np.ndarray, truth: np.ndarray) -> float:
    turn = np.vdot(found, truth)
    return float(np.linalg.norm(found * turn / abs(turn) - truth) / np.linalg.norm(truth))


def rows() -> list[dict[str, Any]]:
    """Times in seconds."""
    found = []
    for task, design in TASKS.items():
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "task.seq"
            design().write(str(path))
            for n_spins in SIZES:
                found += _task(path, task, disc(n_spins))
    return found


def _peer(path: Path, scene: Scene) -> tuple[dict[str, Any], np.ndarray | None]:
    """Time, version and signal of blochsimulator."""
    spins, result = path.with_name("spins.npz"), path.with_name("peer.npy")
    np.savez(
        spins, shape=scene.shape, voxel=scene.voxel, origin=scene.origin, index=scene.index,
        repeats=1, **scene.maps,
    )  # fmt: skip
    try:
        found = run(
            "blochsimulator", "run_blochsimulator.py", path, spins, result, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        version = f"blochsimulator, not done in {PATIENCE:.0f} s: time and ratio are lower bounds"
        return {"seconds": PATIENCE, "version": version}, None
    return found | {"version": f"blochsimulator {found['version']}, 1 coil"}, np.load(result)


def _task(path: Path, task: str, scene: Scene) -> list[dict[str, Any]]:
    """One sequence and disc, through everybody."""
    n_spins = len(scene.index)
    written = pypulseq.Sequence(SYSTEM)  # what the file says, to the digits it has
    written.read(str(path))
    steps = steps_of(written)
    n_samples = int(steps.sampled.sum())
    looked = np.linspace(0, n_samples - 1, N_TRUE).astype(int)
    say(f"  {task}, {n_spins} spins: truth ...")
    truth = signal(thinned(steps, looked), scene.position, dict(scene.maps))
    say(f"  {task}, {n_spins} spins: ours ...")
    mine, seconds = ours(path, scene, Settings(threads=2))
    summed, slow = ours(path, scene, Settings(threads=2, readout=0.0))
    others: list[tuple[dict[str, Any], np.ndarray | None]] = [
        ({"seconds": slow, "version": "ours, summed"}, summed)
    ]
    if n_spins <= LARGEST_OF_PEER:
        say(f"  {task}, {n_spins} spins: blochsimulator ...")
        others.append(_peer(path, scene))
    return [
        {
            "task": f"{task}, {n_spins} spins [s]",
            "size": f"{n_spins} spins, {n_samples} samples, {COILS} coils",
            "ours": seconds,
            "peer": other["seconds"],
            "version": other["version"],
            "ratio": other["seconds"] / seconds,
            "error_ours": _error(mine[looked], truth),
            "error_peer": None if theirs is None else _error(theirs[looked], truth),
        }
        for other, theirs in others
    ]
