"""MRD files of anybody, read within bounds into SI, RAS+ and our own counters."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32

from scanroom.core.errors import FormatError
from scanroom.mri.raw.acquisition import HEAD, opened, rows
from scanroom.mri.raw.encoding import Encoding, Flag
from scanroom.mri.raw.header import MAX_HEADER, read_header
from scanroom.mri.raw.model import Readout

MAX_ACQUISITIONS = 1 << 22
"""More readouts than any scan holds: a day at one every 20 ms."""
_BATCH = 256
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


def read_raw(path: Path) -> Raw:
    """Read an ISMRMRD HDF5 file written by us or by others.

    Trajectories of others come in several units; the one that fits the encoded matrix and field
    of view is taken and brought to 1/m.

    Raises
    ------
    FormatError
        If the file is not HDF5, not ISMRMRD, damaged, or larger inside than outside.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with h5py.File(path, "r") as file:
            xml, heads, bodies = _load(_group(file, path), path, size)
    except FormatError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, MemoryError) as error:
        raise FormatError(
            f"{path} cannot be read as ISMRMRD HDF5 ({_first_line(error)}); raw data are HDF5 with "
            "a group that holds xml and data. Recover a .part file, or export the data again."
        ) from error
    header = read_header(xml)
    return _assemble(path, header, heads, bodies)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:160]


def _group(file: h5py.File, path: Path) -> h5py.Group:
    for name in ("dataset", *sorted(file)):
        group = file.get(name)
        if isinstance(group, h5py.Group) and "xml" in group and "data" in group:
            return group
    raise FormatError(
        f"{path} holds no group with xml and data; an ISMRMRD file does. "
        "It is HDF5 of another kind: give an MRD raw file."
    )


def _load(
    group: h5py.Group, path: Path, size: int
) -> tuple[bytes, np.ndarray, list[tuple[Any, Any]]]:
    """Header text, acquisition headers, and (trajectory, samples) of every acquisition."""
    data, text = group["data"], group["xml"]
    if data.ndim != 1 or not 0 <= data.shape[0] <= MAX_ACQUISITIONS or text.size != 1:
        raise FormatError(
            f"{path} has data of shape {data.shape} and {text.size} headers; ISMRMRD has a list "
            f"of up to {MAX_ACQUISITIONS} acquisitions and one header. The file is damaged."
        )
    xml = text[...].reshape(-1)[0]
    xml = xml.encode() if isinstance(xml, str) else bytes(xml)
    if len(xml) > MAX_HEADER:
        raise FormatError(f"{path} has a header of {len(xml)} bytes; up to {MAX_HEADER} are read.")
    heads = _heads(data)
    samples = heads["number_of_samples"].astype(np.int64)
    numbers = samples * (2 * heads["active_channels"] + heads["trajectory_dimensions"])
    if 4 * numbers.sum() > size:
        raise FormatError(
            f"{path} announces {4 * numbers.sum()} bytes of samples but has {size}; ISMRMRD does "
            "not compress. The file is damaged or cut short."
        )
    return xml, heads, list(_bodies(data, heads, path))


def _heads(data: h5py.Dataset) -> np.ndarray:
    """Bring whatever padding the writer's compiler chose to the packed layout."""
    found = data.fields("head")[:]
    heads = np.zeros(len(found), dtype=HEAD)
    for name in HEAD.names or ():
        if name == "idx":
            for counter in HEAD["idx"].names or ():
                heads["idx"][counter] = found["idx"][counter]
        else:
            heads[name] = found[name]
    return heads


def _bodies(data: h5py.Dataset, heads: np.ndarray, path: Path) -> Iterator[tuple[Any, Any]]:
    for first in range(0, len(heads), _BATCH):
        block = data.fields(["traj", "data"])[first : first + _BATCH]
        for offset, entry in enumerate(block):
            head = heads[first + offset]
            n = int(head["number_of_samples"])
            n_coils, n_axes = int(head["active_channels"]), int(head["trajectory_dimensions"])
            trajectory = np.asarray(entry["traj"], dtype=np.float32)
            signal = np.asarray(entry["data"], dtype=np.float32)
            if trajectory.size != n * n_axes or signal.size != 2 * n * n_coils:
                raise FormatError(
                    f"acquisition {first + offset} of {path} has {signal.size} numbers and "
                    f"{trajectory.size} of trajectory; its header says {2 * n * n_coils} and "
                    f"{n * n_axes} (ISMRMRD). The file is damaged."
                )
            yield (
                trajectory.reshape(n, n_axes),
                np.ascontiguousarray(signal).view(np.complex64).reshape(n_coils, n),
            )


def _assemble(
    path: Path, header: dict[str, Any], heads: np.ndarray, bodies: list[tuple[Any, Any]]
) -> Raw:
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
