"""A piece of the built-in head, scanned on the twin and, for comparison, as many isochromats.

The piece lies in the field of the whole head. One slice of a preset sees it with pixels of the
preset's own size, few of them. Isochromats know nothing of boxes, nodes or orders and follow the
slope of the field within a voxel; they have no T2'.
"""

import dataclasses
import functools
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex64, Float, Float32

from scanroom.core.gate import Cleared, clear
from scanroom.exam.scan import with_noise_dwell
from scanroom.mri.drive.compile import compile_drive
from scanroom.mri.drive.encoding import encode
from scanroom.mri.drive.model import Drive
from scanroom.mri.limits import limits_for
from scanroom.mri.protocol import load_protocol
from scanroom.mri.raw.model import Readout
from scanroom.mri.raw.writer import RawWriter
from scanroom.mri.recon import reconstruct
from scanroom.mri.system import system
from scanroom.mri.twin import Faults, Twin, fields
from scanroom.mri.twin.courses import Moments
from scanroom.mri.twin.effort import Effort
from scanroom.mri.twin.programme import programme
from scanroom.mri.twin.sampling import Isochromats, rate, voxel_size
from scanroom.physics.coils import head_array
from scanroom.physics.receiver import demodulation
from scanroom.physics.spins.engine import Settings, simulate
from scanroom.physics.spins.ensemble import Spins
from scanroom.physics.thermal_noise import signal_scale
from scanroom.subject import load_subject
from scanroom.subject.model import Subject

PLAYED_TO_ALL = Settings(silence=0.0, tolerance=0.0)
FAULTS = Faults(noise=False, filter=False, quantisation=False)
# Pixels of the presets, 240 mm / 256, about a place in white and grey matter [m].
PIXEL, CENTRE, HEIGHT = 0.24 / 256, (0.02, -0.015, 0.015), 0.016
N_COILS = 2
AT_ONCE = 3_000_000

