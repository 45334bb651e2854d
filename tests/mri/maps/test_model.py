"""A map says what it is not sure of."""

import numpy as np
import pytest

from scanroom.core.errors import FormatError
from scanroom.mri.maps import Map


def parts(**changed):
    given = {"array": np.ones((2, 3)), "valid": np.ones((2, 3), bool), "error": np.ones((2, 3))}
    return {"name": "T1", "unit": "s", **given, **changed}


def test_parts_of_another_shape_are_refused():
    with pytest.raises(FormatError, match="shapes"):
        Map(**parts(error=np.ones((2, 2))))
    with pytest.raises(FormatError, match="shapes"):
        Map(**parts(residual=np.ones(6)))


def test_values_that_are_not_finite_never_pass():
    with pytest.raises(FormatError, match="1 values that are not finite"):
        Map(**parts(array=np.array([[1.0, np.nan, 1], [1, 1, 1]])))


def test_an_unknown_error_is_infinite():
    made = Map(**parts(error=np.full((2, 3), np.inf)))
    assert np.isinf(made.error).all()
