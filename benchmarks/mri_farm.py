"""A head scanned in four parts by one worker and by two, each with one thread: the same bytes.

The time is that of a whole play, the start of the workers and the sending of the subject with it.
Isochromats stand for themselves in every part; classes play their nodes in every part anew, so a
scan in parts costs more than one in a piece: its row says how much.

``python -m benchmarks mri_farm``
"""

import dataclasses
import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np

from scanroom.core.gate import clear
from scanroom.mri.drive.compile import compile_sequence, sequence_text
from scanroom.mri.drive.model import Drive
from scanroom.mri.drive.seqfile import parse_seq
from scanroom.mri.limits import limits_for
from scanroom.mri.protocol import load_protocol
from scanroom.mri.system import system
from scanroom.mri.twin import Effort, Twin
from scanroom.mri.twin.effort import QUICK
from scanroom.subject import load_subject

PARTS, COILS = 4, 8
CASES = {"classes": "brain-se", "isochromats": "brain-t1-gre"}
SCANNER = system("3T")


def _drive(preset: str) -> Drive:
    text = sequence_text(compile_sequence(load_protocol(preset), SCANNER)).encode()
    return parse_seq(text, preset, field=SCANNER.field)


def played(engine: str, parts: int, workers: int, threads: int) -> tuple[float, str]:
    """Seconds of a play, and the digest of its samples."""
    effort = Effort(
        engine=engine,
        parts=parts,
        workers=workers,
        settings=dataclasses.replace(QUICK, threads=threads),
    )
    twin = Twin(load_subject("brain", 3.0), system=SCANNER, n_coils=COILS, effort=effort)
    _ = twin.truth  # the field is known before the clock starts
    cleared = clear(_drive(CASES[engine]), limits_for(SCANNER, mode="normal"))
    twin.arm(cleared)
    digest = hashlib.sha256()
    start = time.perf_counter()
    for readout in twin.play():
        digest.update(np.ascontiguousarray(readout.signal).tobytes())
    return time.perf_counter() - start, digest.hexdigest()


def rows() -> list[dict[str, Any]]:
    """One row for each engine and number of workers; the peer is the same code, alone."""
    found = []
    for engine, preset in CASES.items():
        whole, _ = played(engine, 1, 1, 1)
        alone, bytes_alone = played(engine, PARTS, 1, 1)
        for workers in (1, 2):
            ours, digest = (
                (alone, bytes_alone) if workers == 1 else played(engine, PARTS, workers, workers)
            )
            found.append(
                {
                    "task": f"{preset} by {engine} in {PARTS} parts, {workers} worker(s) of one "
                    f"thread; in one piece {whole:.3g} s",
                    "size": f"{COILS} coils, {Path(__file__).stem}",
                    "ours": ours,
                    "peer": alone,
                    "version": "ours, one worker",
                    "ratio": alone / ours,
                    "error_ours": float(digest != bytes_alone),
                    "error_peer": 0.0,
                }
            )
    return found
