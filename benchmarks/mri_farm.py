"""A head scanned by one process and by two, each with one thread: the same bytes.

The time is that of a whole play, the start of the second process and the sending of the subject to
it included. On a machine that does other work, two processes get two shares of it: then only the
time that the processors spent tells how well the work was divided. The task names it for the
process that leads, with what the others spent in brackets; what all do alike - laying out, of
classes also the nodes - is in both.

``python -m benchmarks mri_farm``
"""

import dataclasses
import hashlib
import resource
import time
from typing import Any, NamedTuple

import numba
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

COILS = 8
CASES = {"isochromats": "brain-t1-gre", "continuum": "brain-se", "classes": "brain-t2-tse"}
SCANNER = system("3T")


class Play(NamedTuple):
    """Wall-clock time [s], processor time [s] of the leader and the others, digest of samples."""

    wall: float
    leader: float
    others: float
    digest: str


def _drive(preset: str) -> Drive:
    text = sequence_text(compile_sequence(load_protocol(preset), SCANNER)).encode()
    return parse_seq(text, preset, field=SCANNER.field)


def played(engine: str, workers: int) -> Play:
    """Play the case of an engine once, by processes of one thread each."""
    numba.set_num_threads(1)
    settings = dataclasses.replace(QUICK, threads=workers)
    effort = Effort(engine=engine, workers=workers, settings=settings)
    twin = Twin(load_subject("brain", 3.0), system=SCANNER, n_coils=COILS, effort=effort)
    _ = twin.truth  # the field is known before the clock starts
    twin.arm(clear(_drive(CASES[engine]), limits_for(SCANNER, mode="normal")))
    digest = hashlib.sha256()
    start, own, others = time.perf_counter(), time.process_time(), _others()
    for readout in twin.play():
        digest.update(np.ascontiguousarray(readout.signal).tobytes())
    return Play(
        time.perf_counter() - start,
        time.process_time() - own,
        _others() - others,
        digest.hexdigest(),
    )


def _others() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def rows() -> list[dict[str, Any]]:
    """One row for each engine and number of workers; the peer is the same code, alone."""
    found = []
    for engine, preset in CASES.items():
        alone = played(engine, 1)
        for workers in (1, 2):
            play = alone if workers == 1 else played(engine, workers)
            found.append(
                {
                    "task": f"{preset} by {engine}, {workers} worker(s) of one thread; processors "
                    f"{play.leader:.3g} s ({play.others:.3g} s)",
                    "size": f"brain, {COILS} coils",
                    "ours": play.wall,
                    "peer": alone.wall,
                    "version": "ours, one worker",
                    "ratio": alone.wall / play.wall,
                    "error_ours": float(play.digest != alone.digest),
                    "error_peer": 0.0,
                }
            )
    return found
