"""What the operator asks for: frozen data with units and bounds, presets with sources."""

from scanroom.mri.protocol.document import (
    dump_protocol,
    load_protocol,
    parse_protocol,
    preset_names,
)
from scanroom.mri.protocol.families import (
    FAMILIES,
    GradientEcho,
    Imaging,
    Protocol,
    SpinEcho,
    TurboSpinEcho,
    family_of,
)
from scanroom.mri.protocol.geometry import Geometry

__all__ = [
    "FAMILIES",
    "Geometry",
    "GradientEcho",
    "Imaging",
    "Protocol",
    "SpinEcho",
    "TurboSpinEcho",
    "dump_protocol",
    "family_of",
    "load_protocol",
    "parse_protocol",
    "preset_names",
]
