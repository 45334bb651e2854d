"""Siemens raw data files (TWIX, meas.dat) of software lines VB and VD/VE/XA, read within bounds.

The layout is that of the measurement data header every reader of these files agrees on; twixtools
(Ehses, DZNE) is the program ours is tested against.
"""

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Complex64, Shaped

from scanroom.core.errors import FormatError

_COUNTERS = np.dtype(
    [(n, "<u2") for n in ("Lin", "Ave", "Sli", "Par", "Eco", "Phs", "Rep", "Set", "Seg")]
    + [("Ida", "<u2", (5,))]
)
_SLICE = [("position", "<f4", (3,)), ("quaternion", "<f4", (4,))]
_START = [
    ("length", "<u4"),
    ("measurement", "<i4"),
    ("scan_counter", "<u4"),
    ("time_stamp", "<u4"),
    ("pmu_time_stamp", "<u4"),
]
_MIDDLE = [
    ("flags", "<u8"),
    ("n_samples", "<u2"),
    ("n_coils", "<u2"),
    ("counter", _COUNTERS),
    ("discard", "<u2", (2,)),
    ("centre_column", "<u2"),
    ("coil_select", "<u2"),
    ("read_off_centre", "<f4"),
    ("since_pulse", "<u4"),
    ("centre_line", "<u2"),
    ("centre_partition", "<u2"),
]
MDH_VB = np.dtype(
    [*_START, *_MIDDLE, ("ice", "<u2", (4,)), ("free", "<u2", (4,)), *_SLICE, ("rest", "V4")]
)
MDH_VD = np.dtype([*_START, ("table", "V20"), *_MIDDLE, *_SLICE, ("rest", "V64")])
_CHANNEL_HEADER = 32
_END = 1 << 0
_SYNC = 1 << 5
_MAX_HEADER = 256 << 20
_MAX_READOUTS = 1 << 22
_ENTRY = np.dtype(
    [("id", "<u4"), ("file", "<u4"), ("offset", "<u8"), ("length", "<u8"), ("names", "V128")]
)
ONLINE_KINDS = {
    "noise": 1 << 25,
    "reflect": 1 << 24,
    "phase_correction": 1 << 21,
    "calibration": 1 << 22,
    "calibration_and_image": 1 << 23,
    "feedback": 1 << 2,
    "realtime": 1 << 1,
    "stabilisation_reference": 1 << 14,
    "stabilisation": 1 << 15,
}
"""Bits of the evaluation mask that decide what a readout is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measurement of a TWIX file: its protocol text, headers and samples in order of time.

    ``mdh`` holds the fields that VB and VD share. Packets that carry no samples are left out.
    """

    protocol: str
    mdh: Shaped[np.ndarray, " readout"]
    signal: tuple[Complex64[np.ndarray, "coil sample"], ...]

    def has(self, kind: str) -> np.ndarray:
        """Readouts of one of `ONLINE_KINDS`."""
        return np.asarray((self.mdh["flags"] & np.uint64(ONLINE_KINDS[kind])) != 0)


