"""MRD files of anybody, read within bounds into SI, RAS+ and our own counters."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from scanroom.core.errors import FormatError
from scanroom.mri.raw.acquisition import opened, rows
from scanroom.mri.raw.apart import load_apart
from scanroom.mri.raw.encoding import Encoding, Flag
from scanroom.mri.raw.hdf5 import Body, load
from scanroom.mri.raw.header import read_header
from scanroom.mri.raw.model import Readout

_ONE_SAMPLE = Flag.SURFACE_COIL_CORRECTION
_UNITS = ("1/m", "cycles per pixel", "rad per pixel", "cycles per field of view", "1/mm", "rad/m")


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """One MRD file: row ``i`` of ``encoding`` describes ``readouts[i]``; noise stands apart.

    ``complete`` is False where fewer readouts are present than the header announces, as in a
    recovered file. ``trajectory_unit`` is the unit found in the file.
    """

    path: Path
    encoding: Encoding
    readouts: tuple[Readout, ...]
    noise: tuple[Readout, ...]
    complete: bool
    trajectory_unit: str

    @property
    def n_coils(self) -> int:
        """Receive channels."""
        everything = (*self.readouts, *self.noise)
        return everything[0].signal.shape[0] if everything else 0


def read_raw(path: Path, *, trusted: bool = False) -> Raw:
    """Read an ISMRMRD HDF5 file written by us or by others.

    The HDF5 library reads it in a process apart, since a broken file can make the library loop or
    crash (``docs/decisions/0003-foreign-hdf5.md``); ``trusted`` saves the 0.4 s for a file
    that this process has just written. Trajectories of others come in several units; the one that
    fits the encoded matrix and field of view is taken and brought to 1/m.

    Raises
    ------
    FormatError
        If the file is not HDF5, not ISMRMRD, damaged, or larger inside than outside.
    """
    path = Path(path)
    xml, heads, bodies = load(path) if trusted else load_apart(path)
    return assemble(path, read_header(xml), heads, bodies)


def assemble(path: Path, header: dict[str, Any], heads: np.ndarray, bodies: list[Body]) -> Raw:
    """Put what `read_header` found and the acquisitions together; ``path`` is for messages only.

    Raises
    ------
    FormatError
        If acquisitions contradict each other or themselves.
    """
    header = dict(header)
    n_windows = header.pop("n_windows")
    known = header.pop("trajectory_known")
    exact = n_windows >= 0
    is_noise = (heads["flags"] & np.uint64(Flag.NOISE)) != 0
    times = opened(heads, exact=exact)
    readouts = [
        Readout(
            index=int(heads["scan_counter"][i]) if exact else i,
            time=float(times[i]),
            signal=bodies[i][1],
        )
        for i in range(len(heads))
    ]
    lines = np.flatnonzero(~is_noise)
    _same_coils(path, heads["active_channels"][lines])
    noise = np.flatnonzero(is_noise)
    dwell = float(heads["sample_time_us"][noise[0]]) * 1e-6 if len(noise) else 0.0
    scale, unit = (1.0, "1/m")
    if not known:
        imaging = [i for i in lines if not int(heads["flags"][i]) & _ONE_SAMPLE]
        scale, unit = _trajectory_unit([bodies[i][0] for i in imaging], header)
    encoding = Encoding(
        **header,
        noise_dwell=round(dwell, 12) if math.isfinite(dwell) else 0.0,
        trajectory=tuple(_scaled(bodies[i][0], scale) for i in lines),
        **rows(heads[lines]),
    )
    return Raw(
        path=path,
        encoding=encoding,
        readouts=tuple(readouts[i] for i in lines),
        noise=tuple(readouts[i] for i in noise),
        complete=len(lines) >= n_windows,
        trajectory_unit=unit,
    )


def _same_coils(path: Path, n_coils: np.ndarray) -> None:
    if len(np.unique(n_coils)) > 1:
        raise FormatError(
            f"{path} has readouts of {n_coils.min()} to {n_coils.max()} channels; one scan has one "
            "number of channels. Export its measurements one by one."
        )


def _scaled(trajectory: Float32[np.ndarray, "_ _"], scale: float) -> Float32[np.ndarray, "_ _"]:
    return trajectory if scale == 1.0 else (trajectory * np.float32(scale)).astype(np.float32)


def _trajectory_unit(
    trajectories: list[Float32[np.ndarray, "_ _"]], header: dict[str, Any]
) -> tuple[float, str]:
    """Find what brings the trajectory to 1/m: MRD leaves its unit to the writer.

    The edge of k-space is matrix / (2 FOV); the unit whose edge is nearest to it wins.
    """
    reach = max((float(np.abs(k[:, :2]).max()) for k in trajectories if k.size), default=0.0)
    fov, matrix = header["recon_fov"][0], header["recon_matrix"][0]
    if not math.isfinite(reach) or reach <= 0 or fov <= 0 or matrix < 2:
        return 1.0, "unknown"
    edge = matrix / (2 * fov)
    per_unit = (1.0, matrix / fov, matrix / fov / (2 * math.pi), 1 / fov, 1e3, 1 / (2 * math.pi))
    distance = [abs(math.log(reach * factor / edge)) for factor in per_unit]
    best = int(np.argmin(distance))
    return per_unit[best], _UNITS[best]
