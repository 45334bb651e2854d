"""Protocol to drive: pypulseq designs the events, the drive is read back from the .seq text."""

import os
import tempfile
from pathlib import Path

import pypulseq

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Second
from scanroom.mri.drive.compile import gradient_echo, spin_echo
from scanroom.mri.drive.compile.definitions import definitions
from scanroom.mri.drive.compile.design import NANO, ceil_to, ns, options
from scanroom.mri.drive.compile.text import sequence_text
from scanroom.mri.drive.model import Drive
from scanroom.mri.drive.seqfile import parse_seq
from scanroom.mri.protocol.families import GradientEcho, Imaging, SpinEcho
from scanroom.mri.system import System

__all__ = ["compile_drive", "compile_noise", "compile_sequence", "sequence_text", "write_sequence"]


def compile_sequence(protocol: Imaging, system: System) -> pypulseq.Sequence:
    """Lay a protocol out in time.

    Raises
    ------
    ProtocolError
        If the system cannot play it; the text gives the nearest value it can.
    """
    if isinstance(protocol, GradientEcho):
        sequence = gradient_echo.compose(protocol, system)
    elif isinstance(protocol, SpinEcho):
        sequence = spin_echo.compose(protocol, system)
    else:
        raise ProtocolError(
            f"protocol is a {type(protocol).__name__}; it may be a GradientEcho, SpinEcho or "
            "TurboSpinEcho (scanroom.mri.protocol). Choose one of them."
        )
    for key, value in definitions(protocol, system).items():
        sequence.set_definition(key, value)
    sequence.set_definition("TotalDuration", sum(sequence.block_durations.values()))
    return sequence


def write_sequence(protocol: Imaging, system: System, path: Path) -> None:
    """Write a protocol as a Pulseq file: complete or not at all.

    Raises
    ------
    ProtocolError
        If the system cannot play it.
    """
    text = sequence_text(compile_sequence(protocol, system))
    descriptor, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def compile_drive(protocol: Imaging, system: System) -> Drive:
    """Write a protocol as Pulseq text and read it back: the drive is what the file gives.

    Raises
    ------
    ProtocolError
        If the system cannot play it.
    """
    return parse_seq(sequence_text(compile_sequence(protocol, system)), protocol.name)


def compile_noise(system: System, dwell: Second, n_samples: int) -> Drive:
    """Open the receiver without pulses or gradients.

    Raises
    ------
    ProtocolError
        If the window is too long or off the receiver's raster.
    """
    ticks = round(dwell / system.window_raster) if 0 < dwell < 1 else 0
    if ticks < 1 or abs(ticks * system.window_raster - dwell) > 1e-3 * system.window_raster:
        raise ProtocolError(
            f"dwell is {dwell * 1e6:.6g} us; it must be a multiple of "
            f"{system.window_raster * 1e6:.4g} us (window raster, system {system.name}). Round it."
        )
    if not 1 <= n_samples <= system.max_window_samples:
        raise ProtocolError(
            f"n_samples is {n_samples}; it may be 1 to {system.max_window_samples} "
            f"(system {system.name}). Choose fewer samples."
        )
    sequence = pypulseq.Sequence(options(system))
    window = pypulseq.make_adc(
        num_samples=n_samples,
        dwell=ticks * system.window_raster,
        delay=system.window_dead_time,
        system=options(system),
    )
    busy = 2 * ns(system.window_dead_time) + n_samples * ticks * ns(system.window_raster)
    pause = pypulseq.make_delay(ceil_to(busy, ns(system.block_raster)) * NANO)
    sequence.add_block(window, pypulseq.make_label(label="NOISE", type="SET", value=1), pause)
    sequence.set_definition("Name", "noise")
    sequence.set_definition("scanroom_kind", "noise")
    sequence.set_definition("TotalDuration", sum(sequence.block_durations.values()))
    return parse_seq(sequence_text(sequence), "noise")
