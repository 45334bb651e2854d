"""K-space of a head finer than the grid, through coils, with white noise: equal data for everybody.

The head is formulas (scalp, skull, fluid, folded cortex, nuclei, small spots, a smooth phase),
evaluated on a grid `FINER` times finer than the image; its spectrum is cut to the image's band, so
that edges lie where they like. Coils stand on one or two rings; what is imaged is the head as the
whole array sees it, so the maps have unit norm and the truth is the band-limited head itself. Noise
has a standard deviation of 1 in real and imaginary part, as after prewhitening.

Each task is a folder of plain arrays: ``kspace`` (coil z y x, zeros where nothing was measured, or
coil sample), ``maps``, ``truth``, ``sampled`` or ``place`` (sample, axes y x, cycles per
pixel), and
the same as ``.cfl`` for BART.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import scipy.fft

from scanroom.operators.nufft import nufft

BRIGHT = 80.0
"""Signal of white matter; all lines give an image whose noise is sqrt(2) a pixel."""
FINER = {2: 4, 3: 2}
"""How much finer the head is, by the number of axes."""
CENTRE = 24
N_SPOKES, N_ALONG = 100, 512
RING, THICK, OPEN = (1.2, 1.0), 0.2, 0.6
"""Half axes (y, x) of the rings that coils stand on, of wires their thickness, both in halves
of the
field of view; share of its sector that a coil covers."""
SEED = 20
Shape = tuple[int, int, int]
Axes = tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be done with which data; ``method`` is what the peers' scripts are asked for."""

    method: str
    shape: Shape
    n_coils: int
    sampling: str
    finer: int | None = None

    @property
    def size(self) -> str:
        """Grid and coils, for people."""
        grid = " x ".join(str(n) for n in self.shape if n > 1)
        return f"{grid}, {self.n_coils} coils"


PLANE, VOLUME = (1, 256, 256), (96, 160, 160)
TASKS: Mapping[str, Task] = MappingProxyType(
    {
        name: Task(method=method, shape=shape, n_coils=n_coils, sampling=sampling)
        for name, method, shape, n_coils, sampling in (
            ("ESPIRiT calibration, 8 coils", "calibrate", PLANE, 8, "4 x 1"),
            ("ESPIRiT calibration, 16 coils", "calibrate", PLANE, 16, "4 x 1"),
            ("GRAPPA 4 x 1", "grappa", PLANE, 8, "4 x 1"),
            ("GRAPPA 2 x 2", "grappa", PLANE, 8, "2 x 2"),
            ("CG-SENSE 4 x 1, 8 coils", "sense", PLANE, 8, "4 x 1"),
            ("CG-SENSE 4 x 1, 16 coils", "sense", PLANE, 16, "4 x 1"),
            ("CG-SENSE 2 x 2", "sense", PLANE, 8, "2 x 2"),
            ("l1-wavelet 4 x 1", "wavelet", PLANE, 8, "4 x 1"),
            ("l1-wavelet variable density, R 6", "wavelet", PLANE, 8, "random"),
            ("radial, 100 spokes of 512", "radial", PLANE, 8, "spokes"),
            ("CG-SENSE 2 x 2, 3-D", "sense", VOLUME, 8, "2 x 2"),
        )
    }
)


def prepared(name: str, folder: Path) -> Path:
    """Folder of the arrays of one of `TASKS`."""

    def fill(place: Path) -> None:
        for key, array in arrays(TASKS[name]).items():
            np.save(place / f"{key}.npy", array)
            if key != "truth":
                write_cfl(place / key, _for_bart(key, array))

    words = "".join(c if c.isalnum() else "-" for c in name)
    return filled_once(folder / words, TASKS[name], fill)


def filled_once(place: Path, task: Task, fill: Callable[[Path], None]) -> Path:
    """A folder, filled if it is not there or was by another text than this."""
    stamp = json.dumps(asdict(task)) + Path(__file__).read_text()
    if (place / "stamp").exists() and (place / "stamp").read_text() == stamp:
        return place
    place.mkdir(parents=True, exist_ok=True)
    fill(place)
    (place / "stamp").write_text(stamp)
    return place


def arrays(task: Task) -> dict[str, np.ndarray]:
    """Everything of a task."""
    coils = Coils(task.n_coils, 2 if task.shape[0] > 1 else 1)
    axes = _axes(task.shape)
    norm = coils.norm(axes)
    maps = np.stack([coils.profile(coil, axes) / norm for coil in range(task.n_coils)])
    place = spokes() if task.sampling == "spokes" else None
    truth, views = seen(task, place)
    data = np.stack(list(views))
    data += white(np.random.default_rng(SEED), data.shape)
    if place is not None:
        return {"maps": maps, "truth": truth, "kspace": data, "place": place}
    sampled = pattern(task.shape, task.sampling)
    return {"maps": maps, "truth": truth, "kspace": data * sampled, "sampled": sampled}


