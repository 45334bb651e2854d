"""What a .seq says about itself, so that it alone can be reconstructed."""

import dataclasses
import json
import math
from typing import Any

from scanroom.core.errors import ProtocolError
from scanroom.mri.drive.compile.design import NANO, dwell_time
from scanroom.mri.protocol.families import (
    FAMILIES,
    GradientEcho,
    Imaging,
    TurboSpinEcho,
    family_of,
)
from scanroom.mri.protocol.geometry import Geometry
from scanroom.mri.system import System


def definitions(protocol: Imaging, system: System) -> dict[str, Any]:
    """Entries of [DEFINITIONS]: numbers in SI, lists separated by blanks.

    ``FlipAngle`` and ``RefocusingAngle`` are in degrees, as sequences in the open write them.
    """
    geometry = protocol.geometry
    n_samples = geometry.matrix_read * protocol.oversampling
    width = geometry.slab if geometry.is_3d else geometry.n_slices * geometry.spacing
    entries: dict[str, Any] = {
        "Name": "_".join(protocol.name.split()) or family_of(protocol),
        "FOV": (geometry.field_of_view_read, geometry.field_of_view_phase, width),
        "TE": protocol.echo_time,
        "TR": protocol.repetition_time,
        "FlipAngle": math.degrees(getattr(protocol, "flip_angle")),  # noqa: B009 - each family has one
        "scanroom_kind": family_of(protocol),
        "scanroom_system": system.name,
        "scanroom_field": system.field,
        "scanroom_matrix": (geometry.matrix_read, geometry.matrix_phase, geometry.n_partitions),
        "scanroom_oversampling": protocol.oversampling,
        "scanroom_rotation": geometry.rotation.ravel().tolist(),
        "scanroom_position": geometry.centre,
        "scanroom_slice_positions": geometry.slice_offsets.tolist(),
        "scanroom_slice_thickness": geometry.slice_thickness,
        "scanroom_slice_gap": geometry.slice_gap,
        "scanroom_centre_line": geometry.matrix_phase // 2,
        "scanroom_centre_partition": geometry.n_partitions // 2,
        "scanroom_partial_fourier": protocol.partial_fourier,
        "scanroom_acceleration": protocol.acceleration,
        "scanroom_acs": protocol.acs_lines,
        "scanroom_averages": protocol.averages,
        "scanroom_bandwidth": 1 / (n_samples * dwell_time(protocol, system) * NANO),
        "scanroom_protocol": protocol_line(protocol),
    }
    return entries | _family_entries(protocol)


def _family_entries(protocol: Imaging) -> dict[str, Any]:
    """Entries that one family has."""
    if isinstance(protocol, GradientEcho):
        return {"scanroom_partial_fourier_slice": protocol.partial_fourier_slice}
    entries: dict[str, Any] = {
        "RefocusingAngle": math.degrees(getattr(protocol, "refocusing_angle"))  # noqa: B009
    }
    if isinstance(protocol, TurboSpinEcho):
        entries["scanroom_echo_train_length"] = protocol.echo_train_length
        entries["scanroom_echo_spacing"] = protocol.echo_spacing
    return entries


def protocol_line(protocol: Imaging) -> str:
    """Write the whole protocol on one line of JSON without blanks outside strings, in SI."""
    record = {"family": family_of(protocol), **dataclasses.asdict(protocol)}
    return json.dumps(record, separators=(",", ":"))


def protocol_of(line: str) -> Imaging:
    """Take the protocol back from what `protocol_line` wrote.

    Raises
    ------
    ProtocolError
        If it is another text, or any value is out of bounds.
    """
    try:
        record = json.loads(line)
        geometry = Geometry(**_tuples(record.pop("geometry")))
        return FAMILIES[record.pop("family")](geometry=geometry, **_tuples(record))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ProtocolError(
            f"scanroom_protocol is {line[:60]!r}; it may be what Scanroom wrote into a sequence "
            f"({type(error).__name__}, scanroom.mri.drive.compile). Leave it out or compile again."
        ) from error


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists where protocols have tuples."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