Counts = tuple[int, int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """Half the width of a piece [m], and how many pixels see it."""

    half: float
    n_pixels: int


def within(
    counts: Counts, even: int | None = None
) -> tuple[Float[np.ndarray, "place 3"], Float[np.ndarray, " place"]]:
    """Places in a voxel, -1/2 to 1/2, and their shares: Gauss's rule, along one axis evenly."""
    rules = []
    for axis, n in enumerate(counts):
        node, share = np.polynomial.legendre.leggauss(n)
        if axis == even:
            node, share = (2 * np.arange(n) + 1) / n - 1, np.full(n, 2.0 / n)
        rules.append((node / 2, share / 2))
    nodes = np.meshgrid(*(rule[0] for rule in rules), indexing="ij")
    shares = np.einsum("i,j,k->ijk", *(rule[1] for rule in rules))
    return np.stack(nodes, axis=-1).reshape(-1, 3), shares.ravel()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Samples of every window, the image made of them, and what the twin says of itself."""

    kspace: Complex64[np.ndarray, "window coil sample"]
    image: Float32[np.ndarray, "z y x"]
    truth: Mapping[str, Any]


@functools.cache
def head() -> tuple[Subject, Float32[np.ndarray, "x y z"]]:
    """The whole head, and its field."""
    scanner = system("3T")
    subject = load_subject("brain", scanner.field)
    return subject, fields.static_field(subject, scanner, FAULTS)


@functools.cache
def piece(size: Size) -> tuple[Subject, Float32[np.ndarray, "x y z"]]:
    """A piece of the head, in the field of all of it."""
    whole, field = head()
    half = (size.half, size.half, HEIGHT / 2)
    (x, y, z), (right, back, top) = (np.add(CENTRE, s * np.array(half)).tolist() for s in (-1, 1))
    subject = load_subject("brain", whole.field, region=((x, y, z), (right, back, top)))
    start = np.linalg.solve(whole.affine, subject.affine[:, 3])[:3].round().astype(int)
    shape = subject.maps["proton_density"].shape
    chosen = tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
    return subject, np.ascontiguousarray(field[chosen])


@functools.cache
def cleared(preset: str, size: Size) -> Cleared[Drive]:
    """One slice of a preset, few pixels of the preset's own size."""
    scanner, asked, n_pixels = system("3T"), load_protocol(preset), size.n_pixels
    place = dataclasses.replace(
        asked.geometry,
        n_slices=1,
        centre=CENTRE,
        field_of_view_read=n_pixels * PIXEL,
        field_of_view_phase=n_pixels * PIXEL,
        matrix_read=n_pixels,
        matrix_phase=n_pixels,
    )
    drive = compile_drive(dataclasses.replace(asked, geometry=place), scanner)
    return clear(drive, limits_for(scanner))


def imaged(drive: Drive, readouts: Iterable[Readout]) -> tuple[np.ndarray, np.ndarray]:
    """Samples of all windows, and the image that the reconstruction makes of them."""
    scanner, played = system("3T"), list(readouts)
    encoding = with_noise_dwell(encode(drive, field=scanner.field), scanner)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.h5"
        with RawWriter(raw, encoding, n_coils=N_COILS) as writer:
            for readout in played:
                writer.write(readout)
        image = reconstruct(raw, trusted=True)[0].array
    return np.array([readout.signal for readout in played]), image


@functools.cache
def by_twin(preset: str, size: Size, effort: Effort, *, t2_prime: bool = True) -> Scan:
    """Scan a piece of the head on the twin."""
    subject, field = piece(size)
    faults = dataclasses.replace(FAULTS, t2_prime=t2_prime)
    twin = Twin(
        subject,
        system=system("3T"),
        faults=faults,
        n_coils=N_COILS,
        effort=effort,
        static_field=field,
    )
    twin.arm(cleared(preset, size))
    kspace, image = imaged(cleared(preset, size).open(), twin.play())
    return Scan(kspace=kspace, image=image, truth=twin.truth)


def grains(size: Size, counts: Counts) -> Iterator[Spins]:
    """A piece of the head as isochromats, some voxels at a time.

    Fields of the coils are those of the voxel's centre: they bend over centimetres.
    """
    subject, field = piece(size)
    scanner, maps, affine = system("3T"), subject.maps, subject.affine
    place, share = within(counts, even=2)
    filled_voxels, n = np.argwhere(maps["proton_density"] > 0), len(share)
    scale = signal_scale(scanner.field, float(np.prod(voxel_size(subject))))
    for some in np.array_split(filled_voxels, -(-len(filled_voxels) * n // AT_ONCE)):
        voxel, inside = np.repeat(some, n, axis=0), np.tile(place, (len(some), 1))
        points = Isochromats(
            voxel=voxel.astype(np.float64),
            within=inside.astype(np.float32),
            position=(voxel + inside) @ affine[:3, :3].T + affine[:3, 3],
            spread=np.zeros(len(voxel), np.float32),
            n_per_voxel=n,
            more_shift=np.zeros(len(voxel)),
            share=np.ones(len(voxel)),
        )
        x, y, z = some.T
        centre = some @ affine[:3, :3].T + affine[:3, 3]
        weight = fields.receive(centre, head_array(N_COILS), FAULTS)
        weight = weight * (scale * maps["proton_density"][x, y, z])[:, None]
        weight = weight[:, None, :] * share[:, None]
        shift = np.repeat(maps["chemical_shift"][x, y, z] * scanner.larmor, n)
        yield Spins(
            position=points.position,
            offset=fields.at_isochromats(field, points) + shift,
            r1=np.repeat(rate(maps["t1"][x, y, z]), n),
            r2=np.repeat(rate(maps["t2"][x, y, z]), n),
            transmit=np.repeat(fields.transmit(centre, scanner.larmor, FAULTS), n),
            weight=weight.reshape(-1, N_COILS).astype(np.complex64),
        )


@functools.cache
def by_isochromats(preset: str, size: Size, counts: Counts) -> Scan:
    """Scan a piece of the head filled with isochromats, so many along each axis of a voxel."""
    drive = cleared(preset, size).open()
    program = programme(drive, Moments(drive.gradients, FAULTS.gradient_delay))
    windows = drive.windows
    parts = grains(size, counts)
    total: Any = sum(np.array(list(simulate(program, some, PLAYED_TO_ALL))) for some in parts)
    readouts = []
    for index, signal in enumerate(total):
        extra = int(windows.modulation_index[index])
        turned = signal * demodulation(
            signal.shape[1],
            float(windows.dwell[index]),
            frequency=float(windows.frequency[index]),
            phase=float(windows.phase[index]),
            modulation=windows.modulation[extra] if extra >= 0 else None,
        )
        start = float(windows.start[index])
        readouts.append(Readout(index=index, time=start, signal=turned.astype(np.complex64)))
    kspace, image = imaged(drive, readouts)
    return Scan(kspace=kspace, image=image, truth={"engine": "isochromats"})
