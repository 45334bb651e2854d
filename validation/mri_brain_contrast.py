"""Contrast of the built-in head on the twin against the signal equations, in uniform regions.

One slice of each brain preset is scanned with a uniform coil and transmit field (shading is a
matter of coils, not of contrast), everything else at its default, and reconstructed from MRD. A
pixel counts where all voxels within 3 x 3 mm of it, through the slice and 1 mm beyond on either
side, hold one tissue. Three truths stand side by side (`validation.slice_signal`): the equation at
the nominal flip angle, for information; the equation through the slice, with the flip angles
that the pulses give at each place; and Bloch's equation along the whole drive, whose spoiling
between repetitions need not be perfect. What tells them apart is a matter of the protocol, what
the last one leaves is the twin's.
"""

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import map_coordinates, minimum_filter

from scanroom.core.gate import clear
from scanroom.core.result import Result
from scanroom.exam.scan import with_noise_dwell
from scanroom.mri.drive.compile import compile_drive
from scanroom.mri.drive.encoding import encode
from scanroom.mri.limits import limits_for
from scanroom.mri.protocol import Protocol, load_protocol
from scanroom.mri.raw.writer import RawWriter
from scanroom.mri.recon import reconstruct
from scanroom.mri.system import system
from scanroom.mri.twin import Faults, Twin
from scanroom.subject import build, load_subject
from scanroom.subject.tissue import tissue
from validation.slice_signal import as_played, plain, through, through_slice
from validation.table import markdown, show

