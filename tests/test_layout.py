"""The tree keeps its shape."""

import dataclasses
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import scanroom
from scanroom.core.units import units

ROOT = Path(scanroom.__file__).parent
REPOSITORY = Path(__file__).parents[1]
ROOMS = {
    "system", "protocol", "drive", "limits", "hardware", "twin", "raw", "recon", "prescan",
    "calibration", "maps", "quality", "report", "__init__", "__pycache__",
}  # fmt: skip


@pytest.mark.parametrize("instrument", ["mri", "elastography", "neuromodulation"])
def test_instruments_have_the_same_rooms(instrument):
    assert {path.stem for path in (ROOT / instrument).iterdir()} <= ROOMS


def test_modules_stay_short():
    long = {
        path.name: n
        for path in ROOT.rglob("*.py")
        if (n := len(path.read_text().splitlines())) > 500
    }
    assert long == {}


def test_every_float_of_a_protocol_has_a_unit():
    package = importlib.import_module("scanroom.mri.protocol")
    names = [item.name for item in pkgutil.iter_modules(package.__path__, "scanroom.mri.protocol.")]
    records = {
        record
        for name in names
        for record in vars(importlib.import_module(name)).values()
        if dataclasses.is_dataclass(record) and isinstance(record, type)
    }
    assert records
    for record in records:
        floats = {
            field.name for field in dataclasses.fields(record) if field.type in (float, "float")
        }
        assert floats <= units(record).keys(), record


def test_every_module_has_a_docstring_and_no_assert():
    for path in ROOT.rglob("*.py"):
        text = path.read_text()
        assert text.lstrip().startswith(('"""', 'r"""')), path
        assert not re.search(r"^\s*assert ", text, re.MULTILINE), path


def test_no_tracked_file_names_a_download_address():
    for name in ["pyproject.toml", "constraints.txt", "Makefile"]:
        assert not re.search(r"index-url|find-links|https?://", (REPOSITORY / name).read_text()), (
            name
        )
