"""Peripheral nerve stimulation by the SAFE model."""

from dataclasses import dataclass
from typing import no_type_check

import numba
import numpy as np

from scanroom.core.gate import Limit
from scanroom.core.units import Ratio, Second, TeslaPerMetrePerSecond
from scanroom.mri.drive.model import Drive
from scanroom.mri.limits.sound import sound
from scanroom.mri.system import System

CEILING = {"normal": 80.0, "first-level": 100.0}
WEIGHTS: tuple[Ratio, Ratio, Ratio] = (0.8, 1.0, 0.7)
"""Share of x, y, z in the sum of squares: IEC 60601-2-33:2022; 1 for all before."""
MODEL_SOURCE = (
    "SAFE, Hebrank and Gebhardt, Proc. ISMRM 8, 2007 (2000), coefficients of the example coil of "
    "github.com/filip-szczepankiewicz/safe_pns_prediction"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nerve:
    """How one axis stimulates: three low-pass filters, their weights, and the slew rate of 100 %.

    The first and third filter the slew rate and rectify, the second rectifies and filters.
    """

    tau: tuple[Second, Second, Second]
    weight: tuple[Ratio, Ratio, Ratio]
    limit: TeslaPerMetrePerSecond
    scale: Ratio


EXAMPLE_COIL = (
    Nerve(tau=(0.20e-3, 0.03e-3, 3.00e-3), weight=(0.40, 0.10, 0.50), limit=30.0, scale=0.35),
    Nerve(tau=(1.50e-3, 2.50e-3, 0.15e-3), weight=(0.55, 0.15, 0.30), limit=15.0, scale=0.31),
    Nerve(tau=(2.00e-3, 0.12e-3, 1.00e-3), weight=(0.42, 0.40, 0.18), limit=25.0, scale=0.25),
)
Coil = tuple[Nerve, Nerve, Nerve]


def pns_limit(
    system: System,
    mode: str,
    coil: Coil = EXAMPLE_COIL,
    weights: tuple[Ratio, Ratio, Ratio] = WEIGHTS,
) -> Limit:
    """Peak stimulation of a drive in percent of the threshold."""

    def measure(drive: Drive) -> float:
        return stimulation(drive, system.gamma, system.gradient_raster, coil, weights)

    return Limit(
        name="peripheral nerve stimulation",
        ceiling=CEILING[mode],
        unit="%",
        source=f"IEC 60601-2-33:2022, limits of PNS, {mode} mode; model: {MODEL_SOURCE}",
        measure=sound(measure),
        remedy="Lengthen the ramps, lower the gradients or set a lower slew rate.",
    )


def stimulation(
    drive: Drive,
    gamma: float,
    raster: Second,
    coil: Coil = EXAMPLE_COIL,
    weights: tuple[Ratio, Ratio, Ratio] = WEIGHTS,
) -> float:
    """Largest weighted root of the sum of squares of the three axes [%]."""
    knots = [len(axis.time) for axis in drive.gradients]
    if not any(knots):
        return 0.0
    tau = np.array([nerve.tau for nerve in coil])
    share = np.array([nerve.weight for nerve in coil])
    scale = np.array([100.0 * n.scale / n.limit / gamma for n in coil]) * np.array(weights)
    edge = np.concatenate([[0], np.cumsum(knots)])
    time = np.concatenate([axis.time for axis in drive.gradients])
    amplitude = np.concatenate([axis.amplitude for axis in drive.gradients])
    longest = float(tau.max())
    end = max(float(axis.time[-1]) for axis in drive.gradients if len(axis.time))
    return float(
        _peak(time, amplitude, edge, (raster, end + 4 * longest), tau, share * scale[:, None])
    )


@numba.njit(cache=True, nogil=True)
@no_type_check
def _peak(time, amplitude, edge, clock, tau, share):
    """Step through the raster; where no gradient changes, all parts only decay and are skipped."""
    raster, end = clock
    low = edge[:-1].copy()
    last = np.zeros(3)
    state = np.zeros((3, 3))
    keep = 1.0 - raster / (tau + raster)
    peak, tick, total = 0.0, 0, int(np.ceil(end / raster)) + 1
    while tick < total:
        at = (tick + 0.5) * raster
        square, quiet = 0.0, end + raster
        for axis in range(3):
            now, until = 0.0, 1e300
            while low[axis] < edge[axis + 1] and time[low[axis]] <= at:
                low[axis] += 1
            i = low[axis]
            if i == edge[axis] and i < edge[axis + 1]:
                until = time[i]
            elif edge[axis] < i < edge[axis + 1]:
                step = (amplitude[i] - amplitude[i - 1]) / (time[i] - time[i - 1])
                now = amplitude[i - 1] + step * (at - time[i - 1])
                until = time[i] if amplitude[i] == amplitude[i - 1] else 0.0
            slew = (now - last[axis]) / raster
            last[axis] = now
            sum_of_parts = 0.0
            for part in range(3):
                drive = abs(slew) if part == 1 else slew
                state[axis, part] = (
                    keep[axis, part] * state[axis, part] + (1.0 - keep[axis, part]) * drive
                )
                sum_of_parts += share[axis, part] * abs(state[axis, part])
            square += sum_of_parts * sum_of_parts
            quiet = min(quiet, until)
        peak = max(peak, np.sqrt(square))
        skipped = min(int((quiet - at) / raster - 1e-6), total - tick - 1) if quiet > at else 0
        if skipped > 0:
            for axis in range(3):
                for part in range(3):
                    state[axis, part] *= keep[axis, part] ** skipped
        tick += 1 + max(0, skipped)
    return peak
