"""Numbers as people say them."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from scanroom.core.units import Metre, Radian, Second, Unit
from scanroom.mri.report.words import duration, quantity, rows_of, title


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.02, "s", "20 ms"),
        (4.0, "s", "4 s"),
        (3e-6, "s", "3 µs"),
        (0.0, "s", "0 ms"),
        (0.00093750001, "m", "0.9375 mm"),
        (1.2217304763960306, "rad", "70°"),
        (127.728e6, "Hz", "127.7 MHz"),
        (0.031, "T/m", "31 mT/m"),
        (1.3e-5, "T", "13 µT"),
        (132.0, "T/m/s", "132 T/m/s"),
        (123456.0, "SNR", "123500 SNR"),
        (2.5e-7, "1", "2.5e-07"),
        (float("nan"), "s", "not known"),
    ],
)
def test_quantities_by_hand(value, unit, said):
    assert quantity(value, unit) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.85, "850 ms"), (59.96, "60 s"), (245.0, "4:05 min"), (3723.4, "1:02:03 h")],
)
def test_durations_by_hand(seconds, said):
    assert duration(seconds) == said


@dataclass(frozen=True)
class Inner:
    centre: Annotated[tuple[float, float], Unit("m")] = (0.0, 0.0)
    angles: tuple[float, ...] = (0.0, 0.0)
    n_slices: int = 3


@dataclass(frozen=True)
class Outer:
    echo_time: Second
    flip_angle: Radian
    width: Metre
    geometry: Inner
    name: str = ""
    swap: bool = False


def test_a_record_is_listed_with_its_units():
    record = Outer(echo_time=0.02, flip_angle=3.141592653589793, width=0.24, geometry=Inner())
    assert rows_of(record, skip=("width",)) == (
        ("Echo time", "20 ms"),
        ("Flip angle", "180°"),
        ("Centre", "0 mm, 0 mm"),
        ("Number of slices", "3"),
    )
    assert title("acs_lines") == "ACS lines"
