"""What every excitation of a drive selects, and which receiver windows listen to it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from scanroom.core.units import HertzPerMetre, Metre, Second
from scanroom.mri.drive.model import Drive, PulseShape

WEAKEST_SELECTION: HertzPerMetre = 2e3
"""Below 0.05 mT/m a gradient under a pulse selects nothing thinner than a head."""
_STEP: Second = 4e-6
_PADDED = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Excitations:
    """The excitations that windows listen to, in order of time.

    ``of_window`` names the excitation before each window, -1 for none. ``normal`` points along
    the gradient under the pulse and is zero where nothing is selected; ``offset`` is where the
    slice lies along it. ``since_inversion`` is NaN where nothing was inverted since the last.
    """

    time: Float[np.ndarray, " excitation"]
    flip: Float[np.ndarray, " excitation"]
    normal: Float[np.ndarray, "excitation 3"]
    offset: Float[np.ndarray, " excitation"]
    thickness: Float[np.ndarray, " excitation"]
    since_inversion: Float[np.ndarray, " excitation"]
    of_window: Int[np.ndarray, " window"]


def excitations(drive: Drive) -> Excitations:
    """Find the excitation of each window, its slice and its flip angle."""
    pulses = drive.pulses
    centre = pulses.start + np.array([drive.shapes[s].centre for s in pulses.shape])
    use = np.array(pulses.use, dtype="<U1")
    candidates = np.flatnonzero(np.isin(use, ("e", "u")))
    last = np.searchsorted(pulses.start[candidates], drive.windows.start, side="right") - 1
    heard, of_window = np.unique(last, return_inverse=True)
    if len(heard) and heard[0] < 0:
        heard, of_window = heard[1:], of_window - 1
    chosen = candidates[heard]
    time = centre[chosen]
    gradient = np.stack(
        [np.interp(time, g.time, g.amplitude, left=0.0, right=0.0) if len(g.time) else 0 * time
         for g in drive.gradients],
        axis=-1,
    )  # fmt: skip
    strength = np.linalg.norm(gradient, axis=1)
    selective = strength > WEAKEST_SELECTION
    safe = np.where(selective, strength, 1.0)
    width = {s: bandwidth(drive.shapes[s]) for s in np.unique(pulses.shape[chosen])}
    flip = {s: _flip(drive.shapes[s]) for s in np.unique(pulses.shape[chosen])}
    return Excitations(
        time=time,
        flip=np.array([flip[s] for s in pulses.shape[chosen]], dtype=np.float64),
        normal=np.where(selective[:, None], gradient / safe[:, None], 0.0),
        offset=np.where(selective, pulses.frequency[chosen] / safe, 0.0),
        thickness=np.where(
            selective, np.array([width[s] for s in pulses.shape[chosen]]) / safe, 0.0
        ),
        since_inversion=_since_inversion(time, centre[use == "i"]),
        of_window=of_window.reshape(-1).astype(np.int64),
    )


def _flip(shape: PulseShape) -> float:
    """Rotation on resonance, small where the envelope sums to nothing."""
    return float(2 * np.pi * abs(np.sum(shape.step * np.diff(shape.edge))))


def bandwidth(shape: PulseShape) -> float:
    """Full width at half maximum of an envelope's spectrum [Hz]: the slice at small flip angle."""
    n = max(2, min(_PADDED // 4, int((shape.edge[-1] - shape.edge[0]) / _STEP)))
    time = np.linspace(shape.edge[0], shape.edge[-1], n, endpoint=False)
    held = np.clip(np.searchsorted(shape.edge, time, side="right") - 1, 0, len(shape.step) - 1)
    spectrum = np.abs(np.fft.fft(shape.step[held], _PADDED))
    step = 1.0 / (_PADDED * (time[1] - time[0])) if time[1] > time[0] else 0.0
    return float(np.count_nonzero(spectrum >= spectrum.max() / 2) * step)


def _since_inversion(
    time: Float[np.ndarray, " excitation"], inversions: Float[np.ndarray, " inversion"]
) -> Float[np.ndarray, " excitation"]:
    if not len(inversions):
        return np.full(len(time), np.nan)
    last = np.searchsorted(inversions, time, side="right") - 1
    delay = time - inversions[np.maximum(last, 0)]
    fresh = np.diff(last, prepend=-1) > 0
    return np.where((last >= 0) & fresh, delay, np.nan)


def slice_numbers(
    position: Float[np.ndarray, " excitation"], tolerance: Metre = 0.1e-3
) -> tuple[Int[np.ndarray, " excitation"], Float[np.ndarray, " slice"]]:
    """Number slice positions in ascending order; nearer than ``tolerance`` is the same slice."""
    if not len(position):
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    order = np.argsort(position, kind="stable")
    new = np.diff(position[order], prepend=position[order[0]]) > tolerance
    number = np.empty(len(position), dtype=np.int64)
    number[order] = np.cumsum(new)
    centres = np.array([position[number == i].mean() for i in range(int(number.max()) + 1)])
    return number, centres
