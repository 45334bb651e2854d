"""Play one .seq with MRzero's phase distribution graphs, in its own environment.

Arguments SEQ, SPINS.npz, OUT.npy; prints JSON. Knows nothing of Scanroom. Time is that of the graph
and its execution at their own default thresholds; reading the file is not in.
"""

import json
import sys
import time
from pathlib import Path

import MRzeroCore
import numpy as np
import torch


def main(seq: Path, spins: Path, out: Path) -> None:
    """Simulate the spins as voxels that are points within the k-space of the grid."""
    torch.set_num_threads(2)
    data = np.load(spins)
    position = (data["index"] * data["voxel"] + data["origin"]).astype(np.float32)
    phantom = MRzeroCore.CustomVoxelPhantom(
        pos=position.tolist(),
        PD=data["proton_density"].tolist(),
        T1=data["t1"].tolist(),
        T2=data["t2"].tolist(),
        T2dash=[1e9] * len(position),
        D=0.0,
        B0=data["off_resonance"].tolist(),
        B1=1.0,
        voxel_size=data["voxel"].tolist(),
        voxel_shape="sinc",
    ).build()
    sequence = MRzeroCore.Sequence.import_file(str(seq))
    times = []
    for _ in range(int(data["repeats"])):
        start = time.perf_counter()
        graph = MRzeroCore.compute_graph(sequence, phantom)
        signal = MRzeroCore.execute_graph(graph, sequence, phantom, print_progress=False)
        times.append(time.perf_counter() - start)
    np.save(out, signal.detach().numpy().ravel())
    print(json.dumps({"seconds": min(times), "version": MRzeroCore.__version__}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
