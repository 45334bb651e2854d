"""Slice profiles against the small-angle limit and an independent integration."""

import numpy as np
import pytest

from scanroom.mri.drive.compile.profile import (
    APODISATION,
    cayley_klein,
    echo_width,
    excitation_width,
)


def shape(n, time_bandwidth):
    time = (np.arange(n) + 0.5) / n - 0.5
    window = 1 - APODISATION + APODISATION * np.cos(2 * np.pi * time)
    return time, window * np.sinc(time_bandwidth * time)


def test_small_angle_width_is_that_of_the_fourier_transform():
    time, pulse = shape(2000, 4.0)
    offset = np.linspace(0, 2, 4001)
    spectrum = np.abs(np.exp(-2j * np.pi * 4.0 * np.outer(offset, time)) @ pulse)
    expected = 2 * offset[np.argmax(spectrum < spectrum[0] / 2)]
    assert excitation_width(1e-3, 4.0) == pytest.approx(expected, abs=2e-3)  # grid of the offsets


def test_rotation_at_the_centre_is_the_flip_angle():
    alpha, beta = cayley_klein(1.0, 4.0, np.zeros(1))
    assert abs(alpha[0]) == pytest.approx(np.cos(0.5), rel=1e-12)
    assert abs(beta[0]) == pytest.approx(np.sin(0.5), rel=1e-12)


def test_rotation_is_unitary():
    alpha, beta = cayley_klein(np.pi, 4.0, np.linspace(0, 2.5, 101))
    assert np.abs(alpha) ** 2 + np.abs(beta) ** 2 == pytest.approx(1, abs=1e-12)


def bloch(angle, time_bandwidth, offset, start):
    """Rotate vectors step by step with Rodrigues' formula."""
    _, pulse = shape(1000, time_bandwidth)
    vectors = np.tile(np.array(start, float), (offset.size, 1))
    for turn in angle * pulse / pulse.sum():
        axis = np.column_stack(
            [
                np.full(offset.size, turn),
                np.zeros(offset.size),
                2 * np.pi * time_bandwidth * offset / 1000,
            ]
        )
        total = np.linalg.norm(axis, axis=1, keepdims=True) + 1e-300
        unit = axis / total
        along = (unit * vectors).sum(axis=1, keepdims=True)
        vectors = (
            vectors * np.cos(total)
            + np.cross(unit, vectors) * np.sin(total)
            + unit * along * (1 - np.cos(total))
        )
    return vectors


@pytest.mark.parametrize("ratio", [1.5, 2.0])
def test_echo_width_agrees_with_rotating_vectors(ratio):
    offset = np.linspace(0, 1.5, 601)
    excited = bloch(np.pi / 2, 4.0, offset, (0, 0, 1))
    transverse = np.hypot(excited[:, 0], excited[:, 1])
    # Refocused share of a crushed echo: (x -> x) minus (y -> y), halved, is |beta|^2.
    inside = offset / ratio
    along = bloch(np.pi, 4.0, inside, (1, 0, 0))
    across = bloch(np.pi, 4.0, inside, (0, 1, 0))
    share = np.abs((along[:, 0] - across[:, 1]) / 2 + 1j * (along[:, 1] + across[:, 0]) / 2)
    echo = transverse * share
    expected = 2 * offset[np.argmax(echo < echo[0] / 2)]
    assert echo_width(np.pi / 2, np.pi, 4.0, ratio) == pytest.approx(expected, abs=6e-3)  # grid
