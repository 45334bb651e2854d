"""RF shims at the gate: channels, their amplitude, power and what tissue takes."""

from dataclasses import replace

import numpy as np
import pytest

from scanroom.core.gate import Finding
from scanroom.mri.drive.model import Shims
from scanroom.mri.limits import limits_for
from scanroom.physics.transmit_array import circular
from tests.mri.limits.test_hardware import GAMMA, SYSTEM, drive

EIGHT = replace(SYSTEM, n_transmit=8)
OWN = circular(8)


def shimmed(weight, of_pulse=(0,), **changes):
    return replace(
        drive(**changes),
        shims=Shims(
            weight=np.atleast_2d(weight).astype(complex), of_pulse=np.array(of_pulse, np.int64)
        ),
    )


def values(made, scanner=EIGHT):
    return {limit.name: limit.measure(made) for limit in limits_for(scanner)}


def refused(made, scanner=EIGHT):
    findings = [Finding(limit, limit.measure(made)) for limit in limits_for(scanner)]
    return {finding.limit.name for finding in findings if not finding.passes}


def named(found, part):
    return next(value for name, value in found.items() if part in name)


def test_the_circular_mode_counts_as_a_drive_without_shims():
    plain, shaped = values(drive()), values(shimmed(OWN))
    for name, value in plain.items():
        # At 3 T no mode deposits more than the circular one: rounding alone.
        assert shaped[name] == pytest.approx(value, rel=1e-9), name


def test_one_channel_alone_is_driven_as_hard_as_its_own_amplifier():
    # Unit power through one amplifier of eight: sqrt(8) times its amplitude, 8 times its power.
    plain, alone = values(drive()), values(shimmed(np.eye(8)[0]))
    assert named(alone, "peak B1") == pytest.approx(np.sqrt(8) * named(plain, "peak B1"))
    part = "mean transmitter power"
    assert named(alone, part) == pytest.approx(8 * named(plain, part))
    assert named(alone, "head SAR over 10 s") == pytest.approx(named(plain, "head SAR over 10 s"))


def test_peak_is_at_least_what_all_channels_make_in_phase():
    rng = np.random.default_rng(0)
    for _ in range(20):
        weight = rng.normal(size=(8, 2)) @ [1, 1j]
        in_phase = 300 / GAMMA * np.abs(weight).sum() / np.sqrt(8)
        assert named(values(shimmed(weight)), "peak B1") >= in_phase * (1 - 1e-12)


def test_power_counts_with_the_worst_mode_at_seven_tesla():
    seven = replace(EIGHT, field=7.0)
    plain, shaped = values(drive(), seven), values(shimmed(2 * OWN), seven)
    ratio = named(shaped, "head SAR over 10 s") / named(plain, "head SAR over 10 s")
    # Four times the power; a mode of the loaded array deposits 1.8 times what the circular does.
    assert ratio == pytest.approx(4 * 1.82, rel=0.02)


@pytest.mark.parametrize("part", ["peak B1", "SAR over 10 s"])
def test_strong_weights_are_refused(part):
    weak, strong = shimmed(OWN), shimmed(40 * OWN)
    assert not any(part in name for name in refused(weak))
    assert any(part in name for name in refused(strong))


def test_other_numbers_of_channels_are_refused():
    assert refused(shimmed(OWN)) == set()
    assert refused(shimmed(circular(4))) == {
        "transmit channels of the RF shims more or less than 8"
    }
    assert any("transmit channels" in name for name in refused(shimmed(OWN), SYSTEM))


@pytest.mark.parametrize("of_pulse", [(1,), (-2,), (0, 0), ()])
def test_sets_that_are_not_there_are_refused(of_pulse):
    found = refused(shimmed(OWN, of_pulse))
    assert {"peak B1", "transmit channels of the RF shims more or less than 8"} <= found


def test_a_weight_that_is_no_number_passes_nothing():
    weight = OWN.copy()
    weight[3] = np.nan
    assert len(refused(shimmed(weight))) == len(limits_for(EIGHT))
