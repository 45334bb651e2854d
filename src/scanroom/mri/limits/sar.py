"""Specific absorption rate from B1+rms: whole body by published simulation, head by a sphere."""

import math

import numpy as np

from scanroom.core.gate import Limit
from scanroom.core.units import Hertz, Kilogram, Ratio, Second, WattPerKilogram
from scanroom.mri.drive.model import Drive
from scanroom.mri.limits.channels import all_power, per_pulse, worst_mode
from scanroom.mri.limits.energy import busiest
from scanroom.mri.limits.sound import sound
from scanroom.mri.system import System

BODY_PER_SQUARE_TESLA = 0.58e12
"""W/kg of the whole body per T^2 of continuous B1+ at 128 MHz: the largest value of table VI."""
BODY_FREQUENCY: Hertz = 128e6
BODY_MASS: Kilogram = 122.0
BODY_SOURCE = "IEEE Rev. Biomed. Eng. 10, 95 (2017), table VI, doi:10.1109/RBME.2017.2722420"
HEAD_MASS: Kilogram = 4.7
"""Assumed head of an adult; SAR grows with the square of its radius."""
BRAIN_DENSITY = 1040.0
BRAIN_CONDUCTIVITY = 0.59
"""Grey matter at 128 MHz; lower at lower frequencies (Gabriel 1996)."""
HEAD_SOURCE = (
    "sphere in a rotating field, Bottomley and Andrew 1978, doi:10.1088/0031-9155/23/4/006; "
    "conductivity of Gabriel 1996, doi:10.1088/0031-9155/41/11/003"
)
STANDARD = "IEC 60601-2-33:2022, limits of SAR"
LONG: Second = 360.0
SHORT: Second = 10.0
SHORT_FACTOR = 2.0
BODY_CEILING: dict[str, WattPerKilogram] = {"normal": 2.0, "first-level": 4.0}
HEAD_CEILING: WattPerKilogram = 3.2
WHOLE_BODY = "whole-body SAR over 6 min"
"""Name of the limit whose value images and reports quote."""
_REMEDY = "Lengthen the repetition time, lower refocusing angles or lengthen the pulses."


def body_sar_per_square_tesla(frequency: Hertz, body_mass: Kilogram) -> float:
    """Whole-body SAR of a continuous B1+ of 1 T.

    It grows with the square of the frequency and of the radius of the body; bodies lighter than
    that of the simulation count as if they were as heavy.
    """
    size = max(1.0, (body_mass / BODY_MASS) ** (2 / 3))
    return float(BODY_PER_SQUARE_TESLA * (frequency / BODY_FREQUENCY) ** 2 * size)


def head_sar_per_square_tesla(frequency: Hertz, head_mass: Kilogram) -> float:
    """Mean SAR of a conducting sphere in a field of 1 T that rotates.

    Each of the two linear parts drives currents ``E = omega B r / 2`` around its own axis; the mean
    over the sphere of both is ``sigma omega^2 B^2 R^2 / (10 rho)``.
    """
    square_radius = (3 * head_mass / (4 * math.pi * BRAIN_DENSITY)) ** (2 / 3)
    turn = 2 * math.pi * frequency
    return float(BRAIN_CONDUCTIVITY * turn**2 * square_radius / (10 * BRAIN_DENSITY))


def mean_square_b1(drive: Drive, gamma: float, span: Second, worst: Ratio = 1.0) -> float:
    """Largest mean of B1 squared [T^2] in any ``span``.

    A pulse with an RF shim counts with the power of all its channels times ``worst``, which is how
    much more than the scanner's own mode the worst phases deposit.
    A sequence shorter than six minutes may be followed by itself: averages longer than ten seconds
    are then taken over its own duration.
    """
    squares = np.array([np.sum(np.abs(s.step) ** 2 * np.diff(s.edge)) for s in drive.shapes])
    factor = per_pulse(drive, lambda weight: worst * all_power(weight))
    return busiest(drive, squares, span, SHORT, factor=factor) / gamma**2


def sar_limits(
    system: System, mode: str, body_mass: Kilogram, head_mass: Kilogram
) -> tuple[Limit, ...]:
    """Whole-body and head SAR over six minutes and ten seconds."""
    body = body_sar_per_square_tesla(system.larmor, body_mass)
    head = head_sar_per_square_tesla(system.larmor, head_mass)
    worst = worst_mode(system)
    parts = (
        ("whole-body", body, BODY_CEILING[mode], BODY_SOURCE),
        ("head", head, HEAD_CEILING, HEAD_SOURCE),
    )
    return tuple(
        _limit(
            part,
            rate,
            ceiling * factor,
            (span, system.gamma, worst),
            f"{mode} mode; model: {source}",
        )
        for part, rate, ceiling, source in parts
        for span, factor in ((LONG, 1.0), (SHORT, SHORT_FACTOR))
    )


def _limit(
    part: str, rate: float, ceiling: WattPerKilogram, over: tuple[Second, float, Ratio], source: str
) -> Limit:
    span, gamma, worst = over

    def measure(drive: Drive) -> float:
        return rate * mean_square_b1(drive, gamma, span, worst)

    return Limit(
        name=f"{part} SAR over {'6 min' if span == LONG else '10 s'}",
        ceiling=ceiling,
        unit="W/kg",
        source=f"{STANDARD}, {source}",
        measure=sound(measure),
        remedy=_REMEDY,
    )
