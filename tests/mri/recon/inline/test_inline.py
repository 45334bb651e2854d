"""Images while data arrive: the same as offline, whoever is at the other end."""

import socket
import threading
import time

import ismrmrd
import ismrmrd.serialization as theirs
import numpy as np
import pytest

from scanroom.core.errors import DeviceError, FormatError, ProtocolError
from scanroom.mri.raw.acquisition import HEAD
from scanroom.mri.raw.apart import load_apart
from scanroom.mri.raw.encoding import Flag
from scanroom.mri.raw.reader import read_raw
from scanroom.mri.raw.stream import acquisition_message, header_message
from scanroom.mri.recon import Options, reconstruct
from scanroom.mri.recon.inline.client import address_of, reconstruct_via
from scanroom.mri.recon.inline.live import Live
from scanroom.mri.recon.inline.server import ACKNOWLEDGE, Server
from tests.mri.recon.scanner import cartesian, point_signal, white, write

CENTRES = ((0.0, 0.0, -0.01), (0.0, 0.0, 0.0), (0.0, 0.0, 0.01))


def _raw(path, *, repeat=(("repetition", 2), ("contrast", 2)), steps=None, last=True):
    """Four coils, three slices, lines in the order of a scanner: slices within lines."""
    rng = np.random.default_rng(8)
    encoding = cartesian(matrix=(16, 12, 1), centres=CENTRES, repeat=repeat, steps=steps)
    order = np.lexsort(
        (encoding.contrast, encoding.slice, encoding.kspace_encode_step_1, encoding.repetition)
    )
    encoding = encoding.take(order)
    if last:
        key = encoding.slice + 3 * encoding.repetition
        final = len(key) - 1 - np.unique(key[::-1], return_index=True)[1]
        encoding.flags[final] |= np.uint64(Flag.LAST_IN_SLICE)
    signals = []
    for i in range(encoding.n_windows):
        ones = point_signal(encoding, i, [0.02, -0.03, CENTRES[encoding.slice[i]][2]])
        coils = np.array([1, 0.5j, -0.3, 0.8 + 0.1j])[:, None] * (1 + encoding.contrast[i])
        signals.append(50 * coils * ones + white(rng, 4, ones.shape[1]))
    return write(path, encoding, signals, noise=white(rng, 4, 4096))


@pytest.fixture
def server(tmp_path):
    options = Options()
    server = Server("127.0.0.1", 0, tmp_path / "served", options)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    server.close()


def _same(found, offline):
    assert len(found) == len(offline)
    for mine, other in zip(found, offline, strict=True):
        assert (mine.name, mine.unit) == (other.name, other.unit)
        np.testing.assert_array_equal(mine.array, other.array)
        np.testing.assert_allclose(mine.affine, other.affine, atol=1e-12)


def test_slices_come_as_soon_as_they_are_whole(tmp_path):
    path = _raw(tmp_path / "raw.h5")
    xml, heads, bodies = load_apart(path)
    live = Live(xml, Options())
    at = []
    made = {}
    for head, (trajectory, signal) in zip(heads, bodies, strict=True):
        for finished in live.add((head, trajectory.ravel(), signal.view(np.float32).ravel())):
            at.append(live.n_acquisitions)
            made[finished.slice, finished.counter] = finished.results[0].array[0]
    assert list(live.rest()) == []
    assert len(made) == 3 * 2 * 2
    # slices of the first repetition are there before the second begins
    assert sum(n <= 1 + 12 * 3 * 2 for n in at) == 3 * 2
    for result in reconstruct(path):
        key = tuple(result.provenance[name] for name in ("contrast", "repetition", "set", "phase"))
        for number in range(3):
            np.testing.assert_array_equal(made[number, key], result.array[number])


def test_a_scan_without_flags_is_made_at_its_end(tmp_path):
    path = _raw(tmp_path / "raw.h5", last=False)
    xml, heads, bodies = load_apart(path)
    live = Live(xml, Options())
    for head, (trajectory, signal) in zip(heads, bodies, strict=True):
        assert not list(live.add((head, trajectory.ravel(), signal.view(np.float32).ravel())))
    assert len(list(live.rest())) == 12


