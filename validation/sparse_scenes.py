"""Objects, coils and lines for the validation of compressed sensing, finer than any image of them.

Everything is drawn four times finer than the pixels and its k-space cut to size, so that edges do
not fall on pixels and no method knows the grid. Coils are the fields of the twin's head array.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from scanroom.operators.fourier import resize, to_image, to_kspace
from scanroom.physics.coils import head_array, receive_sensitivity
from scanroom.subject.library import load_subject

FIELD_OF_VIEW = 0.24
HEIGHT = 0.02
FINER = 4
N_COILS = 8
N_CENTRE = 24


@dataclass(frozen=True, slots=True)
class Scene:
    """Noise-free samples of all lines "frame coil z y x" (k in y, image in x), and the truth."""

    name: str
    hybrid: np.ndarray
    truth: np.ndarray

    def measured(self, sampled: np.ndarray, snr: float, seed: int = 1) -> np.ndarray:
        """Some lines with unit noise; the mean signal of the object is ``snr``."""
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=(*self.hybrid.shape, 2)) @ [1, 1j]
        seen = (snr * self.hybrid + noise) * sampled[:, None, :, :, None]
        return seen.astype(np.complex64)


def places(n: int) -> np.ndarray:
    """Pixel centres along one axis [m]."""
    return (np.arange(n) - n // 2) * FIELD_OF_VIEW / n


@cache
def coil_maps(n: int) -> np.ndarray:
    """Fields of the array over their root sum of squares, on a grid of ``n`` x ``n``."""
    coarse = np.linspace(-FIELD_OF_VIEW / 2, FIELD_OF_VIEW / 2, 129)
    x, y = np.meshgrid(coarse, coarse)
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, HEIGHT)], axis=1)
    fields = receive_sensitivity(head_array(N_COILS), points).reshape(N_COILS, 129, 129)
    index = np.interp(places(n), coarse, np.arange(129.0))
    where = np.meshgrid(index, index, indexing="ij")
    fine = np.stack(
        [map_coordinates(f.real, where) + 1j * map_coordinates(f.imag, where) for f in fields]
    )
    return (fine / np.linalg.norm(fine, axis=0)).astype(np.complex64)


def scene(name: str, drawn: np.ndarray, n: int) -> Scene:
    """Frames drawn on ``FINER * n`` points, seen through the coils, with a gentle phase."""
    maps = coil_maps(FINER * n)
    y, x = np.meshgrid(*[places(FINER * n) / FIELD_OF_VIEW] * 2, indexing="ij")
    turn = np.exp(1j * (1.5 * x + 2 * y**2 + 3 * x * y)).astype(np.complex64)
    kspace = np.empty((len(drawn), N_COILS, 1, n, n), np.complex64)
    for frame, picture in enumerate(drawn):
        for coil in range(N_COILS):
            whole = to_kspace(maps[coil] * turn * picture, (0, 1))
            kspace[frame, coil, 0] = resize(resize(whole, n, 0), n, 1) / FINER
    coils = to_image(kspace, (3, 4))
    truth = np.linalg.norm(coils, axis=1)
    mean = truth[truth > 0.1 * truth.max()].mean()
    return Scene(name, to_image(kspace, (4,)) / mean, truth / mean)


@cache
def brain(n: int = 256) -> Scene:
    """T2-weighted slice of the built-in head: partial volumes of 1 mm, interpolated."""
    region = ((-1.0, -1.0, HEIGHT - 4e-4), (1.0, 1.0, HEIGHT + 4e-4))
    head = load_subject("brain", 3.0, region=region, properties=("proton_density", "t1", "t2"))
    density, t1, t2 = (head.maps[k][..., 0].T for k in ("proton_density", "t1", "t2"))
    alive = (t1 > 0) & (t2 > 0) & (density > 0)
    decay, recovery = np.exp(-0.09 / np.where(alive, t2, 1)), np.exp(-4.0 / np.where(alive, t1, 1))
    signal = np.where(alive, density * decay * (1 - recovery), 0)
    fine, edge = places(FINER * n), np.diag(head.affine)
    middle = head.affine[:2, 3] + edge[:2] * (np.array(signal.T.shape) - 1) / 2
    index = [(fine + middle[i] - head.affine[i, 3]) / edge[i] for i in (1, 0)]
    drawn = map_coordinates(signal, np.meshgrid(*index, indexing="ij"), order=1, mode="constant")
    return scene("brain", drawn[None].astype(np.float32), n)


def ellipse(y: np.ndarray, x: np.ndarray, *shape: float) -> np.ndarray:
    """One inside: centre x and y, half axes, turn [degrees]; lengths in fields of view."""
    x0, y0, a, b, degrees = shape
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    u, v = (x - x0) * cosine + (y - y0) * sine, (y - y0) * cosine - (x - x0) * sine
    inside: np.ndarray = ((u / a) ** 2 + (v / b) ** 2 < 1).astype(np.float32)
    return inside


@cache
def shapes(n: int = 256) -> Scene:
    """A skull, ventricles and sixty small ellipses at random: edges of every size."""
    y, x = np.meshgrid(*[places(FINER * n) / FIELD_OF_VIEW] * 2, indexing="ij")
    drawn = ellipse(y, x, 0, 0, 0.36, 0.44, 0) - 0.4 * ellipse(y, x, 0, 0, 0.33, 0.41, 0)
    drawn += 0.2 * ellipse(y, x, 0.12, 0.02, 0.08, 0.16, -18)
    drawn += 0.25 * ellipse(y, x, -0.13, 0.03, 0.1, 0.2, 18)
    rng = np.random.default_rng(5)
    for _ in range(60):
        place, size = rng.uniform(-0.25, 0.25, 2), rng.uniform(0.003, 0.03)
        thing = ellipse(y, x, *place, size, size * rng.uniform(0.5, 2), 0)
        drawn += rng.uniform(-0.3, 0.3) * thing
    return scene("shapes", drawn[None], n)


@cache
def beating(n: int = 96, n_frames: int = 24) -> Scene:
    """A chest with a heart that beats once and fills with contrast agent, and a moving vessel."""
    y, x = np.meshgrid(*[places(FINER * n) / FIELD_OF_VIEW] * 2, indexing="ij")
    drawn = np.empty((n_frames, *x.shape), np.float32)
    for frame in range(n_frames):
        phase = 2 * np.pi * frame / n_frames
        wall = 0.11 + 0.025 * np.cos(phase)
        uptake = 1 / (1 + np.exp(-(frame - n_frames / 3) / 2))
        drawn[frame] = 0.5 * ellipse(y, x, 0, 0, 0.42, 0.36, 0)
        drawn[frame] -= 0.3 * ellipse(y, x, -0.22, -0.02, 0.1, 0.2, 0)
        drawn[frame] -= 0.3 * ellipse(y, x, 0.25, 0, 0.1, 0.22, 0)
        drawn[frame] += 0.35 * ellipse(y, x, 0.02, 0.02, wall + 0.03, wall + 0.03, 0)
        drawn[frame] += 0.4 * uptake * ellipse(y, x, 0.02, 0.02, wall, 0.9 * wall, 0)
        drawn[frame] += 0.3 * ellipse(y, x, 0.1, -0.25 + 0.01 * np.sin(phase), 0.03, 0.02, 0)
    return scene("beating heart", drawn, n)


def lines(n: int, acceleration: float, *, n_centre: int = N_CENTRE, seed: int = 0) -> np.ndarray:
    """One line in ``acceleration``: a full centre, and at random more often near it."""
    rng = np.random.default_rng(seed)
    far = np.abs(np.arange(n) - n // 2) / (n / 2)
    sampled = np.zeros(n, bool)
    sampled[n // 2 - n_centre // 2 : n // 2 + n_centre // 2] = True
    weight = np.where(sampled, 0, (1 - far) ** 3 + 0.02)
    rest = int(n / acceleration) - n_centre
    sampled[rng.choice(n, rest, replace=False, p=weight / weight.sum())] = True
    return sampled[None]


def nrmse(image: np.ndarray, truth: np.ndarray) -> float:
    """Of magnitudes, over the norm of the truth."""
    return float(np.linalg.norm(np.abs(image) - truth) / np.linalg.norm(truth))


def ssim(image: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity of magnitudes, mean over the last two axes' planes.

    Z. Wang et al., IEEE Trans. Image Process. 13, 600 (2004), doi:10.1109/TIP.2003.819861:
    Gaussian window of 1.5 pixels, constants 0.01 and 0.03 of the truth's largest value.
    """
    one, two = np.abs(image).astype(float), truth.astype(float)
    first, second = (0.01 * two.max()) ** 2, (0.03 * two.max()) ** 2
    width = (0,) * (one.ndim - 2) + (1.5, 1.5)

    def smooth(product: np.ndarray) -> np.ndarray:
        return gaussian_filter(product, width, truncate=3.5)

    mean1, mean2 = smooth(one), smooth(two)
    cross = smooth(one * two) - mean1 * mean2
    power = smooth(one**2) - mean1**2 + smooth(two**2) - mean2**2
    alike = (2 * mean1 * mean2 + first) * (2 * cross + second)
    return float((alike / ((mean1**2 + mean2**2 + first) * (power + second))).mean())
