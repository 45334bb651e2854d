"""Integrals of a drive's gradients, written apart from the code under test."""

from collections.abc import Callable

import numpy as np

from scanroom.mri.drive.model import Drive, Gradient


def antiderivative(gradient: Gradient) -> Callable[[np.ndarray], np.ndarray]:
    """Integral of one gradient from 0 to each time: exact for straight lines [1/m]."""
    knot, amplitude = gradient.time, gradient.amplitude
    if knot.size == 0:
        return lambda times: np.zeros(np.shape(times))
    steps = np.diff(knot)
    total = np.concatenate([[0.0], np.cumsum(steps * (amplitude[1:] + amplitude[:-1]) / 2)])

    def evaluate(times: np.ndarray) -> np.ndarray:
        at = np.clip(np.searchsorted(knot, times, side="right") - 1, 0, knot.size - 2)
        part = np.clip(times - knot[at], 0, steps[at])
        rise = amplitude[at + 1] - amplitude[at]
        slope = np.divide(rise, steps[at], where=steps[at] > 0, out=0 * part)
        return total[at] + part * (amplitude[at] + slope * part / 2)

    return evaluate


def area(drive: Drive, axis: int, times: np.ndarray) -> np.ndarray:
    """Integral of the gradient along one axis from 0 to each time [1/m]."""
    return antiderivative(drive.gradients[axis])(np.asarray(times, float))


def centres(drive: Drive, use: str) -> np.ndarray:
    """Centre of every pulse of one use."""
    return np.array(
        [
            start + drive.shapes[shape].centre
            for start, shape, kind in zip(
                drive.pulses.start, drive.pulses.shape, drive.pulses.use, strict=True
            )
            if kind == use
        ]
    )


def sample_times(drive: Drive, window: int) -> np.ndarray:
    """When the samples of one window are taken."""
    windows = drive.windows
    index = np.arange(windows.n_samples[window])
    return windows.start[window] + (index + 0.5) * windows.dwell[window]


def wave_numbers(drive: Drive, chosen: np.ndarray | None = None) -> np.ndarray:
    """Wave number of every sample of the chosen windows, ``window axis sample``.

    Excitation resets it, refocusing turns its sign.
    """
    excitations, refocusings = centres(drive, "e"), centres(drive, "r")
    integrals = [antiderivative(gradient) for gradient in drive.gradients]
    rows = []
    for window in range(drive.windows.start.size) if chosen is None else chosen:
        times = sample_times(drive, window)
        start = excitations[np.searchsorted(excitations, times[0]) - 1]
        first, last = np.searchsorted(refocusings, (start, times[0]))
        marks = np.concatenate([[start], refocusings[first:last]])
        row = []
        for integral in integrals:
            at_marks = integral(marks)
            k = 0.0
            for step in np.diff(at_marks):
                k = -(k + step)
            row.append(k + integral(times) - at_marks[-1])
        rows.append(row)
    return np.array(rows)


def labels(drive: Drive, name: str) -> np.ndarray:
    """One label at every window; zero where a file never sets it."""
    if name not in drive.windows.label_name:
        return np.zeros(drive.windows.start.size, int)
    return drive.windows.label[:, drive.windows.label_name.index(name)]
