"""What a raw file says beyond the samples: where in k-space, in which slice, of which kind."""

from dataclasses import dataclass, fields, replace
from enum import IntFlag
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt64

from scanroom.core.errors import FormatError
from scanroom.core.units import Hertz, Radian, Ratio, Second, Tesla

TRAJECTORY_TYPES = ("cartesian", "epi", "radial", "goldenangle", "spiral", "other")
COUNTERS = (
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
)
"""MRD's counters in the order of its encoding counters structure."""

_DIRECTIONS = ("position", "read_direction", "phase_direction", "slice_direction")
PER_WINDOW = (*COUNTERS, "flags", "centre_sample", "discard_pre", "discard_post", "dwell")
"""The fields of `Encoding` with one number per window."""


class Flag(IntFlag):
    """Bits of MRD's acquisition flags that Scanroom sets or heeds."""

    FIRST_IN_SLICE = 1 << 6
    LAST_IN_SLICE = 1 << 7
    LAST_IN_REPETITION = 1 << 13
    NOISE = 1 << 18
    PARALLEL_CALIBRATION = 1 << 19
    PARALLEL_CALIBRATION_AND_IMAGING = 1 << 20
    REVERSE = 1 << 21
    NAVIGATION = 1 << 22
    PHASE_CORRECTION = 1 << 23
    LAST_IN_MEASUREMENT = 1 << 24
    FEEDBACK = 1 << 25
    DUMMY = 1 << 26
    REALTIME_FEEDBACK = 1 << 27
    SURFACE_COIL_CORRECTION = 1 << 28
    PHASE_STABILISATION_REFERENCE = 1 << 29
    PHASE_STABILISATION = 1 << 30


