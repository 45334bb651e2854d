"""What another program prints is judged, never trusted: no number, no pass."""

import json
import math
import subprocess
from pathlib import Path

import pytest

from validation import mri_acr_hazen as acr
from validation.mri_acr_hazen import TASKS, final, furthest, measure, resolved

GEOMETRY, THICKNESS, _, RESOLUTION, *_ = TASKS


def answer(value, subtype="slice width"):
    row = {"value": value, "subtype": subtype, "visibility": "final", "type": "measured"}
    return "INFO hazen\n" + json.dumps({"measurements": [row]}, indent=2)


@pytest.fixture
def hazen(monkeypatch, tmp_path):
    """Stand in for the program: prints what the test wants."""

    def prints(text):
        done = subprocess.CompletedProcess([], 0, stdout=text, stderr="it went wrong")
        monkeypatch.setattr(acr, "environment", lambda _: Path("python"))
        monkeypatch.setattr(acr.subprocess, "run", lambda *_, **__: done)
        return tmp_path

    return prints


def test_a_printed_number_is_taken(hazen):
    value, printed = measure(THICKNESS, hazen(answer(5.12)))
    assert (value, printed) == (5.12, "5.12")
    assert THICKNESS.passes(value)


@pytest.mark.parametrize("text", [answer(math.nan), answer(None), "", "{", "\n{}", "\n{broken"])
def test_anything_else_is_not_a_number_and_never_passes(hazen, text):
    value, why = measure(THICKNESS, hazen(text))
    assert math.isnan(value)
    assert why
    assert not any(task.passes(value) for task in TASKS)


def test_holes_that_are_not_told_apart_fail():
    rows = [{"subtype": "Upper Left", "value": 0.9}, {"subtype": "Lower Right", "value": -1}]
    assert not RESOLUTION.passes(max(resolved(rows)))


def test_the_worst_length_is_judged():
    assert furthest([190.1, 187.5, 191.9]) == 187.5
    assert not GEOMETRY.passes(187.5)


def test_verdicts_of_the_program_are_not_numbers():
    rows = [{"value": True, "visibility": "final"}, {"value": 39, "visibility": "final"}]
    assert list(final(rows)) == [39.0]
