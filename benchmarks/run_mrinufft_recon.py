"""Make an image of spokes with mri-nufft (FINUFFT), in its own environment.

Arguments FOLDER, JSON of what is asked for, OUT.npy; prints JSON. Knows nothing of Scanroom.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import mrinufft
import numpy as np
from stopwatch import answer, arguments, best


def main(folder: Path, asked: dict[str, Any], out: Path) -> None:
    """Prepare arrays, then time the program's own operator and solver."""
    kspace = np.load(folder / "kspace.npy")
    maps = np.ascontiguousarray(np.load(folder / "maps.npy")[:, 0])
    place = np.load(folder / "place.npy").astype(np.float32)

    def work() -> np.ndarray:
        operator = mrinufft.get_operator("finufft")(
            place, maps.shape[1:], n_coils=len(maps), smaps=maps, nthreads=1
        )
        found = operator.pinv_solver(kspace, progressbar=False, **asked["options"])
        # its transform is smaller than the unitary one by a factor of two along each axis
        return found * np.sqrt(np.prod(maps.shape[1:])) / operator.norm_factor

    answer(best(work, out), version("mri-nufft"))


if __name__ == "__main__":
    main(*arguments())
