"""Contrast of the built-in head on the twin against the signal equations, in uniform regions.

One slice of each brain preset is scanned with a uniform coil and transmit field (shading is a
matter of coils, not of contrast), everything else at its default, and reconstructed from MRD. A
pixel counts where all voxels within 3 x 3 mm of it, through the slice and 1 mm beyond on either
side, hold one tissue.
"""

import dataclasses
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates, minimum_filter

from scanroom.core.gate import clear
from scanroom.core.result import Result
from scanroom.exam.scan import with_noise_dwell
from scanroom.mri.drive.compile import compile_drive
from scanroom.mri.drive.encoding import encode
from scanroom.mri.limits import limits_for
from scanroom.mri.protocol import GradientEcho, SpinEcho, TurboSpinEcho, load_protocol
from scanroom.mri.raw.writer import RawWriter
from scanroom.mri.recon import reconstruct
from scanroom.mri.system import system
from scanroom.mri.twin import Faults, Twin
from scanroom.subject import build, load_subject
from scanroom.subject.tissue import tissue
from validation.table import markdown, show

COMMAND = "python -m validation.mri_brain_contrast"
PAGE = Path("docs/reference/generated/brain-contrast.md")
TISSUES = ("white", "grey", "csf")
PRESETS = ("brain-t1-gre", "brain-t2-tse", "brain-se")
BOUND = 0.05
HEIGHT = 0.010  # of the slice, through the ventricles and the deep nuclei [m]
LEAST_PIXELS = 15


def spoiled(protocol: GradientEcho, of: Mapping[str, float]) -> float:
    """Ernst and Anderson 1966, doi:10.1063/1.1719961, with T2' decay at the echo."""
    e1 = math.exp(-protocol.repetition_time / of["t1"])
    steady = math.sin(protocol.flip_angle) * (1 - e1) / (1 - e1 * math.cos(protocol.flip_angle))
    rate = 1 / of["t2"] + 1 / of["t2_prime"]
    return of["proton_density"] * steady * math.exp(-protocol.echo_time * rate)


def refocused(protocol: SpinEcho | TurboSpinEcho, of: Mapping[str, float]) -> float:
    """Hahn 1950, doi:10.1103/PhysRev.80.580: saturation recovery after the last refocusing."""
    train = getattr(protocol, "echo_train_length", 1)
    spacing = getattr(protocol, "echo_spacing", protocol.echo_time)
    rest = protocol.repetition_time - (train - 0.5) * spacing
    recovered = 1 - math.exp(-rest / of["t1"])
    return of["proton_density"] * recovered * math.exp(-protocol.echo_time / of["t2"])


EQUATIONS: Mapping[type, Callable[[Any, Mapping[str, float]], float]] = {
    GradientEcho: spoiled,
    SpinEcho: refocused,
    TurboSpinEcho: refocused,
}


def measured(preset: str) -> tuple[Any, Result]:
    """Scan one slice of the head and reconstruct it."""
    scanner = system("3T")
    asked = load_protocol(preset)
    place = dataclasses.replace(asked.geometry, n_slices=1, centre=(0.0, -0.015, HEIGHT))
    asked = dataclasses.replace(asked, geometry=place)
    cleared = clear(compile_drive(asked, scanner), limits_for(scanner))
    encoding = with_noise_dwell(encode(cleared.open(), field=scanner.field), scanner)
    region = ((-0.1, -0.13, HEIGHT - 0.009), (0.1, 0.1, HEIGHT + 0.009))
    subject = load_subject("brain", scanner.field, region=region)
    faults = Faults(b1=False, coils=False, noise=False)
    twin = Twin(subject, system=scanner, faults=faults, n_coils=1)
    twin.arm(cleared)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.h5"
        with RawWriter(raw, encoding, n_coils=1) as writer:
            for readout in twin.play():
                writer.write(readout)
        return asked, reconstruct(raw, trusted=True)[0]


def uniform(name: str, image: Result) -> np.ndarray:
    """Pixels of the slice that hold one tissue alone, through and around."""
    head = build("brain")
    sure = minimum_filter(head.pure(name).astype(np.uint8), size=(3, 3, 7))
    n_y, n_x = image.array.shape[1:]
    x, y = np.meshgrid(np.arange(n_x), np.arange(n_y))
    pixel = np.stack([x.ravel(), y.ravel(), np.zeros(x.size), np.ones(x.size)])
    voxel = (np.linalg.inv(head.affine) @ image.affine @ pixel)[:3]
    return np.asarray(map_coordinates(sure, voxel, order=0).reshape(n_y, n_x) > 0)


def claims() -> list[dict[str, Any]]:
    """Signal of grey matter and CSF over that of white matter, beside the equations."""
    rows = []
    for preset in PRESETS:
        protocol, image = measured(preset)
        expected = {
            name: EQUATIONS[type(protocol)](protocol, tissue(name, 3.0)) for name in TISSUES
        }
        where = {name: uniform(name, image) for name in TISSUES}
        found = {name: float(np.median(image.array[0][where[name]])) for name in TISSUES}
        for name in TISSUES[1:]:
            error = (found[name] / found["white"]) / (expected[name] / expected["white"]) - 1
            enough = min(where[name].sum(), where["white"].sum()) >= LEAST_PIXELS
            rows.append(
                {
                    "claim": f"{preset}: {name} over white matter, relative error "
                    f"({where[name].sum()} and {where['white'].sum()} pixels)",
                    "value": error,
                    "unit": "1",
                    "bound": f"+-{BOUND}",
                    "truth": "signal equation, nominal flip angle",
                    "source": "Ernst and Anderson 1966; Hahn 1950",
                    "command": COMMAND,
                    "passes": bool(enough and abs(error) <= BOUND),
                }
            )
    return rows


if __name__ == "__main__":
    results = claims()
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    table = markdown(results, ("claim", "value", "bound", "truth", "passes"))
    PAGE.write_text(f"# Contrast of the head on the twin\n\nMade by `{COMMAND}`.\n\n{table}")
    show(results)
