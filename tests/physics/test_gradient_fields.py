"""Fields of gradient coils against Laplace's equation and plain integrals."""

import numpy as np
import pytest
from scipy.integrate import quad

from scanroom.core.errors import ProtocolError
from scanroom.physics.gradient_fields import (
    Eddy,
    Nonlinearity,
    Response,
    bent,
    concomitant_drive,
    concomitant_place,
    lagging,
    respond,
)

POINTS = np.random.default_rng(3).uniform(-0.15, 0.15, (20, 3))


def _laplacian(field, step=1e-3):
    total = -6 * field(POINTS)
    for axis in range(3):
        for sign in (-1, 1):
            total = total + field(POINTS + sign * step * np.eye(3)[axis])
    return total / step**2


@pytest.mark.parametrize("which", ["third", "fifth"])
def test_bent_gradients_are_harmonic(which):
    coils = Nonlinearity(**{which: (0.05, -0.03, 0.04)})
    curved = bent(POINTS, coils) - POINTS
    assert np.abs(_laplacian(lambda p: bent(p, coils) - p)).max() < 1e-3
    assert np.abs(curved).max() > 1e-4  # there is something to curve


def test_coefficients_are_shares_at_the_reference_radius():
    # Along the coil's own axis; the transverse coils' fifth harmonic is 1 there too.
    coils = Nonlinearity(third=(0.05, 0.04, 0.03), fifth=(0.01, 0.02, 0.005))
    found = bent(0.25 * np.eye(3), coils)
    assert np.diag(found) == pytest.approx(0.25 * np.array([1.06, 1.06, 1.035]))


def test_concomitant_field_is_the_length_of_the_whole_field():
    # |B| of curl-free, divergence-free gradients Gx x etc. with alpha = 1/2: expand the root.
    rng = np.random.default_rng(1)
    larmor = 1e7
    for _ in range(5):
        g, p = rng.uniform(-1e4, 1e4, 3), rng.uniform(-0.1, 0.1, 3)
        bx = g[0] * p[2] - g[2] * p[0] / 2
        by = g[1] * p[2] - g[2] * p[1] / 2
        bz = larmor + g @ p
        exact = np.sqrt(bx**2 + by**2 + bz**2) - bz
        found = (concomitant_drive(g[None], larmor) @ concomitant_place(p[None]).T).item()
        # The next order is the field itself over B0: 1e3 / 1e7.
        assert found == pytest.approx(exact, rel=1e-3)


def test_lagging_is_the_convolution_of_the_slope():
    time = np.array([0.0, 1e-3, 1.2e-3, 1.2e-3, 4e-3])
    amplitude = np.array([0.0, 2.0, 2.0, -1.0, 0.0])
    constant = 7e-4
    found = lagging(time, amplitude, constant)
    slopes = [(0.0, 1e-3, 2e3), (1.2e-3, 4e-3, 1 / 2.8e-3)]
    truth = sum(
        quad(lambda t, s=s: s * np.exp(-(4e-3 - t) / constant), a, b)[0] for a, b, s in slopes
    ) - 3.0 * np.exp(-(4e-3 - 1.2e-3) / constant)
    assert found[-1] == pytest.approx(truth, rel=1e-9)


def test_a_flat_response_hands_waveforms_through():
    gain = np.zeros((3, 4, 2000), complex)
    gain[[0, 1, 2], [1, 2, 3]] = 1.0
    asked = np.random.default_rng(0).standard_normal((3, 400))
    # 2000 lines of 60 Hz reach 60 kHz, beyond the 50 kHz of a raster of 10 us.
    made = respond(asked, 1e-5, Response(gain=gain, spacing=60.0, source="made up"))
    assert np.abs(made[1:] - asked).max() < 1e-12
    assert not made[0].any()


@pytest.mark.parametrize("given", [{"axis": 3, "time": 1e-3}, {"axis": 0, "time": 0.0}])
def test_impossible_eddy_currents_are_refused(given):
    with pytest.raises(ProtocolError, match="eddy current"):
        Eddy(**given)


def test_impossible_nonlinearity_is_refused():
    with pytest.raises(ProtocolError, match="at most"):
        Nonlinearity(third=(0.0, 2.0, 0.0))
