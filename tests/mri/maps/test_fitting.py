"""Fits of one rate: empty voxels, noise that is given, two threads, refusals."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.maps import fitting
from scanroom.mri.maps.decay import decay

TIMES = 5e-3 * np.arange(1, 9)


def signals(n=30000):
    rng = np.random.default_rng(3)
    t2 = rng.uniform(0.01, 0.1, n)
    return 100 * np.exp(-TIMES[:, None] / t2) + rng.normal(size=(8, n)), t2


def test_an_empty_voxel_is_left_out_and_not_trusted():
    data = np.stack([np.zeros(8), 100 * np.exp(-TIMES / 0.03)], axis=1)
    found = decay(data, TIMES).time
    np.testing.assert_array_equal(found.valid, [False, True])
    assert found.array[0] == 0
    assert np.isinf(found.error[0])


def test_same_bytes_with_any_number_of_threads(monkeypatch):
    data, _ = signals()
    made = []
    for threads in ("1", "2"):
        monkeypatch.setenv("SCANROOM_THREADS", threads)
        made.append(decay(data, TIMES, noise=1.0).time)
    assert made[0].array.tobytes() == made[1].array.tobytes()
    assert made[0].error.tobytes() == made[1].error.tobytes()


def test_shape_is_that_of_the_images_and_order_does_not_matter():
    data, _ = signals(24)
    cube = data.reshape(8, 2, 3, 4)
    found = decay(cube, TIMES).time
    assert found.array.shape == found.error.shape == found.valid.shape == (2, 3, 4)
    back = decay(cube[::-1], TIMES[::-1]).time
    np.testing.assert_allclose(back.array, found.array, rtol=1e-8)


def test_noise_from_the_residual_is_that_which_is_there():
    data, _ = signals()
    found = decay(data, TIMES).time
    given = decay(data, TIMES, noise=1.0).time
    # Mean of the variance over 30000 voxels of 6 degrees of freedom: known to half a percent.
    ratio = np.mean(found.error**2 / given.error**2)
    assert ratio == pytest.approx(1.0, abs=0.02)


def test_with_as_many_samples_as_parameters_the_error_is_not_known():
    found = decay(100 * np.exp(-TIMES[:2, None] / 0.03), TIMES[:2]).time
    assert np.isinf(found.error[0])
    assert found.array[0] == pytest.approx(0.03, rel=1e-9)
    given = decay(100 * np.exp(-TIMES[:2, None] / 0.03), TIMES[:2], noise=1.0).time
    assert 0 < given.error[0] < 0.01


def test_what_no_decay_describes_is_not_trusted():
    rising = 100 * (1 - np.exp(-TIMES / 5e-3))[:, None]
    assert not decay(rising, TIMES).time.valid.any()


@pytest.mark.parametrize(
    ("times", "images", "says"),
    [
        (TIMES[:3], np.ones((8, 2)), "3 echo times"),
        (np.full(8, 5e-3), np.ones((8, 2)), "1 of them different"),
        (TIMES, np.full((8, 2), np.nan), "not finite"),
    ],
)
def test_times_that_do_not_fit_are_refused(times, images, says):
    with pytest.raises(ProtocolError, match=says):
        decay(images, times)


def test_noise_of_another_shape_is_refused():
    with pytest.raises(ProtocolError, match="noise has the shape"):
        fitting.per_voxel(np.ones(3), (2, 2), "noise")
    with pytest.raises(ProtocolError, match="negative"):
        fitting.per_voxel(-1.0, (2, 2), "noise")
