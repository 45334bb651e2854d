"""T1 from inversion recovery, read out once or by many small pulses."""

import numpy as np
from jaxtyping import Float

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Radian, Second
from scanroom.mri.maps import fitting
from scanroom.mri.maps.fitting import DECAY_OFFSET, RECOVERY, RECOVERY_PARTIAL, Fit, Law
from scanroom.mri.maps.model import Map

Limits = tuple[Second, Second]
LIMITS: Limits = (0.01, 10.0)
"""Shortest and longest T1 that is looked for [s]."""


def inversion_recovery(
    images: np.ndarray,
    inversion_times: Float[np.ndarray, " image"],
    *,
    repetition_times: Second | Float[np.ndarray, " image"] | None = None,
    echo_time: Second = 0.0,
    perfect: bool = False,
    signed: bool = False,
    noise: float | np.ndarray | None = None,
) -> Map:
    """Fit T1 to images, one for each inversion time along the first axis.

    Complex images are fitted as they are. Real ones are magnitudes whose sign is restored, or with
    ``signed`` carry their sign. Without repetition times the signal is a - b exp(-TI / T1), right
    for any inversion and any readout if the repetition time is one and the same. With them the
    recovery since the last readout of 90 degrees is reckoned with, of an inversion that may be
    imperfect, or is ``perfect``: one parameter less. ``echo_time`` is that of a spin echo, whose
    refocusing pulse inverts what has recovered by then.

    ``noise`` is the standard deviation of the real part of a pixel; without it the error comes from
    the residual.

    Raises
    ------
    ProtocolError
        If times and images do not fit together, or there are fewer times than parameters.

    References
    ----------
    J. K. Barral et al., Magn. Reson. Med. 64, 1057 (2010), doi:10.1002/mrm.22497.
    """
    if perfect and repetition_times is None:
        raise ProtocolError(
            "a perfect inversion is asked for without a repetition time, which the signal then "
            "depends on (scanroom.mri.maps.inversion). Give the repetition time."
        )
    times = fitting.series(images, inversion_times, 2 if perfect else 3, "inversion times")
    kind = DECAY_OFFSET if repetition_times is None else RECOVERY if perfect else RECOVERY_PARTIAL
    points = np.zeros((len(times), 3))
    points[:, 0] = times
    if repetition_times is not None:
        points[:, 2] = repetition_times
        points[:, 1] = points[:, 2] - echo_time / 2
        if (points[:, 1] <= times).any():
            raise ProtocolError(
                f"the shortest repetition time is {points[:, 2].min():.4g} s with inversion times "
                f"up to {times.max():.4g} s; each repetition is longer than its inversion time "
                "(scanroom.mri.maps.inversion). Count it from inversion to inversion."
            )
    law = Law(kind=kind, points=points, low=1 / LIMITS[1], high=1 / LIMITS[0])
    found = _ordered(images, law, signed=signed)
    shape = images.shape[1:]
    return fitting.time_map("T1", found, shape, fitting.per_voxel(noise, shape, "noise"))


