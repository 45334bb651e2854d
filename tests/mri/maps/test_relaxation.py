"""Every method by name, and public phantoms."""

import numpy as np
import pytest

from scanroom.mri.maps import relaxation
from validation import mri_maps_relaxation as validation
from validation import nist_plates as nist


def test_every_name_is_there():
    assert all(callable(getattr(relaxation, name)) for name in relaxation.__all__)


@pytest.mark.skipif(not nist.at_hand(), reason="the public files are not here")
@pytest.mark.parametrize("name", ["T1 plate 5, GE", "T2 plate 4, Philips"])
def test_spheres_of_a_phantom_are_as_hazen_finds_them(name):
    plate, maps = validation.plate_map(name)
    found = maps["inversion recovery" if name.startswith("T1") else "exponential"]
    median = np.array([np.median(found.array[sphere]) for sphere in plate.spheres])
    assert np.median(np.abs(median / plate.by_hazen - 1)) < 0.02