def read_twix(path: Path) -> tuple[Measurement, ...]:
    """Read every measurement of a file: adjustments first, the scan itself last.

    Raises
    ------
    FormatError
        If the file is no TWIX file, is damaged, or ends before its last readout.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return tuple(_measurements(data, path))
    except (OSError, ValueError) as error:
        raise FormatError(
            f"{path} cannot be read as Siemens TWIX ({error}); meas.dat files of VB, VD, VE and XA "
            "are. Export the raw data again with TWIX (yaps) or check the path."
        ) from error


def _measurements(data: mmap.mmap, path: Path) -> Iterator[Measurement]:
    if len(data) < 64:
        raise FormatError(
            f"{path} has {len(data)} bytes; a TWIX file has kilobytes. Copy it again."
        )
    first, second = np.frombuffer(data[:8], dtype="<u4").tolist()
    if first >= 10000 or second > 64:
        yield _measurement(data, (0, len(data)), MDH_VB, path)
        return
    if not second or len(data) < 8 + _ENTRY.itemsize * second:
        raise FormatError(
            f"{path} lists {second} measurements in {len(data)} bytes; a VD file lists 1 to 64 "
            "(multi-RAID header). The file is damaged or of another kind."
        )
    entries = np.frombuffer(data[8 : 8 + _ENTRY.itemsize * second], dtype=_ENTRY)
    for entry in entries:
        start, length = int(entry["offset"]), int(entry["length"])
        stop = start + length if length else len(data)
        if start + 8 > len(data) or stop > len(data):
            raise FormatError(
                f"{path} places a measurement at bytes {start} to {stop} but has {len(data)} "
                "(multi-RAID header). The file is cut short or damaged: copy it again."
            )
        yield _measurement(data, (start, stop), MDH_VD, path)


def _measurement(
    data: mmap.mmap, span: tuple[int, int], layout: np.dtype, path: Path
) -> Measurement:
    start, stop = span
    n_header = int(np.frombuffer(data[start : start + 4], dtype="<u4")[0])
    if not 8 <= n_header <= min(_MAX_HEADER, stop - start):
        raise FormatError(
            f"{path} has a protocol of {n_header} bytes in {stop - start}; TWIX has up to "
            f"{_MAX_HEADER}. The file is damaged or of another kind."
        )
    protocol = data[start + 8 : start + n_header].decode("latin-1")
    heads, signals = [], []
    for head, signal in _readouts(data, (start + n_header, stop), layout, path):
        heads.append(head)
        signals.append(signal)
    mdh = np.array(heads, dtype=layout) if heads else np.zeros(0, dtype=layout)
    return Measurement(protocol=protocol, mdh=mdh, signal=tuple(signals))


def _readouts(
    data: mmap.mmap, span: tuple[int, int], layout: np.dtype, path: Path
) -> Iterator[tuple[np.void, Complex64[np.ndarray, "coil sample"]]]:
    """Walk from packet to packet; every step is forward and inside the file."""
    position, stop = span
    is_vb = layout is MDH_VB
    for number in range(_MAX_READOUTS):
        if position + layout.itemsize > stop:
            raise FormatError(
                f"{path} ends at byte {stop} after {number} packets without the end mark "
                "(ACQEND); the scan or the copy was cut short. Copy the file again."
            )
        head = np.frombuffer(data[position : position + layout.itemsize], dtype=layout)[0]
        flags = int(head["flags"])
        if flags & _END:
            return
        if flags & _SYNC:
            length = int(head["length"]) & ((1 << 25) - 1)
            if length < layout.itemsize:
                raise _damaged(path, number, position)
            position += length
            continue
        n_samples, n_coils = int(head["n_samples"]), int(head["n_coils"])
        gap = layout.itemsize if is_vb else _CHANNEL_HEADER
        begin = position if is_vb else position + layout.itemsize
        length = n_coils * (gap + 8 * n_samples)
        if not n_samples or not 0 < n_coils <= 1024 or begin + length > stop:
            raise _damaged(path, number, position)
        block = np.frombuffer(data[begin : begin + length], dtype=np.uint8)
        signal = block.reshape(n_coils, -1)[:, gap:].copy().view("<c8")
        if not np.isfinite(signal).all():
            raise _damaged(path, number, position)
        yield head, signal
        position = begin + length
    raise FormatError(
        f"{path} has over {_MAX_READOUTS} readouts; no more are read. Split the scan."
    )


def _damaged(path: Path, number: int, position: int) -> FormatError:
    return FormatError(
        f"{path}: packet {number} at byte {position} is damaged or cut short (measurement data "
        "header does not fit the file). Copy the file again."
    )


# ---------------------------------------------------------------- protocol text


def number(protocol: str, key: str, default: float = 0.0) -> float:
    """Find a number in the protocol by its name, in ASCCONV lines or XProtocol parameters."""
    name = re.escape(key)
    found = re.search(rf"^{name}[ \t]*=[ \t]*([-+.0-9eEx]+)", protocol, re.MULTILINE)
    if found is None:
        tail = re.escape(key.rsplit(".", 1)[-1])
        found = re.search(
            rf'"{tail}">\s{{0,8}}\{{\s{{0,8}}(?:<Precision>\s{{1,4}}\d{{1,3}}\s{{1,4}})?'
            r"([-+.0-9eE]+)\s{0,8}\}",
            protocol,
        )
    try:
        value = float(found.group(1)) if found else default
    except ValueError:
        return default
    return value if np.isfinite(value) else default


def text(protocol: str, key: str, default: str = "") -> str:
    """Find a text in the protocol by its name."""
    found = re.search(
        rf'^{re.escape(key)}[ \t]*=[ \t]*"{{1,2}}([^"\n]{{0,200}})"', protocol, re.MULTILINE
    ) or re.search(rf'"{re.escape(key)}">\s{{0,8}}\{{\s{{0,8}}"([^"\n]{{1,200}})"', protocol)
    return found.group(1) if found else default


def coil_elements(protocol: str, n_coils: int) -> tuple[str, ...]:
    """Names of the receive elements in order of channel, empty where they do not match."""
    names = re.findall(
        r"^(?:asCoilSelectMeas\[0\]|sCoilSelectMeas\.aRxCoilSelectData\[0\])\.asList\[\d+\]\."
        r'sCoilElementID\.tElement[ \t]*=[ \t]*"{1,2}([^"\n]{1,64})"',
        protocol,
        re.MULTILINE,
    )
    return tuple(names[:n_coils]) if len(names) >= n_coils else ()
