"""The peers' own environments: made once under ``build/peers``, never mixed with ours.

``python -m benchmarks.peers`` makes them all.
"""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from validation.table import say

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "peers"


@dataclass(frozen=True, slots=True)
class Peer:
    """A published program, and what pip is asked for, one step after the other."""

    name: str
    steps: tuple[tuple[str, ...], ...]


PEERS: Mapping[str, Peer] = MappingProxyType(
    {
        peer.name: peer
        for peer in (
            Peer("blochsimulator", (("blochsimulator==2.9.5", "pypulseq==1.5.0.post1"),)),
            # torch first, and fixed: alone these would fetch a gigabyte of GPU libraries.
            Peer("pulserver", (("torch==2.13.0",), ("pulserver==0.4.7",))),
            Peer("mrzero", (("torch==2.13.0",), ("MRzeroCore==1.2.0",))),
            Peer("bartorch", (("torch==2.13.0",), ("bartorch==0.0.17",))),
            Peer("mrpro", (("torch==2.13.0", "torchvision==0.28.0"), ("mrpro==0.261015",))),
            Peer("sigpy", (("sigpy==0.1.27", "setuptools<81"),)),
            # pygrappa declares nothing that it needs
            Peer("pygrappa", (("pygrappa==0.26.3", "scikit-image", "tqdm", "phantominator"),)),
            Peer("mri-nufft", (("mri-nufft[finufft]==1.5.1",),)),
            Peer("dipy", (("dipy==1.12.1",),)),
            # hazen asks for two builds of OpenCV; the one without a window system must come last.
            Peer(
                "hazen",
                (
                    ("hazen==2.0.0",),
                    ("--no-deps", "--force-reinstall", "opencv-python-headless==5.0.0.93"),
                ),
            ),
        )
    }
)


def environment(name: str) -> Path:
    """Return the Python of a peer, making its environment if it is not there yet."""
    peer = PEERS[name]
    python = FOLDER / name / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp = FOLDER / name / "installed.json"
    if stamp.exists() and json.loads(stamp.read_text()) == [list(step) for step in peer.steps]:
        return python
    say(f"making the environment of {name} (once) ...")
    venv.create(FOLDER / name, clear=True, with_pip=True)  # an unfinished one is begun anew
    for step in peer.steps:
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *step]
        subprocess.run(command, check=True, capture_output=not sys.stderr.isatty())
    stamp.write_text(json.dumps(peer.steps))
    return python


HERE = ("scanroom", "bart")
"""Run by this Python: ourselves, and a program that the system has."""
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "SCANROOM_THREADS",
)


def run(
    name: str, script: str, *arguments: Path | str, timeout: float = 600.0, n_threads: int = 2
) -> dict[str, Any]:
    """Run one of this folder's peer scripts in its peer's environment; it prints JSON last."""
    path = Path(__file__).with_name(script)
    threads = dict.fromkeys(_THREADS, str(n_threads))
    if name == "scanroom":
        threads["PYTHONPATH"] = str(ROOT / "src")
    FOLDER.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable if name in HERE else environment(name), path, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | threads,
        cwd=FOLDER,
    )
    if done.returncode:
        raise RuntimeError(f"{name} left with code {done.returncode}: {done.stderr[-500:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


if __name__ == "__main__":
    for peer_name in PEERS:
        print(peer_name, environment(peer_name))
