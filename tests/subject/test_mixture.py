"""Voxels of two tissues."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.subject.mixture import MAGNETIC, WHOLE, Mixture, box, crop_mixture, grid, mixed
from scanroom.subject.tissue import tissue_table

FIELD = 3.0


def two(share, tissues=("grey", "csf")):
    shape = (len(share), 1, 1)
    return Mixture(
        tissues=tissues,
        first=np.zeros(shape, np.uint8),
        second=np.ones(shape, np.uint8),
        share=np.array(share, np.uint8).reshape(shape),
        affine=np.diag([1e-3, 1e-3, 1e-3, 1.0]),
    )


def number(tissue, quantity):
    return tissue_table().number(tissue, quantity, FIELD).value


@pytest.mark.parametrize("quantity", MAGNETIC)
def test_a_voxel_of_one_tissue_has_exactly_its_numbers(quantity):
    subject = mixed(two([WHOLE, 0]), name="two", field=FIELD)
    assert subject.maps[quantity][0, 0, 0] == np.float32(number("grey", quantity))
    assert subject.maps[quantity][1, 0, 0] == np.float32(number("csf", quantity))


def test_the_first_decay_of_a_mixed_voxel_is_that_of_its_parts_together():
    share = 153 / WHOLE
    maps = mixed(two([153]), name="two", field=FIELD).maps
    parts = [(share, "grey"), (1 - share, "csf")]
    signal = sum(f * number(t, "proton_density") for f, t in parts)
    slope = sum(f * number(t, "proton_density") / number(t, "t2") for f, t in parts)
    assert maps["proton_density"].item() == pytest.approx(signal, rel=1e-6)  # float32
    assert (maps["proton_density"] / maps["t2"]).item() == pytest.approx(slope, rel=1e-6)


def test_air_in_a_voxel_dilutes_but_does_not_relax():
    maps = mixed(two([102], ("white", "air")), name="edge", field=FIELD).maps
    assert maps["proton_density"].item() == pytest.approx(0.4 * number("white", "proton_density"))
    assert maps["t1"].item() == pytest.approx(number("white", "t1"), rel=1e-6)


def test_fat_and_water_keep_the_frequency_of_the_one_with_more_protons():
    shift = mixed(two([200, 50], ("fat", "muscle")), name="x", field=FIELD).maps["chemical_shift"]
    assert shift.ravel().tolist() == [np.float32(-3.4e-6), 0.0]


def test_only_the_maps_asked_for_are_built():
    subject = mixed(two([9]), name="two", field=FIELD, properties=["density"])
    assert list(subject.maps) == ["proton_density", "density"]
    with pytest.raises(ProtocolError, match="colour"):
        mixed(two([9]), name="two", field=FIELD, properties=["colour"])


def test_fractions_add_up_to_the_whole_and_pure_is_pure():
    mixture = two([0, 17, 128, WHOLE])
    total = mixture.fraction("grey") + mixture.fraction("csf")
    assert total == pytest.approx(1.0, abs=1e-6)  # float32
    assert mixture.pure("grey").ravel().tolist() == [False, False, False, True]


def test_a_cropped_voxel_stays_where_it_was():
    mixture = two([0, 50, 100, 150])
    part = crop_mixture(mixture, np.array([0.9e-3, -1.0, -1.0]), np.array([2.1e-3, 1.0, 1.0]))
    assert part.share.ravel().tolist() == [50, 100]
    assert part.affine[:3, 3].tolist() == [1e-3, 0, 0]
    with pytest.raises(ProtocolError, match="no voxel"):
        crop_mixture(mixture, np.array([1.0, 1.0, 1.0]), np.array([2.0, 2.0, 2.0]))


def test_a_box_is_cut_from_a_turned_grid():
    turned = np.array([[0, -2e-3, 0, 0.1], [2e-3, 0, 0, 0], [0, 0, -1e-3, 0.05], [0, 0, 0, 1.0]])
    span, affine = box(
        turned, (50, 60, 40), np.array([0.05, 0.01, 0.02]), np.array([0.06, 0.03, 0.03])
    )
    first = affine[:3, 3]
    last = affine[:3, :3] @ [s.stop - s.start - 1 for s in span] + first
    low, high = np.minimum(first, last), np.maximum(first, last)
    assert np.all(low >= np.array([0.05, 0.01, 0.02]) - 1e-9)
    assert np.all(high <= np.array([0.06, 0.03, 0.03]) + 1e-9)
    assert [s.stop - s.start for s in span] == [11, 6, 11]


def test_a_grid_is_centred():
    shape, affine = grid((0.1, 0.1, 0.1), (3e-3, 5e-3, 7e-3), (0.01, 0.0, -0.02))
    centre = affine[:3, :3] @ (0.5 * (np.array(shape) - 1)) + affine[:3, 3]
    assert shape == (34, 20, 15)
    assert centre == pytest.approx([0.01, 0.0, -0.02], abs=1e-12)


def test_exchange_of_a_mixed_voxel_is_that_of_its_protons():
    share, weights = 153 / WHOLE, []
    maps = mixed(
        two([153], ("white", "csf")), name="two", field=FIELD, properties=("bound_fraction",)
    ).maps
    for part, name in ((share, "white"), (1 - share, "csf")):
        weights.append(part * number(name, "proton_density"))
    truth = number("white", "bound_fraction") * weights[0] / sum(weights)
    assert maps["bound_fraction"].item() == pytest.approx(truth, rel=1e-6)  # float32
