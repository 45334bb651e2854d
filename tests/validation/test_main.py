"""The harness tells a claim that fails, one that is not a number, and one that cannot be run."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from validation import __main__ as harness
from validation.table import KEYS, markdown, write_json


def claim(**change):
    whole = dict.fromkeys(KEYS, "x") | {"value": np.float32(0.5), "passes": np.True_}
    return whole | change


def collect(*claims):
    return harness.collect("x", lambda _: SimpleNamespace(claims=lambda: list(claims)))


def test_a_sound_claim_passes_and_survives_json(tmp_path):
    found = collect(claim())
    write_json(tmp_path / "a" / "claims.json", found)
    assert json.loads((tmp_path / "a" / "claims.json").read_text())[0]["passes"] is True
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["claims.json"]


@pytest.mark.parametrize("value", [float("nan"), np.inf])
def test_a_value_that_is_no_number_never_passes(value):
    assert not collect(claim(value=value))[0]["passes"]


def test_a_claim_without_a_source_fails_as_a_whole():
    bare = claim()
    del bare["source"]
    found = collect(bare)
    assert not found[0]["passes"]
    assert "source" in found[0]["value"]


def test_a_validation_that_breaks_is_a_claim_not_met():
    def load(_):
        raise OSError("disk gone")

    found = harness.collect("x", load)
    assert not found[0]["passes"]
    assert "disk gone" in found[0]["value"]


def test_exit_code_is_1_when_a_claim_fails(monkeypatch, capsys):
    bad, good = collect(claim(passes=False)), collect(claim())
    monkeypatch.setattr(harness, "collect", lambda _: bad)
    monkeypatch.setattr(harness, "names", lambda: ["x"])
    assert harness.main(["x"]) == 1
    monkeypatch.setattr(harness, "collect", lambda _: good)
    assert harness.main(["x"]) == 0
    assert capsys.readouterr().err == ""


def test_an_unknown_validation_is_refused_with_those_there_are(capsys):
    assert harness.main(["nosuch"]) == 2
    said = capsys.readouterr().err
    assert "nosuch" in said
    assert "mri_classes" in said


def test_a_bar_does_not_break_the_table():
    assert markdown([{"a": "x|y\nz"}], ("a",)).splitlines()[2] == "| x\\|y z |"
