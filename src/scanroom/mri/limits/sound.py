"""A drive with a number missing is never measured as harmless."""

from collections.abc import Callable

import numpy as np

from scanroom.mri.drive.model import Drive


def sound(measure: Callable[[Drive], float]) -> Callable[[Drive], float]:
    """Let a measure return NaN, which no limit passes, where any number of the drive is not finite.

    Comparisons and searches would otherwise step over a NaN in silence.
    """

    def guarded(drive: Drive) -> float:
        return measure(drive) if is_finite(drive) else float("nan")

    return guarded


def is_finite(drive: Drive) -> bool:
    """Whether every time, amplitude, phase and weight is a finite number."""
    pulses, windows = drive.pulses, drive.windows
    arrays = [
        *(array for axis in drive.gradients for array in (axis.time, axis.amplitude)),
        *(array for s in drive.shapes for array in (s.time, s.signal, s.edge, s.step)),
        *(pulses.start, pulses.frequency, pulses.phase),
        *(windows.start, windows.dwell, windows.frequency, windows.phase),
        *windows.modulation,
        drive.block_edge,
        *(() if drive.shims is None else (drive.shims.weight,)),
    ]
    return all(bool(np.isfinite(array).all()) for array in arrays)
