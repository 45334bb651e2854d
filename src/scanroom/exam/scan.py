"""One scan from the order to the report: design, gate, play, record, reconstruct, export."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scanroom.core.engine import run
from scanroom.core.errors import ProtocolError
from scanroom.core.gate import Cleared, Finding, clear
from scanroom.core.result import Result
from scanroom.exam.export import export_images, write_exam_report
from scanroom.exam.farm import farm
from scanroom.exam.folder import ExamFolder, open_exam
from scanroom.exam.progress import progress_bar
from scanroom.exam.station import Station
from scanroom.formats.files import atomic
from scanroom.mri.drive.compile import compile_noise, compile_sequence, sequence_text
from scanroom.mri.drive.encoding import encode
from scanroom.mri.drive.model import Drive
from scanroom.mri.drive.seqfile import LARGEST_FILE, parse_seq
from scanroom.mri.limits import limits_for
from scanroom.mri.protocol import load_protocol
from scanroom.mri.raw.encoding import Encoding
from scanroom.mri.raw.model import Readout
from scanroom.mri.raw.writer import RawWriter, need_free
from scanroom.mri.recon import Options, reconstruct
from scanroom.mri.recon.inline.client import reconstruct_via
from scanroom.mri.recon.intensity import checked, evened
from scanroom.mri.report.sequence_plot import plot_sequence
from scanroom.mri.system import System
from scanroom.mri.twin import Twin

NOISE_SAMPLES = 8192
"""Enough that the noise of a channel is known to 1 % (1/sqrt(8192) of its variance)."""


def scan(
    protocol: str, station: Station, out: Path, *, study: str = "", intensity: str = "even"
) -> dict[str, Any]:
    """Scan a subject by a preset or protocol file; return a summary for people."""
    how = checked(intensity)
    asked = load_protocol(protocol)
    folder = _exam_of(station, out)
    clock = Clock({})
    with clock.of("design"):
        text = sequence_text(compile_sequence(asked, station.scanner)).encode()
    name = folder.next_scan(plain_name(Path(protocol).stem))
    return _play(Order(text, asked.name, name, study, how), station, folder, clock)


def play(sequence: Path, station: Station, out: Path, *, intensity: str = "even") -> dict[str, Any]:
    """Play a Pulseq file by anyone; return a summary for people."""
    how = checked(intensity)
    with sequence.open("rb") as file:
        text = file.read(LARGEST_FILE + 1)
    folder = _exam_of(station, out)
    name = folder.next_scan(plain_name(sequence.stem))
    return _play(Order(text, sequence.name, name, "", how), station, folder, Clock({}))


def reconstruct_into(
    raw: Path, out: Path, *, via: str = "", workers: int = 1, cluster: str = "", **choices: Any
) -> dict[str, Any]:
    """Reconstruct raw data from any source into an exam folder; return a summary for people.

    ``choices`` are those of `mri.recon.Options`. With ``via``, ``host:port``, the server there does
    it, by choices of its own but for the intensity. Else so many ``workers`` share the slices, or
    a Dask ``cluster`` does (`exam.farm`).
    """
    start = time.perf_counter()
    options = Options(**choices)
    if via:
        if workers > 1 or cluster:
            raise ProtocolError(
                f"the server {via} is asked to reconstruct, and a farm too; one does it "
                "(scanroom.exam.scan). Leave out --via, or --workers and --farm."
            )
        results = reconstruct_via(raw, via)
        if options.intensity == "even":
            results = tuple(evened(result) for result in results)
    else:
        with (
            progress_bar(f"reconstructing {raw.name}") as advance,
            farm(workers, cluster, advance) as over,
        ):
            results = reconstruct(raw, over=over, **choices)
    seconds = {"reconstruction": time.perf_counter() - start}
    folder = open_exam(out, subject="recorded", system="recorded", device="recorded raw data")
    name = folder.next_scan(plain_name(raw.stem))
    entry = {"name": name, "raw": str(raw.resolve()), "findings": [], "timings": seconds}
    return _finish(results, folder, entry, study="")


@dataclass(frozen=True, slots=True)
class Order:
    """One sequence to be played: its Pulseq text, what it is called, and its name in the exam.

    ``intensity`` is for `reconstruct`.
    """

    text: bytes
    title: str
    name: str
    study: str
    intensity: str


def _exam_of(station: Station, out: Path) -> ExamFolder:
    return open_exam(out, subject=station.subject, system=station.system, device=station.device)


def _play(order: Order, station: Station, folder: ExamFolder, clock: "Clock") -> dict[str, Any]:
    """Gate, play, record and reconstruct one sequence; what is refused leaves nothing behind."""
    with clock.of("gate"):
        cleared = _cleared(order, station)
        drive = cleared.open()
        encoding = with_noise_dwell(encode(drive, field=station.scanner.field), station.scanner)
        encoding = replace(encoding, noise_bandwidth=station.noise_bandwidth)
        noise = compile_noise(station.scanner, encoding.noise_dwell, NOISE_SAMPLES)
        cleared_noise = clear(noise, limits_for(station.scanner, mode=station.mode))
    with clock.of("subject"):
        device = station.make_device()
    raw = folder.room("raw") / f"{order.name}.h5"
    need_free(raw)
    with atomic(folder.room("sequences") / f"{order.name}.seq") as aside:
        aside.write_bytes(order.text)
    with clock.of("plot"):
        plot = folder.room("pictures") / f"{order.name}_sequence.png"
        plot_sequence(drive, plot)
    with clock.of("scan"), RawWriter(raw, encoding, n_coils=station.n_coils) as writer:
        _record(writer, cleared_noise, cleared, device)
    _write_truth(folder.room("truth") / f"{order.name}.json", device)
    entry = {
        "name": order.name,
        "sequence": f"sequences/{order.name}.seq",
        "sequence_plot": f"pictures/{plot.name}",
        "raw": f"raw/{order.name}.h5",
        "mode": station.mode,
        "findings": [finding_record(item) for item in cleared.findings],
        "drive_digest": cleared.digest,
        "scan_duration": drive.duration,
        "n_readouts": encoding.n_windows,
        "timings": clock.seconds,
    }
    with clock.of("reconstruction"):
        results = reconstruct(raw, intensity=order.intensity, trusted=True)
    return _finish(results, folder, entry, study=order.study)


def _cleared(order: Order, station: Station) -> Cleared[Drive]:
    """Bring the very text that is kept through the gate."""
    drive = parse_seq(order.text, order.title, field=station.scanner.field)
    return clear(replace(drive, name=order.name), limits_for(station.scanner, mode=station.mode))


def with_noise_dwell(encoding: Encoding, scanner: System) -> Encoding:
    """Measure noise at the dwell most windows have, on the receiver's raster."""
    dwell = float(np.median(encoding.dwell)) if encoding.n_windows else scanner.gradient_raster
    ticks = max(1, round(dwell / scanner.window_raster))
    return replace(encoding, noise_dwell=ticks * scanner.window_raster)


