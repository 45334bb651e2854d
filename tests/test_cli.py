"""Command line: what is wrong is said in one line with exit code 2, and nothing is made."""

import json
import sys
from pathlib import Path

import pytest

from scanroom import __version__
from scanroom.cli import run
from scanroom.mri.protocol import preset_names

PRESET = "brain-t1-gre"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with a file and a folder that are no input for anything."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "words.txt").write_text("no exam\n")
    (tmp_path / "empty.seq").write_text("")
    return tmp_path


def command(monkeypatch, capsys, line: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    monkeypatch.setattr(sys, "argv", ["scanroom", *line.split()])
    with pytest.raises(SystemExit) as end:
        run()
    said = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, said.out, said.err


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("exam heart", "heart"),
        ("exam --system 9T", "9T"),
        ("exam --coils 0", "coils is 0"),
        ("exam --coils 65", "coils is 65"),
        ("exam --coils many", "--coils"),
        ("exam --seed -1", "seed is -1"),
        ("exam --out words.txt", "words.txt"),
        ("exam --out /proc/exam", "/proc/exam"),
        ("mri scan nonsense", "nonsense"),
        ("mri scan absent.toml", "absent.toml"),
        ("mri scan folder", "folder"),
        ("mri scan empty.seq", "empty.seq"),
        (f"mri scan {PRESET} --system 9T", "9T"),
        (f"mri scan {PRESET} --mode research", "research"),
        (f"mri scan {PRESET} --coils -3", "coils is -3"),
        (f"mri scan {PRESET} --workers 0", "workers is 0"),
        (f"mri scan {PRESET} --workers two", "--workers"),
        (f"mri scan {PRESET} --seed 1.5", "--seed"),
        (f"mri scan {PRESET} --subject unicorn", "unicorn"),
        (f"mri scan {PRESET} --subject folder", "folder"),
        (f"mri scan {PRESET} --subject words.txt", "words.txt"),
        (f"mri scan {PRESET} --out words.txt", "words.txt"),
        (f"mri scan {PRESET} --out .", "not empty"),
        ("mri play absent.seq", "absent.seq"),
        ("mri play folder", "folder"),
        ("mri play words.txt", "words.txt"),
        ("mri play empty.seq", "empty.seq"),
        ("mri play --seed 1", "sequence"),
        ("mri sequence nonsense --out x.seq", "nonsense"),
        ("mri sequence words.txt --out x.seq", "words.txt"),
        (f"mri sequence {PRESET} --system 9T --out x.seq", "9T"),
        (f"mri sequence {PRESET} --out folder", "folder"),
        (f"mri sequence {PRESET} --out words.txt/x.seq", "words.txt"),
        (f"mri sequence {PRESET}", "--out"),
        ("mri check absent.seq", "absent.seq"),
        ("mri check empty.seq", "empty.seq"),
        ("mri check nonsense", "nonsense"),
        (f"mri check {PRESET} --mode second-level", "second-level"),
        (f"mri check {PRESET} --system 9T", "9T"),
        ("mri recon absent.h5", "absent.h5"),
        ("mri recon folder", "folder"),
        ("mri recon words.txt", "words.txt"),
        ("mri recon words.txt --partial-fourier magic", "magic"),
        ("mri recon words.txt --off-resonance magic", "magic"),
        ("mri recon words.txt --girf words.txt", "words.txt"),
        ("mri recon words.txt --unwarp words.txt", "words.txt"),
        ("mri recon words.txt --replicas 1", "replicas is 1"),
        ("mri recon words.txt --workers 0", "workers is 0"),
        ("mri recon words.txt --farm nowhere", "nowhere"),
        ("mri import absent.dat --out x.h5", "absent.dat"),
        ("mri import words.txt --out x.h5", "words.txt"),
        ("mri import folder --out x.h5", "folder"),
        ("mri import words.txt --seq empty.seq --out x.h5", "words.txt"),
        ("mri recover absent.h5.part", "absent.h5.part"),
        ("mri recover folder", "folder"),
        ("mri recover words.txt", "words.txt"),
        ("mri dance", "dance"),
        ("--dance", "--dance"),
    ],
)
def test_wrong_things_are_named_in_one_line_and_nothing_is_made(
    here, monkeypatch, capsys, line, named
):
    before = contents(here)
    code, out, err = command(monkeypatch, capsys, line)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("scanroom: ")
    assert named in err
    assert contents(here) == before


def test_presets_lists_every_protocol(monkeypatch, capsys):
    code, out, err = command(monkeypatch, capsys, "mri presets")
    assert (code, err) == (0, "")
    assert tuple(out.split()) == preset_names()


def test_sequence_writes_the_file_and_check_takes_it(here, monkeypatch, capsys):
    code, out, _ = command(monkeypatch, capsys, "mri sequence localizer-transverse --out x.seq")
    assert code == 0
    assert "duration" in out
    assert (here / "x.seq").read_text().startswith("# Pulseq")
    code, out, err = command(monkeypatch, capsys, "mri check x.seq")
    assert (code, err) == (0, "")
    assert "the ceiling is" in out


def test_check_prints_one_json_object(monkeypatch, capsys):
    code, out, err = command(monkeypatch, capsys, "mri check localizer-transverse --json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert (record["drive"], record["system"]) == ("localizer-transverse", "3T")
    assert len(record["findings"]) >= 5
    for finding in record["findings"]:
        assert finding["passes"] is True
        assert finding["value"] <= finding["ceiling"]


def test_an_unsafe_sequence_is_refused_with_every_finding(tmp_path, monkeypatch, capsys):
    # The low-field scanner has weaker gradients than the 3 T preset was made for.
    monkeypatch.chdir(tmp_path)
    command(monkeypatch, capsys, f"mri sequence {PRESET} --out x.seq")
    code, out, err = command(monkeypatch, capsys, "mri check x.seq --system 0.05T")
    assert (code, out) == (2, "")
    for line in err.splitlines():
        assert line.startswith("scanroom: ")
        assert "the ceiling is" in line


@pytest.mark.parametrize("line", ["", "mri"])
def test_asking_for_nothing_prints_the_help(monkeypatch, capsys, line):
    code, out, err = command(monkeypatch, capsys, line)
    assert (code, out) == (2, "")
    assert err.lstrip().startswith("Usage: ")
    assert "sequence" in err or "exam" in err


def test_version_is_that_of_the_package(monkeypatch, capsys):
    assert command(monkeypatch, capsys, "version")[:2] == (0, f"{__version__}\n")
