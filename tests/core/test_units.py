"""Units are read off annotations."""

from dataclasses import dataclass

from scanroom.core.units import Metre, Second, units


def test_units_of_a_record_are_those_of_its_annotations():
    @dataclass
    class Echo:
        time: Second
        position: Metre
        n_echoes: int

    assert units(Echo) == {"time": "s", "position": "m"}
