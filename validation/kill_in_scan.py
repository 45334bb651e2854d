"""Kill -9 in mid-scan, 20 times: no readout that was acknowledged may be lost.

Truth: the receiver's own samples. A child runs ``scanroom mri scan`` on the sphere; after each
readout that the writer has acknowledged it says the index and the SHA-256 of the samples through a
pipe, and is killed at a random readout and a random moment after it.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

import scanroom.exam.scan
from scanroom.cli import run
from scanroom.core.errors import FormatError
from scanroom.exam.record import load_record
from scanroom.mri.protocol import dump_protocol, load_protocol
from scanroom.mri.raw.model import Readout
from scanroom.mri.raw.reader import read_raw
from scanroom.mri.raw.writer import RawWriter
from validation.table import show

COMMAND = "python -m validation.kill_in_scan"
KILLS = 20
PACE = 0.003
"""Seconds between readouts, as a scanner's repetition time sets them; the twin has none."""
NOISE = 0xFFFFFFFF
RECORD = 4 + 32
N_LINES = 64


def fingerprint(readout: Readout) -> bytes:
    """Every bit of the samples counts."""
    return hashlib.sha256(np.ascontiguousarray(readout.signal).tobytes()).digest()


class Announcing(RawWriter):
    """The writer of every scan; says through a pipe what it has acknowledged."""

    pipe = -1

    def write(self, readout: Readout) -> None:
        """Write, return, and only then tell."""
        super().write(readout)
        os.write(self.pipe, readout.index.to_bytes(4, "little") + fingerprint(readout))
        time.sleep(PACE)

    def write_noise(self, readout: Readout) -> None:
        """Write, return, and only then tell."""
        super().write_noise(readout)
        os.write(self.pipe, NOISE.to_bytes(4, "little") + fingerprint(readout))


def child(pipe: int, arguments: list[str]) -> None:
    """What is killed: the command line with an announcing writer."""
    Announcing.pipe = pipe
    scanroom.exam.scan.RawWriter = Announcing  # type: ignore[misc]
    sys.argv = ["scanroom", *arguments]
    run()


def protocol_text() -> str:
    """A short scan: one readout of noise and one for each line."""
    changed = {"matrix_read": "64", "matrix_phase": str(N_LINES), "dummies": "0"}
    lines = dump_protocol(load_protocol("localizer-transverse")).splitlines()
    keys = [line.split(" = ")[0] for line in lines]
    pairs = zip(keys, lines, strict=True)
    return "\n".join(f"{k} = {changed[k]}" if k in changed else line for k, line in pairs) + "\n"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one kill left."""

    acknowledged: int
    lost: int
    in_mid_scan: bool
    whole: tuple[str, ...]


def heard(pipe: int, most: int) -> Iterator[bytes]:
    """Yield up to ``most`` whole records from a pipe."""
    with os.fdopen(os.dup(pipe), "rb", buffering=0) as stream:
        rest = b""
        for _ in range(most):
            while len(rest) < RECORD:
                more = stream.read(RECORD - len(rest))
                if not more:
                    return
                rest += more
            yield rest
            rest = b""


def kill_once(folder: Path, protocol: Path, rng: np.random.Generator) -> Outcome:
    """Scan, kill, recover, compare."""
    reading, writing = os.pipe()
    out = folder / "exam"
    arguments = [sys.executable, "-m", "validation.kill_in_scan", "child", str(writing), "mri"]
    arguments += ["scan", str(protocol), "--subject", "sphere", "--coils", "4", "--out", str(out)]
    with subprocess.Popen(
        arguments, pass_fds=(writing,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as scan:
        os.close(writing)
        records = list(heard(reading, int(rng.integers(1, 60))))
        time.sleep(rng.uniform(0, 2 * PACE))
        scan.kill()
    records += list(heard(reading, 1 << 20))
    os.close(reading)
    return judged(out, records)


def judged(out: Path, records: list[bytes]) -> Outcome:
    """Compare the recovered file with what was acknowledged, and look for what seems whole."""
    whole = [str(path) for room in ("dicom", "nifti") for path in seeming(out / room)]
    whole += [str(path) for path in (out / "report.html",) if path.exists()]
    if (out / "exam.json").exists():
        try:
            load_record(out)
        except FormatError:
            whole.append("exam.json")
    whole += [str(path) for path in seeming(out / "raw") if not read_raw(path).complete]
    parts = list((out / "raw").glob("*.h5.part"))
    for part in parts:
        recover(part)
    kept: set[bytes] = set()
    for path in (out / "raw").glob("*.h5"):
        raw = read_raw(path)
        kept |= {item.index.to_bytes(4, "little") + fingerprint(item) for item in raw.readouts}
        kept |= {NOISE.to_bytes(4, "little") + fingerprint(item) for item in raw.noise}
    lost = sum(record not in kept for record in records)
    n_told = len(records)
    return Outcome(n_told, lost, bool(parts) and 0 < n_told <= N_LINES, tuple(whole))


def recover(part: Path) -> None:
    """Recover on the command line."""
    sys.argv = ["scanroom", "mri", "recover", str(part)]
    with redirect_stdout(StringIO()):
        try:
            run()
        except SystemExit as end:
            if end.code:
                raise


def seeming(room: Path) -> Iterator[Path]:
    """Files under their final names."""
    for path in room.rglob("*"):
        ours = path.name.endswith((".part", ".tmp")) or path.name.startswith(".part-")
        if path.is_file() and not ours:
            yield path


def claims(kills: int = KILLS) -> list[dict[str, Any]]:
    """Kill, recover, count; a kill that came after the last readout is made again."""
    rng = np.random.default_rng(9)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as name:
        protocol = Path(name) / "short.toml"
        protocol.write_text(protocol_text())
        for number in range(2 * kills):
            if sum(outcome.in_mid_scan for outcome in outcomes) == kills:
                break
            (folder := Path(name) / str(number)).mkdir()
            outcomes.append(kill_once(folder, protocol, rng))
    n_killed = sum(outcome.in_mid_scan for outcome in outcomes)
    n_told = sum(outcome.acknowledged for outcome in outcomes)
    n_lost = sum(outcome.lost for outcome in outcomes)
    n_whole = sum(len(outcome.whole) for outcome in outcomes)
    rows = [
        ("scans killed with SIGKILL while they measured", n_killed, "scans", f">= {kills}",
         n_killed >= kills),
        ("readouts acknowledged before the kills", n_told, "readouts", f">= {kills}",
         n_told >= kills),
        ("acknowledged readouts lost or changed by a bit", n_lost, "readouts", "<= 0", n_lost == 0),
        ("unfinished files that look whole after a kill", n_whole, "files", "<= 0", n_whole == 0),
    ]  # fmt: skip
    return [
        {"claim": name, "value": value, "unit": unit, "bound": bound, "passes": passes,
         "truth": "samples as the receiver handed them over",
         "source": "issue: kill -9 in mid-scan, 20 times, no acknowledged readout lost",
         "command": COMMAND}
        for name, value, unit, bound, passes in rows
    ]  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(int(sys.argv[2]), sys.argv[3:])
    else:
        show(claims())