def seen(task: Task, place: np.ndarray | None = None) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """The truth, and what each coil measures of it without noise: all k-space, or at places."""
    fine = _finer(task)
    image, axes = head(fine), _axes(fine)
    truth = _image(_cut(image, task.shape), task.shape)
    coils = Coils(task.n_coils, 2 if task.shape[0] > 1 else 1)
    image /= coils.norm(axes)
    transform = None if place is None else nufft(place / FINER[2], fine[1:])

    def views() -> Iterator[np.ndarray]:
        for coil in range(task.n_coils):
            view = coils.profile(coil, axes) * image
            if transform is None:
                yield _cut(view, task.shape)
            else:
                samples = transform.forward(view[0].astype(np.complex128)) / FINER[2]
                yield samples.astype(np.complex64)

    return truth, views()


def white(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Noise as it is after prewhitening."""
    noise: np.ndarray = rng.standard_normal((*shape, 2), np.float32).view(np.complex64)[..., 0]
    return noise


def pattern(shape: Shape, sampling: str) -> np.ndarray:
    """Which of z y x was measured; of a plane ``2 x 2`` leaves out rows and columns."""
    out = np.zeros(shape, bool)
    middle = tuple(slice(n // 2 - CENTRE // 2, n // 2 + CENTRE // 2) if n > 1 else slice(None)
                   for n in shape)  # fmt: skip
    if sampling == "all":
        out[:] = True
    elif sampling == "4 x 1":
        out[:, ::4] = True
        out[:, middle[1]] = True
    elif sampling == "2 x 2" and shape[0] == 1:
        out[:, ::2, ::2] = True
        out[middle] = True
    elif sampling == "2 x 2":
        out[::2, ::2] = True
        out[middle[:2]] = True
    else:
        out[:, _random_lines(shape[1])] = True
    return out


def _random_lines(n: int) -> np.ndarray:
    """A sixth of the lines: the middle ones, and others the rarer the farther out."""
    rng, inner = np.random.default_rng(SEED), 16
    distance = np.abs(np.arange(n) - n // 2) / (n / 2)
    share = (1 - distance) ** 2 * (distance * n / 2 >= inner / 2)
    outer = rng.choice(n, round(n / 6) - inner, replace=False, p=share / share.sum())
    return np.sort(np.concatenate([np.arange(n // 2 - inner // 2, n // 2 + inner // 2), outer]))


def spokes() -> np.ndarray:
    """Places (sample, axes y x) in cycles per pixel; readouts twice oversampled."""
    angle = np.pi * np.arange(N_SPOKES)[:, None] / N_SPOKES
    along = (np.arange(N_ALONG) - N_ALONG // 2) / N_ALONG
    return np.stack([np.sin(angle) * along, np.cos(angle) * along], axis=-1).reshape(-1, 2)


def head(shape: Shape) -> np.ndarray:
    """The head on any grid, from formulas."""
    z, y, x = _axes(shape)
    radius = np.sqrt((x / 0.72) ** 2 + (y / 0.92) ** 2 + (z / 0.85) ** 2)
    turn = np.arctan2(y, x)
    folds = 0.05 * np.sin(11 * turn + 3 * z) + 0.03 * np.sin(23 * turn - 5 * z)
    out = np.zeros(np.broadcast_shapes(radius.shape, folds.shape), np.float32)
    for edge, value in ((1.0, 0.6), (0.94, 0.08), (0.88, 1.3)):
        out[radius < edge] = value  # scalp, skull, fluid
    out[radius < 0.84 + 0.6 * folds] = 0.8
    out[radius < 0.72 + folds] = 1.0
    for side in (-1, 1):  # nuclei, ventricles
        part, inside = _ellipsoid((z, y, x), (0.0, 0.05, side * 0.2), (0.2, 0.17, 0.09))
        out[part][inside] = 0.75
        part, inside = _ellipsoid((z, y, x), (0.05, -0.02, side * 0.08), (0.25, 0.26, 0.05))
        out[part][inside] = 1.4
    rng = np.random.default_rng(SEED)
    for _ in range(40):
        centre = rng.uniform(-0.42, 0.42, 3) * (1 if shape[0] > 1 else 0, 1.2, 1)
        part, inside = _ellipsoid((z, y, x), tuple(centre), tuple(rng.uniform(0.01, 0.05, 3)))
        out[part][inside] += np.float32(rng.uniform(-0.4, 0.4))
    turned = _turn(0.5 + 0.8 * x + 0.3 * x * x) * _turn(-0.6 * y * y + 0.2 * y) * _turn(0.4 * z)
    return np.float32(BRIGHT) * out * turned


@dataclass(frozen=True, slots=True)
class Coils:
    """Coils on a ring about the head, or on two rings about a volume."""

    n_coils: int
    n_rings: int

    def profile(self, coil: int, axes: Axes) -> np.ndarray:
        """What a coil sees of a place: the field, turning one way, of two wires along z.

        Wires are not thin, and off its ring a coil sees less.
        """
        z, y, x = axes
        per_ring = self.n_coils // self.n_rings
        ring, item = divmod(coil, per_ring)
        angle = 2 * np.pi * (item + ring / 2) / per_ring
        soft = (z - 0.5 * (2 * ring - 1) * (self.n_rings - 1)) ** 2 + THICK**2
        out = np.zeros(np.broadcast_shapes(z.shape, y.shape, x.shape), np.complex64)
        for way in (1, -1):
            turn = angle + way * OPEN * np.pi / per_ring
            up, along = (y - RING[0] * np.sin(turn)), (x - RING[1] * np.cos(turn))
            out += (way / (along**2 + up**2 + soft)).astype(np.float32) * (along - 1j * up)
        return out

    def norm(self, axes: Axes) -> np.ndarray:
        """What all see together."""
        views = (self.profile(coil, axes) for coil in range(self.n_coils))
        power: np.ndarray = sum(view.real**2 + view.imag**2 for view in views)
        return np.sqrt(power)


def _turn(phase: np.ndarray) -> np.ndarray:
    turned: np.ndarray = np.exp(1j * phase).astype(np.complex64)
    return turned


def write_cfl(path: Path, array: np.ndarray) -> None:
    """Write BART's pair of files; its first dimension is the last axis."""
    sizes = " ".join(str(n) for n in reversed(array.shape))
    path.with_name(path.name + ".hdr").write_text(f"# Dimensions\n{sizes}\n")
    array.astype(np.complex64).tofile(path.with_name(path.name + ".cfl"))


def _for_bart(key: str, array: np.ndarray) -> np.ndarray:
    if key == "place":  # coordinate (x, y, z) first, in pixels of k-space
        flipped = np.concatenate([array[:, ::-1] * PLANE[1], np.zeros((len(array), 1))], axis=1)
        return flipped.reshape(N_SPOKES, N_ALONG, 3)
    if key == "kspace" and array.ndim == 2:
        return array.reshape(len(array), N_SPOKES, N_ALONG, 1)
    return array


def _finer(task: Task) -> Shape:
    times = task.finer or FINER[sum(n > 1 for n in task.shape)]
    fine = tuple(n if n == 1 else times * n for n in task.shape)
    return fine[0], fine[1], fine[2]


def _axes(shape: Shape) -> Axes:
    """Places of pixels from -1 to 1, the origin at element ``n // 2``."""
    axes = [2 * (np.arange(n, dtype=np.float32) - n // 2) / n for n in shape]
    return tuple(np.meshgrid(*axes, indexing="ij", sparse=True))


def _ellipsoid(
    axes: Axes, centre: tuple[float, ...], half: tuple[float, ...]
) -> tuple[tuple[slice, ...], np.ndarray]:
    """Box about an ellipsoid, and which of its pixels are inside."""
    box, apart = [], []
    for axis, values in enumerate(axes):
        away = (values.ravel() - centre[axis]) / half[axis]
        first, last = np.searchsorted(away, (-1, 1))
        box.append(slice(first, last))
        shape = [1, 1, 1]
        shape[axis] = last - first
        apart.append(away[first:last].reshape(shape) ** 2)
    inside: np.ndarray = sum(apart) < 1
    return tuple(box), inside


def _cut(image: np.ndarray, shape: Shape) -> np.ndarray:
    """Centred spectrum within the band of a coarser grid; pixels keep their values."""
    out = image
    for axis, n in enumerate(shape):
        wide = image.shape[axis]
        if wide == 1:
            continue
        out = scipy.fft.fft(np.fft.ifftshift(out, axis), axis=axis, workers=1)
        keep = np.mod(np.arange(n) - n // 2, wide)
        out = out.take(keep, axis) * np.float32(np.sqrt(n) / wide)
    return out


def _image(kspace: np.ndarray, shape: Shape) -> np.ndarray:
    axes = tuple(axis for axis, n in enumerate(shape) if n > 1)
    moved = scipy.fft.ifftn(np.fft.ifftshift(kspace, axes), axes=axes, norm="ortho", workers=1)
    return np.fft.fftshift(moved, axes)
