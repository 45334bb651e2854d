"""An image that looks like nothing else from any side, and where its voxels lie."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from scanroom.core.result import Result
from scanroom.formats.series import ExamInfo, SeriesInfo

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def lopsided(shape, seed=0):
    """Noise, with a ramp along every axis: no turn or mirror leaves it unchanged."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    noise = np.random.default_rng(seed).uniform(0, 0.5, shape)
    return (2.0 + 0.01 * x + 0.1 * y + z + noise).astype(np.float32)


def turn(degrees_x, degrees_y, degrees_z):
    """Product of three rotations."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians([degrees_x, degrees_y, degrees_z])):
        i, j = [k for k in range(3) if k != axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        matrix = step @ matrix
    return matrix


# columns: direction of x, y, z of the array in RAS
AXIAL = np.eye(3)
SAGITTAL = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0.0]])
CORONAL = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0.0]])
DIRECTIONS = {
    "axial": AXIAL,
    "axial read backwards": AXIAL @ np.diag([-1, -1, 1]),
    "axial from the top": AXIAL @ np.diag([1, -1, -1]),
    "axial, phase left-right": AXIAL[:, [1, 0, 2]],
    "mirrored": AXIAL @ np.diag([-1, 1, 1]),
    "sagittal": SAGITTAL,
    "coronal": CORONAL,
    "coronal, phase left-right": CORONAL[:, [1, 0, 2]],
    "oblique": turn(20, -15, 7) @ AXIAL,
    "doubly oblique sagittal": turn(-9, 12, 31) @ SAGITTAL,
    "oblique coronal": turn(33, 5, -12) @ CORONAL,
}


def image(directions, shape=(5, 24, 32), spacing=(0.9e-3, 1.1e-3, 4e-3), seed=0):
    """Result with ``spacing`` along (x, y, z), well off the centre."""
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array(spacing)
    affine[:3, 3] = [-0.0123456789, 0.0345678912, -0.0567891234]
    axes = ("z", "y", "x")
    return Result(name="test", array=lopsided(shape, seed), axes=axes, affine=affine, unit="a.u.")


def series(**changes):
    """A gradient echo series of a twin."""
    exam = ExamInfo(
        patient_name="TWIN^BRAIN",
        patient_id="twin-brain",
        synthetic=True,
        uid="a seed",
        when=WHEN,
        weight=75.0,
        field=3.0,
        device="twin 3T",
    )
    info = SeriesInfo(
        exam=exam,
        number=3,
        description="brain-t1-gre",
        sequence_name="gre",
        echo="gradient",
        echo_times=(5e-3,),
        repetition_time=0.25,
        flip_angle=np.radians(70),
        contrast="T1",
        frequency=127.728e6,
        bandwidth=200.0,
        encoding_steps=(32, 24, 1),
        rf_spoiled=True,
        when=WHEN,
        duration=12.5,
        n_coils=8,
        sar=0.02,
    )
    return replace(info, **changes)
