"""One scan, from the order to the report."""

import json
from dataclasses import replace

import pytest

from scanroom.core.errors import FormatError, ProtocolError, SafetyRefusal, ScanroomError
from scanroom.exam import scan as room
from scanroom.exam.scan import play, scan
from scanroom.exam.station import Station
from scanroom.mri.drive.compile import write_sequence
from scanroom.mri.protocol import Geometry, GradientEcho
from scanroom.mri.protocol.document import dump_protocol
from scanroom.mri.system import system

SMALL = GradientEcho(
    name="small",
    geometry=Geometry(
        field_of_view_read=0.24, field_of_view_phase=0.24, matrix_read=16, matrix_phase=16,
        n_slices=3, slice_thickness=4e-3, slice_gap=6e-3,
    ),
    echo_time=5e-3, repetition_time=40e-3, bandwidth=500.0, flip_angle=0.35, dummies=0,
)  # fmt: skip
STATION = Station(subject="sphere", n_coils=2)


def contents(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def files(tmp_path):
    """A protocol and a sequence file, in a folder of their own."""
    folder = tmp_path / "orders"
    folder.mkdir()
    (folder / "small.toml").write_text(dump_protocol(SMALL))
    write_sequence(SMALL, system("3T"), folder / "small.seq")
    (folder / "cut.seq").write_text((folder / "small.seq").read_text()[:2000])
    return folder


@pytest.mark.parametrize("before", ["no folder", "an empty folder"])
@pytest.mark.parametrize(
    ("order", "station", "refusal"),
    [
        # The low-field scanner has weaker gradients than the sequence was made for.
        ("small.seq", replace(STATION, system="0.05T"), SafetyRefusal),
        ("small.toml", replace(STATION, subject="absent"), ProtocolError),
        ("small.seq", replace(STATION, subject="absent"), ProtocolError),
        ("cut.seq", STATION, ScanroomError),
    ],
)
def test_what_is_refused_leaves_nothing_behind(tmp_path, files, before, order, station, refusal):
    out = tmp_path / "exam"
    if before == "an empty folder":
        out.mkdir()
    there = contents(tmp_path)
    with pytest.raises(refusal):
        (play if order.endswith(".seq") else lambda path, *rest: scan(str(path), *rest))(
            files / order, station, out
        )
    assert contents(tmp_path) == there


def test_a_refused_scan_leaves_an_exam_as_it_was(tmp_path, files, monkeypatch):
    out = tmp_path / "exam"
    play(files / "small.seq", STATION, out)
    there = contents(out)
    record = (out / "exam.json").read_text()

    def refuse(*_):
        raise SafetyRefusal("too much")

    monkeypatch.setattr(room, "clear", refuse)
    for order in (lambda: scan(str(files / "small.toml"), STATION, out),
                  lambda: play(files / "small.seq", STATION, out)):  # fmt: skip
        with pytest.raises(SafetyRefusal, match="too much"):
            order()
    assert contents(out) == there
    assert (out / "exam.json").read_text() == record


def test_the_sequence_of_a_run_cut_short_stays_beside_its_readouts(tmp_path, files):
    out = tmp_path / "exam"
    for room_name, name in (("raw", "01_small.h5.part"), ("sequences", "01_small.seq")):
        (out / room_name).mkdir(parents=True)
        (out / room_name / name).write_text("of the run that was cut short")
    there = contents(out)
    with pytest.raises(FormatError, match="never overwritten"):
        play(files / "small.seq", STATION, out)
    assert contents(out) == there
    assert "cut short" in (out / "sequences" / "01_small.seq").read_text()


def test_the_sequence_kept_is_the_one_played_to_the_last_byte(tmp_path, files):
    out = tmp_path / "exam"
    play(files / "small.seq", STATION, out)
    (scanned,) = json.loads((out / "exam.json").read_text())["scans"]
    assert (out / scanned["sequence"]).read_bytes() == (files / "small.seq").read_bytes()
