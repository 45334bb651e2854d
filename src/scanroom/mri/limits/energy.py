"""Sums over the radio-frequency pulses of any stretch of time."""

import numpy as np
from jaxtyping import Float

from scanroom.core.units import Second
from scanroom.mri.drive.model import Drive


def pulse_edges(drive: Drive) -> tuple[Float[np.ndarray, " pulse"], Float[np.ndarray, " pulse"]]:
    """When every pulse begins and ends."""
    first = np.array([shape.edge[0] for shape in drive.shapes])
    last = np.array([shape.edge[-1] for shape in drive.shapes])
    start = drive.pulses.start
    if not len(start):
        return np.zeros(0), np.zeros(0)
    return start + first[drive.pulses.shape], start + last[drive.pulses.shape]


def busiest(
    drive: Drive,
    per_shape: Float[np.ndarray, " shape"],
    span: Second,
    floor: Second = 0.0,
    *,
    factor: Float[np.ndarray, " pulse"] | None = None,
) -> float:
    """Largest mean over any ``span`` of a quantity each pulse adds, per second.

    A pulse adds what its shape does, times its own ``factor`` where there is one.
    A pulse counts in full when it begins within the span, so the value is never too small. With a
    ``floor`` a sequence shorter than the span is taken to be repeated without a pause: it is
    averaged over its own duration, or the floor where that is longer.
    """
    pulses = drive.pulses
    if not len(pulses.start):
        return 0.0
    order = np.argsort(pulses.start, kind="stable")
    start = pulses.start[order]
    added = per_shape[pulses.shape] if factor is None else per_shape[pulses.shape] * factor
    total = np.concatenate([[0.0], np.cumsum(added[order])])
    within = np.searchsorted(start, start + span, side="left")
    time = span if floor <= 0 else min(span, max(floor, drive.duration))
    return float((total[within] - total[:-1]).max()) / time
