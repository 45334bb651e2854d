"""Play one .seq with pulserver, in its own environment: SEQ, SPINS.npz, OUT.npy; prints JSON.

Knows nothing of Scanroom. Cubes of the grid are its entries. Time is that of its player, set-up and
play apart; converting the file is not in. The second of two runs counts.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pypulseqpp as pp
import torch
from pulserver import ir
from pulserver.virtual import FourierPlayer, Tissue


def main(seq: Path, spins: Path, out: Path) -> None:
    """Simulate the spins as cubes of a grid, with the coils' sensitivities where they stand."""
    torch.set_num_threads(2)
    data = np.load(spins)
    position = data["index"] * data["voxel"] + data["origin"]
    n, n_coils = len(position), int(data["n_coils"])

    def receive(points: np.ndarray) -> np.ndarray | None:
        if n_coils == 1:
            return None
        turns = np.asarray(points) @ data["coil_slope"]
        return np.exp(2j * np.pi * (turns + np.arange(n_coils) / n_coils))

    tissue = Tissue(
        positions=position,
        density=data["proton_density"].astype(float),
        t1=data["t1"].astype(float),
        t2=data["t2"].astype(float),
        t2_prime=np.full(n, np.inf),
        frequency=data["off_resonance"].astype(float),
        spacing=float(data["voxel"][0]),
        axes=np.eye(3),
        transmit=None,
        receive=receive,
        coils=n_coils,
    )
    system = pp.Opts(max_grad=80, grad_unit="mT/m", max_slew=200, slew_unit="T/m/s")
    start = time.perf_counter()
    ir.convert(seq, system)
    converted = time.perf_counter() - start
    for _ in range(2):
        start = time.perf_counter()
        player = FourierPlayer(seq, tissue, device="cpu")
        ready = time.perf_counter()
        readouts = list(player.readouts(0, player.blocks))
        end = time.perf_counter()
    np.save(out, np.concatenate(readouts, axis=1))
    told = {"seconds": end - start, "set_up": ready - start, "play": end - ready}
    print(json.dumps(told | {"convert": converted, "version": version("pulserver")}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