def look_locker(
    images: np.ndarray,
    times: Float[np.ndarray, " image"],
    *,
    readout: tuple[Radian, Second] | None = None,
    signed: bool = False,
    noise: float | np.ndarray | None = None,
    limits: Limits = LIMITS,
) -> Map:
    """Fit T1 to one recovery that is watched by many small pulses, as MOLLI does.

    The signal is A - B exp(-t / T1*). With ``readout``, flip angle and interval of evenly spaced
    spoiled pulses, 1 / T1 = 1 / T1* + ln(cos flip) / interval, whatever the inversion. Without it
    T1 = T1* (B / A - 1), which takes the inversion for perfect.

    Raises
    ------
    ProtocolError
        If times and images do not fit together, the images are complex, or a flip angle is not
        between 0 and 90 degrees.

    References
    ----------
    R. Deichmann, A. Haase, J. Magn. Reson. 96, 608 (1992), doi:10.1016/0022-2364(92)90347-A.
    D. R. Messroghli et al., Magn. Reson. Med. 52, 141 (2004), doi:10.1002/mrm.20110.
    """
    if np.iscomplexobj(images):
        raise ProtocolError(
            "the images are complex; the correction of a Look-Locker train takes real ones "
            "(scanroom.mri.maps.inversion). Give magnitudes, or real parts with signed=True."
        )
    at = fitting.series(images, times, 3, "times")
    points = np.zeros((len(at), 3))
    points[:, 0] = at
    law = Law(kind=DECAY_OFFSET, points=points, low=1 / limits[1], high=1 / limits[0])
    shape = images.shape[1:]
    known = fitting.per_voxel(noise, shape, "noise")
    found = _ordered(images, law, signed=signed)
    if readout is not None:
        time, error = _by_flip(found, known, readout)
    else:
        time, error = _by_ratio(found, known, np.sort(at))
    good = found.trusted() & (time > limits[0]) & (time < limits[1])
    return fitting.as_map("T1", "s", (time, error, good, found.residual()), shape)


def _ordered(images: np.ndarray, law: Law, *, signed: bool) -> Fit:
    """Fit in the order of time: the first samples are the negative ones."""
    order = np.argsort(law.points[:, 0], kind="stable")
    ordered = Law(kind=law.kind, points=law.points[order], low=law.low, high=law.high)
    magnitude = not signed and not np.iscomplexobj(images)
    if magnitude and (images < 0).any():
        raise ProtocolError(
            "the images hold negative values but are said to be magnitudes "
            "(scanroom.mri.maps.inversion). Say signed=True where they carry their sign."
        )
    return fitting.fit(images[order], ordered, polarity=magnitude)


def _by_flip(
    found: Fit, noise: np.ndarray | None, readout: tuple[Radian, Second]
) -> tuple[np.ndarray, np.ndarray]:
    """T1 and its error from the apparent rate and the pulses that shorten it."""
    flip, interval = readout
    if not 0 < flip < np.pi / 2 or not interval > 0:
        raise ProtocolError(
            f"a readout of {np.degrees(flip):.4g} degrees every {interval:.4g} s is given; the "
            "angle lies between 0 and 90 degrees, the interval above 0 "
            "(scanroom.mri.maps.inversion). Give it in radians and seconds."
        )
    rate = found.rate + np.log(np.cos(flip)) / interval
    time = np.divide(1.0, rate, out=np.zeros_like(rate), where=found.found & (rate > 0))
    error, good = np.full(time.shape, np.inf), time > 0
    error[good] = found.error(noise)[good] * time[good] ** 2
    return time, error


def _by_ratio(
    found: Fit, noise: np.ndarray | None, times: Float[np.ndarray, " image"]
) -> tuple[np.ndarray, np.ndarray]:
    """T1 = T1* (B / A - 1) and its error, all three parameters being uncertain."""
    falling, level = found.amplitude[0, 0], found.amplitude[1, 0]
    good = found.found & (level > 0) & (falling < -level)
    rate, b, a = found.rate[good], falling[good], level[good]
    share = -b / a - 1
    gradient = np.stack([-share / rate**2, -1 / (a * rate), b / (a**2 * rate)], axis=-1)
    normal = np.zeros((len(rate), 3, 3))
    for time in times:
        kept = np.exp(-time * rate)
        row = np.stack([-time * kept * b, kept, np.ones_like(kept)], axis=-1)
        normal += row[:, :, None] * row[:, None, :]
    size = np.sqrt(np.einsum("vii->vi", normal))
    normal /= size[:, :, None] * size[:, None, :]
    solved = np.linalg.solve(normal, (gradient / size)[..., None])[..., 0]
    variance = np.einsum("vi,vi->v", gradient / size, solved) * found.variance(noise)[good]
    time, error = np.zeros(good.shape), np.full(good.shape, np.inf)
    time[good], error[good] = share / rate, np.sqrt(np.maximum(variance, 0))
    return time, error
