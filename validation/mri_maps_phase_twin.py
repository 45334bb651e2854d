"""Maps of phase from the twin's scans, and from a scanner's three echoes.

The whole way: drive, Bloch's equation, receiver noise, MRD, reconstruction with its phase, map. The
truth is what the subject holds and the maps never see: fat voxels among water voxels, a field, a
parabola of velocity. One coil that is uniform; echoes are scans of their own, one echo time each.
Real data: three echoes of a phantom by a Siemens scanner, whose noise says how far two field maps
of the same echoes may lie apart.

``python -m validation.mri_maps_phase_twin`` also writes
``docs/reference/generated/maps-phase-twin.md``.
"""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from scanroom.core.result import Result
from scanroom.mri.drive.compile import compile_drive
from scanroom.mri.drive.encoding import encode
from scanroom.mri.drive.model import Drive, Gradient
from scanroom.mri.hardware.siemens import import_twix
from scanroom.mri.maps.field import field_map
from scanroom.mri.maps.velocity import velocity, venc_of
from scanroom.mri.maps.water_fat import water_fat
from scanroom.mri.protocol import Geometry, GradientEcho
from scanroom.mri.raw.writer import RawWriter
from scanroom.mri.recon import reconstruct
from scanroom.mri.system import system
from scanroom.mri.twin import Faults, Twin
from scanroom.mri.twin.fields import static_field
from scanroom.physics.fat import MAIN
from scanroom.subject.model import Subject
from validation.drives import cleared
from validation.mri_bloch_truths import write_page
from validation.physics_fields import ball
from validation.table import say, show

COMMAND = "python -m validation.mri_maps_phase_twin"
PAGE = Path("docs/reference/generated/maps-phase-twin.md")
DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
ECHOES = DATA / "mri_raw/pulseq+tutorials/11_from_GRE_to_EPI/data/02_GRE_3echoes"
SCANNER = system("3T")
N, VIEW, THICK = 64, 0.22, 5e-3
PIXEL = VIEW / N
FAULTS = Faults(b1=False, coils=False, shim_error=(0.0, 0.0, 0.0, 0.0), fat_peaks=True)
Row = tuple[str, float, float, str, str]
"""Claim, value, bound, truth, source."""


def protocol(echo_time: float, n: int = N, view: float = VIEW) -> GradientEcho:
    """One slice, spoiled, an angle so small that T1 hardly weighs."""
    geometry = Geometry(field_of_view_read=view, field_of_view_phase=view, matrix_read=n,
                        matrix_phase=n, slice_thickness=THICK)  # fmt: skip
    small = n < N
    return GradientEcho(
        name="phase", geometry=geometry, echo_time=echo_time, bandwidth=500.0,
        repetition_time=14e-3 if small else 25e-3, dummies=3 if small else 10,
        flip_angle=np.deg2rad(6.0), excitation_duration=1.5e-3, gradient_share=1.0, slew_share=0.9,
    )  # fmt: skip


def scanned(twin: Twin, drive: Drive, folder: Path) -> Result:
    """Play a drive, write MRD, reconstruct with phase."""
    path = folder / "raw.h5"
    twin.arm(cleared(drive))
    with RawWriter(path, encode(drive, field=SCANNER.field), n_coils=1) as writer:
        for readout in twin.play():
            writer.write(readout)
    return reconstruct(path, complex_images=True, trusted=True)[0]


def train(twin: Twin, times: np.ndarray, folder: Path) -> tuple[np.ndarray, float, Result]:
    """Images of every echo time, their noise measured in air, and the last result."""
    found = [scanned(twin, compile_drive(protocol(float(t)), SCANNER), folder) for t in times]
    images = np.stack([one.array for one in found])
    return images, air(images), found[-1]


def air(images: np.ndarray) -> float:
    """Standard deviation of real and imaginary part in two corners."""
    corner = np.concatenate([images[..., :5, :5], images[..., -5:, -5:]], axis=-1)
    return float(np.sqrt((np.abs(corner) ** 2).mean() / 2))


