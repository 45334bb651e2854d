"""Pictures of a drive show what the drive holds."""

import dataclasses

import numpy as np
import pytest
from matplotlib.image import imread

from scanroom.core.errors import FormatError
from scanroom.mri.drive.compile import compile_drive, compile_noise
from scanroom.mri.protocol import load_protocol
from scanroom.mri.report.sequence_plot import one_repetition, plot_sequence, plot_trajectory
from scanroom.mri.system import SYSTEMS


def drive_of(name, **changes):
    protocol = load_protocol(name)
    geometry = dataclasses.replace(protocol.geometry, matrix_phase=16, **changes)
    short = {"echo_train_length": 8} if name.endswith("tse") else {}
    protocol = dataclasses.replace(protocol, geometry=geometry, dummies=1, **short)
    return compile_drive(protocol, SYSTEMS["3T"])


def test_one_repetition_holds_one_excitation_its_echoes_and_no_dummy():
    drive = drive_of("brain-t2-tse")
    first, last = one_repetition(drive)
    inside = (drive.pulses.start >= first) & (drive.pulses.start < last)
    assert [drive.pulses.use[i] for i in np.flatnonzero(inside)] == ["e"] + ["r"] * 8
    windows = (drive.windows.start >= first) & (drive.windows.start < last)
    assert windows.sum() == 8
    assert first == pytest.approx(4.0)  # after one dummy of TR = 4 s
    assert last - first < 0.15  # eight echoes 12 ms apart, without the idle rest


def test_noise_has_no_repetition_but_is_drawn_whole(tmp_path):
    drive = compile_noise(SYSTEMS["3T"], 8e-6, 512)
    assert one_repetition(drive) == (0.0, drive.duration)
    plot_sequence(drive, tmp_path / "noise.png")
    assert imread(tmp_path / "noise.png").shape[2] == 4


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (0.3, 0.2, 0.1)])
def test_pictures_are_drawn_in_colour(tmp_path, angles):
    drive = drive_of("brain-se", angles=angles)
    plot_sequence(drive, tmp_path / "sequence.png")
    plot_trajectory(drive, tmp_path / "trajectory.png")
    for name in ("sequence.png", "trajectory.png"):
        picture = imread(tmp_path / name)[..., :3]
        coloured = np.ptp(picture, axis=2) > 0.2
        assert coloured.mean() > 0.005  # pulses and gradients; dots of k-space


@pytest.mark.parametrize("span", [(0.0, 0.0), (1.0, 0.5), (-1.0, 0.1), (0.0, 1e9), (0.0, np.nan)])
def test_span_outside_the_drive_is_refused(tmp_path, span):
    with pytest.raises(FormatError, match="span is"):
        plot_sequence(drive_of("brain-se"), tmp_path / "x.png", span=span)
    assert list(tmp_path.iterdir()) == []
