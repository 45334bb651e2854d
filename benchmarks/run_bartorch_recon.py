"""Do one task of reconstruction with bartorch, in its own environment.

Arguments FOLDER, JSON of what is asked for, OUT.npy; prints JSON. Knows nothing of Scanroom.
"""

from pathlib import Path
from typing import Any

import bartorch
import numpy as np
import torch
from bartorch import apps, priors, tools
from stopwatch import answer, arguments, best


def main(folder: Path, asked: dict[str, Any], out: Path) -> None:
    """Prepare arrays, then time the program's own function."""
    torch.set_num_threads(1)
    bartorch.set_num_threads(1)
    method, options = asked["method"], asked["options"]
    kspace = torch.from_numpy(np.load(folder / "kspace.npy"))
    if method == "calibrate":
        measured = best(lambda: tools.ecalib(kspace, **options), out)
    else:
        maps = torch.from_numpy(np.load(folder / "maps.npy"))
        if method == "wavelet":
            strength = options.pop("strength")
            options["regularizers"] = priors.Wavelet(axes=(-1, -2), weight=strength)
        if method == "radial":
            n_spokes, n = asked["spokes"], maps.shape[-1]
            place = np.load(folder / "place.npy")[:, ::-1] * n
            place = np.concatenate([place, np.zeros((len(place), 1))], axis=1)
            options["traj"] = torch.from_numpy(place.astype(np.float32)).reshape(n_spokes, -1, 3)
            kspace = kspace.reshape(len(kspace), n_spokes, -1)
        measured = best(lambda: apps.pics(kspace, maps, **options), out)
    answer(measured, bartorch.__version__)


if __name__ == "__main__":
    main(*arguments())
