"""Do one task of reconstruction with SigPy, in its own environment.

Arguments FOLDER, JSON of what is asked for, OUT.npy; prints JSON. Knows nothing of Scanroom.
"""

from pathlib import Path
from typing import Any

import numpy as np
import sigpy
from sigpy.mri import app
from stopwatch import answer, arguments, best


def main(folder: Path, asked: dict[str, Any], out: Path) -> None:
    """Prepare arrays, then time the program's own application."""
    method, options = asked["method"], asked["options"] | {"show_pbar": False}
    kspace = np.load(folder / "kspace.npy")
    if kspace.ndim == 4 and kspace.shape[1] == 1:
        kspace = np.ascontiguousarray(kspace[:, 0])
    if method == "calibrate":
        answer(best(lambda: app.EspiritCalib(kspace, **options).run(), out), sigpy.__version__)
        return
    maps = np.load(folder / "maps.npy")
    maps = np.ascontiguousarray(maps[:, 0]) if maps.shape[1] == 1 else maps
    if method == "radial":
        options["coord"] = np.load(folder / "place.npy").astype(np.float32) * maps.shape[-1]
    if method == "wavelet":
        strength = options.pop("strength")
        measured = best(lambda: app.L1WaveletRecon(kspace, maps, strength, **options).run(), out)
    else:
        measured = best(lambda: app.SenseRecon(kspace, maps, **options).run(), out)
    answer(measured, sigpy.__version__)


if __name__ == "__main__":
    main(*arguments())
