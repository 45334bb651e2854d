"""What no sequence may exceed, and who says so."""

from typing import Literal

from scanroom.core.choice import one_of
from scanroom.core.errors import ProtocolError
from scanroom.core.gate import Limit
from scanroom.core.units import Kilogram
from scanroom.mri.limits.hardware import hardware_limits
from scanroom.mri.limits.pns import EXAMPLE_COIL, WEIGHTS, Coil, pns_limit
from scanroom.mri.limits.sar import HEAD_MASS, sar_limits
from scanroom.mri.system import System

__all__ = ["MODES", "Mode", "limits_for"]

Mode = Literal["normal", "first-level"]
MODES: tuple[Mode, Mode] = ("normal", "first-level")


def limits_for(
    system: System,
    *,
    mode: str = "normal",
    body_mass: Kilogram = 70.0,
    head_mass: Kilogram = HEAD_MASS,
    coil: Coil = EXAMPLE_COIL,
    pns_weights: tuple[float, float, float] = WEIGHTS,
) -> tuple[Limit, ...]:
    """Every limit the gate holds a drive against, hardware first.

    ``mode`` is an operating mode of IEC 60601-2-33. ``coil`` holds the SAFE coefficients of the
    gradient coil.

    Raises
    ------
    ProtocolError
        If the mode is unknown or a mass is unreasonable.
    """
    one_of("mode", mode, MODES, "IEC 60601-2-33:2022")
    for name, mass, low, high in (
        ("body_mass", body_mass, 1.0, 400.0),
        ("head_mass", head_mass, 0.5, 10.0),
    ):
        if not low <= mass <= high:
            raise ProtocolError(
                f"{name} is {mass:.4g} kg; it may be {low:g} to {high:g} kg "
                "(range of the SAR model). Check the subject's weight."
            )
    return (
        *hardware_limits(system),
        *sar_limits(system, mode, body_mass, head_mass),
        pns_limit(system, mode, coil, pns_weights),
    )