def test_lines_after_the_last_make_the_image_anew(tmp_path):
    path = _raw(tmp_path / "raw.h5", repeat=())
    xml, heads, bodies = load_apart(path)
    early = np.flatnonzero(heads["idx"]["slice"] == 1)[4]
    heads["flags"][early] |= np.uint64(Flag.LAST_IN_SLICE)
    live = Live(xml, Options())
    made = []
    for head, (trajectory, signal) in zip(heads, bodies, strict=True):
        made += live.add((head, trajectory.ravel(), signal.view(np.float32).ravel()))
    made += live.rest()
    last = [finished for finished in made if finished.slice == 1][-1]
    (offline,) = reconstruct(path)
    np.testing.assert_array_equal(last.results[0].array[0], offline.array[1])


@pytest.mark.parametrize("steps", [None, [(j, 0) for j in (0, 2, 3, 4, 5, 6, 7, 8, 9, 10)]])
def test_our_client_and_server_give_the_images_of_offline(tmp_path, server, steps):
    path = _raw(tmp_path / "raw.h5", steps=steps)
    said = []
    found = reconstruct_via(path, f"127.0.0.1:{server.address[1]}", tell=said.append)
    _same(found, reconstruct(path))
    n_readouts = len(load_apart(path)[1])
    assert said[0] == f"stored {ACKNOWLEDGE}"
    assert said[-1] == f"stored {n_readouts}"


def test_a_volume_goes_there_and_back(tmp_path, server):
    encoding = cartesian(matrix=(16, 12, 6), fov=(0.2, 0.18, 0.06), centres=((0.01, 0, 0.02),))
    signals = [point_signal(encoding, i, [0.03, 0.01, 0.04]) for i in range(encoding.n_windows)]
    path = write(tmp_path / "raw.h5", encoding, signals)
    _same(reconstruct_via(path, f"127.0.0.1:{server.address[1]}"), reconstruct(path))


def test_the_librarys_client_gets_our_images(tmp_path, server):
    path = _raw(tmp_path / "raw.h5", repeat=())
    with ismrmrd.Dataset(str(path), "dataset", create_if_needed=False) as data:
        header = ismrmrd.xsd.CreateFromDocument(data.read_xml_header())
        acquisitions = [data.read_acquisition(i) for i in range(data.number_of_acquisitions())]
    with (
        socket.create_connection(server.address) as link,
        link.makefile("wb") as out,
        link.makefile("rb") as back,
    ):
        with theirs.ProtocolSerializer(out) as writer:
            writer.serialize(theirs.ConfigFile("anything.xml"))
            writer.serialize(header)
            for acquisition in acquisitions:
                writer.serialize(acquisition)
        found = list(theirs.ProtocolDeserializer(back).deserialize())
    images = {image.slice: image for image in found if isinstance(image, ismrmrd.Image)}
    (offline,) = reconstruct(path)
    for number, image in images.items():
        np.testing.assert_array_equal(image.data[0, 0], offline.array[number])
        middle = offline.affine @ [7.5, 5.5, number, 1]
        np.testing.assert_allclose(image.position, middle[:3] * [-1e3, -1e3, 1e3], atol=1e-3)
    assert sorted(images) == [0, 1, 2]


def _foreign(answer):
    """Be a server of somebody else for one connection, written with the ISMRMRD package."""
    listener = socket.create_server(("127.0.0.1", 0))

    def attend():
        link, _ = listener.accept()
        with link, listener, link.makefile("rb") as incoming, link.makefile("wb") as out:
            found = list(theirs.ProtocolDeserializer(incoming).deserialize())
            with theirs.ProtocolSerializer(out) as writer:
                for item in answer(found):
                    writer.serialize(item)

    threading.Thread(target=attend, daemon=True).start()
    return f"127.0.0.1:{listener.getsockname()[1]}"


def test_our_client_takes_the_images_of_the_librarys_server(tmp_path):
    path = _raw(tmp_path / "raw.h5", repeat=())
    taken = {}

    def answer(found):
        lines = [item for item in found if isinstance(item, ismrmrd.Acquisition)]
        taken["n"], taken["config"] = len(lines), found[0]
        yield "looking good"
        for number in range(3):
            line = next(item for item in lines if item.idx.slice == number)
            image = ismrmrd.Image.from_array(
                np.full((1, 1, 12, 16), number + 1, np.float32), acquisition=line
            )
            image.field_of_view = (200.0, 180.0, 5.0)
            yield image

    said = []
    (result,) = reconstruct_via(path, _foreign(answer), tell=said.append)
    assert taken == {"n": len(load_apart(path)[1]), "config": "scanroom"}
    assert said == ["looking good"]
    np.testing.assert_array_equal(result.array[:, 3, 4], [1, 2, 3])
    np.testing.assert_allclose(result.affine, reconstruct(path)[0].affine)
    assert result.unit == "a.u."