def _record(
    writer: RawWriter, noise: Cleared[Drive], cleared: Cleared[Drive], device: Twin
) -> None:
    """Play the noise scan and the sequence; every readout is on disk before the next is taken."""
    with progress_bar(writer.path.stem) as advance:

        def keep_noise(item: object) -> None:
            if isinstance(item, Readout):
                writer.write_noise(item)

        def keep(item: object) -> None:
            if isinstance(item, Readout):
                writer.write(item)

        run(device, noise, keep_noise)
        device.progress = advance
        run(device, cleared, keep)


def _finish(
    results: tuple[Result, ...], folder: ExamFolder, entry: dict[str, Any], *, study: str
) -> dict[str, Any]:
    """Export images, extend the record, write the report."""
    clock = Clock(entry["timings"])
    with clock.of("export"):
        entry = {**entry, "study": study, "images": export_images(results, folder, entry)}
        folder = folder.with_scan(entry)
    write_exam_report(folder)
    return summary(entry, folder.path)


def summary(entry: dict[str, Any], path: Path) -> dict[str, Any]:
    """What a person wants to know of a scan at once."""
    timings = {key: f"{value:.1f} s" for key, value in entry["timings"].items()}
    return {
        "scan": entry["name"],
        "images": ", ".join(
            f"{image['name']} {'x'.join(map(str, image['shape']))} [{image['unit']}]"
            for image in entry["images"]
        ),
        "pictures": ", ".join(str(path / image["picture"]) for image in entry["images"]),
        "dicom": ", ".join(str(path / image["dicom"]) for image in entry["images"]),
        "raw": entry["raw"],
        "time": ", ".join(f"{key} {value}" for key, value in timings.items()),
    }


def finding_record(finding: Finding) -> dict[str, Any]:
    """A finding as plain data."""
    limit = finding.limit
    return {
        "name": limit.name,
        "value": finding.value,
        "ceiling": limit.ceiling,
        "unit": limit.unit,
        "source": limit.source,
        "remedy": limit.remedy,
        "passes": finding.passes,
        "text": str(finding),
    }


def plain_name(stem: str) -> str:
    """Keep letters, digits, dot and dash, so that a name is safe in every file system."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", stem).strip("-.")[:60] or "scan"


class Clock:
    """Adds up how long each part took."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Time the body under this name."""
        start = time.perf_counter()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start


def _write_truth(path: Path, device: Twin) -> None:
    """What only the twin knows: large maps beside, for validation alone."""
    small: dict[str, Any] = {}
    large: dict[str, Any] = {}
    for key, value in device.truth.items():
        (large if isinstance(value, np.ndarray) else small)[key] = value
    with atomic(path) as aside:
        aside.write_text(json.dumps(small, indent=1, default=str))
    if large:
        with atomic(path.with_suffix(".npz")) as aside, aside.open("wb") as file:
            np.savez_compressed(file, **large)
