"""Pulses on two pools against exact matrices and an adaptive integration."""

import numpy as np
import pytest

from scanroom.physics.spins.engine import simulate
from validation import two_pools
from validation.mri_bloch_truths import EXACT, HARD, Timeline, sinc
from validation.mri_magnetisation_transfer import CASES, SHOT, tissue

CHOSEN = ("one pulse of 15 ms", "spoiled gradient echo, pulses of 0.5", "16 echoes", "pulse under")


@pytest.mark.parametrize(
    ("case", "bound"),
    [pytest.param(*c[1:3], id=c[0]) for c in CASES if c[0].startswith(CHOSEN)],
)
def test_isochromats_of_two_pools_agree_with(case, bound):
    assert case() <= bound


@pytest.mark.parametrize("flip", [15.0, 90.0, 180.0])
@pytest.mark.parametrize("duration", [0.1e-3, 3e-3])
def test_one_pulse_leaves_what_exact_matrices_leave(duration, flip):
    line, who = Timeline(), tissue(transmit=0.9 * np.exp(0.8j), offset=60.0)
    line.pulse(np.radians(flip), 0.3, sinc(duration, 100), frequency=30.0).window(1, SHOT)
    line.free(20e-3).pulse(np.pi / 2, 0.0, HARD).window(1, SHOT)
    found = np.array([s[:, 0] for s in simulate(line.program(), who, EXACT)])
    # Second order in the parts of the pulse: 4e-5 of equilibrium at most.
    assert np.abs(found - two_pools.played(line.program(), who)).max() < 1e-4


def test_twice_the_transmit_field_saturates_as_twice_the_pulse():
    shape, read = sinc(1e-3, 60), np.pi / 2
    found = []
    for flip, transmit in ((2.0, 1.0), (1.0, 2.0)):
        line = Timeline().pulse(flip, 0.0, shape, frequency=6e3).free(5e-3)
        line.pulse(read / transmit, 0.0, HARD).window(1, SHOT)
        found.append(next(iter(simulate(line.program(), tissue(transmit=transmit), EXACT)))[0, 0])
    plain = Timeline().free(6e-3).pulse(read, 0.0, HARD).window(1, SHOT)
    alone = next(iter(simulate(plain.program(), tissue(), EXACT)))[0, 0]
    assert abs(found[0] - found[1]) < 1e-6
    assert abs(found[0] - alone) > 1e-3
