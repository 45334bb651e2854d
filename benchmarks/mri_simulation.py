"""Bloch simulation beside blochsimulator and MRzero: the same .seq, the same spins, one run.

Four sequences: gradient echo, spin echo and echo-planar image of 128 x 128 with block pulses
(MRzero plays pulses as instants), and a train of slice-selective pulses for the time per spin and
pulse, which MRzero cannot play. Isochromats lie on the image's own grid, so that a point, a voxel
within the k-space of the grid and a box are the same subject to all. Everybody has two threads;
compiling and reading of files are not in the times; what each makes of a sequence (tables, graphs)
is. The error is the root-mean-square difference from `benchmarks.isochromats`, in double
precision, over the root-mean-square signal, after one constant phase is taken out, since what is
called zero phase is a matter of taste.
"""

import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pypulseq

from benchmarks.isochromats import signal, steps_of
from benchmarks.peers import run
from scanroom.mri.drive.seqfile import read_seq
from scanroom.mri.twin.programme import programme
from scanroom.physics.receiver import demodulation
from scanroom.physics.spins.engine import Settings, simulate
from scanroom.physics.spins.ensemble import Spins
from validation.table import say

N = 128
FIELD_OF_VIEW = 0.22
RADIUS = 52.76  # cells
SYSTEM = pypulseq.Opts(
    max_grad=80, grad_unit="mT/m", max_slew=200, slew_unit="T/m/s",
    rf_dead_time=100e-6, rf_ringdown_time=30e-6, adc_dead_time=10e-6,
)  # fmt: skip

