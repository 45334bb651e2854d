"""Programs of others that read and judge our files."""

import subprocess
import sysconfig
from pathlib import Path

import nibabel
import numpy as np

PROGRAMS = Path(sysconfig.get_path("scripts"))


def dciodvfy(path):
    """Return what the validator calls errors."""
    done = subprocess.run([PROGRAMS / "dciodvfy", path], check=False, capture_output=True)
    report = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert "MRImage" in report, report  # it names the kind of object it recognised
    return [line for line in report.splitlines() if line.startswith("Error")]


def dcm2niix(folder, out):
    """Convert a folder of DICOM; return the images in the order of their names."""
    out.mkdir()
    command = [PROGRAMS / "dcm2niix", "-z", "n", "-f", "image", "-o", out, folder]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    images = sorted(out.glob("*.nii"))
    assert images, done.stdout + done.stderr
    return [nibabel.load(path) for path in images]


def difference(ours, theirs):
    """Compare two images voxel by voxel: (distance [voxels], largest difference of values).

    Axes may be permuted and reversed between them; their affines say how.
    """
    step = np.linalg.inv(theirs.affine) @ ours.affine
    whole = np.rint(step)
    index = np.indices(ours.shape).reshape(3, -1)
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)]).T
    corners[:3] *= np.array(ours.shape)[:, None] - 1
    distance = np.abs((step - whole) @ corners).max()
    place = (whole[:3, :3] @ index + whole[:3, 3:]).astype(int)
    assert place.min() >= 0
    values = np.asarray(theirs.dataobj, dtype=float)[tuple(place)]
    return distance, np.abs(values - np.asarray(ours.dataobj, dtype=float).ravel()).max()
