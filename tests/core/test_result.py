"""A result names each of its axes."""

import numpy as np
import pytest

from scanroom.core.errors import FormatError
from scanroom.core.result import Result


def test_a_result_with_an_unnamed_axis_is_refused():
    with pytest.raises(FormatError, match="3 axes but 2 names"):
        Result(name="x", array=np.zeros((1, 2, 3)), axes=("y", "x"), affine=np.eye(4), unit="a.u.")