PATIENCE = 120.0
"""Seconds a peer may take; past that its time is a lower bound and its error unknown."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Isochromats at the centres of cells of a grid."""

    shape: tuple[int, int, int]
    voxel: tuple[float, float, float]
    index: np.ndarray
    maps: Mapping[str, np.ndarray]

    @property
    def origin(self) -> np.ndarray:
        """Centre of the first cell; cell ``n // 2`` lies in the middle of the magnet."""
        return -np.array([n // 2 for n in self.shape]) * np.array(self.voxel)

    @property
    def position(self) -> np.ndarray:
        """Of every isochromat [m]."""
        return self.index * np.array(self.voxel) + self.origin


def disc() -> Scene:
    """A disc of three tissues and a smooth B0, 8,748 isochromats."""
    place = np.argwhere(np.ones((N, N, 1), bool))
    x, y = (place[:, :2] - N // 2).T
    inside = np.hypot(x + 0.5, y + 0.5) < RADIUS
    return _tissues((N, N, 1), (FIELD_OF_VIEW / N, FIELD_OF_VIEW / N, 5e-3), place[inside])


def column() -> Scene:
    """A thin column through the slices, 2,000 isochromats."""
    return _tissues((1, 1, 2000), (1e-3, 1e-3, 2e-5), np.argwhere(np.ones((1, 1, 2000), bool)))


def _tissues(
    shape: tuple[int, int, int], voxel: tuple[float, float, float], index: np.ndarray
) -> Scene:
    """Grey, white and fluid at 3 T, by turns of 8 cells; off-resonance of +-15 Hz."""
    tissue = (index // 8).sum(axis=1) % 3
    maps = {
        "proton_density": np.array([0.8, 0.7, 1.0])[tissue],
        "t1": np.array([1.33, 0.83, 4.0])[tissue],
        "t2": np.array([0.083, 0.07, 1.5])[tissue],
        "off_resonance": 15 * np.sin(index @ np.array([0.05, 0.03, 0.002])),
    }
    return Scene(shape, voxel, index, maps)


def _block(angle: float, phase: float = 0.0, use: str = "excitation") -> Any:
    return pypulseq.make_block_pulse(
        angle, duration=200e-6, phase_offset=phase, system=SYSTEM, delay=100e-6, use=use
    )


def _read(dwell: float) -> tuple[Any, Any, Any]:
    """Readout gradient, receiver and prephaser; sample N/2 lies on the centre of k-space."""
    flat = N * dwell
    gx = pypulseq.make_trapezoid(
        "x", flat_area=N / FIELD_OF_VIEW, flat_time=flat, rise_time=200e-6, system=SYSTEM
    )
    adc = pypulseq.make_adc(N, dwell=dwell, delay=gx.rise_time, system=SYSTEM)
    centre = gx.amplitude * (gx.rise_time / 2 + (N / 2 + 0.5) * dwell)
    return gx, adc, pypulseq.make_trapezoid("x", area=-centre, duration=1e-3, system=SYSTEM)


def _phase(line: int, sign: int = 1) -> Any:
    area = sign * (line - N // 2) / FIELD_OF_VIEW
    return pypulseq.make_trapezoid("y", area=area, duration=1e-3, system=SYSTEM)


def gradient_echo() -> pypulseq.Sequence:
    """RF-spoiled, every gradient rewound: 15 degrees, TR 12 ms, bandwidth 390 Hz per pixel."""
    sequence, (gx, adc, before) = pypulseq.Sequence(SYSTEM), _read(20e-6)
    after = pypulseq.make_trapezoid("x", area=-gx.area - before.area, duration=1e-3, system=SYSTEM)
    phase, step = 0.0, 0.0
    for line in range(N):
        adc.phase_offset = phase
        sequence.add_block(_block(np.deg2rad(15), phase))
        sequence.add_block(before, _phase(line))
        sequence.add_block(gx, adc)
        sequence.add_block(after, _phase(line, -1))
        sequence.add_block(pypulseq.make_delay(6e-3))
        step = (step + np.deg2rad(117)) % (2 * np.pi)
        phase = (phase + step) % (2 * np.pi)
    return sequence


def spin_echo() -> pypulseq.Sequence:
    """90-180, echo time about 16 ms, every gradient rewound, TR about 120 ms."""
    sequence, (gx, adc, before) = pypulseq.Sequence(SYSTEM), _read(20e-6)
    ahead = pypulseq.make_trapezoid("x", area=-before.area, duration=1e-3, system=SYSTEM)
    after = pypulseq.make_trapezoid("x", area=-gx.area - before.area, duration=1e-3, system=SYSTEM)
    for line in range(N):
        sequence.add_block(_block(np.pi / 2))
        sequence.add_block(ahead, _phase(line, -1))
        sequence.add_block(pypulseq.make_delay(6.77e-3))
        sequence.add_block(_block(np.pi, np.pi / 2, "refocusing"))
        sequence.add_block(pypulseq.make_delay(6.28e-3))
        sequence.add_block(gx, adc)
        sequence.add_block(after, _phase(line, -1))
        sequence.add_block(pypulseq.make_delay(100e-3))
    return sequence


def echo_planar() -> pypulseq.Sequence:
    """Single shot, 128 echoes of 0.64 ms on flat tops, blips between."""
    sequence, (gx, adc, before) = pypulseq.Sequence(SYSTEM), _read(5e-6)
    blip = pypulseq.make_trapezoid("y", area=1 / FIELD_OF_VIEW, duration=100e-6, system=SYSTEM)
    back = pypulseq.scale_grad(gx, -1)
    sequence.add_block(_block(np.pi / 2))
    sequence.add_block(before, _phase(0))
    for line in range(N):
        sequence.add_block(back if line % 2 else gx, adc)
        sequence.add_block(blip)
    return sequence


def slice_train() -> pypulseq.Sequence:
    """256 slice-selective sinc pulses of 2 ms, RF-spoiled, 16 samples after each."""
    sequence, phase, step = pypulseq.Sequence(SYSTEM), 0.0, 0.0
    adc = pypulseq.make_adc(16, dwell=10e-6, delay=10e-6, system=SYSTEM)
    for _ in range(256):
        pulse, select, rephase = pypulseq.make_sinc_pulse(
            np.deg2rad(30), duration=2e-3, slice_thickness=5e-3, time_bw_product=4, apodization=0.5,
            phase_offset=phase, system=SYSTEM, return_gz=True, delay=100e-6, use="excitation",
        )  # fmt: skip
        adc.phase_offset = phase
        sequence.add_block(pulse, select)
        sequence.add_block(rephase)
        sequence.add_block(adc)
        sequence.add_block(pypulseq.make_trapezoid("z", area=400, duration=1e-3, system=SYSTEM))
        step = (step + np.deg2rad(117)) % (2 * np.pi)
        phase = (phase + step) % (2 * np.pi)
    return sequence


def ours(path: Path, scene: Scene) -> tuple[np.ndarray, float]:
    """Our engine: reading the file and compiling the kernels are not timed, as with the peers."""
    drive = read_seq(path)
    n_spins = len(scene.index)
    spins = Spins(
        position=scene.position,
        offset=scene.maps["off_resonance"],
        r1=(1 / scene.maps["t1"]).astype(np.float32),
        r2=(1 / scene.maps["t2"]).astype(np.float32),
        transmit=np.ones(n_spins, np.complex64),
        weight=scene.maps["proton_density"].astype(np.complex64)[:, None],
    )
    for _ in range(2):  # the first pays for what numba compiles; the second counts, as theirs
        start = time.perf_counter()
        windows = list(simulate(programme(drive), spins, Settings(threads=2)))
        seconds = time.perf_counter() - start
    turns = [
        demodulation(
            len(window[0]),
            float(drive.windows.dwell[i]),
            frequency=float(drive.windows.frequency[i]),
            phase=float(drive.windows.phase[i]),
        )
        for i, window in enumerate(windows)
    ]
    pairs = zip(windows, turns, strict=True)
    return np.concatenate([window[0] * turn for window, turn in pairs]), seconds


TASKS: Mapping[
    str, tuple[Callable[[], pypulseq.Sequence], Callable[[], Scene], tuple[str, ...]]
] = {
    "gradient echo 128 x 128": (gradient_echo, disc, ("blochsimulator", "mrzero")),
    "spin echo 128 x 128": (spin_echo, disc, ("blochsimulator", "mrzero")),
    "echo-planar 128 x 128": (echo_planar, disc, ("blochsimulator", "mrzero")),
    "256 slice-selective pulses": (slice_train, column, ("blochsimulator",)),
}


def _save(folder: Path, scene: Scene) -> None:
    np.savez(
        folder / "spins.npz", shape=scene.shape, voxel=scene.voxel, origin=scene.origin,
        index=scene.index, repeats=1, **scene.maps,
    )  # fmt: skip


def _error(found: np.ndarray, truth: np.ndarray) -> float:
    turn = np.vdot(found, truth)
    return float(np.linalg.norm(found * turn / abs(turn) - truth) / np.linalg.norm(truth))


def rows() -> list[dict[str, Any]]:
    """Times in seconds, and per spin-sample or spin-pulse in nanoseconds."""
    found = []
    for task, (design, subject, peers) in TASKS.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            found += _task(folder, task, design(), subject(), peers)
    return found


def _peer(peer: str, folder: Path, truth: np.ndarray) -> tuple[dict[str, Any], float | None]:
    """Time, version and error of a peer; MRzero on a sequence without spoilers may not end."""
    result = folder / f"{peer}.npy"
    arguments = (folder / "task.seq", folder / "spins.npz", result)
    try:
        found = run(peer, f"run_{peer}.py", *arguments, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        version = f"{peer}, not done in {PATIENCE:.0f} s: time and ratio are lower bounds"
        return {"seconds": PATIENCE, "version": version}, None
    return found | {"version": f"{peer} {found['version']}"}, _error(np.load(result), truth)


def _task(
    folder: Path, task: str, sequence: pypulseq.Sequence, scene: Scene, peers: tuple[str, ...]
) -> list[dict[str, Any]]:
    """One sequence and subject, through everybody."""
    path = folder / "task.seq"
    _save(folder, scene)
    sequence.write(str(path))
    say(f"  {task}: truth ...")
    written = pypulseq.Sequence(SYSTEM)  # what the file says, to the digits it has
    written.read(str(path))
    truth = signal(steps_of(written), scene.position, dict(scene.maps))
    mine, seconds = ours(path, scene)
    n_spins, n_samples = len(scene.index), len(truth)
    per, unit = (
        (n_spins * 256, "spin-pulse") if "pulses" in task else (n_spins * n_samples, "spin-sample")
    )
    found = []
    for peer in peers:
        say(f"  {task}: {peer} ...")
        theirs, error = _peer(peer, folder, truth)
        common = {
            "size": f"{n_spins} spins, {n_samples} samples",
            "version": theirs["version"],
            "ratio": theirs["seconds"] / seconds,
            "error_ours": _error(mine, truth),
            "error_peer": error,
        }
        found += [
            {"task": f"{task} [s]", "ours": seconds, "peer": theirs["seconds"], **common},
            {"task": f"{task}, time per {unit} [ns]", "ours": 1e9 * seconds / per,
             "peer": 1e9 * theirs["seconds"] / per, **common},
        ]  # fmt: skip
    return found
