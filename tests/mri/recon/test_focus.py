"""Spirals in a field that is not even."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest

from scanroom.core.errors import FormatError, ProtocolError
from scanroom.mri.recon.focus import field_of
from scanroom.mri.recon.geometry import axes_of
from scanroom.mri.recon.options import Options
from tests.mri.recon.scanner import cartesian, oblique
from tests.mri.recon.test_trajectory import FOV, N, away, image, points, spiral

OFFSET = 45.0  # Hz: half a turn in the 12 ms of the spiral


def written(path, array, affine):
    """A field map [Hz] as other programs write it, in millimetres."""
    scale = np.diag([1e3, 1e3, 1e3, 1.0])
    nibabel.save(nibabel.Nifti1Image(array.astype(np.float32), scale @ affine), path)
    return str(path)


def scans():
    """A spiral without coils, its samples in an even field, and in one that is off."""
    asked = spiral()
    told = replace(asked, trajectory=(asked.trajectory[0][:, :2],), frequency=123.2e6)
    time = float(asked.dwell[0]) * np.arange(len(asked.trajectory[0]))
    clean = points(asked, 0)
    return told, clean, clean * np.exp(-2j * np.pi * OFFSET * time)


def test_a_field_map_takes_the_blur_away(tmp_path):
    told, clean, blurred = scans()
    affine = np.diag([0.05, 0.05, 0.05, 1.0])
    affine[:3, 3] = -0.2
    even, uneven, wrong = (
        written(tmp_path / f"{offset:.0f}.nii.gz", np.full((9, 9, 9), offset), affine)
        for offset in (0.0, OFFSET, -OFFSET)
    )
    truth = image(tmp_path / "raw.h5", told, [clean], off_resonance=even)
    found = image(tmp_path / "raw.h5", told, [blurred], off_resonance=uneven)
    left = image(tmp_path / "raw.h5", told, [blurred], off_resonance=even)
    worse = image(tmp_path / "raw.h5", told, [blurred], off_resonance=wrong)
    assert away(found.array, truth.array) < 0.02  # factors are good to 1e-3, steps are ten
    assert away(left.array, truth.array) > 0.5
    assert away(worse.array, truth.array) > 0.5
    assert found.unit == "a.u."


def test_autofocus_finds_an_even_offset(tmp_path):
    told, _, blurred = scans()
    found = image(tmp_path / "raw.h5", told, [blurred], off_resonance="autofocus")
    (said,) = [step for step in found.provenance["steps"] if "autofocus" in step]
    median = float(said.split("median ")[1].split(" Hz")[0])
    assert median == pytest.approx(OFFSET, abs=13)  # one step of the frequencies tried


def test_a_map_is_read_at_the_pixels_of_an_oblique_slice(tmp_path):
    turn, centre, slope = (
        oblique(),
        np.array([0.031, -0.047, 0.02]),
        np.array([300.0, -200.0, 90.0]),
    )
    encoding = cartesian(
        matrix=(N, N, 1), fov=(FOV, FOV, 0.005), centres=(centre,), directions=turn
    )
    axes = axes_of(encoding)
    index = np.stack(np.meshgrid(*[np.arange(25)] * 3, indexing="ij"), axis=-1)
    affine = np.diag([0.025, 0.025, 0.025, 1.0])
    affine[:3, 3] = -0.3
    array = (index @ affine[:3, :3].T + affine[:3, 3]) @ slope
    path = written(tmp_path / "slope.nii.gz", array, affine)
    found = field_of(path, encoding, 0, axes, (N, N))
    y, x = 5, 21
    place = centre + turn @ (
        [x - N // 2, y - N // 2, 0] * np.array([axes[0].pixel, axes[1].pixel, 0])
    )
    assert found[0, y, x] == pytest.approx(place @ slope, abs=1e-3)


def test_what_is_no_field_map_is_refused(tmp_path):
    with pytest.raises(ProtocolError, match=r"none, autofocus, or a field map"):
        Options(off_resonance="map.txt")
    path = written(tmp_path / "wrong.nii.gz", np.full((4, 4, 4), np.nan), np.eye(4))
    with pytest.raises(FormatError, match="one finite volume in Hz"):
        Options(off_resonance=path)
