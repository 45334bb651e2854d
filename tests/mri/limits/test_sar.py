"""SAR against closed forms."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from scanroom.mri.limits.sar import (
    BRAIN_CONDUCTIVITY,
    BRAIN_DENSITY,
    body_sar_per_square_tesla,
    head_sar_per_square_tesla,
    mean_square_b1,
    sar_limits,
)
from tests.mri.limits.test_hardware import GAMMA, SYSTEM, drive


def train(n: int, spacing: float, peak: float = 300.0):
    made = drive(peak=peak)
    pulses = replace(
        made.pulses,
        start=100e-6 + np.arange(n) * spacing,
        shape=np.zeros(n, np.int64),
        frequency=np.zeros(n),
        phase=np.zeros(n),
        use=("e",) * n,
    )
    return replace(made, pulses=pulses, block_edge=np.array([0.0, n * spacing]))


@pytest.mark.parametrize(
    ("n", "spacing", "span", "wanted"),
    [
        (1000, 20e-3, 10.0, 500 * 1e-3 / 10.0),
        # Sixty seconds repeated without a pause.
        (3000, 20e-3, 360.0, 1e-3 / 20e-3),
        # One second counts as ten.
        (50, 20e-3, 360.0, 50 * 1e-3 / 10.0),
    ],
)
def test_mean_square_of_hard_pulses(n, spacing, span, wanted):
    b1 = 300.0 / GAMMA
    # A pulse at the end of the span may count in full: one of 500 at most.
    assert mean_square_b1(train(n, spacing), GAMMA, span) == pytest.approx(b1**2 * wanted, rel=3e-3)


def test_ten_seconds_in_a_long_sequence_find_the_burst():
    made = train(2000, 20e-3)
    late = made.pulses.start.copy()
    late[500:] += 300.0
    burst = replace(
        made,
        pulses=replace(made.pulses, start=late),
        block_edge=np.array([0.0, 400.0]),
    )
    b1 = 300.0 / GAMMA
    assert mean_square_b1(burst, GAMMA, 10.0) == pytest.approx(b1**2 * 0.05, rel=3e-3)
    assert mean_square_b1(burst, GAMMA, 360.0) == pytest.approx(b1**2 * 2.0 / 360, rel=3e-3)


def test_head_is_the_mean_over_a_sphere():
    frequency, mass = 123e6, 4.7
    radius = (3 * mass / (4 * math.pi * BRAIN_DENSITY)) ** (1 / 3)
    # Around one axis E = omega B rho / 2; the mean of its square over the sphere, two axes.
    share = quad(lambda r: r**4, 0, radius)[0] * quad(lambda u: 1 - u * u, -1, 1)[0] * 2 * math.pi
    mean = share / (4 / 3 * math.pi * radius**3)
    field = (2 * math.pi * frequency / 2) ** 2 * mean
    wanted = 2 * BRAIN_CONDUCTIVITY * field / 2 / BRAIN_DENSITY
    assert head_sar_per_square_tesla(frequency, mass) == pytest.approx(wanted, rel=1e-9)


def test_sar_grows_with_the_square_of_the_field_and_never_with_less_mass():
    assert body_sar_per_square_tesla(128e6, 70.0) == pytest.approx(0.58e12)
    assert body_sar_per_square_tesla(64e6, 70.0) == pytest.approx(0.145e12)
    assert body_sar_per_square_tesla(128e6, 244.0) == pytest.approx(0.58e12 * 4 ** (1 / 3))


@pytest.mark.parametrize(("mode", "body"), [("normal", 2.0), ("first-level", 4.0)])
def test_ceilings_are_those_of_the_standard(mode, body):
    ceilings = [limit.ceiling for limit in sar_limits(SYSTEM, mode, 70.0, 4.7)]
    assert ceilings == [body, 2 * body, 3.2, 6.4]


@pytest.mark.parametrize("index", range(4))
def test_each_limit_trips_just_above_its_ceiling(index):
    limit = sar_limits(SYSTEM, "normal", 70.0, 4.7)[index]
    value = limit.measure(train(1000, 20e-3))
    fits = 300.0 * math.sqrt(limit.ceiling / value)
    assert limit.measure(train(1000, 20e-3, 0.999 * fits)) <= limit.ceiling
    assert limit.measure(train(1000, 20e-3, 1.001 * fits)) > limit.ceiling
