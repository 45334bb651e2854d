"""Fill missing lines with pygrappa, in its own environment.

Arguments FOLDER, JSON of what is asked for, OUT.npy; prints JSON. Knows nothing of Scanroom.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pygrappa import cgrappa, mdgrappa
from stopwatch import answer, arguments, best


def main(folder: Path, asked: dict[str, Any], out: Path) -> None:
    """Coil images, missing lines filled: the transform to images is in the times, as for all."""
    kspace = np.load(folder / "kspace.npy")[:, 0].astype(complex)  # all that it takes
    n_y, n_x = kspace.shape[1:]
    half = asked["centre"] // 2
    whole = np.load(folder / "sampled.npy")[0].all(axis=1).any()
    rows = slice(n_y // 2 - half, n_y // 2 + half)
    columns = slice(None) if whole else slice(n_x // 2 - half, n_x // 2 + half)
    centre = np.ascontiguousarray(kspace[:, rows, columns])
    fill = {"cgrappa": cgrappa, "mdgrappa": mdgrappa}[asked["options"].pop("way")]

    def work() -> np.ndarray:
        filled = fill(kspace, centre, coil_axis=0, **asked["options"])
        moved = np.fft.ifft2(np.fft.ifftshift(filled, (1, 2)), norm="ortho")
        return np.fft.fftshift(moved, (1, 2))

    answer(best(work, out), version("pygrappa"))


if __name__ == "__main__":
    main(*arguments())
