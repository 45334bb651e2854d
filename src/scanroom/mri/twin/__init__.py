"""The device that is a simulation."""

from scanroom.mri.twin.device import Twin
from scanroom.mri.twin.effort import Effort
from scanroom.mri.twin.faults import IDEAL, Faults

__all__ = ["IDEAL", "Effort", "Faults", "Twin"]
