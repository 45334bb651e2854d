"""Changes of temperature from the shift of water's resonance."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float

from scanroom.core.choice import one_of
from scanroom.core.errors import ProtocolError
from scanroom.core.units import Hertz
from scanroom.mri.maps.echoes import FAINTEST, phase_variance, refuse_unless_finite
from scanroom.mri.maps.model import Map
from scanroom.mri.maps.smooth import background_phase
from scanroom.mri.maps.unwrapping import TURN, unwrap_in_time, wrapped

SHIFT = -0.01e-6
"""Shift of water per kelvin, as a ratio: all tissue but fat, within 5 %.

V. Rieke, K. Butts Pauly, J. Magn. Reson. Imaging 27, 376 (2008), doi:10.1002/jmri.21265;
Y. Ishihara et al., Magn. Reson. Med. 34, 814 (1995), doi:10.1002/mrm.1910340606.
"""
Frames = Complex[np.ndarray, "frame echo z y x"]
Baselines = Complex[np.ndarray, "baseline echo z y x"]
Times = Float[np.ndarray, " echo"]
Mask = Bool[np.ndarray, "z y x"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unheated:
    """Tissue that stays as warm as it was, and the order of the polynomial fitted to its phase.

    ``fat`` is left out of the fit and of what is valid: its resonance does not shift.
    """

    region: Mask
    order: int = 0
    fat: Mask | None = None


def hertz_per_kelvin(larmor: Hertz, shift: float = SHIFT) -> float:
    """Change of frequency with temperature."""
    return larmor * shift


def temperature_change(
    frames: Frames,
    baselines: Baselines,
    times: Times,
    rate: float,
    *,
    unheated: Unheated | None = None,
    baseline: str = "mean",
    noise: float = 1.0,
) -> Map:
    """Temperature [K] of every frame above that of the baselines; ``rate`` in Hz/K.

    The phase of each echo against its baseline loses a polynomial of the ``unheated`` region
    (drift of field and receiver; none where not given), goes on from frame to frame in steps below
    half a turn, and gives the temperature by least squares over echoes. ``baseline`` is ``"mean"``
    (all of them, less noise) or ``"nearest"`` (of each frame the one that is most alike in the
    unheated region: breathing). Not valid: dim voxels and fat.

    Raises
    ------
    ProtocolError
        If shapes and times do not match, a value is not finite, or the baseline is neither.

    References
    ----------
    Several baselines: K. K. Vigen et al., Magn. Reson. Med. 50, 1003 (2003),
    doi:10.1002/mrm.10608. Drift: J. De Poorter et al., Magn. Reson. Med. 33, 74 (1995),
    doi:10.1002/mrm.1910330111.
    """
    one_of("baseline", baseline, ("mean", "nearest"), "scanroom.mri.maps.temperature")
    _refuse(frames, baselines, times)
    outside, region = _regions(unheated, frames.shape[2:])
    phases, variances, bright = [], [], []
    for frame in frames:
        base, share = _base(frame, baselines, region, baseline)
        variance = phase_variance(frame, noise) + share * phase_variance(base, noise)
        phase = np.angle(frame * base.conj()).astype(np.float64)
        seen = _bright(frame, noise) & _bright(base, noise)
        if unheated is not None:
            phase, variance = _undrifted(phase, variance, region & seen, unheated.order)
        phases.append(phase)
        variances.append(variance)
        bright.append(seen & outside)
    whole = unwrap_in_time(np.stack([np.zeros_like(phases[0]), *phases]))[1:]
    return _kelvin(whole, np.stack(variances), np.stack(bright), times, rate)


def referenceless(
    frames: Frames, times: Times, rate: float, *, unheated: Unheated, noise: float = 1.0
) -> Map:
    """Temperature [K] above that of the surroundings of a heated spot, without a baseline.

    The phase that the spot would have is that of a polynomial fitted to the ``unheated``
    surroundings, frame by frame: nothing moves between a baseline and now. Fields that are not
    smooth across the spot are taken for temperature. The error holds that of the polynomial, which
    grows inwards.

    Raises
    ------
    ProtocolError
        If shapes and times do not match, a value is not finite, or the surroundings are too few.

    References
    ----------
    V. Rieke et al., Magn. Reson. Med. 51, 1223 (2004), doi:10.1002/mrm.20090.
    """
    _refuse(frames, frames[:1], times)
    outside, region = _regions(unheated, frames.shape[2:])
    phases, variances, bright = [], [], []
    for frame in frames:
        seen = _bright(frame, noise) & outside
        phase = np.angle(frame).astype(np.float64)
        variance = phase_variance(frame, noise)
        phase, variance = _undrifted(phase, variance, region & seen, unheated.order)
        phases.append(phase)
        variances.append(variance)
        bright.append(seen)
    whole = unwrap_in_time(np.stack(phases))
    return _kelvin(whole, np.stack(variances), np.stack(bright), times, rate)


def _regions(unheated: Unheated | None, shape: tuple[int, ...]) -> tuple[Mask, Mask]:
    """What is not fat, and what of it stays unheated (all of it where that is not known)."""
    everywhere = np.ones(shape, bool)
    if unheated is None:
        return everywhere, everywhere
    outside = everywhere if unheated.fat is None else ~unheated.fat
    return outside, unheated.region & outside


def _refuse(frames: Frames, baselines: Baselines, times: Times) -> None:
    alike = frames.shape[1:] == baselines.shape[1:] and len(times) == frames.shape[1]
    if not alike or len(baselines) == 0 or not (times > 0).all():
        raise ProtocolError(
            f"frames {frames.shape}, baselines {baselines.shape} and {len(times)} echo times do "
            "not match; each image has one echo time above 0, frames and baselines the same "
            "(scanroom.mri.maps.temperature). Correct the input."
        )
    refuse_unless_finite("frames", frames)
    refuse_unless_finite("baselines", baselines)


def _base(
    frame: Complex[np.ndarray, "echo z y x"], baselines: Baselines, region: Mask, how: str
) -> tuple[Complex[np.ndarray, "echo z y x"], float]:
    """Image to compare with, and its variance over that of one image."""
    if how == "mean":
        return baselines.mean(axis=0), 1 / len(baselines)
    likeness = [
        sum(abs(np.vdot(echo[region], now[region])) for echo, now in zip(one, frame, strict=True))
        / np.linalg.norm(one[:, region])
        for one in baselines
    ]
    return baselines[int(np.argmax(likeness))], 1.0


def _bright(image: Complex[np.ndarray, "echo z y x"], noise: float) -> Mask:
    return np.asarray(np.abs(image).max(axis=0) > FAINTEST * noise)


def _undrifted(
    phase: Float[np.ndarray, "echo z y x"],
    variance: Float[np.ndarray, "echo z y x"],
    region: Mask,
    order: int,
) -> tuple[Float[np.ndarray, "echo z y x"], Float[np.ndarray, "echo z y x"]]:
    """Phase of every echo less that of a region, and its variance, the fit's with it."""
    pairs = [
        background_phase(one, 1 / spread, region, order, robust=False)
        for one, spread in zip(phase, variance, strict=True)
    ]
    fits, more = (np.stack([pair[n] for pair in pairs]) for n in range(2))
    return wrapped(phase - fits), variance + more


def _kelvin(
    phase: Float[np.ndarray, "frame echo z y x"],
    variance: Float[np.ndarray, "frame echo z y x"],
    bright: Bool[np.ndarray, "frame z y x"],
    times: Times,
    rate: float,
) -> Map:
    """Temperature by least squares through the origin: phase is ``-2 pi rate t`` per kelvin."""
    slope = (-TURN * rate * times)[:, None, None, None]
    weight = 1 / variance
    total = (weight * slope**2).sum(axis=1)
    found = (weight * slope * phase).sum(axis=1) / total
    left = np.sqrt((weight * (phase - slope * found[:, None]) ** 2).sum(axis=1) / len(times))
    return Map(
        name="temperature change",
        array=np.where(bright, found, 0.0).astype(np.float32),
        unit="K",
        valid=bright,
        error=np.where(bright, 1 / np.sqrt(total), np.inf).astype(np.float32),
        residual=np.where(bright, left, 0.0).astype(np.float32),
    )
