"""Each limit of amplifiers and clocks trips on a drive built to exceed it, and only then."""

from dataclasses import replace

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError, SafetyRefusal
from scanroom.core.gate import Finding, clear
from scanroom.mri.drive.model import Drive, Gradient
from scanroom.mri.drive.seqfile import parse_seq
from scanroom.mri.limits import limits_for
from scanroom.mri.system import SYSTEMS

SYSTEM = SYSTEMS["3T"]
GAMMA = SYSTEM.gamma
TEXT = """[VERSION]
major 1
minor 5
revision 0
[BLOCKS]
1 20000 1 1 0 0 0 0
2 80000 0 0 0 0 1 0
[RF]
1 {peak} 1 2 0 500 100 0 0 0 0 e
[TRAP]
1 {amplitude} {rise} 1000 {rise} {delay}
[ADC]
1 100 {dwell} {open} 0 0 0 0 0
[SHAPES]
shape_id 1
num_samples 1000
1
0
0
997
shape_id 2
num_samples 1000
0
0
998
"""
SAFE = {"peak": 300, "amplitude": 4e5, "rise": 500, "delay": 2000, "dwell": 10000, "open": 100}


def drive(**changes: float) -> Drive:
    return parse_seq(TEXT.format(**(SAFE | changes)), "made")


def refused(made: Drive, mode: str = "normal") -> set[str]:
    findings = [Finding(limit, limit.measure(made)) for limit in limits_for(SYSTEM, mode=mode)]
    return {finding.limit.name for finding in findings if not finding.passes}


def test_a_mild_drive_passes_the_gate():
    cleared = clear(drive(), limits_for(SYSTEM))
    assert all(np.isfinite(finding.value) for finding in cleared.findings)


@pytest.mark.parametrize(
    ("below", "above", "name"),
    [
        # 80 mT/m are 3 406 080 Hz/m; 10 ms ramps keep slew and nerves out of it.
        ({"amplitude": 3406000, "rise": 10000}, {"amplitude": 3407000, "rise": 10000}, "amplitude"),
        # 20 mT/m in 100 us are 200 T/m/s.
        ({"amplitude": 851500, "rise": 100}, {"amplitude": 851700, "rise": 100}, "slew rate"),
        ({"amplitude": 85000, "rise": 0}, {"amplitude": 86000, "rise": 0}, "step"),
        # 20 uT are 851.52 Hz.
        ({"peak": 851.5}, {"peak": 851.7}, "peak B1"),
        ({"delay": 2005}, {"delay": 2003}, "gradient knots"),
        ({"dwell": 10100}, {"dwell": 10050}, "dwell"),
    ],
)
def test_limit_trips_just_above_its_ceiling(below, above, name):
    assert not any(name in refusal for refusal in refused(drive(**below)))
    assert any(name in refusal for refusal in refused(drive(**above)))


def test_step_without_a_ramp_is_infinitely_steep():
    limits = {limit.name: limit for limit in limits_for(SYSTEM)}
    assert limits["slew rate on x"].measure(drive(amplitude=400000, rise=0)) == np.inf


def test_dead_times_are_kept():
    made = drive()
    end = float(made.pulses.start[0] + made.shapes[0].edge[-1])
    for gap, passes in ((31e-6, True), (29e-6, False), (-5e-4, False)):
        windows = replace(made.windows, start=np.array([end + gap]))
        found = refused(replace(made, windows=windows))
        assert ("missing time between pulses and receiver windows" not in found) is passes


def test_pulses_and_blocks_off_the_raster_are_refused():
    made = drive()
    late = replace(made, pulses=replace(made.pulses, start=made.pulses.start + 0.4e-6))
    assert any("pulse edges" in name for name in refused(late))
    shifted = replace(made, block_edge=made.block_edge + np.array([0, 3e-6, 0]))
    assert any("block edges" in name for name in refused(shifted))


def test_events_end_with_the_last_block():
    made = drive()
    windows = replace(made.windows, start=np.array([made.duration - 1e-4]))
    assert any("beyond" in name for name in refused(replace(made, windows=windows)))


def test_duty_counts_every_pulse_of_ten_seconds():
    made = drive()
    n = 10_000
    pulses = replace(
        made.pulses,
        start=100e-6 + np.arange(n) * 1.5e-3,
        shape=np.zeros(n, np.int64),
        frequency=np.zeros(n),
        phase=np.zeros(n),
        use=("e",) * n,
    )
    busy = replace(made, pulses=pulses, block_edge=np.array([0.0, 15.0]))
    limits = {limit.name: limit for limit in limits_for(SYSTEM)}
    on = next(limit for name, limit in limits.items() if "transmitter is on" in name)
    power = next(limit for name, limit in limits.items() if "mean transmitter power" in name)
    # 1 ms in every 1.5 ms; one pulse more or less in ten seconds.
    assert on.measure(busy) == pytest.approx(2 / 3, abs=1.1e-4)
    relative = (300 / GAMMA / SYSTEM.max_b1) ** 2
    assert power.measure(busy) == pytest.approx(2 / 3 * relative, rel=2e-4)
    assert on.name in refused(busy)


@pytest.mark.parametrize("part", ["time", "amplitude", "start", "step", "dwell"])
def test_nan_never_passes(part):
    made = drive()
    x, y, z = made.gradients
    if part in {"time", "amplitude"}:
        values = {"time": x.time.copy(), "amplitude": x.amplitude.copy()}
        values[part][1] = np.nan
        made = replace(made, gradients=(Gradient(**values), y, z))
    elif part == "start":
        made = replace(made, pulses=replace(made.pulses, start=np.array([np.nan])))
    elif part == "dwell":
        made = replace(made, windows=replace(made.windows, dwell=np.array([np.nan])))
    else:
        shape = replace(made.shapes[0], step=made.shapes[0].step * np.nan)
        made = replace(made, shapes=(shape,))
    assert len(refused(made)) == len(limits_for(SYSTEM))


def test_refusal_lists_every_finding():
    with pytest.raises(SafetyRefusal) as refusal:
        clear(drive(amplitude=4e6, rise=100, peak=2000), limits_for(SYSTEM))
    text = str(refusal.value)
    for name in ("gradient amplitude on x", "slew rate on x", "peak B1", "nerve stimulation"):
        assert name in text


def test_unknown_mode_and_mass_are_refused():
    with pytest.raises(ProtocolError, match="mode is 'third'"):
        limits_for(SYSTEM, mode="third")
    with pytest.raises(ProtocolError, match="body_mass is nan"):
        limits_for(SYSTEM, body_mass=float("nan"))
