"""Windows against their definitions."""

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.apodise import taper


@pytest.mark.parametrize(
    ("name", "middle", "half", "edge"),
    [("none", 1, 1, 1), ("hann", 1, 0.5, 0), ("hamming", 1, 0.54, 0.08), ("tukey", 1, 1, 0)],
)
def test_textbook_values(name, middle, half, edge):
    found = taper(np.array([0, 8, -8, 16]), 32, name)
    np.testing.assert_allclose(found, [middle, half, half, edge], atol=1e-15)


def test_unknown_window_is_refused():
    with pytest.raises(ProtocolError, match="hamming"):
        taper(np.zeros(1), 8, "boxcar")
