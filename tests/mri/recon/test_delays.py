"""Delays of spokes through discs, whose k-space is a closed form, seen by eight coils."""

import numpy as np
import pytest
from scipy.special import j1

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.delays import from_crossings, from_opposed, moved

N = 128
SPACING = 0.5 / N
DISCS = ((3, -4, 30, 1.0), (10, 12, 8, -0.5), (-15, 5, 6, 0.7), (-5, -17, 4, 0.9j))
CASES = [[[0.4, 0.0], [0.0, 0.4]], [[1.3, 0.2], [0.2, -0.7]], [[2.6, 0.0], [0.0, 1.9]]]
GOLDEN = np.deg2rad(111.246)


def discs(place):
    total = 0
    for y, x, radius, size in DISCS:
        q = np.maximum(np.linalg.norm(place, axis=-1) * radius, 1e-9)
        bright = size * radius**2 * j1(2 * np.pi * q) / q
        total = total + bright * np.exp(-2j * np.pi * place @ np.array([y, x]))
    return total


def measured(place, n_spokes, noise, seed=0):
    """Eight coils, each 1 + 0.8 cos of a wave across the image; noise relative to the largest."""
    coils = []
    for turn in np.arange(8) * np.pi / 4:
        wave = np.array([np.sin(turn), np.cos(turn)]) * 0.4 / N
        pair = np.exp(1j * turn) * discs(place - wave) + np.exp(-1j * turn) * discs(place + wave)
        coils.append(discs(place) + 0.4 * pair)
    data = np.stack(coils).reshape(8, n_spokes, -1)
    rng = np.random.default_rng(seed)
    grain = rng.normal(size=(*data.shape, 2)) @ [1, 1j]
    return data + noise * np.abs(data).max() * grain


def spokes(angle):
    radius = (np.arange(2 * N) - N) * SPACING
    rows = [np.outer(np.sin(angle), radius).ravel(), np.outer(np.cos(angle), radius).ravel()]
    return np.stack(rows, axis=1)


@pytest.mark.parametrize("shift", CASES)
@pytest.mark.parametrize(
    "angle",
    [np.arange(40) * np.pi / 40, np.arange(14) * 2 * np.pi / 14, np.arange(21) * GOLDEN],
    ids=["half-turn", "turn", "golden"],
)
def test_crossings_find_delays(shift, angle):
    shift = np.array(shift)
    place = moved(spokes(angle), angle, shift, SPACING)
    found = from_crossings(measured(place, len(angle), 1e-3), angle)
    np.testing.assert_allclose(found, shift, atol=0.02)


@pytest.mark.parametrize(("shift", "error"), [(CASES[0], 0.02), (CASES[1], 0.1), (CASES[2], 0.1)])
def test_opposed_spokes_find_delays(shift, error):
    """Exact where axes are alike; else spokes pass each other aside, which is of second order."""
    angle = np.arange(24) * 2 * np.pi / 24
    shift = np.array(shift)
    place = moved(spokes(angle), angle, shift, SPACING)
    found = from_opposed(measured(place, len(angle), 1e-3), angle)
    np.testing.assert_allclose(found, shift, atol=error)


def test_no_delay_is_found_where_there_is_none():
    angle = np.arange(30) * GOLDEN
    found = from_crossings(measured(spokes(angle), 30, 1e-3), angle)
    np.testing.assert_allclose(found, 0, atol=0.02)


def test_what_cannot_tell_is_refused():
    data = np.ones((1, 4, 16), complex)
    with pytest.raises(ProtocolError, match="4 spokes"):
        from_crossings(data, np.arange(4.0))
    with pytest.raises(ProtocolError, match="cross at"):
        from_crossings(np.ones((1, 6, 16), complex), np.zeros(6))
    with pytest.raises(ProtocolError, match="against each other"):
        from_opposed(np.ones((1, 6, 16), complex), np.linspace(0, 2, 6))
