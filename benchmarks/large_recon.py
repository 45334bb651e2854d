"""How long one waits: from the last readout of a 2-D scan, and for a large volume.

Two threads, wall-clock seconds, the whole chain of ours; nobody else's. The 2-D scan has 20
slices of
256 x 256, 16 coils, readouts twice oversampled, slices in turn line by line, so that all of them
end within the last repetition time; it comes as MRD acquisitions, noise scan first, and is
handed over
as fast as it is taken (a scanner is slower): in the column of sizes stands which wait is meant. The
volume has 256 x 256 x 160 pixels, 16 coils, every fourth line of two directions and 24 x 24 in the
middle; its lines lie in a file of plain numbers, and the time is from that file to the image.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.brain_kspace import PLANE, SEED, Task, arrays, filled_once, pattern, seen, white
from benchmarks.peers import ROOT, run
from scanroom.mri.raw.encoding import Encoding, Flag, blank
from scanroom.mri.raw.model import Readout
from scanroom.mri.raw.writer import RawWriter
from scanroom.operators.fourier import resize, to_image, to_kspace

FOLDER = ROOT / "build" / "recon"
SLICES, COILS, TWICE = 20, 16, 2
FIELD_OF_VIEW, THICK, DWELL = 0.256, 3e-3, 5e-6
VOLUME = Task(method="volume", shape=(160, 256, 256), n_coils=COILS, sampling="2 x 2", finer=1)
BAR_PLANE, BAR_VOLUME = 1.0, 60.0


def scan(place: Path, task: Task) -> None:
    """Write the 2-D scan as a raw file."""
    data = arrays(task)
    image = resize(to_image(data["kspace"][:, 0], (-1,)), TWICE * PLANE[2], -1)
    lines = to_kspace(image, (-1,)).astype(np.complex64)
    measured = np.flatnonzero(data["sampled"][0].any(axis=1))
    path = place / "scan.h5"
    path.unlink(missing_ok=True)
    with RawWriter(path, encoding(measured), n_coils=COILS) as writer:
        noise = white(np.random.default_rng(SEED), (COILS, 8192))
        writer.write_noise(Readout(index=0, time=0.0, signal=noise))
        for index in range(len(measured) * SLICES):
            signal = np.ascontiguousarray(lines[:, measured[index // SLICES]])
            writer.write(Readout(index=index, time=5e-3 * index, signal=signal))


def lines(place: Path, task: Task) -> None:
    """Write the lines of the volume that were measured, and the truth; a coil at a time."""
    truth, views = seen(task)
    sampled = pattern(task.shape, task.sampling)[..., 0]
    shape = (task.n_coils, int(sampled.sum()), task.shape[-1])
    out = np.lib.format.open_memmap(place / "lines.npy", "w+", np.complex64, shape)
    rng = np.random.default_rng(SEED)
    for coil, view in enumerate(views):
        out[coil] = view[sampled] + white(rng, shape[1:])
    out.flush()
    np.save(place / "sampled.npy", sampled)
    np.save(place / "truth.npy", truth)


def encoding(measured: Sequence[int] | np.ndarray) -> Encoding:
    """Lines in their order, for each of them all slices."""
    n_read, n_windows = TWICE * PLANE[2], len(measured) * SLICES
    rows, trajectory = blank(n_windows), []
    rows["kspace_encode_step_1"][:] = np.repeat(measured, SLICES)
    rows["slice"][:] = np.tile(np.arange(SLICES), len(measured))
    rows["position"][:, 2] = (rows["slice"] - SLICES / 2) * THICK
    rows["centre_sample"][:], rows["dwell"][:] = n_read // 2, DWELL
    rows["flags"][-SLICES:] = Flag.LAST_IN_SLICE
    along = (np.arange(n_read) - n_read // 2) / (TWICE * FIELD_OF_VIEW)
    for step in rows["kspace_encode_step_1"]:
        k = np.zeros((n_read, 3), np.float32)
        k[:, 0], k[:, 1] = along, (step - PLANE[1] // 2) / FIELD_OF_VIEW
        trajectory.append(k)
    return Encoding(
        protocol_name="in-line",
        trajectory_type="cartesian",
        field=3.0,
        frequency=127.7e6,
        encoded_matrix=(n_read, PLANE[1], 1),
        encoded_fov=(TWICE * FIELD_OF_VIEW, FIELD_OF_VIEW, THICK),
        recon_matrix=(PLANE[2], PLANE[1], 1),
        recon_fov=(FIELD_OF_VIEW, FIELD_OF_VIEW, THICK),
        centre_step_1=PLANE[1] // 2,
        echo_times=(5e-3,),
        noise_dwell=DWELL,
        trajectory=tuple(trajectory),
        **rows,
    )


def waits() -> list[dict[str, Any]]:
    """Every wait with its bar, peak memory and, of the volume, the error of its magnitude."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.npy"
        for sampling, words in (("all", "all lines"), ("4 x 1", "every fourth line")):
            found += _in_line(sampling, words, out)
        place = filled_once(FOLDER / "volume", VOLUME, lambda at: lines(at, VOLUME))
        truth = np.abs(np.load(place / "truth.npy"))
        for method in ("auto", "cg-sense"):
            done = run("scanroom", "run_scanroom_large.py", "volume", place, out, method)
            away = float(np.linalg.norm(np.abs(np.load(out)) - truth) / np.linalg.norm(truth))
            found.append(
                {"task": f"volume, method {method}", "size": f"{VOLUME.size}, 2 x 2"}
                | {"bar": BAR_VOLUME, "error": away, "reading": done["load"]}
                | {key: done[key] for key in ("seconds", "megabytes", "how")}
            )
            print(json.dumps(found[-1]), flush=True)
    return found


def _in_line(sampling: str, words: str, out: Path) -> list[dict[str, Any]]:
    task = Task(method="inline", shape=PLANE, n_coils=COILS, sampling=sampling)
    place = filled_once(FOLDER / f"in-line, {words}", task, lambda at: scan(at, task))
    done = run("scanroom", "run_scanroom_large.py", "inline", place / "scan.h5", out)
    size = f"{SLICES} slices of 256 x 256, {COILS} coils, {words}"
    found = []
    for key, said in (
        ("slice", "a slice: from its last readout to its image"),
        ("seconds", "all slices: from the first one's last readout to the last one's image"),
    ):
        about = {"task": said, "size": size, "bar": BAR_PLANE, "error": None}
        found.append(about | {"seconds": done[key]} | {k: done[k] for k in ("megabytes", "how")})
        print(f"{size} | {said} | {done[key]:.3f} s | {done['megabytes']:.0f} MB", flush=True)
    return found


def rows(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Waits in wall-clock seconds, their bar in the column of peers."""
    return [
        {
            "task": f"{row['task']} [s]",
            "size": row["size"],
            "ours": row["seconds"],
            "peer": row["bar"],
            "version": "bar, nobody's time",
            "ratio": row["bar"] / row["seconds"],
            "error_ours": row["error"],
            "error_peer": None,
        }
        for row in found
    ]


if __name__ == "__main__":
    waits()
