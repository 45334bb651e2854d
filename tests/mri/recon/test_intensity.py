"""Evening out against shading that is known: of steps, of loops of wire, and none at all."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.core.result import Result
from scanroom.mri.recon.intensity import checked, evened, shading
from scanroom.physics.coils import head_array, receive_sensitivity

SHAPE = (9, 96, 96)
SPACING = np.array([2e-3, 2e-3, 8e-3])


def _places():
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    return np.stack([x * SPACING[0], y * SPACING[1], z * SPACING[2]], axis=-1)


def _head(seed=1):
    """An ellipsoid of four tissues in clumps of 1 to 3 cm, as bright as 1 to 2; nothing around."""
    places, rng = _places(), np.random.default_rng(seed)
    seeds = rng.uniform(-0.1, 0.1, (300, 3))
    tissue = rng.choice([1.0, 1.3, 1.6, 2.0], 300)
    nearest = np.linalg.norm(places[..., None, :] - seeds, axis=-1).argmin(axis=-1)
    inside = (places**2 / np.array([0.08, 0.09, 0.06]) ** 2).sum(axis=-1) < 1
    return np.where(inside, tissue[nearest], 0.0), inside


def _of_loops():
    """What eight loops around the head show of something uniform, together."""
    array = head_array(8)
    field = receive_sensitivity(array, _places().reshape(-1, 3))
    return np.linalg.norm(field, axis=0).reshape(SHAPE).astype(float)


def _spread(found, truth, inside):
    """Ratio of the two over the object: the root mean square of what is not constant."""
    ratio = (found / truth)[inside]
    ratio = ratio / np.median(ratio)
    return float(np.sqrt(np.mean((ratio - 1) ** 2)))


def test_shading_of_an_array_is_found_under_an_object_of_many_tissues():
    head, inside = _head()
    truth = _of_loops()
    rng = np.random.default_rng(0)
    image = head * truth / truth[inside].mean()
    image = np.abs(image + 0.02 * (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)))
    before = _spread(np.ones(SHAPE), truth, inside)
    after = _spread(shading(image, SPACING), truth, inside)
    assert before > 0.15
    # Clumps of 2 cm hide what bends as quickly as they do; a quarter of the shading may stay.
    assert after < 0.25 * before


def test_shading_of_an_array_is_found_under_a_uniform_object():
    _, inside = _head()
    truth = _of_loops()
    found = shading(np.where(inside, truth / truth[inside].mean(), 0.0), SPACING)
    # Degree six of a field of loops 2 cm away from the object.
    assert _spread(found, truth, inside) < 0.03


def test_an_even_object_of_many_tissues_keeps_its_tissues():
    head, inside = _head()
    assert _spread(shading(head, SPACING), np.ones(SHAPE), inside) < 0.03  # steps are no shading


def test_brightness_of_the_whole_changes_nothing_and_is_kept():
    head, inside = _head()
    image = head * _of_loops()
    small, large = shading(image, SPACING), shading(1e6 * image, SPACING)
    assert small == pytest.approx(large, rel=1e-5)
    assert np.median(small[inside]) == pytest.approx(1.0, rel=0.02)  # blocks, not voxels


def test_nothing_beyond_the_object_is_raised_above_what_the_object_shows():
    head, inside = _head()
    field = shading(head * _of_loops(), SPACING)
    assert field[~inside].min() >= field[inside].min() * (1 - 1e-6)


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 64, 64), (1, 1, 64), (2, 3, 4)])
def test_few_slices_and_tiny_images_are_no_trouble(shape):
    x = np.linspace(-1, 1, shape[2])
    image = np.ones(shape) * np.exp(0.3 * x)
    field = shading(image, SPACING)
    assert field.shape == shape
    assert np.isfinite(field).all()
    if shape[2] > 4:
        # A straight logarithm is a polynomial; its ends are taken for outliers of half a per cent.
        assert np.ptp(image / field) < 0.02 * image.mean()


def test_an_empty_image_has_no_shading():
    assert (shading(np.zeros(SHAPE), SPACING) == 1).all()


def test_an_evened_image_remembers_its_size_in_units_of_the_noise():
    array = np.full((3, 32, 32), 40.0, np.float32)
    image = Result(
        name="x", array=array, axes=("z", "y", "x"), affine=np.diag([2e-3, 2e-3, 8e-3, 1.0]),
        unit="SNR", provenance={"steps": ("one",)},
    )  # fmt: skip
    found = evened(image)
    assert found.unit == "a.u."
    assert found.provenance["received"] == {"unit": "SNR", "99th percentile": 40.0, "median": 40.0}
    assert found.provenance["steps"][0] == "one"
    assert "evened" in found.provenance["steps"][1]
    assert found.array == pytest.approx(array)


def test_unknown_words_are_refused_with_those_there_are():
    with pytest.raises(ProtocolError, match="intensity is 'flat'; it may be received or even"):
        checked("flat")
