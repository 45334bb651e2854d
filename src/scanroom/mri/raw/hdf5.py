"""Members of an ISMRMRD HDF5 file, as whoever wrote it laid them out."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Complex64, Float32, Shaped

from scanroom.core.errors import FormatError
from scanroom.mri.raw.acquisition import HEAD
from scanroom.mri.raw.header import MAX_HEADER

MAX_ACQUISITIONS = 1 << 22
"""More readouts than any scan holds: a day at one every 20 ms."""
_BATCH = 256
Body = tuple[Float32[np.ndarray, "_ _"], Complex64[np.ndarray, "_ _"]]
Members = tuple[bytes, Shaped[np.ndarray, " acquisition"], list[Body]]
"""Header text, headers, (sample, axis) trajectory and (coil, sample) signal of acquisitions."""


def load(path: Path) -> Members:
    """Read everything with the HDF5 library, in this process.

    Raises
    ------
    FormatError
        If the file is not HDF5, not ISMRMRD, damaged, or larger inside than outside.
    """
    try:
        size = path.stat().st_size
        with h5py.File(path, "r") as file:
            return _load(_group(file, path), path, size)
    except FormatError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, MemoryError) as error:
        raise FormatError(
            f"{path} cannot be read as ISMRMRD HDF5 ({_first_line(error)}); raw data are HDF5 with "
            "a group that holds xml and data. Recover a .part file, or export the data again."
        ) from error


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


def _load(group: h5py.Group, path: Path, size: int) -> Members:
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


def _bodies(data: h5py.Dataset, heads: np.ndarray, path: Path) -> Iterator[Body]:
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