COMMAND = "python -m validation.mri_brain_contrast"
PAGE = Path("docs/reference/generated/brain-contrast.md")
TISSUES = ("white", "grey", "csf")
PRESETS = ("brain-t1-gre", "brain-t2-tse", "brain-se")
BOUND = 0.05
# Of the slice: the rarer of grey matter and CSF has more uniform pixels here than at any other
# height [m].
HEIGHT = -0.003
LEAST_PIXELS = 40
TRUTHS = {
    # key: (in a claim, in full, source)
    "plain": (
        "nominal flip angle, for information",
        "signal equation at the nominal flip angle",
        "Ernst and Anderson 1966; Hahn 1950; Weigel 2015",
    ),
    "slice": (
        "through the slice",
        "signal equation through the slice, flip angles by Bloch's equation, perfect spoiling",
        "Bloch 1946; Ernst and Anderson 1966; Hahn 1950; Weigel 2015",
    ),
    "played": (
        "along the drive",
        "Bloch's equation along the whole drive, spoiling as played",
        "Bloch 1946",
    ),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Signal of a tissue over that of white matter; ``error`` is relative, of the two medians."""

    preset: str
    tissue: str
    n_pixels: tuple[int, int]
    found: float
    error: float
    expected: Mapping[str, float]

    def deviation(self, truth: str) -> float:
        """Relative, from a truth."""
        return self.found / self.expected[truth] - 1

    @property
    def parts(self) -> tuple[float, float, float]:
        """Deviation from the plain equation: by the profile, by spoiling, by nothing known."""
        base, profile, played = (self.expected[truth] for truth in TRUTHS)
        return (profile - base) / base, (played - profile) / base, (self.found - played) / base


def measured(preset: str) -> tuple[Protocol, Result]:
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


def uniform(name: str, image: Result) -> Bool[np.ndarray, "y x"]:
    """Pixels of the slice that hold one tissue alone, through and around."""
    head = build("brain")
    sure = minimum_filter(head.pure(name).astype(np.uint8), size=(3, 3, 7))
    n_y, n_x = image.array.shape[1:]
    x, y = np.meshgrid(np.arange(n_x), np.arange(n_y))
    pixel = np.stack([x.ravel(), y.ravel(), np.zeros(x.size), np.ones(x.size)])
    voxel = (np.linalg.inv(head.affine) @ image.affine @ pixel)[:3]
    return np.asarray(map_coordinates(sure, voxel, order=0).reshape(n_y, n_x) > 0)


def median(values: Float[np.ndarray, " pixel"]) -> tuple[float, float]:
    """Median and its relative standard error, as if pixels were independent and near normal.

    The spread is 1.4826 times the median absolute deviation, the error of the median
    sqrt(pi / 2n) of it (P. J. Huber, Robust Statistics, 1981, doi:10.1002/0471725250).
    """
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    return middle, spread * float(np.sqrt(np.pi / 2 / values.size)) / middle


def expected(protocol: Protocol) -> dict[str, dict[str, float]]:
    """Signal of each tissue by each truth."""
    drive = compile_drive(protocol, system("3T"))
    pulses = through(protocol, drive)
    signals = {}
    for name in TISSUES:
        of = tissue(name, 3.0)
        signals[name] = {
            "plain": plain(protocol, of),
            "slice": through_slice(protocol, pulses, of),
            "played": as_played(protocol, drive, of),
        }
    return signals


def contrasts(preset: str) -> list[Contrast]:
    """Scan, and compare grey matter and CSF with white matter."""
    protocol, image = measured(preset)
    values = {name: image.array[0][uniform(name, image)] for name in TISSUES}
    truth = expected(protocol)
    white, white_error = median(values["white"])
    found = []
    for name in TISSUES[1:]:
        middle, error = median(values[name])
        found.append(
            Contrast(
                preset=preset,
                tissue=name,
                n_pixels=(values[name].size, values["white"].size),
                found=middle / white,
                error=float(np.hypot(error, white_error)),
                expected={kind: truth[name][kind] / truth["white"][kind] for kind in TRUTHS},
            )
        )
    return found


def judged(contrast: Contrast) -> list[dict[str, Any]]:
    """One claim for each truth; too few pixels prove nothing."""
    enough = min(contrast.n_pixels) >= LEAST_PIXELS
    return [
        {
            "claim": f"{contrast.preset}: {contrast.tissue} over white matter, relative error, "
            f"{said} ({contrast.n_pixels[0]} and {contrast.n_pixels[1]} pixels)",
            "value": contrast.deviation(kind),
            "standard error": contrast.error,
            "unit": "1",
            "bound": f"+-{BOUND}",
            "truth": truth,
            "source": source,
            "command": COMMAND,
            "passes": bool(enough and abs(contrast.deviation(kind)) <= BOUND),
        }
        for kind, (said, truth, source) in TRUTHS.items()
    ]


def claims() -> list[dict[str, Any]]:
    """Signal of grey matter and CSF over that of white matter, beside the three truths."""
    scans = [one for preset in PRESETS for one in contrasts(preset)]
    rows = [claim for one in scans for claim in judged(one)]
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(scans, rows))
    return rows


def causes(found: list[Contrast]) -> str:
    """Where the deviation from the plain equation comes from."""
    rows = []
    for contrast in found:
        profile, spoiling, left = contrast.parts
        whole = contrast.deviation("plain")
        rows.append(
            {
                "scan": contrast.preset,
                "tissue": contrast.tissue,
                "over white": contrast.found,
                "standard error": contrast.error * contrast.found,
                "deviation": whole,
                "by the profile": profile,
                "by spoiling": spoiling,
                "left": left,
                "share of the profile": profile / whole,
            }
        )
    return markdown(rows, tuple(rows[0]))


def page(found: list[Contrast], rows: list[dict[str, Any]]) -> str:
    """The page of `docs/`."""
    return (
        f"# Contrast of the head on the twin\n\nMade by `{COMMAND}`.\n\n"
        + markdown(rows, ("claim", "value", "standard error", "bound", "truth", "passes"))
        + "\nDeviation from the plain equation, relative to it, and what makes it: the flip angles "
        "through the slice, and what one repetition leaves to the next. A share above 1 or below 0 "
        "means that causes oppose each other.\n\n" + causes(found)
    )


if __name__ == "__main__":
    show(claims())
