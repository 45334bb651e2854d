"""A bare array of Cartesian k-space into MRD, so that it walks the same way as a scan."""

from pathlib import Path
from typing import Any

import numpy as np

from scanroom.core.errors import FormatError
from scanroom.core.units import Metre, Tesla
from scanroom.mri.raw.encoding import Encoding, Flag, blank
from scanroom.mri.raw.model import Readout
from scanroom.mri.raw.writer import RawWriter, part_of
from scanroom.mri.system import PULSEQ_GAMMA

_LARGEST = 4 << 30
"""Largest file we agree to read [bytes]."""
_UNSTATED: Metre = 1e-3
"""Voxel size taken where nobody says; an array carries none."""


def import_array(
    npy: Path, out: Path, *, voxel: Metre = _UNSTATED, field: Tesla = 3.0, sign: int = 1
) -> None:
    """Turn a ``.npy`` of complex k-space, "coil phase read" or "coil slice phase read", into MRD.

    Lines that are zero in every coil were not measured and are left out; of lines measured in part
    the missing samples stay zero. k = 0 is at index n // 2 of each axis. ``sign`` is that of
    exp(sign 2 pi i k.r) by which the array becomes an image, +1 by our and MRD's convention.

    Raises
    ------
    FormatError
        If it is no such array; nothing is left behind.
    """
    array = _load(Path(npy))
    if sign < 0:
        array = array.conj()
    encoding, lines = _encoding(array, Path(npy).stem, voxel, field)
    writer = RawWriter(Path(out), encoding, n_coils=array.shape[0])
    try:
        for index, (partition, line) in enumerate(lines):
            signal = np.ascontiguousarray(array[:, partition, line])
            writer.write(Readout(index=index, time=0.0, signal=signal))
        writer.close()
    except BaseException:
        writer.abandon()
        part_of(Path(out)).unlink(missing_ok=True)
        raise


def _load(npy: Path) -> np.ndarray:
    try:
        if npy.stat().st_size > _LARGEST:
            raise FormatError(
                f"{npy} has {npy.stat().st_size} bytes; up to {_LARGEST} are read. Split the array."
            )
        array = np.load(npy, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise FormatError(
            f"{npy} cannot be read as a NumPy array ({str(error).splitlines()[0][:120]}); .npy "
            "files of complex numbers are. Save it again with numpy.save."
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "c" or array.ndim not in (3, 4):
        kind = getattr(array, "dtype", type(array).__name__)
        raise FormatError(
            f"{npy} holds {kind} of shape {getattr(array, 'shape', ())}; complex numbers over "
            "(coil, phase, read) or (coil, slice, phase, read) are k-space. Reorder its axes."
        )
    array = np.asarray(array, dtype=np.complex64)
    array = array[:, None] if array.ndim == 3 else array
    if not array.size or max(array.shape) > 8192 or not np.isfinite(array).all():
        raise FormatError(
            f"{npy} has shape {array.shape} or holds numbers that are not finite; 1 to 8192 along "
            "each axis and finite ones are read. Check how it was saved."
        )
    return array


def _encoding(
    array: np.ndarray, name: str, voxel: Metre, field: Tesla
) -> tuple[Encoding, np.ndarray]:
    _, n_slow, n_phase, n_read = array.shape
    lines = np.argwhere((array != 0).any(axis=(0, 3)))
    if not len(lines):
        raise FormatError(f"{name} is zero throughout; k-space holds a signal. Check the array.")
    rows: dict[str, Any] = blank(len(lines))
    rows["kspace_encode_step_2"], rows["kspace_encode_step_1"] = lines.T
    rows["centre_sample"][:] = n_read // 2
    rows["dwell"][:] = 10e-6
    rows["read_direction"][:] = -1.0, 0.0, 0.0
    rows["phase_direction"][:] = 0.0, -1.0, 0.0
    rows["flags"][-1] = np.uint64(Flag.LAST_IN_MEASUREMENT)
    matrix = (n_read, n_phase, n_slow)
    fov = (n_read * voxel, n_phase * voxel, n_slow * voxel)
    k = np.zeros((len(lines), n_read, 3), dtype=np.float32)
    k[:, :, 0] = (np.arange(n_read) - n_read // 2) / fov[0]
    k[:, :, 1] = ((lines[:, 1] - n_phase // 2) / fov[1])[:, None]
    k[:, :, 2] = ((lines[:, 0] - n_slow // 2) / fov[2])[:, None]
    encoding = Encoding(
        protocol_name=name,
        trajectory_type="cartesian",
        field=field,
        frequency=PULSEQ_GAMMA * field,
        encoded_matrix=matrix,
        encoded_fov=fov,
        recon_matrix=matrix,
        recon_fov=fov,
        centre_step_1=n_phase // 2,
        centre_step_2=n_slow // 2,
        user=(("kind", "image"), ("source", "array; voxel size and field not stated by it")),
        trajectory=tuple(k),
        **rows,
    )
    return encoding, lines
