"""Give an image its name, place, unit and past."""

from typing import Any

import numpy as np
from jaxtyping import Shaped

from scanroom import __version__
from scanroom.core.result import Result
from scanroom.core.units import Second
from scanroom.mri.raw.encoding import Encoding
from scanroom.mri.recon.geometry import axes_of
from scanroom.mri.recon.noise import Measurement
from scanroom.mri.recon.sort import FRAME, Frame, Stack

_LABELS = ("echo", "rep", "set", "phase")


def describe(
    array: Shaped[np.ndarray, "z y x"],
    measurement: Measurement,
    stack: Stack,
    frame: Frame,
    suffix: str,
    notes: tuple[str, ...],
    *,
    in_noise_units: bool = True,
) -> Result:
    """Turn voxels into a result; ``in_noise_units`` if they are, where the noise was measured."""
    encoding = measurement.encoding
    return Result(
        name=_name(encoding, stack, frame, suffix),
        array=array,
        axes=("z", "y", "x"),
        affine=stack.ladder.affine(*axes_of(encoding)),
        unit="SNR" if measurement.white and in_noise_units else "a.u.",
        provenance={
            "protocol": encoding.protocol_name,
            **dict(zip(FRAME, frame.counter, strict=True)),
            **_timing(encoding, frame.counter[0]),
            "field": encoding.field,
            "frequency": encoding.frequency,
            "subject_position": encoding.subject_position,
            "n_coils": measurement.n_coils,
            "slice_thickness": stack.ladder.thickness,
            "readout_time": _readout_time(encoding, _first(frame)),
            "acceleration": encoding.acceleration,
            "noise_prewhitened": measurement.white,
            "steps": (*measurement.notes, *notes),
            "user": dict(encoding.user),
            "software": f"Scanroom {__version__}",
        },
    )


def _first(frame: Frame) -> int:
    return next(int(windows[0]) for windows in frame.windows if len(windows))


def _readout_time(encoding: Encoding, window: int) -> Second:
    """How long a readout was sampled, without what is not to be used."""
    unused = int(encoding.discard_pre[window] + encoding.discard_post[window])
    return float(encoding.dwell[window]) * (len(encoding.trajectory[window]) - unused)


def _timing(encoding: Encoding, contrast: int) -> dict[str, Any]:
    """Times of this contrast [s] and its flip angle [rad]; the last one stated holds on."""

    def of(values: tuple[float, ...]) -> float | None:
        return values[min(contrast, len(values) - 1)] if values else None

    return {
        "echo_time": of(encoding.echo_times),
        "repetition_time": of(encoding.repetition_times),
        "inversion_time": of(encoding.inversion_times),
        "flip_angle": of(encoding.flip_angles),
    }


def _name(encoding: Encoding, stack: Stack, frame: Frame, suffix: str) -> str:
    """Protocol, then what tells this image from the others of the file."""
    parts = [encoding.protocol_name or "image"]
    if suffix:
        parts.append(suffix)
    for label, value, column in zip(_LABELS, frame.counter, range(4), strict=True):
        if len({other.counter[column] for other in stack.frames}) > 1:
            parts.append(f"{label}-{value + 1}")
    return "_".join(parts)
