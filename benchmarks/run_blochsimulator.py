"""Play one .seq with blochsimulator, in its own environment: SEQ, SPINS.npz, OUT.npy; prints JSON.

Knows nothing of Scanroom. Time is that of the simulation call alone; reading the file is not in.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from blochsimulator import BlochSimulator, __version__
from blochsimulator.phantom import Phantom
from blochsimulator.sequence import load_pulseq


def main(seq: Path, spins: Path, out: Path) -> None:
    """Simulate the spins as voxels of a grid, one isochromat each, at their centres."""
    data = np.load(spins)
    shape = tuple(int(n) for n in data["shape"])
    maps = {name: np.zeros(shape) for name in ("proton_density", "t1", "t2", "off_resonance")}
    maps["t1"][:], maps["t2"][:] = 1.0, 0.1
    mask = np.zeros(shape, bool)
    index = tuple(data["index"].T)
    mask[index] = True
    for name, values in maps.items():
        values[index] = data[name]
    affine = np.eye(4)
    affine[:3, :3] = np.diag(data["voxel"])
    affine[:3, 3] = data["origin"]
    phantom = Phantom(
        shape=shape,
        fov=tuple(float(n * size) for n, size in zip(shape, data["voxel"], strict=True)),
        t1_map=maps["t1"],
        t2_map=maps["t2"],
        pd_map=maps["proton_density"],
        df_map=maps["off_resonance"],
        mask=mask,
        affine_ijk_to_xyz_m=affine,
    )
    program = load_pulseq(seq)
    simulator = BlochSimulator(use_parallel=True, num_threads=2)
    times = []
    for _ in range(int(data["repeats"])):
        start = time.perf_counter()
        result = simulator.simulate_sequence(program, phantom, spoiler_mode="gradient")
        times.append(time.perf_counter() - start)
    np.save(out, np.asarray(result.signal).ravel())
    print(json.dumps({"seconds": min(times), "version": __version__}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
