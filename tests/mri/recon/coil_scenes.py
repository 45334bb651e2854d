"""Coils and objects in closed form, seen in hybrid space."""

import numpy as np

from scanroom.operators.fourier import to_image, to_kspace

N, N_COILS = 64, 8


def ring(n=N, n_coils=N_COILS, radius=0.7):
    """Smooth coils round the object, unit norm, each with a phase that turns across it."""
    y, x = (np.mgrid[:n, :n] - n // 2) / n
    angle = 2 * np.pi * np.arange(n_coils)[:, None, None] / n_coils
    far = (x - radius * np.cos(angle)) ** 2 + (y - radius * np.sin(angle)) ** 2
    turn = angle + 1.5 * x * np.cos(angle) + 1.5 * y * np.sin(angle)
    maps = np.exp(1j * turn) / (0.15 + far)
    return (maps / np.linalg.norm(maps, axis=0)).astype(np.complex64)


def head(n=N):
    """An ellipse with bright and dark discs and a slow phase."""
    y, x = (np.mgrid[:n, :n] - n // 2) / n
    image = 1.0 * ((x / 0.36) ** 2 + (y / 0.43) ** 2 < 1)
    image -= 0.5 * ((x - 0.1) ** 2 + (y + 0.1) ** 2 < 0.01)
    image += 0.6 * ((x + 0.12) ** 2 + (y - 0.15) ** 2 < 0.006)
    return (image * np.exp(0.6j + 1j * x)).astype(np.complex64)


def hybrid(images):
    """K-space in z and y, image along x, of ``coil z y x`` images."""
    return to_kspace(images, (1, 2)).astype(np.complex64)


def scene(n=N, n_coils=N_COILS, noise=0.0, seed=3):
    """Maps ``coil 1 y x``, image ``1 y x``, hybrid k-space with noise."""
    maps, image = ring(n, n_coils)[:, None], head(n)[None]
    kspace = hybrid(maps * image)
    rng = np.random.default_rng(seed)
    kspace += (noise * rng.normal(size=(*kspace.shape, 2)) @ [1, 1j]).astype(np.complex64)
    return maps, image, kspace


def every(step, n=N, first=0, centre=0):
    """Every so many lines, and so many in the centre."""
    line = np.arange(n)
    return ((line % step == first) | (np.abs(line - n // 2 + 0.5) < centre / 2))[None]


def pictures(kspace):
    """Images of ``coil z y x`` hybrid k-space."""
    return to_image(kspace, (1, 2))


def away(found, truth):
    """Relative error."""
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def same_with_threads(monkeypatch, work):
    """Check that one and three threads give the same bytes."""
    results = []
    for n in ("1", "3"):
        monkeypatch.setenv("SCANROOM_THREADS", n)
        results.append(work())
    assert results[0].tobytes() == results[1].tobytes()
