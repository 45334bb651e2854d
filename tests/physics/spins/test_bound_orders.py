"""Orders of dephasing with bound partners against isochromats that fill the box."""

import pytest

from validation.mri_magnetisation_transfer import CLASSES, ORDERS


@pytest.mark.parametrize(
    ("case", "bound"), [pytest.param(*c[1:3], id=c[0]) for c in ORDERS + CLASSES]
)
def test_boxes_and_classes_of_two_pools_agree_with(case, bound):
    assert case() <= bound
