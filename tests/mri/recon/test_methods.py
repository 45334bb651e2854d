"""Methods by name: every one finds the image; what the lines ask for is chosen and said."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon import methods as room
from scanroom.mri.recon.methods import BUILT_IN, Filled, Gaps, filled, methods
from scanroom.mri.recon.replicas import replica_noise
from tests.mri.recon.coil_scenes import N, away, every, scene

NOISE = 2e-3


def gaps(sampled, noise=NOISE, bright=1.0, **choices):
    _, image, kspace = scene(noise=noise / bright)
    kspace = kspace * np.float32(bright)
    return image, Gaps(
        kspace=(kspace * sampled[..., None]).astype(np.complex64),
        sampled=sampled,
        noise=noise,
        **choices,
    )


def scattered(share, seed=0, centre=20):
    line = np.arange(N)
    chosen = np.random.default_rng(seed).random(N) < share
    return (chosen | (np.abs(line - N // 2 + 0.5) < centre / 2))[None]


def error(found, image):
    inside = np.abs(image) > 0.1
    return away(np.abs(found.image)[inside], np.abs(image)[inside])


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_method_fills_every_second_line(name):
    image, given = gaps(every(2, centre=20))
    # coil maps of 20 central lines leave some per cent at the rim, whatever the method
    assert error(filled(given, name), image) < 0.06


@pytest.mark.parametrize(
    ("sampled", "name"),
    [
        (every(2, centre=20), "grappa"),
        (every(4, centre=20), "grappa"),
        (scattered(0.5), "cg-sense"),
        (scattered(0.05, centre=14), "cs"),
    ],
    ids=["every second", "every fourth", "half, scattered", "few, scattered"],
)
def test_auto_takes_what_the_lines_ask_for_and_says_so(sampled, name):
    _, given = gaps(sampled)
    assert f"; {name}: lines are" in filled(given).note


@pytest.mark.parametrize("name", ["sense", "grappa"])
def test_noise_that_is_told_is_that_of_replicas(name):
    sampled = every(4, centre=20)
    _, given = gaps(sampled, noise=1.0, bright=300.0)
    told = filled(given, name).noise
    mask = sampled[..., None]

    def again(kspace):
        one = Gaps(kspace=(kspace * mask).astype(np.complex64), sampled=sampled, known=given.known)
        return filled(one, name).image

    found = replica_noise(again, given.kspace, n_replicas=60)
    inside = told > 0.1 * told.max()
    assert np.median(found[inside] / told[inside]) == pytest.approx(1, abs=0.05)


@dataclass(frozen=True)
class Entry:
    """An entry point of a package that is not installed."""

    name: str
    value: str = "package:fill"
    dist: Any = None

    def load(self):
        return lambda gaps: Filled(image=gaps.kspace[0], note="mine")


@pytest.fixture
def packages(monkeypatch):
    """Packages that add methods of the names given."""

    def add(*names):
        methods.cache_clear()
        monkeypatch.setattr(room, "entry_points", lambda **_: [Entry(n) for n in names])

    yield add
    methods.cache_clear()


def test_a_package_adds_a_method_by_name(packages):
    packages("mine")
    _, given = gaps(every(2, centre=20))
    assert filled(given, "mine").note == "mine"


def test_a_package_cannot_take_the_name_of_ours(packages):
    packages("grappa")
    with pytest.raises(ProtocolError, match="Rename it"):
        methods()


def test_no_such_method_is_refused():
    _, given = gaps(every(2, centre=20))
    with pytest.raises(ProtocolError, match="spirit"):
        filled(given, "magic")


@pytest.mark.parametrize("name", ["sense", "grappa"])
def test_scattered_lines_are_refused_by_methods_for_lattices(name):
    _, given = gaps(scattered(0.4))
    with pytest.raises(ProtocolError, match="no regular pattern"):
        filled(given, name)
