"""Whatever happens in a run, the device ends stopped and the stop is told."""

from dataclasses import dataclass

import pytest

from scanroom.core.device import Device
from scanroom.core.engine import Start, Stop, run
from scanroom.core.errors import DeviceError, InterlockOpen
from scanroom.core.gate import Limit, clear


@dataclass(frozen=True)
class Drive:
    level: float = 1.0


LEVEL = Limit("level", 2.0, "1", "bench", lambda drive: drive.level, "Lower it.")


class Bench:
    """A device that remembers whether its output is on."""

    name = "bench-1"

    def __init__(self, fails_at=None):
        self.output, self.fails_at = 0.0, fails_at

    def arm(self, cleared):
        self.drive = cleared.open()

    def play(self):
        self.output = self.drive.level
        for index in range(4):
            if index == self.fails_at:
                raise DeviceError("amplifier is off; switch it on.")
            yield index
        self.output = 0.0

    def stop(self):
        self.output = 0.0


@pytest.fixture
def cleared():
    return clear(Drive(), [LEVEL])


def test_a_whole_run_is_start_data_completed(cleared):
    seen, device = [], Bench()
    run(device, cleared, seen.append)
    assert isinstance(device, Device)
    assert isinstance(seen[0], Start)
    assert seen[1:-1] == [0, 1, 2, 3]
    assert seen[-1] == Stop(seen[0].uid, "completed")


def test_a_device_error_in_mid_run_stops_the_outputs(cleared):
    seen, device = [], Bench(fails_at=2)
    with pytest.raises(DeviceError):
        run(device, cleared, seen.append)
    assert device.output == 0.0
    assert seen[-1].outcome == "stopped"
    assert "amplifier" in seen[-1].reason


def test_an_interlock_open_before_the_first_pulse_lets_nothing_out(cleared):
    device = Bench()
    seen = []

    def door():
        raise InterlockOpen("door is open; close it.")

    with pytest.raises(InterlockOpen):
        run(device, cleared, seen.append, [door])
    assert device.output == 0.0
    assert not [item for item in seen if isinstance(item, int)]


def test_a_writer_that_fails_stops_the_outputs(cleared):
    device = Bench()

    def emit(item):
        if item == 1:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run(device, cleared, emit)
    assert device.output == 0.0


def test_keyboard_interrupt_stops_the_outputs(cleared):
    device = Bench()

    def emit(item):
        if item == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(device, cleared, emit)
    assert device.output == 0.0
