"""One large task of ours in a process of its own, on as many threads as it is given.

Arguments ``inline`` RAW.h5 OUT.npy or ``volume`` FOLDER OUT.npy METHOD; prints JSON.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from stopwatch import answer, peak_megabytes

import scanroom
from scanroom.mri.raw.encoding import Flag
from scanroom.mri.raw.hdf5 import load
from scanroom.mri.recon.inline.live import Live
from scanroom.mri.recon.methods import Gaps, filled
from scanroom.mri.recon.options import Options
from scanroom.operators.fourier import to_image


def inline(path: Path, out: Path) -> dict[str, Any]:
    """Feed a scan and note when images come; twice, the first time to load what is compiled."""
    xml, heads, bodies = load(path)
    for _ in range(2):
        live, images, waits, began = Live(xml, Options()), [], [], 0.0
        for head, (trajectory, signal) in zip(heads, bodies, strict=True):
            given = time.perf_counter()
            if not began and int(head["flags"]) & Flag.LAST_IN_SLICE:
                began = given
            flat = signal.view(np.float32).ravel()
            done = list(live.add((head, trajectory.ravel(), flat)))
            if done:
                waits.append(time.perf_counter() - given)
                images += [finished.results[0] for finished in done]
        seconds = time.perf_counter() - began
    np.save(out, np.concatenate([image.array for image in images]))
    how = "; ".join(images[-1].notes) if hasattr(images[-1], "notes") else ""
    return {"seconds": seconds, "slice": max(waits), "how": how, "megabytes": peak_megabytes()}


def volume(folder: Path, out: Path, method: str) -> dict[str, Any]:
    """From the lines in a file to the image; first a small one, to load what is compiled."""
    sampled = np.load(folder / "sampled.npy")
    lines = np.load(folder / "lines.npy", mmap_mode="r")
    part = (slice(64, 96), slice(96, 160))
    some = np.zeros_like(sampled)
    some[part] = True
    filled(_placed(lines[:4, some[sampled], ::8], sampled[part]), method)
    start = time.perf_counter()
    gaps = _placed(lines, sampled)
    loaded = time.perf_counter() - start
    found = filled(gaps, method)
    seconds = time.perf_counter() - start
    peak = peak_megabytes()
    np.save(out, found.image)
    return {"seconds": seconds, "load": loaded, "how": found.note, "megabytes": peak}


def _placed(lines: np.ndarray, sampled: np.ndarray) -> Gaps:
    """Lines in hybrid space, a coil at a time."""
    hybrid = np.zeros((len(lines), *sampled.shape, lines.shape[-1]), np.complex64)
    for coil, seen in enumerate(lines):
        hybrid[coil][sampled] = to_image(np.asarray(seen), (1,))
    return Gaps(kspace=hybrid, sampled=sampled)


if __name__ == "__main__":
    where, result = (Path(name) for name in sys.argv[2:4])
    measured = (
        inline(where, result) if sys.argv[1] == "inline" else volume(where, result, sys.argv[4])
    )
    answer(measured, scanroom.__version__)
