"""One MRD acquisition in bytes, and the door between SI in RAS+ and MRD's LPS millimetres.

The layout is that of ISMRMRD 1.x, packed, little endian; the same bytes stand in a binary MRD
stream and, member by member, in the HDF5 compound.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from scanroom.core.errors import FormatError, ProtocolError
from scanroom.mri.raw.encoding import COUNTERS, Encoding, blank

_INDEX = np.dtype([*((name, "<u2") for name in COUNTERS), ("user", "<u2", (8,))])
HEAD = np.dtype(
    [
        ("version", "<u2"),
        ("flags", "<u8"),
        ("measurement_uid", "<u4"),
        ("scan_counter", "<u4"),
        ("acquisition_time_stamp", "<u4"),
        ("physiology_time_stamp", "<u4", (3,)),
        ("number_of_samples", "<u2"),
        ("available_channels", "<u2"),
        ("active_channels", "<u2"),
        ("channel_mask", "<u8", (16,)),
        ("discard_pre", "<u2"),
        ("discard_post", "<u2"),
        ("center_sample", "<u2"),
        ("encoding_space_ref", "<u2"),
        ("trajectory_dimensions", "<u2"),
        ("sample_time_us", "<f4"),
        ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)),
        ("phase_dir", "<f4", (3,)),
        ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)),
        ("idx", _INDEX),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
    ]
)
"""MRD's acquisition header; ``scan_counter`` is the window of the drive and ``user_int[0:2]``
the moment it opened in whole seconds and nanoseconds."""

TIME_STAMP = 2.5e-3
"""Tick of ``acquisition_time_stamp`` [s], that of Siemens scanners, which MRD converters keep."""
_LPS = np.array([-1.0, -1.0, 1.0])
_LARGEST = (1 << 16) - 1
_DIRECTIONS = {
    "read_dir": "read_direction",
    "phase_dir": "phase_direction",
    "slice_dir": "slice_direction",
}


def heads(encoding: Encoding, n_coils: int) -> Shaped[np.ndarray, " window"]:
    """Build the acquisition header of every window.

    Raises
    ------
    ProtocolError
        If a counter or a number of samples does not fit MRD's 16 bits.
    """
    head = np.zeros(encoding.n_windows, dtype=HEAD)
    head["version"] = 1
    head["flags"] = encoding.flags
    head["scan_counter"] = np.arange(encoding.n_windows)
    head["available_channels"] = head["active_channels"] = n_coils
    for channel in range(n_coils):
        head["channel_mask"][:, channel // 64] |= np.uint64(1 << (channel % 64))
    for name, values in (
        ("number_of_samples", np.array([len(k) for k in encoding.trajectory], dtype=np.int64)),
        ("discard_pre", encoding.discard_pre),
        ("discard_post", encoding.discard_post),
        ("center_sample", encoding.centre_sample),
    ):
        head[name] = _checked(values, name)
    for name in COUNTERS:
        head["idx"][name] = _checked(getattr(encoding, name), name)
    head["trajectory_dimensions"] = [k.shape[1] for k in encoding.trajectory]
    head["sample_time_us"] = encoding.dwell * 1e6
    head["position"] = encoding.position * _LPS * 1e3
    for theirs, ours in _DIRECTIONS.items():
        head[theirs] = getattr(encoding, ours) * _LPS
    return head


def _checked(values: np.ndarray, name: str) -> np.ndarray:
    """Refuse what 16 bits would wrap around."""
    if len(values) and (values.min() < 0 or values.max() > _LARGEST):
        raise ProtocolError(
            f"{name} runs from {values.min()} to {values.max()}; MRD stores 0 to {_LARGEST} "
            "(16-bit fields of its acquisition header). Split the scan or the readout."
        )
    return values


def rows(head: Shaped[np.ndarray, " window"]) -> dict[str, Any]:
    """Read the per-window fields of `Encoding`, all but the trajectory, out of headers.

    Raises
    ------
    FormatError
        If a length, a time or a direction is none that a scanner has.
    """
    found: dict[str, Any] = blank(len(head))
    for name in COUNTERS:
        found[name] = head["idx"][name].astype(np.int64)
    found["flags"] = head["flags"].astype(np.uint64)
    found["centre_sample"] = head["center_sample"].astype(np.int64)
    inside = head["center_sample"] <= head["number_of_samples"]
    if not inside.all():
        wrong = head[~inside][0]
        raise FormatError(
            f"an acquisition has its centre at sample {wrong['center_sample']} of "
            f"{wrong['number_of_samples']}; it lies inside (ISMRMRD center_sample). The header is "
            "damaged: export the data again."
        )
    found["discard_pre"] = head["discard_pre"].astype(np.int64)
    found["discard_post"] = head["discard_post"].astype(np.int64)
    found["dwell"] = np.round(_within(head, "sample_time_us", 0.0, 1e7), 6) * 1e-6
    found["position"] = _within(head, "position", -1e4, 1e4) * _LPS * 1e-3
    directions = np.stack([_within(head, name, -2.0, 2.0) * _LPS for name in _DIRECTIONS], axis=1)
    absent = np.asarray(~directions.any(axis=(1, 2)))
    skewed = np.abs(directions @ directions.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2)) > 1e-2
    if len(wrong := np.flatnonzero(skewed & ~absent)):
        raise FormatError(
            f"acquisition {wrong[0]} has the directions {directions[wrong[0]].round(3).tolist()}; "
            "they are unit vectors at right angles to each other, or all zero where unknown "
            "(ISMRMRD, to 1 %). The header is damaged: export the data again."
        )
    for axis, name in enumerate(_DIRECTIONS.values()):
        # Others leave the directions zero; then the axes of the scanner are taken.
        found[name] = np.where(absent[:, None], found[name], directions[:, axis])
    return found


def _within(
    head: Shaped[np.ndarray, " window"], name: str, low: float, high: float
) -> Float[np.ndarray, "..."]:
    """Refuse what is not finite or beyond any scanner."""
    values = head[name].astype(np.float64)
    outside = np.asarray(~((values >= low) & (values <= high)))
    if outside.any():
        wrong = values[outside][0]
        raise FormatError(
            f"{name} of an acquisition is {wrong:g}; {low:g} to {high:g} is read (ISMRMRD, in mm "
            "or us; larger than any scanner). The header is damaged: export the data again."
        )
    return values


def opened(head: Shaped[np.ndarray, " window"], *, exact: bool) -> Float[np.ndarray, " window"]:
    """When each window opened [s]: to the nanosecond in our own files, else to the tick."""
    if exact:
        return head["user_int"][:, 0] + head["user_int"][:, 1] * 1e-9
    return head["acquisition_time_stamp"] * TIME_STAMP
