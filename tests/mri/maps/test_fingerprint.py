"""Fingerprints: courses, matches, and images from little of k-space."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps.fingerprint import (
    Schedule,
    find_fingerprints,
    fingerprint_dictionary,
    subspace,
    subspace_images,
)
from scanroom.operators.fourier import fourier
from scanroom.operators.sampling import weighted
from tests.truth import assert_adjoint

N = 240
WAVE = np.radians(8 + 50 * np.abs(np.sin(2 * np.pi * np.arange(N) / 120)))
SCHEDULE = Schedule(
    flip_angles=WAVE,
    phases=np.zeros(N),
    repetition_times=np.full(N, 12e-3),
    echo_time=3e-3,
    inversion_delay=20e-3,
)


@pytest.fixture(scope="module")
def dictionary():
    return fingerprint_dictionary(SCHEDULE, t1=(0.1, 4.0), t2=(0.01, 1.0))


def tissues(n=60):
    rng = np.random.default_rng(0)
    t1 = rng.uniform(0.3, 2.5, n)
    t2 = t1 * rng.uniform(0.04, 0.3, n)
    return t1, t2, 100 * np.exp(2j * np.pi * rng.uniform(size=n))


def test_courses_without_noise_give_t1_t2_and_the_magnetisation(dictionary):
    t1, t2, level = tissues()
    signal = np.stack([SCHEDULE.signal(a, b) for a, b in zip(t1, t2, strict=True)], axis=1)
    found = find_fingerprints(signal * level, dictionary)
    # The dictionary leaves a millionth of the energy: a thousandth of the signal, mostly across.
    np.testing.assert_allclose(found.t1.array, t1, rtol=1e-4)
    np.testing.assert_allclose(found.t2.array, t2, rtol=1e-4)
    np.testing.assert_allclose(found.amplitude, level, rtol=1e-4)


def test_spread_is_the_bound_of_cramer_and_rao(dictionary):
    t1, t2, level = 1.1, 0.08, 60.0
    steps = np.array([1e-4 * t1, 1e-4 * t2])
    slopes = [
        level * (SCHEDULE.signal(t1 + steps[0], t2) - SCHEDULE.signal(t1 - steps[0], t2)),
        level * (SCHEDULE.signal(t1, t2 + steps[1]) - SCHEDULE.signal(t1, t2 - steps[1])),
    ]
    slopes = [slope / (2 * step) for slope, step in zip(slopes, steps, strict=True)]
    course = SCHEDULE.signal(t1, t2)
    columns = np.array([np.r_[s.real, s.imag] for s in (*slopes, course, 1j * course)]).T
    bound = np.sqrt(np.diag(np.linalg.inv(columns.T @ columns)))
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(N, 3000, 2)) @ [1, 1j]
    found = find_fingerprints(level * course[:, None] + noise, dictionary, noise=1.0)
    for made, least, truth in ((found.t1, bound[0], t1), (found.t2, bound[1], t2)):
        assert made.array.mean() == pytest.approx(truth, abs=0.1 * least)
        assert made.array.std() == pytest.approx(least, rel=0.05)
        assert made.error.mean() == pytest.approx(least, rel=0.03)


def test_a_train_without_gradients_is_that_of_one_isochromat():
    angle, phase, tr, t1, t2, offset = 0.6, np.pi, 5e-3, 0.9, 0.07, 17.0
    n = 30
    balanced = Schedule(
        flip_angles=np.full(n, angle),
        phases=phase * np.arange(n),
        repetition_times=np.full(n, tr),
        echo_time=tr / 2,
        balanced=True,
        off_resonance=offset,
    )
    m, z, seen = 0j, 1.0, []
    for k in range(n):
        turned = m * np.exp(-1j * phase * k)
        y, z = (
            turned.imag * np.cos(angle) - z * np.sin(angle),
            (z * np.cos(angle) + turned.imag * np.sin(angle)),
        )
        m = (turned.real + 1j * y) * np.exp(1j * phase * k)
        seen.append(m * np.exp(-tr / 2 / t2 - 2j * np.pi * offset * tr / 2 - 1j * phase * k))
        m *= np.exp(-tr / t2 - 2j * np.pi * offset * tr)
        z = 1 - (1 - z) * np.exp(-tr / t1)
    np.testing.assert_allclose(balanced.signal(t1, t2), seen, atol=1e-12)


def test_subspace_is_a_linear_map(dictionary):
    assert_adjoint(subspace(dictionary.basis, (3, 4)))


def test_a_quarter_of_every_frame_gives_the_maps():
    n, rng = 16, np.random.default_rng(1)
    few = fingerprint_dictionary(SCHEDULE, t1=(0.1, 4.0), t2=(0.01, 1.0), lost=1e-4)
    y, x = np.mgrid[:n, :n] - n / 2
    left, right = np.hypot(x + 4, y) < 3.5, np.hypot(x - 4, y) < 3.5
    body, t1, t2 = left | right, np.where(left, 0.6, 1.4), np.where(left, 0.05, 0.12)
    images = np.zeros((N, n, n), complex)
    images[:, left] = 100 * SCHEDULE.signal(0.6, 0.05)[:, None]
    images[:, right] = 100 * SCHEDULE.signal(1.4, 0.12)[:, None]
    lines = np.zeros((N, n, n))
    for frame in lines:
        frame[rng.permutation(n)[: n // 4]] = 1
    encode = weighted(lines, (N, n, n)) @ fourier((N, n, n))
    data = encode(images) + lines * (rng.normal(size=(N, n, n, 2)) @ [0.5, 0.5j])
    made = subspace_images(data, encode, few, n_iterations=60, tolerance=1e-6)

    def error(found):
        return [
            np.median(np.abs(made.array[body] / truth[body] - 1))
            for made, truth in ((found.t1, t1), (found.t2, t2))
        ]

    found = error(find_fingerprints(made * body, few, compressed=True))
    plain = error(find_fingerprints(encode.H(data) * body, few))
    assert found[0] < 0.02
    assert found[1] < 0.05
    assert plain[0] > 3 * found[0]
    assert plain[1] > 3 * found[1]


def test_what_cannot_be_is_refused(dictionary):
    with pytest.raises(ProtocolError, match="within"):
        Schedule(
            flip_angles=np.ones(3), phases=np.ones(3), repetition_times=np.full(3, 0.1),
            echo_time=0.1,
        )  # fmt: skip
    with pytest.raises(ProtocolError, match="coefficients"):
        find_fingerprints(np.ones((2, 4), complex), dictionary, compressed=True)
    with pytest.raises(ProtocolError, match="must agree"):
        subspace_images(np.ones((3, 4, 4), complex), fourier((3, 4, 4)), dictionary)
