"""Design a sequence and let the gate look at it, without playing anything."""

from pathlib import Path
from typing import Any

from scanroom.core.errors import SafetyRefusal
from scanroom.core.gate import Finding
from scanroom.exam.scan import finding_record
from scanroom.mri.drive.compile import compile_drive, write_sequence
from scanroom.mri.drive.model import Drive
from scanroom.mri.drive.seqfile import read_seq
from scanroom.mri.limits import limits_for
from scanroom.mri.protocol import load_protocol
from scanroom.mri.report.sequence_plot import plot_sequence
from scanroom.mri.system import system


def design(protocol: str, out: Path, plot: Path | None, *, system_name: str) -> dict[str, Any]:
    """Compile a protocol to a Pulseq file, and draw it when asked."""
    write_sequence(load_protocol(protocol), system(system_name), out)
    drive = read_seq(out, field=system(system_name).field)
    if plot is not None:
        plot_sequence(drive, plot)
    return {
        "sequence": str(out),
        **({"plot": str(plot)} if plot is not None else {}),
        "duration": f"{drive.duration:.3f} s",
        "pulses": len(drive.pulses.start),
        "windows": len(drive.windows.start),
    }


def check(drive: str, *, system_name: str, mode: str) -> list[dict[str, Any]]:
    """Measure every limit on a Pulseq file or a protocol.

    Raises
    ------
    SafetyRefusal
        If any limit is exceeded; the text lists them all.
    """
    scanner = system(system_name)
    played: Drive = (
        read_seq(Path(drive), field=scanner.field)
        if drive.endswith(".seq")
        else compile_drive(load_protocol(drive), scanner)
    )
    limits = limits_for(scanner, mode=mode)
    findings = [Finding(limit, limit.measure(played)) for limit in limits]
    if refused := [finding for finding in findings if not finding.passes]:
        raise SafetyRefusal("\n".join(map(str, refused)))
    return [finding_record(finding) for finding in findings]
