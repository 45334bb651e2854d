"""T2 from trains of echoes whose refocusing is not perfect: stimulated echoes and slice profiles.

Refocusing pulses of less than 180 degrees, as they are at the edges of every slice and wherever the
transmit field is weak, leave magnetisation along z that comes back as later echoes: an exponential
then finds too long a T2. Here the signal is that of the phase graph, over all places across the
slice, and the transmit field is found along with T2.

References
----------
N. Ben-Eliezer et al., Magn. Reson. Med. 73, 809 (2015), doi:10.1002/mrm.25156.
R. M. Lebel, A. H. Wilman, Magn. Reson. Med. 64, 1005 (2010), doi:10.1002/mrm.22487.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ive

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Second
from scanroom.mri.maps import fitting
from scanroom.mri.maps.dictionary import (
    Axis,
    Dictionary,
    Match,
    build,
    maps_of,
    match,
    signals_at,
)
from scanroom.mri.maps.model import Map
from scanroom.physics.epg_trains import echo_train

_N_T2, _N_B1 = 96, 33
_N_ROUNDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """What was played: echo spacing, and flip angles [rad] at even places across the slice.

    ``refocusing`` has a row for each echo. One place stands for a sharp profile. ``t1`` is taken as
    known; it matters little where it is much longer than the train.
    """

    spacing: Second
    excitation: Float[np.ndarray, " place"]
    refocusing: Float[np.ndarray, "echo place"]
    t1: Second = 1.0

    def __post_init__(self) -> None:
        wrong = self.refocusing.shape[1:] != self.excitation.shape
        if wrong or not (self.spacing > 0 and self.t1 > 0):
            raise ProtocolError(
                f"a train has {self.refocusing.shape[1:]} places of refocusing for "
                f"{self.excitation.shape} of excitation, spacing {self.spacing:.4g} s and T1 "
                f"{self.t1:.4g} s; places are the same, times above 0 "
                "(scanroom.mri.maps.echo_train). Sample both profiles at the same places."
            )

    def signal(self, t2: Second, b1: float) -> Float[np.ndarray, " echo"]:
        """Echoes for a T2 and a flip angle over the nominal one, summed over the slice."""
        total = np.zeros(len(self.refocusing))
        for excitation, refocusing in zip(self.excitation, self.refocusing.T, strict=True):
            angles = np.ascontiguousarray(refocusing) * b1
            total += echo_train(float(excitation * b1), angles, self.spacing, self.t1, t2)
        return total / len(self.excitation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refocused:
    """T2, and the flip angle over the nominal one."""

    t2: Map
    b1: Map


def train_dictionary(
    train: Train,
    *,
    t2: tuple[Second, Second] = (5e-3, 3.0),
    b1: tuple[float, float] = (0.4, 1.0),
) -> Dictionary:
    """Signals of a train for a range of T2 and of B1: computed once, for any number of images.

    A pulse of 180 degrees refocuses alike with a tenth too much and a tenth too little, so the
    range of B1 ends at 1 unless the flip angles are lower: beyond, the one is found for the other.
    """
    axes = (
        Axis(name="T2", unit="s", low=t2[0], high=t2[1], n_points=_N_T2),
        Axis(name="B1", unit="1", low=b1[0], high=b1[1], n_points=_N_B1, geometric=False),
    )
    return build(axes, train.signal)


def t2_of_train(
    images: np.ndarray,
    dictionary: Dictionary,
    *,
    noise: float | np.ndarray | None = None,
    rician: bool = False,
) -> Refocused:
    """Find T2 and B1 from magnitudes, one image for each echo along the first axis.

    ``rician`` takes the floor of magnitudes for what it is, and needs the ``noise``: expectation
    and maximisation, each round the least squares of what the signal would have been. Echoes that
    the phase graph finds negative, where T2 is short, are taken for negative in a second round.

    Raises
    ------
    ProtocolError
        If there are not as many images as echoes, or the noise is missing.
    """
    shape = images.shape[1:]
    fitting.series(images, np.arange(len(images), dtype=np.float64), 3, "echoes")
    data = np.abs(images).astype(np.float64).reshape(len(images), -1)
    sigma = fitting.per_voxel(noise, shape, "noise")
    found = _matched(data, dictionary)
    level = predicted(found, dictionary)
    if rician:
        magnitude = data
        for _ in range(_N_ROUNDS):
            data = _expected(magnitude, level, sigma)
            found = _matched(data, dictionary)
            level = predicted(found, dictionary)
    elif (turned := (level < 0).any(axis=0)).any():
        data[:, turned] = np.copysign(data[:, turned], level[:, turned])
        again = _matched(data[:, turned], dictionary)
        for name in ("place", "amplitude", "information", "left", "ended", "inside"):
            getattr(found, name)[turned] = getattr(again, name)
    within = (dictionary.compressed(data) ** 2).sum(axis=0)
    total = (data**2).sum(axis=0)
    left = np.maximum(total - within, 0) + found.left
    t2, b1 = maps_of(found, dictionary, (left, total, len(images)), sigma, shape)
    return Refocused(t2=t2, b1=b1)


def _matched(data: Float[np.ndarray, "echo voxel"], dictionary: Dictionary) -> Match:
    """Match from both sides of a B1 of 1, where the range has both."""
    n_starts = 2 if dictionary.axes[1].high > 1 else 1
    return match(dictionary.compressed(data), dictionary, n_starts=n_starts)


def predicted(found: Match, dictionary: Dictionary) -> Float[np.ndarray, "echo voxel"]:
    """Echoes at what was found, with their sign."""
    return np.asarray((dictionary.basis @ signals_at(dictionary, found.place)) * found.amplitude)


def _expected(
    magnitude: Float[np.ndarray, "echo voxel"],
    level: Float[np.ndarray, "echo voxel"],
    sigma: Float[np.ndarray, " voxel"] | None,
) -> Float[np.ndarray, "echo voxel"]:
    """Part of each magnitude along the signal's own phase, as it is to be expected."""
    if sigma is None or not (sigma > 0).all():
        raise ProtocolError(
            "the Rician floor needs the noise, above zero everywhere "
            "(scanroom.mri.maps.echo_train). Give 1 for images in units of their noise."
        )
    z = magnitude * np.abs(level) / sigma**2
    return np.asarray(np.copysign(magnitude * ive(1, z) / ive(0, z), level))
