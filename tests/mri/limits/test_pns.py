"""SAFE against a closed form, another program and its own ceilings."""

import time
from dataclasses import replace

import numpy as np
import pytest
from pypulseq.utils.safe_pns_prediction import safe_example_hw, safe_gwf_to_pns

from scanroom.mri.drive.model import Gradient
from scanroom.mri.drive.seqfile import read_seq
from scanroom.mri.limits.pns import CEILING, EXAMPLE_COIL, pns_limit, stimulation
from tests.mri.limits.test_hardware import GAMMA, SYSTEM, drive

RASTER = 10e-6
EQUAL = (1.0, 1.0, 1.0)
NOTHING = Gradient(time=np.zeros(0), amplitude=np.zeros(0))


@pytest.mark.parametrize(
    ("name", "weights"),
    [("write_gre", EQUAL), ("write_epi", (0.8, 1.0, 0.7)), ("write_radial_gre", (0.8, 1.0, 0.7))],
)
def test_peak_matches_pypulseq(shared_data, name, weights):
    path = shared_data / "mri_seq/imr-framework+pypulseq/tests/expected_output" / f"{name}.seq"
    whole = read_seq(path)
    # A piece of 20 ms: pypulseq convolves with 10 000 points.
    short = tuple(
        Gradient(time=g.time[g.time < 0.02], amplitude=g.amplitude[g.time < 0.02])
        for g in whole.gradients
    )
    made = replace(whole, gradients=short)
    at = (np.arange(int(0.025 / RASTER)) + 0.5) * RASTER
    wave = np.stack(
        [np.interp(at, g.time, g.amplitude, left=0, right=0) / GAMMA for g in made.gradients], 1
    )
    parts, _ = safe_gwf_to_pns(wave, np.zeros(len(at)), RASTER, safe_example_hw())
    theirs = np.sqrt(((parts * np.array(weights)) ** 2).sum(axis=1)).max()
    ours = stimulation(made, GAMMA, RASTER, EXAMPLE_COIL, weights)
    # Same recursion; pypulseq cuts its filters at 1e-16.
    assert ours == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("axis", range(3))
def test_single_ramp_charges_each_filter(axis):
    slew, length = 100.0, 1e-3
    ramp = Gradient(
        time=np.array([0.01, 0.01 + length, 0.1, 0.2]),
        amplitude=slew * length * GAMMA * np.array([0.0, 1.0, 1.0, 0.0]),
    )
    gradients = [NOTHING] * 3
    gradients[axis] = ramp
    made = replace(drive(), gradients=tuple(gradients))
    nerve = EXAMPLE_COIL[axis]
    charged = sum(
        w * (1 - np.exp(-length / tau)) for w, tau in zip(nerve.weight, nerve.tau, strict=True)
    )
    wanted = 100 * nerve.scale / nerve.limit * slew * charged
    # First order in raster / tau of the fastest filter, weight 0.1 at most where tau is 30 us.
    assert stimulation(made, GAMMA, RASTER, EXAMPLE_COIL, EQUAL) == pytest.approx(wanted, rel=0.01)
    # The finer the clock, the closer: the recursion tends to the differential equation.
    fine = stimulation(made, GAMMA, RASTER / 20, EXAMPLE_COIL, EQUAL)
    assert fine == pytest.approx(wanted, rel=5e-4)


@pytest.mark.parametrize("mode", ["normal", "first-level"])
def test_limit_trips_just_above_its_ceiling(mode):
    limit = pns_limit(SYSTEM, mode)
    assert limit.ceiling == CEILING[mode] == {"normal": 80.0, "first-level": 100.0}[mode]
    value = limit.measure(drive(amplitude=400000, rise=500))
    fits = 400000 * limit.ceiling / value
    assert limit.measure(drive(amplitude=0.999 * fits, rise=500)) <= limit.ceiling
    assert limit.measure(drive(amplitude=1.001 * fits, rise=500)) > limit.ceiling


def test_ten_minutes_take_seconds():
    n = 120_000
    start = np.arange(n) * 5e-3
    time_knots = (start[:, None] + np.array([0, 3e-4, 1e-3, 1.3e-3])).reshape(-1)
    amplitude = np.tile([0.0, 4e5, 4e5, 0.0], n)
    busy = Gradient(time=time_knots, amplitude=amplitude)
    made = replace(drive(), gradients=(busy, busy, busy), block_edge=np.array([0.0, 600.0]))
    once = replace(made, gradients=tuple(Gradient(time=busy.time[:8], amplitude=busy.amplitude[:8])
                                         for _ in range(3)))  # fmt: skip
    peak = stimulation(once, GAMMA, RASTER)
    begin = time.perf_counter()
    long = stimulation(made, GAMMA, RASTER)
    assert time.perf_counter() - begin < 20
    # Equal pulses; the slowest filter (3 ms) adds a little from one to the next.
    assert peak <= long < 1.3 * peak
