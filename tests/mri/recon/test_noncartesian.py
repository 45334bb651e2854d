"""SENSE and gridding of trajectories against sums over pixels."""

import numpy as np
import pytest

from scanroom.core.errors import FormatError, ProtocolError
from scanroom.mri.recon.noncartesian import (
    centre_maps,
    encoding,
    gridded,
    sense,
    sensed,
    solved,
    stacked,
)
from scanroom.mri.recon.off_resonance import off_resonance
from scanroom.operators.fourier import to_kspace
from scanroom.operators.nufft import density, nufft
from tests.truth import assert_adjoint

RNG = np.random.default_rng(14)
GOLDEN = np.pi * (np.sqrt(5) - 1) / 2


def spokes(n_spokes, n, turn=0.0):
    angle = np.arange(n_spokes) * GOLDEN + turn
    radius = (np.arange(2 * n) - n) / (2 * n)
    return np.stack([np.outer(f(angle), radius).ravel() for f in (np.sin, np.cos)], axis=1)


def spiral(n, n_shots, n_samples=600):
    """Archimedean, out; every shot takes 20 ms."""
    share = (np.arange(n_samples) + 0.5) / n_samples
    turns = n / (2 * n_shots) * share
    radius, shots = 0.5 * share, []
    for shot in range(n_shots):
        angle = 2 * np.pi * (turns + shot / n_shots)
        shots.append(np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1))
    return np.concatenate(shots), np.tile(20e-3 * share, n_shots)


def coil_maps(shape, n_coils=6):
    z, y, x = np.meshgrid(
        *[np.linspace(-1, 1, n) if n > 1 else [0.0] for n in shape], indexing="ij"
    )
    turn = 2 * np.pi * np.arange(n_coils) / n_coils
    maps = np.stack(
        [np.exp(1j * t + np.cos(t) * x + np.sin(t) * y + 0.3 * np.cos(2 * t) * z) for t in turn]
    )
    return maps / np.sqrt((np.abs(maps) ** 2).sum(axis=0))


