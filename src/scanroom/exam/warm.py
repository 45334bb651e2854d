"""Compile the kernels on a scan of nothing much, so that the first real scan does not wait."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scanroom.core.gate import clear
from scanroom.exam.scan import NOISE_SAMPLES, with_noise_dwell
from scanroom.mri.drive.compile import compile_drive, compile_noise
from scanroom.mri.drive.encoding import encode
from scanroom.mri.limits import limits_for
from scanroom.mri.protocol import Geometry, GradientEcho
from scanroom.mri.raw.writer import RawWriter
from scanroom.mri.recon import reconstruct
from scanroom.mri.system import system
from scanroom.mri.twin import Twin
from scanroom.subject import load_subject


def warm(report: Callable[[str], None] = lambda _: None) -> None:
    """Scan a sphere with a small gradient echo, from design to image."""
    start = time.perf_counter()
    report("Compiling the kernels (once) ...")
    scanner = system("3T")
    geometry = Geometry(
        field_of_view_read=0.2,
        field_of_view_phase=0.2,
        matrix_read=16,
        matrix_phase=16,
        n_slices=1,
        slice_thickness=5e-3,
    )
    protocol = GradientEcho(
        geometry=geometry,
        echo_time=5e-3,
        repetition_time=20e-3,
        flip_angle=float(np.deg2rad(20)),
        bandwidth=500.0,
    )
    limits = limits_for(scanner)
    cleared = clear(compile_drive(protocol, scanner), limits)
    encoding = with_noise_dwell(encode(cleared.open(), field=scanner.field), scanner)
    twin = Twin(load_subject("sphere", scanner.field), system=scanner)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "warm.h5"
        with RawWriter(raw, encoding, n_coils=twin.n_coils) as writer:
            twin.arm(clear(compile_noise(scanner, encoding.noise_dwell, NOISE_SAMPLES), limits))
            for readout in twin.play():
                writer.write_noise(readout)
            twin.arm(cleared)
            for readout in twin.play():
                writer.write(readout)
        reconstruct(raw)
    report(f"Compiled in {time.perf_counter() - start:.0f} s.")
