"""A farm: who does the work changes no byte."""

import os
import time

import numpy as np
import pytest

from scanroom.core.errors import DeviceError, ProtocolError
from scanroom.exam.farm import farm
from scanroom.exam.scan import play
from scanroom.exam.station import Station
from scanroom.mri.drive.compile import write_sequence
from scanroom.mri.protocol import Geometry, GradientEcho
from scanroom.mri.recon import reconstruct
from scanroom.mri.system import system

SLICES = GradientEcho(
    name="slices",
    geometry=Geometry(
        field_of_view_read=0.24, field_of_view_phase=0.24, matrix_read=32, matrix_phase=32,
        n_slices=5, slice_thickness=4e-3, slice_gap=6e-3,
    ),
    echo_time=5e-3, repetition_time=60e-3, bandwidth=500.0, flip_angle=0.35, dummies=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Raw data of five slices."""
    folder = tmp_path_factory.mktemp("slices")
    write_sequence(SLICES, system("3T"), folder / "slices.seq")
    play(folder / "slices.seq", Station(subject="sphere", n_coils=3), folder / "exam")
    return next((folder / "exam" / "raw").glob("*.h5"))


def bytes_of(raw, over):
    return [result.array.tobytes() for result in reconstruct(raw, over=over)]


def test_processes_give_the_bytes_of_one(raw):
    told = []
    with farm(2, advance=told.append) as over:
        assert bytes_of(raw, over) == bytes_of(raw, map)
    assert told == pytest.approx(np.arange(1, 6) / 5)


@pytest.mark.filterwarnings("ignore")  # those of Dask's own
def test_a_cluster_gives_the_bytes_of_one(raw):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None,
            host="127.0.0.1", protocol="tcp://",
        ) as cluster,
        farm(address=cluster.scheduler_address) as over,
    ):  # fmt: skip
        assert bytes_of(raw, over) == bytes_of(raw, map)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_whoever_is_first(workers):
    with farm(workers) as over:
        assert list(over(_late_first, [0.4, 0.0, 0.1])) == [0.4, 0.0, 0.1]


def test_a_worker_that_dies_is_told_of():
    with pytest.raises(DeviceError, match="fewer workers"), farm(2) as over:
        list(over(_die, [1, 2, 3]))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_refusal_within_a_job_comes_out_as_it_is(workers):
    with pytest.raises(ProtocolError, match="no good"), farm(workers) as over:
        list(over(_refuse, [1]))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"workers": 0}, "1 to 256"),
        ({"workers": 2, "address": "tcp://127.0.0.1:1"}, "Leave one out"),
        ({"address": "127.0.0.1:1"}, "tcp://host:port"),
    ],
)
def test_a_farm_that_cannot_be_is_refused(how, words):
    with pytest.raises(ProtocolError, match=words), farm(**how):
        pass


def _late_first(seconds):
    time.sleep(seconds)
    return seconds


def _die(_):
    os._exit(9)


def _refuse(_):
    raise ProtocolError("no good")