def blobs(shape, n_blobs=12, seed=3):
    """Smooth and complex, within the middle of the field of view."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) if n > 1 else [0.0] for n in shape],
                                indexing="ij"))  # fmt: skip
    image = np.zeros(shape)
    for _ in range(n_blobs):
        at = rng.uniform(-0.5, 0.5, 3) * (np.array(shape) > 1)
        image += rng.uniform(0.3, 1) * np.exp(
            -((grid - at[:, None, None, None]) ** 2).sum(axis=0) / (2 * rng.uniform(0.08, 0.2) ** 2)
        )
    return image.astype(complex)


def random_image(shape):
    return RNG.normal(size=(*shape, 2)) @ [1, 1j]


def encodings():
    cones = RNG.uniform(-0.5, 0.5, (80, 3))
    maps = coil_maps((4, 8, 6), 3)
    time, field = np.linspace(0, 1e-2, 80), RNG.uniform(-50, 50, (8, 6))
    planes = [nufft(RNG.uniform(-0.5, 0.5, (50, 2)), (8, 6)) for _ in range(3)]
    return {
        "slices": encoding(cones[:, :2], maps),
        "cones": encoding(cones, maps),
        "weighted": encoding(cones[:, :2], maps, weight=RNG.uniform(0.5, 2, 80)),
        "field map": sensed(off_resonance(cones[:, :2], time, field, n_terms=9), maps),
        "stack": stacked(planes, np.array([0, 1, 3]), maps),
    }


@pytest.mark.parametrize("name", encodings())
def test_adjoint_and_normal_operator(name):
    encode = encodings()[name]
    assert_adjoint(encode, rtol=1e-7)
    image = random_image(encode.domain)
    both = encode.H(encode(image))
    # with a field map the normal operator has an error of its own, off_resonance.TOLERANCE
    bar = 2e-3 if name == "field map" else 1e-8
    assert np.linalg.norm(encode.N(image) - both) < bar * np.linalg.norm(both)


def test_stack_is_the_volume_transform_of_its_places():
    shape, maps = (4, 8, 6), coil_maps((4, 8, 6), 3)
    levels, plane = np.array([0, 2, 3]), RNG.uniform(-0.5, 0.5, (50, 2))
    place = np.concatenate(
        [np.column_stack([np.full(50, (level - 2) / 4), plane]) for level in levels]
    )
    image = random_image(shape)
    truth = encoding(place, maps)(image).reshape(3, 3, 50)
    found = stacked([nufft(plane, shape[1:])] * 3, levels, maps)(image)
    np.testing.assert_allclose(found, truth, atol=1e-7 * np.abs(truth).max())


def test_single_precision_stays_single():
    maps = coil_maps((1, 12, 12)).astype(np.complex64)
    place = spokes(9, 12)
    samples = encoding(place, maps)(blobs((1, 12, 12)).astype(np.complex64))
    assert samples.dtype == np.complex64
    assert sense(samples, place, maps, n_iterations=2).dtype == np.complex64
    assert gridded(samples, place, (1, 12, 12))[0].dtype == np.complex64


@pytest.mark.parametrize("case", ["spokes", "spiral", "cones"])
def test_sense_finds_the_image_of_too_few_samples(case):
    """Fewer samples than a single coil needs, without noise."""
    shape = (10, 16, 16) if case == "cones" else (1, 32, 32)
    place = {
        "spokes": lambda: spokes(20, 32),
        "spiral": lambda: spiral(32, 5)[0],
        "cones": lambda: np.random.default_rng(2).uniform(-0.5, 0.5, (4000, 3)),
    }[case]()
    maps, image = coil_maps(shape, 8), blobs(shape)
    samples = encoding(place, maps)(image)
    found = sense(samples, place, maps, n_iterations=30)
    assert np.linalg.norm(found - image) < 0.02 * np.linalg.norm(image)


def test_sense_of_a_full_grid_is_the_combination_of_coils():
    n = 16
    grid = np.stack(np.meshgrid(*[(np.arange(n) - n // 2) / n] * 2, indexing="ij"), axis=-1)
    maps, image = coil_maps((1, n, n)), blobs((1, n, n))
    samples = to_kspace(maps * image, (2, 3)).reshape(6, 1, -1)
    found = sense(samples, grid.reshape(-1, 2), maps, n_iterations=12)
    np.testing.assert_allclose(found, image, atol=1e-5 * np.abs(image).max())


def test_damping_is_that_of_tikhonov():
    place, maps = spokes(9, 8), coil_maps((1, 8, 8), 3)
    encode = encoding(place, maps)
    samples = encode(blobs((1, 8, 8)))
    columns = [encode(unit.reshape(1, 8, 8)).ravel() for unit in np.eye(64, dtype=complex)]
    matrix = np.stack(columns, axis=1)
    truth = np.linalg.solve(
        matrix.conj().T @ matrix + 0.3 * np.eye(64), matrix.conj().T @ samples.ravel()
    )
    found = sense(samples, place, maps, damping=0.3, n_iterations=60)
    np.testing.assert_allclose(found.ravel(), truth, atol=1e-6 * np.abs(truth).max())


def test_maps_from_the_middle_of_spokes_are_those_of_the_coils():
    shape = (1, 64, 64)
    place, maps, image = spokes(40, 64), coil_maps(shape, 6), blobs(shape)
    samples = encoding(place, maps)(image).astype(np.complex64)
    found = centre_maps(samples, place, shape)
    inside = image[0].real > 0.3 * image.real.max()
    likeness = np.abs((found[:, 0].conj() * maps[:, 0]).sum(axis=0))[inside]
    # 1 - cos of the angle between vectors of coils; Walsh's estimate of smooth maps
    assert likeness.min() > 0.995


def test_gridding_says_its_noise():
    shape, place = (1, 32, 32), spokes(60, 32)
    weight = density(place, shape[1:])
    noise = (RNG.normal(size=(200, len(place), 2)) @ [1, 1j]).astype(np.complex64)
    images, power = gridded(noise, place, shape, weight)
    # 200 images of 1024 pixels, neighbours alike: standard error below 1 %
    assert images.real.std() == pytest.approx(np.sqrt(power), rel=0.03)


@pytest.mark.parametrize("trajectory", ["spokes", "spiral"])
def test_density_makes_one_point_of_a_point(trajectory):
    """Within the field of view the point spread is 1 in the middle and all but 0 beyond."""
    n = 32
    place = spokes(80, n) if trajectory == "spokes" else spiral(n, 20)[0]
    point = np.zeros((1, n, n), complex)
    point[0, n // 2, n // 2] = 1
    samples = nufft(place, (n, n))(point[0])
    spread = np.abs(gridded(samples[None], place, (1, n, n))[0][0, 0])
    # the corners of k-space are not sampled: pi / 4 of it
    assert spread[n // 2, n // 2] == pytest.approx(np.pi / 4, rel=0.06)
    y, x = np.indices((n, n)) - n // 2
    assert spread[np.hypot(y, x) > 4].max() < 0.03 * spread.max()


def test_a_field_map_sharpens_a_spiral():
    n = 48
    place, time = spiral(n, 6)
    maps, image = coil_maps((1, n, n), 4), blobs((1, n, n), 30)
    y, x = np.meshgrid(*[np.linspace(-1, 1, n)] * 2, indexing="ij")
    field = 60 * np.exp(-((y - 0.3) ** 2 + x**2) / 0.2) - 20 * x
    exact = sensed(off_resonance(place, time, field, n_terms=14), maps)
    samples = exact(image)

    def error(found):
        return np.linalg.norm(found - image) / np.linalg.norm(image)

    blurred = solved(encoding(place, maps), samples, n_iterations=15)
    straight = solved(sensed(off_resonance(place, time, field), maps), samples, n_iterations=15)
    assert error(straight) < 0.02
    assert error(blurred) > 0.2


def test_levels_that_do_not_fit_are_refused():
    plane = nufft(RNG.uniform(-0.5, 0.5, (9, 2)), (8, 6))
    with pytest.raises(ProtocolError, match="levels"):
        stacked([plane], np.array([4]), coil_maps((4, 8, 6)))


def test_the_same_bytes_with_any_number_of_threads(monkeypatch):
    maps = coil_maps((3, 16, 16), 5).astype(np.complex64)
    place = spokes(11, 16)
    found = []
    for n_threads in ("1", "2", "3"):
        monkeypatch.setenv("SCANROOM_THREADS", n_threads)
        samples = encoding(place, maps)(blobs((3, 16, 16)).astype(np.complex64))
        found.append(sense(samples, place, centre_maps(samples, place, (3, 16, 16))).tobytes())
    assert len(set(found)) == 1


def test_what_is_no_number_is_refused():
    place, maps = spokes(9, 8), coil_maps((1, 8, 8), 3)
    samples = encoding(place, maps)(blobs((1, 8, 8)))
    samples[1, 0, 5] = np.nan
    with pytest.raises(FormatError, match="no numbers"):
        sense(samples, place, maps)
    with pytest.raises(FormatError, match="no numbers"):
        gridded(samples, place, (1, 8, 8))