def test_images_that_do_not_fit_are_kept_as_they_come(tmp_path):
    path = _raw(tmp_path / "raw.h5", repeat=())

    def answer(_):
        image = ismrmrd.Image.from_array(np.ones((2, 1, 9, 9), np.float32))
        image.field_of_view = (90.0, 90.0, 5.0)
        image.position, image.slice = (10.0, 20.0, 30.0), 1
        image.read_dir, image.phase_dir, image.slice_dir = (1, 0, 0), (0, 1, 0), (0, 0, 1)
        yield image

    (result,) = reconstruct_via(path, _foreign(answer))
    assert result.array.shape == (1, 9, 9)
    np.testing.assert_allclose(result.array, np.sqrt(2))
    np.testing.assert_allclose(result.affine @ [4, 4, 0, 1], [-0.01, -0.02, 0.03, 1])


def test_no_image_is_an_error(tmp_path):
    path = _raw(tmp_path / "raw.h5", repeat=())
    with pytest.raises(FormatError, match="sent no image"):
        reconstruct_via(path, _foreign(lambda _: iter(())))


def _stored(folder, n, patience=20.0):
    """The raw file of a scan that ended, once it is there."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        files = list(folder.glob("*.h5"))
        if files and not list(folder.glob("*.part")):
            return read_raw(files[0])
        time.sleep(0.05)
    raise AssertionError(f"no raw file of {n} readouts")


@pytest.mark.parametrize("extra", [0, 100])
def test_a_connection_cut_loses_nothing_that_was_acknowledged(tmp_path, server, extra):
    path = _raw(tmp_path / "raw.h5")
    xml, heads, bodies = load_apart(path)
    n_sent = ACKNOWLEDGE + 3
    with socket.create_connection(server.address) as link:
        link.sendall(header_message(xml))
        for head, body in list(zip(heads, bodies, strict=True))[:n_sent]:
            link.sendall(acquisition_message(head, *body))
        if extra:
            torn = acquisition_message(heads[n_sent], *bodies[n_sent])
            link.sendall(torn[:extra])
        with link.makefile("rb") as back:
            reader = theirs.ProtocolDeserializer(back).deserialize()
            while (said := next(reader)) != f"stored {ACKNOWLEDGE}":
                assert isinstance(said, ismrmrd.Image)
        link.shutdown(socket.SHUT_RDWR)
    raw = _stored(server.folder, n_sent)
    assert len(raw.readouts) + len(raw.noise) >= ACKNOWLEDGE
    original = read_raw(path)
    for mine, other in zip(raw.readouts, original.readouts, strict=False):
        np.testing.assert_array_equal(mine.signal, other.signal)


def test_what_is_no_scan_is_answered_in_words(server):
    for wrong in (
        b"GET / HTTP/1.1\r\n\r\n",
        acquisition_message(np.zeros(1, HEAD), np.zeros(0), np.zeros(0)),
    ):
        with socket.create_connection(server.address) as link:
            link.sendall(wrong)
            link.shutdown(socket.SHUT_WR)
            with link.makefile("rb") as back:
                answer = back.read()
        assert b"protocol" in answer or b"header" in answer


@pytest.mark.parametrize("text", ["", "host", "host:", "host:http", "host:99999", ":80", "h:-1"])
def test_addresses_that_are_none_are_refused(text):
    with pytest.raises(ProtocolError, match="host:port"):
        address_of(text)


def test_nobody_there_is_said(tmp_path):
    path = _raw(tmp_path / "raw.h5", repeat=())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DeviceError, match="no reconstruction server"):
        reconstruct_via(path, f"127.0.0.1:{port}")


def test_a_port_in_use_is_refused(tmp_path, server):
    with pytest.raises(DeviceError, match="free port"):
        Server("127.0.0.1", server.address[1], tmp_path, Options())
