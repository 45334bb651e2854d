"""A field map from blur, against the field that blurred."""

import numpy as np

from scanroom.mri.recon.autofocus import autofocus
from scanroom.mri.recon.noncartesian import encoding, gridded, sensed
from scanroom.mri.recon.off_resonance import off_resonance
from scanroom.operators.nufft import density
from tests.mri.recon.test_noncartesian import blobs, coil_maps, spiral

RNG = np.random.default_rng(1)


def test_autofocus_finds_a_smooth_field():
    n = 64
    place, time = spiral(n, 8)
    maps, image = coil_maps((1, n, n), 4), blobs((1, n, n), 60)
    edges = (RNG.uniform(size=(1, n // 4, n // 4)) > 0.5).repeat(4, 1).repeat(4, 2)
    image = image * (0.4 + 0.6 * edges)
    y, x = np.meshgrid(*[np.linspace(-1, 1, n)] * 2, indexing="ij")
    field = 50 * x + 20 * y
    samples = sensed(off_resonance(place, time, field, n_terms=14), maps)(image)
    weight = density(place, (n, n))
    found, sharp = autofocus(
        samples, place, time, maps, np.linspace(-90, 90, 37), weight=weight, width=3.0
    )
    inside = image[0].real > 0.3 * image.real.max()
    assert np.sqrt(np.mean((found[0] - field)[inside] ** 2)) < 10
    still = gridded(encoding(place, maps)(image), place, (1, n, n), weight)[0]
    truth = np.abs((maps.conj() * still).sum(axis=0))
    blurred = np.abs((maps.conj() * gridded(samples, place, (1, n, n), weight)[0]).sum(axis=0))
    assert np.linalg.norm(np.abs(sharp) - truth) < 0.5 * np.linalg.norm(blurred - truth)
