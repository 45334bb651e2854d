"""K-space against closed forms and pypulseq."""

import warnings
from dataclasses import replace

import numpy as np
import pypulseq
import pytest

from scanroom.mri.drive.kspace import moment, trajectory
from scanroom.mri.drive.model import Gradient
from scanroom.mri.drive.seqfile import parse_seq, read_seq
from tests.mri.drive.test_seqfile import PYPULSEQ, SMALL


def test_moment_of_a_trapezoid_is_its_area():
    drive = parse_seq(SMALL, "small")
    k = moment(drive, np.array([0.0, 230e-6, 280e-6, 1.0]))
    np.testing.assert_allclose(
        k[:, 0], [0, 5000 * 10e-6, 5000 * 60e-6, 5000 * 125e-6], rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("name", ["write_gre", "write_epi_se", "write_tse", "write_radial_gre"])
def test_trajectory_matches_pypulseq(shared_data, name):
    path = shared_data / PYPULSEQ / f"{name}.seq"
    drive = read_seq(path)
    peer = pypulseq.Sequence()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer.read(str(path))
        theirs = peer.calculate_kspace()[0].T
    ours = np.concatenate(trajectory(drive))
    # Both are exact integrals of the same lines; pypulseq rounds times to 1e-10 s.
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_refocusing_negates_and_excitation_restarts():
    drive = parse_seq(SMALL, "small")
    knots = np.array([0.0, 4.0])
    flat = Gradient(time=knots, amplitude=np.array([10.0, 10.0]))
    # Centres at 1, 2, 3 s: excite, refocus, refocus; one sample each at 1.5, 2.5, 3.5 s.
    centre = drive.shapes[0].centre
    pulses = replace(
        drive.pulses,
        start=np.array([1.0, 2.0, 3.0]) - centre,
        shape=np.zeros(3, np.int64),
        frequency=np.zeros(3),
        phase=np.zeros(3),
        use=("e", "r", "r"),
    )
    windows = replace(
        drive.windows,
        start=np.array([1.5, 2.5, 3.5]) - 0.5e-6,
        dwell=np.full(3, 1e-6),
        n_samples=np.ones(3, np.int64),
        frequency=np.zeros(3),
        phase=np.zeros(3),
        modulation_index=np.full(3, -1),
        label=np.zeros((3, 1), np.int64),
    )
    made = replace(drive, gradients=(flat, flat, flat), pulses=pulses, windows=windows)
    k = [float(way[0, 0]) for way in trajectory(made)]
    assert k == pytest.approx([5.0, -10.0 + 5.0, 0.0 + 5.0], abs=1e-9)
