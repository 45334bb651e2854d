"""The scanner and who lies in it."""

import os

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.exam.station import Station
from scanroom.mri.twin.fields import static_field
from scanroom.subject import load_subject
from scanroom.subject.files import save_subject


def test_a_subject_stays_in_the_scanner_between_scans():
    station = Station(subject="sphere", n_coils=2)
    first, second = station.make_device(), station.make_device()
    assert first is not second
    assert first.subject is second.subject
    assert first.truth["static_field_hz"] is second.truth["static_field_hz"]


def test_its_field_is_that_of_the_twin_alone():
    device = Station(subject="sphere", n_coils=2).make_device()
    alone = static_field(device.subject, device.system, device.faults)
    assert np.array_equal(device.truth["static_field_hz"], alone)


def test_a_changed_file_is_another_subject(tmp_path):
    path = tmp_path / "subject.h5"
    save_subject(load_subject("sphere", 3.0), path)
    station = Station(subject=str(path), n_coils=2)
    first = station.make_device().subject
    os.utime(path, ns=(1, 1))
    assert station.make_device().subject is not first


@pytest.mark.parametrize("n_coils", [0, 65])
def test_impossible_arrays_are_refused(n_coils):
    with pytest.raises(ProtocolError, match="between 1 and 64"):
        Station(subject="sphere", n_coils=n_coils)
