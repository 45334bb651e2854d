"""The gate lets nothing pass that was not measured, and nothing open that was changed."""

from dataclasses import dataclass

import numpy as np
import pytest

from scanroom.core.errors import SafetyRefusal
from scanroom.core.gate import Cleared, Limit, clear, digest


@dataclass(frozen=True)
class Inner:
    values: np.ndarray


@dataclass(frozen=True)
class Waveform:
    parts: tuple[Inner, ...]
    labels: dict
    name: str = "w"


def waveform(peak=1.0):
    return Waveform(parts=(Inner(np.array([0.0, peak])),), labels={"a": 1})


def peak(wave):
    return float(max(part.values.max() for part in wave.parts))


PEAK = Limit(
    name="peak", ceiling=2.0, unit="T", source="data sheet", measure=peak, remedy="Lower it."
)


def test_a_drive_below_every_ceiling_opens():
    wave = waveform(2.0)
    assert clear(wave, [PEAK]).open() is wave


def test_refusal_lists_every_limit_exceeded_with_value_ceiling_source_remedy():
    twice = [PEAK, Limit("other", 1.0, "1", "standard, clause 7", lambda _: 5.0, "Stop.")]
    with pytest.raises(SafetyRefusal) as refusal:
        clear(waveform(3.0), twice)
    lines = str(refusal.value).splitlines()
    assert len(lines) == 2
    assert "peak is 3 T; the ceiling is 2 T (data sheet). Lower it." in lines[0]
    assert "clause 7" in lines[1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("nan")])
def test_what_is_not_a_number_below_the_ceiling_never_passes(value):
    broken = Limit("x", 1.0, "1", "s", lambda _: value, "r")
    with pytest.raises(SafetyRefusal):
        clear(waveform(), [broken])


def test_no_limits_no_scan():
    with pytest.raises(SafetyRefusal, match="without limits"):
        clear(waveform(), [])


def test_nobody_clears_by_hand():
    with pytest.raises(SafetyRefusal, match=r"gate\.clear"):
        Cleared(waveform(), (), object())


def test_an_array_changed_deep_inside_after_clearing_does_not_open():
    cleared = clear(waveform(), [PEAK])
    cleared._drive.parts[0].values[0] = 1.5
    with pytest.raises(SafetyRefusal, match="altered"):
        cleared.open()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((1, 23), (12, 3)),
        (("ab", "c"), ("a", "bc")),
        ((np.zeros(2),), (np.zeros((2, 1)),)),
        ((np.zeros(2, np.float32),), (np.zeros(1, np.float64),)),
        (({"a": 1},), ({"b": 1},)),
        ((((1,), 2),), ((1, (2,)),)),
    ],
)
def test_records_that_differ_have_different_fingerprints(left, right):
    assert digest(left) != digest(right)


def test_what_cannot_be_fingerprinted_is_refused():
    with pytest.raises(SafetyRefusal, match="fingerprinted"):
        digest((object(),))