NOT_IMAGE = (
    Flag.NOISE
    | Flag.PARALLEL_CALIBRATION
    | Flag.NAVIGATION
    | Flag.PHASE_CORRECTION
    | Flag.FEEDBACK
    | Flag.DUMMY
    | Flag.REALTIME_FEEDBACK
    | Flag.SURFACE_COIL_CORRECTION
    | Flag.PHASE_STABILISATION_REFERENCE
    | Flag.PHASE_STABILISATION
)
"""A readout with any of these is not a line of the image itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """The MRD header and, for every window, the MRD acquisition header, in SI and RAS+.

    Spaces. Axes are (read, phase, slice). ``encoded_fov`` and ``encoded_matrix`` describe the
    measured grid, readout oversampling included: a line of ``kspace_encode_step_1 = j`` and
    ``kspace_encode_step_2 = p`` lies at k_phase = (j - centre_step_1) / encoded_fov[1] and
    k_slice = (p - centre_step_2) / encoded_fov[2]. A 2-D scan has encoded_matrix[2] = 1 and the
    slice thickness in encoded_fov[2]. ``encoded_matrix[1]`` is the whole grid: lines that partial
    Fourier or acceleration leave out are simply absent. ``recon_fov`` and ``recon_matrix`` are
    those of the image wanted. Under ``"epi"`` samples of a line need not be evenly spaced: the
    ``trajectory`` says where they lie and ``encoded_matrix[0]`` is the grid to bring them to.

    Samples stay in the order of time. On a line whose k_read falls ``Flag.REVERSE`` is set.
    ``centre_sample`` is the sample nearest k_read = 0, in that same order. ``discard_pre`` and
    ``discard_post`` samples at the two ends are not to be used.

    Counters. ``slice`` numbers slice positions in the order of their place along the slice
    direction, ascending; ``contrast`` the echoes after one excitation that encode the same line;
    ``segment`` the shot in which the line was measured; ``average`` repeated measurements of one
    line that are meant to be added; ``repetition`` those that are meant to be kept apart;
    ``set`` and ``phase`` are as the sequence labels them. For radial and spiral scans
    ``kspace_encode_step_1`` counts spokes or interleaves.

    ``Flag.PHASE_CORRECTION`` marks readouts of an echo train without phase encoding, made to
    align odd and even echoes: they carry the counters (slice, repetition, contrast, segment) and
    ``Flag.REVERSE`` of the lines they correct. ``Flag.NAVIGATION`` marks other readouts without
    encoding. ``Flag.PARALLEL_CALIBRATION`` marks lines for coil calibration alone,
    ``Flag.PARALLEL_CALIBRATION_AND_IMAGING`` those that are lines of the image too.

    ``trajectory`` [1/m] holds k along (read, phase, slice) direction, cycles per metre, such that
    signal = sum of magnetisation(r) exp(-2 pi i k.r) with r from the scanner's centre; its
    arrays have no columns where it is not known. Where the receiver followed the field of view, as
    that of vendors does, ``centred`` is True and r counts from ``position`` instead: then nothing
    is left to shift. ``position`` is the centre of the slice, or of the slab. Directions are
    orthonormal, in the scanner's RAS+ frame. ``noise_bandwidth`` is the share of the power of white
    noise that the receiver's filter lets pass: samples of noise alone are that much weaker than in
    the middle of the band, where images lie. ``user`` are further named texts that travel in the
    header.
    """

    protocol_name: str
    trajectory_type: str
    field: Tesla
    frequency: Hertz
    subject_position: str = "HFS"
    encoded_matrix: tuple[int, int, int]
    encoded_fov: tuple[float, float, float]
    recon_matrix: tuple[int, int, int]
    recon_fov: tuple[float, float, float]
    centre_step_1: int
    centre_step_2: int = 0
    acceleration: tuple[int, int] = (1, 1)
    repetition_times: tuple[Second, ...] = ()
    echo_times: tuple[Second, ...] = ()
    inversion_times: tuple[Second, ...] = ()
    flip_angles: tuple[Radian, ...] = ()
    echo_spacings: tuple[Second, ...] = ()
    coil_labels: tuple[str, ...] = ()
    noise_dwell: Second = 0.0
    noise_bandwidth: Ratio = 1.0
    centred: bool = False
    user: tuple[tuple[str, str], ...] = ()
    kspace_encode_step_1: Int[np.ndarray, " window"]
    kspace_encode_step_2: Int[np.ndarray, " window"]
    average: Int[np.ndarray, " window"]
    slice: Int[np.ndarray, " window"]
    contrast: Int[np.ndarray, " window"]
    phase: Int[np.ndarray, " window"]
    repetition: Int[np.ndarray, " window"]
    set: Int[np.ndarray, " window"]
    segment: Int[np.ndarray, " window"]
    flags: UInt64[np.ndarray, " window"]
    centre_sample: Int[np.ndarray, " window"]
    discard_pre: Int[np.ndarray, " window"]
    discard_post: Int[np.ndarray, " window"]
    dwell: Float[np.ndarray, " window"]
    position: Float[np.ndarray, "window 3"]
    read_direction: Float[np.ndarray, "window 3"]
    phase_direction: Float[np.ndarray, "window 3"]
    slice_direction: Float[np.ndarray, "window 3"]
    trajectory: tuple[Float32[np.ndarray, "_ _"], ...]

    def __post_init__(self) -> None:
        for name in (*PER_WINDOW, *_DIRECTIONS):
            if len(getattr(self, name)) != self.n_windows:
                raise FormatError(
                    f"encoding {self.protocol_name!r} has {len(getattr(self, name))} entries of "
                    f"{name} but {self.n_windows} trajectories; each window needs one of each."
                )
        if self.trajectory_type not in TRAJECTORY_TYPES:
            raise FormatError(
                f"trajectory type is {self.trajectory_type!r}; it may be one of "
                f"{', '.join(TRAJECTORY_TYPES)} (MRD header schema). Use 'other'."
            )

    @property
    def n_windows(self) -> int:
        """How many windows are described."""
        return len(self.trajectory)

    @property
    def is_image(self) -> Bool[np.ndarray, " window"]:
        """Windows that are lines of the image itself."""
        return np.asarray((self.flags & np.uint64(NOT_IMAGE)) == 0)

    def has(self, flag: Flag) -> Bool[np.ndarray, " window"]:
        """Windows that carry any bit of ``flag``."""
        return np.asarray((self.flags & np.uint64(flag)) != 0)

    def take(self, windows: Int[np.ndarray, " taken"]) -> "Encoding":
        """Keep the windows named, in the order named."""
        rows: dict[str, Any] = {
            name: getattr(self, name)[windows] for name in (*PER_WINDOW, *_DIRECTIONS)
        }
        return replace(self, trajectory=tuple(self.trajectory[i] for i in windows), **rows)


def blank(n_windows: int) -> dict[str, np.ndarray]:
    """Per-window fields of `Encoding`, zero, with the axes of the scanner as directions."""
    rows: dict[str, np.ndarray] = {}
    for name in PER_WINDOW:
        rows[name] = np.zeros(n_windows, dtype=np.int64)
    rows["flags"] = np.zeros(n_windows, dtype=np.uint64)
    rows["dwell"] = np.zeros(n_windows)
    rows["position"] = np.zeros((n_windows, 3))
    for axis, name in enumerate(_DIRECTIONS[1:]):
        rows[name] = np.tile(np.eye(3)[axis], (n_windows, 1))
    return rows


HEADER_FIELDS = tuple(
    field.name
    for field in fields(Encoding)
    if field.name not in (*PER_WINDOW, *_DIRECTIONS, "trajectory")
)
"""The fields of `Encoding` that hold for the whole scan."""