def places(image: Result) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scanner coordinates [m] of the pixels."""
    z, y, x = np.meshgrid(*[np.arange(n) for n in image.array.shape], indexing="ij")
    index = np.stack([x, y, z, np.ones_like(x)]).reshape(4, -1)
    spots = (image.affine @ index)[:3].reshape(3, *image.array.shape)
    return spots[0], spots[1], spots[2]


def stripes() -> Subject:
    """Nine stripes of 0, 1/8 .. 1 fat: of every eight voxels so many are fat, the rest water."""
    edge = (PIXEL / 2, PIXEL / 2, 1e-3)
    shape = (52, 108, 12)
    x, y, z = np.indices(shape)
    order = np.array([[[0, 4], [6, 2]], [[5, 1], [3, 7]]])[x % 2, y % 2, z % 2]
    fat = order < (y // 12)
    body = np.ones(shape, np.float32)
    maps = {"proton_density": body, "t1": 0.3 * body, "t2": 0.06 * body, "t2_prime": 0.06 * body,
            "chemical_shift": np.where(fat, MAIN, 0.0).astype(np.float32)}  # fmt: skip
    affine = np.diag([*edge, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * e for n, e in zip(shape, edge, strict=True)]
    return Subject(name="stripes of fat", field=3.0, affine=affine, maps=maps)


def fat(folder: Path) -> list[Row]:
    """Six echoes of the stripes in a field of slopes."""
    slopes = (30.0, 1500.0, -1000.0, 0.0)
    times = 2.6e-3 + 1.0e-3 * np.arange(6)
    twin = Twin(stripes(), system=SCANNER, faults=dataclasses.replace(FAULTS, shim_error=slopes),
                n_coils=1)  # fmt: skip
    images, noise, image = train(twin, times, folder)
    found = water_fat(images, times, SCANNER.larmor, noise=noise)
    x, y, _ = places(image)
    stripe = (y / PIXEL * 2 + 53.5) / 12  # voxels counted from the first, 12 a stripe
    number = np.floor(stripe)
    middle = (np.abs(stripe - number - 0.5) < 0.22) & (np.abs(x) < 0.035)
    middle &= (number >= 0) & (number < 9)
    truth = number / 8
    means = [float((found.fraction.array - truth)[middle & (number == n)].mean()) for n in range(9)]
    hertz = slopes[0] + slopes[1] * x + slopes[2] * y
    away = np.abs(found.field.array - hertz)[middle]
    snr = float(np.median(np.abs(images[0])[middle])) / noise
    source = "the subject: fat voxels among water, six peaks"
    return [
        (f"twin, fat fraction, worst stripe of 0 to 100 %, SNR {snr:.0f} [points]",
         100 * max(abs(one) for one in means), 2.0, source,
         "Hamilton et al. 2011, doi:10.1002/nbm.1622"),
        ("twin, swapped pixels", int((away > 100).sum()), 0, "slopes of the field", "-"),
        ("twin, fat: field, mean absolute error [Hz]", float(away.mean()), 5.0,
         "slopes of the field", "-"),
        ("twin, R2* in water and fat, error of the median over the truth",
         abs(float(np.median(found.r2_star.array[middle])) * 0.03 - 1), 0.1, "1/T2 + 1/T2'", "-"),
    ]  # fmt: skip


def field(folder: Path) -> list[Row]:
    """A ball of water in the field of its own susceptibility and of an air bubble."""
    body, affine = ball(101, 2e-3, 0.085)
    x, y, z = (np.indices(body.shape) - 50) * 2e-3
    bubble = x**2 + (y - 0.03) ** 2 + (z - 0.03) ** 2 < 0.015**2
    water = np.where(bubble, 0.0, body).astype(np.float32)
    maps = {"proton_density": water, "t1": np.full_like(water, 0.3),
            "t2": np.full_like(water, 0.06),
            "susceptibility": np.where(water > 0, -9.05e-6, 0.36e-6).astype(np.float32),
            }  # fmt: skip
    subject = Subject(name="ball with a bubble", field=3.0, affine=affine, maps=maps)
    faults = dataclasses.replace(FAULTS, shim_order=1)
    times = np.array([3.0e-3, 4.1e-3, 6.9e-3])
    twin = Twin(subject, system=SCANNER, faults=faults, n_coils=1)
    images, noise, image = train(twin, times, folder)
    found = field_map(images, times, noise=noise)
    truth = static_field(subject, SCANNER, faults)
    spots = np.stack([*places(image), np.ones(image.array.shape)]).reshape(4, -1)
    index = (np.linalg.inv(affine) @ spots)[:3]
    hertz = map_coordinates(truth, index, order=1).reshape(image.array.shape)
    deep = map_coordinates(water, index, order=1).reshape(image.array.shape) > 0.99
    radius = np.linalg.norm(spots[:3], axis=0).reshape(image.array.shape)
    inside = found.valid & deep & (radius < 0.075)
    away = (found.array - hertz)[inside]
    span = float(np.ptp(hertz[inside]))
    slope = float(np.polyfit(hertz[inside], found.array[inside], 1)[0])
    return [
        (f"twin, field of a bubble ({span:.0f} Hz across), median absolute error [Hz]",
         float(np.median(np.abs(away))), 2.0, "the twin's static field", "-"),
        (f"twin, field, |slope - 1| (slope {slope:.3f})", abs(slope - 1), 0.03,
         "the twin's static field", "-"),
    ]  # fmt: skip


def bipolar(drive: Drive, size: float) -> tuple[Drive, float]:
    """The drive with two lobes along z after every pulse, and their first moment [cycles s/m]."""
    rise, flat = 0.2e-3, 1.0e-3
    lobe = rise + flat
    first = drive.shapes[0].edge[-1] + 0.3e-3
    knots = np.array(
        [0, rise, lobe, lobe + rise, 2 * rise + lobe, 2 * lobe + rise, 2 * lobe + 2 * rise]
    )
    values = size * np.array([0, 1, 1, 0, -1, -1, 0])
    old = drive.gradients[2]
    more_time = np.concatenate([start + first + knots for start in drive.pulses.start])
    more = np.tile(values, len(drive.pulses.start))
    time = np.union1d(old.time, more_time)
    amplitude = np.interp(time, old.time, old.amplitude) + np.interp(time, more_time, more)
    axes = (*drive.gradients[:2], Gradient(time=time, amplitude=amplitude))
    return dataclasses.replace(drive, gradients=axes), -size * lobe * (lobe + rise)


TUBE, PEAK = 0.014, 0.05
"""Radius [m] and highest velocity [m/s] of the parabola."""


def tube() -> Subject:
    """Water at rest around a tube along z, long enough for what flows in during the scan."""
    edge, shape = (5e-3 / 3, 5e-3 / 3, 2.5e-3), (28, 28, 16)
    affine = np.diag([*edge, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * e for n, e in zip(shape, edge, strict=True)]
    affine[2, 3] = -0.0325
    x, y, _ = np.indices(shape)
    radius = np.hypot(affine[0, 3] + x * edge[0], affine[1, 3] + y * edge[1])
    speed = np.where(radius < TUBE, PEAK * (1 - (radius / TUBE) ** 2), 0.0)
    body = np.ones(shape, np.float32)
    maps = {"proton_density": body, "t1": 0.3 * body, "t2": 0.06 * body,
            "velocity_z": speed.astype(np.float32)}  # fmt: skip
    return Subject(name="tube", field=3.0, affine=affine, maps=maps)


def flow(folder: Path) -> list[Row]:
    """Two scans with opposite lobes."""
    twin = Twin(tube(), system=SCANNER, faults=FAULTS, n_coils=1)
    plain = compile_drive(protocol(9e-3, 32, 32 / 300), SCANNER)
    found_images, moments = [], []
    for sign in (1.0, -1.0):
        drive, moment = bipolar(plain, sign * 1.86e6)
        image = scanned(twin, drive, folder)
        found_images.append(image.array)
        moments.append(moment)
    images = np.stack(found_images)
    venc = venc_of(moments[1] - moments[0])
    found = velocity(images[0], images[1], venc, noise=air(images), order=0)
    x, y, _ = places(image)
    distance = np.hypot(x, y)
    pixel = 1 / 300
    truth = np.where(distance < TUBE, PEAK * (1 - (distance / TUBE) ** 2), 0.0)
    inside = found.valid & (distance < TUBE - pixel)
    slope = float(np.polyfit(truth[inside], found.array[inside], 1)[0])
    still = found.valid & (distance > TUBE + pixel) & (distance < 0.021)
    paper = np.pi * TUBE**2 * PEAK / 2
    rate = float(found.array[found.valid & (distance < TUBE + pixel)].sum()) * pixel**2
    return [
        (f"twin, velocity in a tube, |slope - 1| (slope {slope:.3f}, venc {abs(venc):.3f} m/s)",
         abs(slope - 1), 0.05, "the subject: parabola of 0.05 m/s", "-"),
        ("twin, flow through the tube, relative error", abs(rate / paper - 1), 0.05,
         "pi R^2 v / 2", "-"),
        ("twin, water at rest, mean velocity over the highest",
         abs(float(found.array[still].mean())) / PEAK, 0.01, "0", "-"),
    ]  # fmt: skip


def three_echoes(folder: Path) -> list[Row]:
    """A scanner's phantom: the field of echoes 1 and 2 against that of 2 and 3."""
    raw = folder / "echoes.h5"
    import_twix(ECHOES.with_suffix(".dat"), ECHOES.with_suffix(".seq"), raw)
    results = reconstruct(raw, complex_images=True)
    images = np.stack([one.array for one in results])
    times = np.array([float(one.provenance["echo_time"]) for one in results])
    # above the object, mid-band: the receiver's filter dims the noise left and right
    noise = float(np.sqrt((np.abs(images[:, 0, 3:25, 80:180]) ** 2).mean() / 2))
    bright = np.abs(images).min(axis=0) > 0.3 * np.percentile(np.abs(images), 99)
    first, second = (field_map(images[part], times[part], noise=noise, mask=bright)
                     for part in (slice(0, 2), slice(1, 3)))  # fmt: skip
    both = first.valid & second.valid
    gap = (first.array - second.array)[both]
    wraps = 1 / np.diff(times)[1]
    gap = gap - wraps * np.round(np.median(gap) / wraps)
    gap = gap - np.median(gap)
    # echo 2 is in both with opposite sign: variances do not simply add
    t1, t2 = np.diff(times)
    size = [(noise / np.abs(image[both])) ** 2 for image in images]
    variance = size[0] / t1**2 + size[1] * (1 / t1 + 1 / t2) ** 2 + size[2] / t2**2
    foretold = float(np.sqrt(np.median(variance))) / (2 * np.pi)
    apart = 1.4826 * float(np.median(np.abs(gap - np.median(gap))))
    source = "github: pulseq/tutorials, see MANIFEST.tsv"
    return [
        ("real phantom, fields of echoes 1, 2 and of 2, 3: spread of the difference "
         f"{apart:.2f} Hz over the {foretold:.2f} Hz that noise foretells, less 1",
         abs(apart / foretold - 1), 0.2, "the other pair of echoes", source),
    ]  # fmt: skip


def claims() -> list[dict[str, Any]]:
    """Every case, and the page."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for case in (fat, field, flow, three_echoes):
            say(f"  {case.__name__} ...")
            if case is three_echoes and not ECHOES.with_suffix(".dat").exists():
                continue
            for claim, value, bound, truth, source in case(Path(name)):
                rows.append({"claim": claim, "value": value, "unit": "", "bound": f"<= {bound:g}",
                             "truth": truth, "source": source, "command": COMMAND,
                             "passes": bool(value <= bound)})  # fmt: skip
    write_page(PAGE, "Maps of phase from the twin and from a scanner", COMMAND, rows)
    return rows


if __name__ == "__main__":
    show(claims())
