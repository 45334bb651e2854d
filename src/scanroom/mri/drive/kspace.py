"""Where the samples of a drive lie in k-space."""

import numpy as np
from jaxtyping import Float, Int

from scanroom.mri.drive.model import Drive, Gradient

_CHUNK = 1 << 20


class _Integral:
    """Exact integral of a piecewise-linear gradient from before its first knot."""

    def __init__(self, gradient: Gradient) -> None:
        self.time = np.asarray(gradient.time, dtype=np.float64)
        self.amplitude = np.asarray(gradient.amplitude, dtype=np.float64)
        length = np.diff(self.time)
        areas = length * (self.amplitude[1:] + self.amplitude[:-1]) / 2
        self.total = np.concatenate([[0.0], np.cumsum(areas)])
        self.slope = np.diff(self.amplitude) / np.where(length > 0, length, 1.0)

    def __call__(self, at: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
        if len(self.time) < 2:
            return np.zeros(len(at))
        lower = np.clip(np.searchsorted(self.time, at, side="right") - 1, 0, len(self.time) - 2)
        part = np.clip(at - self.time[lower], 0.0, self.time[lower + 1] - self.time[lower])
        mean = self.amplitude[lower] + self.slope[lower] * part / 2
        return np.asarray(self.total[lower] + mean * part)


def moment(drive: Drive, times: Float[np.ndarray, " time"]) -> Float[np.ndarray, "time 3"]:
    """Integral of the gradients [1/m] from the start of the drive, exact between the knots."""
    return np.stack([_Integral(axis)(times) for axis in drive.gradients], axis=1)


def trajectory(drive: Drive) -> tuple[Float[np.ndarray, "sample axis"], ...]:
    """K-space position [1/m] of every sample of every window, along the scanner's axes.

    It starts anew at the centre of every excitation (uses ``e`` and ``u``) and changes sign at the
    centre of every refocusing pulse; other pulses leave it alone.
    """
    centre, restart, sign = _turns(drive)
    windows = drive.windows
    edge = np.concatenate([[0], np.cumsum(windows.n_samples)]).astype(np.int64)
    k = np.empty((int(edge[-1]), 3))
    integrals = [_Integral(axis) for axis in drive.gradients]
    at_centre = np.stack([axis(centre) for axis in integrals], axis=1)
    origin = _origins(at_centre, restart, sign)
    first = 0
    while first < len(windows.start):
        last = int(np.searchsorted(edge, edge[first] + _CHUNK, side="right")) - 1
        last = min(max(last, first + 1), len(windows.start))
        part = slice(int(edge[first]), int(edge[last]))
        n_samples = windows.n_samples[first:last]
        number = np.arange(part.stop - part.start) - np.repeat(
            edge[first:last] - edge[first], n_samples
        )
        dwell = np.repeat(windows.dwell[first:last], n_samples)
        time = np.repeat(windows.start[first:last], n_samples) + (number + 0.5) * dwell
        after = np.searchsorted(centre, time, side="right")
        for axis, integral in enumerate(integrals):
            k[part, axis] = integral(time) + origin[after, axis]
        first = last
    return tuple(np.split(k, edge[1:-1])) if len(windows.start) else ()


def _turns(
    drive: Drive,
) -> tuple[Float[np.ndarray, " pulse"], Int[np.ndarray, " pulse"], Int[np.ndarray, " pulse"]]:
    """Centres of excitations and refocusings; which restart; sign after the pulses so far."""
    use = np.array(drive.pulses.use, dtype="<U1")
    acts = np.isin(use, ("e", "u", "r"))
    centres = np.array([shape.centre for shape in drive.shapes])[drive.pulses.shape[acts]]
    time = drive.pulses.start[acts] + centres if acts.any() else np.zeros(0)
    restart = np.isin(use[acts], ("e", "u")).astype(np.int64)
    sign = 1 - 2 * (np.cumsum(1 - restart) % 2)
    return time, restart, sign


def _origins(
    at_centre: Float[np.ndarray, "pulse 3"],
    restart: Int[np.ndarray, " pulse"],
    sign: Int[np.ndarray, " pulse"],
) -> Float[np.ndarray, "pulse_plus_1 3"]:
    """What is added to the integral after each pulse, zero before the first.

    An excitation at integral ``M`` makes it ``-M``; a refocusing turns ``o`` into ``-o - 2 M``.
    With the signs of all refocusings so far taken out, both are sums.
    """
    if not len(restart):
        return np.zeros((1, 3))
    signed = sign[:, None] * at_centre
    total = np.cumsum(np.where(restart[:, None] == 1, 0.0, -2 * signed), axis=0)
    last = np.maximum.accumulate(np.where(restart == 1, np.arange(len(restart)), -1))
    begun = (last >= 0)[:, None]
    base = np.where(begun, -signed[last] - total[last], 0.0)
    return np.concatenate([np.zeros((1, 3)), sign[:, None] * (total + base)])
