"""A sample of the broken inputs of ``validation/robust_inputs.py``: 10 s, one line, exit code 2."""

import collections

import pytest

import scanroom.exam.design  # loading it with run-time type checks takes seconds, done here
import scanroom.mri.hardware.siemens  # noqa: F401 - likewise
from validation.robust_inputs import SECONDS, attempts, left_behind


@pytest.mark.slow
def test_broken_inputs_end_in_one_line_and_leave_nothing(shared_data, tmp_path):
    assert shared_data.is_dir()
    results = attempts(tmp_path, 0.08)
    bad = [item for item in results if not item["refused"] and not item["accepted"]]
    assert [(item["text"], item["seconds"], item["input"][2]) for item in bad] == []
    assert max(item["seconds"] for item in results) <= SECONDS
    assert [path for item in results for path in item["left"]] == []
    refused = collections.Counter(item["kind"] for item in results if item["refused"])
    # A legal file may come of a mutation by chance: in the whole run four in five are refused.
    assert sum(refused.values()) >= 0.6 * len(results)
    assert set(refused) == {"seq", "h5", "mrd", "dat", "toml", "subject"}


def test_what_a_refusal_leaves_is_found(tmp_path):
    arguments = ["mri", "sequence", "x", "--out", str(tmp_path / "x.seq")]
    assert left_behind(arguments) == []
    (tmp_path / "out").mkdir()
    assert left_behind([*arguments[:-1], str(tmp_path / "out")]) == []
    (tmp_path / ".part-0-x.seq").write_text("half")
    assert left_behind(arguments) == [str(tmp_path / ".part-0-x.seq")]
