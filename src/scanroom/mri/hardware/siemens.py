"""Siemens raw data into MRD: with the Pulseq file that was played, or by the vendor's counters.

Gradient axes of a Pulseq file are taken as the scanner's RAS+ axes, as everywhere in Scanroom; the
Siemens interpreter can be set to turn them, and its raw data do not say how. Sizes and shapes are
right either way, left and right of imported images are only as good as that assumption.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from scanroom.core.errors import FormatError
from scanroom.core.units import Tesla
from scanroom.mri.drive.encoding import encode
from scanroom.mri.drive.model import Drive, Windows
from scanroom.mri.drive.seqfile import read_seq
from scanroom.mri.hardware.twix import Measurement, coil_elements, number, read_twix, text
from scanroom.mri.raw.encoding import Encoding, Flag, blank
from scanroom.mri.raw.model import Readout
from scanroom.mri.raw.writer import RawWriter, part_of
from scanroom.mri.system import PULSEQ_GAMMA

_LPS = np.array([-1.0, -1.0, 1.0])
_TICK = 2.5e-3
"""Unit of Siemens time stamps [s]."""
_FLAGS = {
    "reflect": Flag.REVERSE,
    "phase_correction": Flag.PHASE_CORRECTION,
    "calibration": Flag.PARALLEL_CALIBRATION,
    "feedback": Flag.FEEDBACK,
    "realtime": Flag.REALTIME_FEEDBACK,
    "stabilisation_reference": Flag.PHASE_STABILISATION_REFERENCE,
    "stabilisation": Flag.PHASE_STABILISATION,
}
_COUNTERS = {
    "kspace_encode_step_1": "Lin",
    "kspace_encode_step_2": "Par",
    "average": "Ave",
    "slice": "Sli",
    "contrast": "Eco",
    "phase": "Phs",
    "repetition": "Rep",
    "set": "Set",
    "segment": "Seg",
}


def import_twix(dat: Path, seq: Path | None, out: Path) -> None:
    """Turn a TWIX file into MRD at ``out``.

    With the ``.seq`` that was played every readout is joined with its receiver window, in order.
    Windows that the scanner cut into several readouts are cut alike; a file played several times
    over becomes repetitions; noise adjustments become noise readouts. Without it the counters of
    the measurement data headers are used, which vendor sequences fill in.

    Raises
    ------
    FormatError
        If either file is damaged, or readouts and windows do not match; nothing is left behind.
    """
    measurements = read_twix(Path(dat))
    scan, noise = _sorted(measurements, Path(dat))
    if seq is None:
        encoding, kept = _by_counters(scan, Path(dat))
    else:
        drive = read_seq(Path(seq), field=_field(scan))
        encoding, kept = _by_sequence(scan, drive, (Path(dat), Path(seq)))
    encoding = _labelled(encoding, scan, noise)
    start = int(scan.mdh["time_stamp"][0])
    ticks = (scan.mdh["time_stamp"].astype(np.int64) - start) * _TICK
    readouts = [
        Readout(index=i, time=max(0.0, float(ticks[j])), signal=scan.signal[j])
        for i, j in enumerate(kept)
    ]
    _write(Path(out), encoding, readouts, noise)


def _sorted(
    measurements: tuple[Measurement, ...], dat: Path
) -> tuple[Measurement, tuple[Measurement, ...]]:
    """The scan is the last measurement; noise adjustments may stand before it."""
    scan = measurements[-1]
    if not scan.signal:
        raise FormatError(
            f"{dat} holds no readout in its last measurement; raw data of a scan do. "
            "The scan was stopped before its first readout: measure again."
        )
    n_coils = {signal.shape[0] for signal in scan.signal}
    if len(n_coils) != 1:
        raise FormatError(
            f"{dat} has readouts of {min(n_coils)} to {max(n_coils)} channels in one measurement; "
            "one scan has one number of channels. Export its parts one by one."
        )
    earlier = tuple(m for m in measurements[:-1] if m.signal and m.has("noise").any())
    return scan, tuple(m for m in earlier if m.signal[0].shape[0] in n_coils)


def _field(scan: Measurement) -> Tesla:
    """Return the field the protocol states, or the one its frequency means."""
    stated = number(scan.protocol, "flMagneticFieldStrength")
    return stated or number(scan.protocol, "lFrequency") / PULSEQ_GAMMA


def _labelled(encoding: Encoding, scan: Measurement, noise: tuple[Measurement, ...]) -> Encoding:
    """Add what only the scanner knows: coils, frequency, position of the subject."""
    protocol = scan.protocol
    frequency = number(protocol, "sTXSPEC.asNucleusInfo[0].lFrequency") or number(
        protocol, "lFrequency", encoding.frequency
    )
    dwell = number(noise[-1].protocol, "sRXSPEC.alDwellTime[0]") * 1e-9 if noise else 0.0
    return replace(
        encoding,
        frequency=frequency,
        coil_labels=coil_elements(protocol, scan.signal[0].shape[0]),
        noise_dwell=dwell,
        user=(*encoding.user, ("source", "Siemens TWIX")),
    )


def _write(
    out: Path, encoding: Encoding, readouts: list[Readout], noise: tuple[Measurement, ...]
) -> None:
    writer = RawWriter(out, encoding, n_coils=readouts[0].signal.shape[0])
    try:
        for measurement in noise:
            for i in np.flatnonzero(measurement.has("noise")):
                writer.write_noise(Readout(index=int(i), time=0.0, signal=measurement.signal[i]))
        for readout in readouts:
            writer.write(readout)
        writer.close()
    except BaseException:
        # The data are still in the TWIX file: half a copy is worth nothing.
        writer.abandon()
        part_of(out).unlink(missing_ok=True)
        raise


# ---------------------------------------------------------------- with the sequence


def _by_sequence(
    scan: Measurement, drive: Drive, paths: tuple[Path, Path]
) -> tuple[Encoding, Int[np.ndarray, " readout"]]:
    """Join readouts and windows one by one."""
    kept = np.arange(len(scan.signal))
    n_windows = len(drive.windows.start)
    if len(kept) != n_windows and np.count_nonzero(~scan.has("noise")) == n_windows:
        kept = np.flatnonzero(~scan.has("noise"))
    lengths = np.array([scan.signal[i].shape[1] for i in kept], dtype=np.int64)
    expected = drive.windows.n_samples
    runs = _runs(lengths, expected)
    if runs is None:
        drive = replace(drive, windows=_cut(drive.windows, lengths, paths))
        runs = 1
    position = text(scan.protocol, "tPatientPosition", "HFS")
    encoding = encode(drive, field=_field(scan), subject_position=position)
    if runs > 1:
        n = encoding.n_windows
        encoding = encoding.take(np.tile(np.arange(n), runs))
        step = int(encoding.repetition.max()) + 1
        repetition = encoding.repetition + np.repeat(np.arange(runs), n) * step
        encoding = replace(encoding, repetition=repetition)
    return encoding, kept


def _runs(lengths: Int[np.ndarray, " readout"], expected: Int[np.ndarray, " window"]) -> int | None:
    """How often the whole sequence was played, or None where readouts are not whole windows."""
    if not len(expected) or len(lengths) % len(expected):
        return None
    runs = len(lengths) // len(expected)
    return runs if np.array_equal(lengths, np.tile(expected, runs)) else None


def _cut(
    windows: Windows, lengths: Int[np.ndarray, " readout"], paths: tuple[Path, Path]
) -> Windows:
    """Cut windows into the readouts that the scanner made of each.

    Raises
    ------
    FormatError
        If the readouts do not add up to the windows.
    """
    ends, window_ends = np.cumsum(lengths), np.cumsum(windows.n_samples)
    if (
        len(lengths) < len(windows.start)
        or not np.isin(window_ends, ends).all()
        or (ends[-1] != window_ends[-1])
    ):
        dat, seq = paths
        raise FormatError(
            f"{dat} has {len(lengths)} readouts of {lengths.min()} to {lengths.max()} samples "
            f"({ends[-1] if len(ends) else 0} in all); {seq} opens {len(windows.start)} windows of "
            f"{windows.n_samples.min(initial=0)} to {windows.n_samples.max(initial=0)} "
            f"({window_ends[-1] if len(window_ends) else 0} in all). Give the .seq that was played."
        )
    begins = ends - lengths
    of = np.searchsorted(window_ends, begins, side="right")
    first = begins - (window_ends - windows.n_samples)[of]
    modulation, index = _cut_modulation(windows, of, first, lengths)
    return Windows(
        start=windows.start[of] + first * windows.dwell[of],
        dwell=windows.dwell[of],
        n_samples=lengths,
        frequency=windows.frequency[of],
        phase=windows.phase[of] + 2 * np.pi * windows.frequency[of] * first * windows.dwell[of],
        modulation=modulation,
        modulation_index=index,
        label_name=windows.label_name,
        label=windows.label[of],
    )


def _cut_modulation(
    windows: Windows,
    of: Int[np.ndarray, " readout"],
    first: Int[np.ndarray, " readout"],
    lengths: Int[np.ndarray, " readout"],
) -> tuple[tuple[Float[np.ndarray, " sample"], ...], Int[np.ndarray, " readout"]]:
    pieces: list[Float[np.ndarray, " sample"]] = []
    index = np.full(len(of), -1, dtype=np.int64)
    for i, window in enumerate(of):
        shape = int(windows.modulation_index[window])
        if shape >= 0:
            index[i] = len(pieces)
            pieces.append(windows.modulation[shape][first[i] : first[i] + lengths[i]])
    return tuple(pieces), index


# ---------------------------------------------------------------- without


def _by_counters(scan: Measurement, dat: Path) -> tuple[Encoding, Int[np.ndarray, " readout"]]:
    """Take the vendor's counters for a Cartesian scan."""
    kept = np.flatnonzero(~scan.has("noise"))
    mdh = scan.mdh[kept]
    counter = mdh["counter"]
    if len(kept) > 1 and not any(counter[name].any() for name in _COUNTERS.values()):
        raise FormatError(
            f"{dat} has {len(kept)} readouts whose counters are all zero; vendor sequences number "
            "their lines, Pulseq files do not. Give the .seq that was played (--seq)."
        )
    rows: dict[str, Any] = blank(len(kept))
    for ours, theirs in _COUNTERS.items():
        rows[ours] = counter[theirs].astype(np.int64)
    for kind, flag in _FLAGS.items():
        rows["flags"][scan.has(kind)[kept]] |= np.uint64(flag)
    both = scan.has("calibration_and_image")[kept]
    rows["flags"][both] &= ~np.uint64(Flag.PARALLEL_CALIBRATION)
    rows["flags"][both] |= np.uint64(Flag.PARALLEL_CALIBRATION_AND_IMAGING)
    rows["flags"][-1] |= np.uint64(Flag.LAST_IN_MEASUREMENT)
    rows["centre_sample"] = mdh["centre_column"].astype(np.int64)
    rows["discard_pre"], rows["discard_post"] = mdh["discard"].astype(np.int64).T
    dwell = number(scan.protocol, "sRXSPEC.alDwellTime[0]") * 1e-9
    rows["dwell"] = np.full(len(kept), dwell)
    _orient(mdh, rows)
    return _vendor_encoding(scan, kept, rows), kept


def _orient(mdh: np.ndarray, rows: dict[str, Any]) -> None:
    """Directions and positions: quaternions turn (phase, read, slice) into LPS millimetres.

    Phase and read of the gradients point against those of the image, as in twixtools.
    """
    a, b, c, d = mdh["quaternion"].astype(np.float64).T
    norm = np.maximum(np.sqrt(a * a + b * b + c * c + d * d), 1e-9)
    a, b, c, d = a / norm, b / norm, c / norm, d / norm
    phase = np.stack([1 - 2 * (c * c + d * d), 2 * (b * c + a * d), 2 * (b * d - a * c)], axis=1)
    read = np.stack([2 * (b * c - a * d), 1 - 2 * (b * b + d * d), 2 * (c * d + a * b)], axis=1)
    cut = np.stack([2 * (b * d + a * c), 2 * (c * d - a * b), 1 - 2 * (b * b + c * c)], axis=1)
    for name, axis in (("read", -read), ("phase", -phase), ("slice", cut)):
        rows[f"{name}_direction"] = axis * _LPS
    rows["position"] = mdh["position"].astype(np.float64) * _LPS * 1e-3


def _vendor_encoding(
    scan: Measurement, kept: Int[np.ndarray, " readout"], rows: dict[str, Any]
) -> Encoding:
    protocol, mdh = scan.protocol, scan.mdh[kept]
    n_columns = max(scan.signal[i].shape[1] for i in kept)
    base = int(number(protocol, "sKSpace.lBaseResolution", n_columns / 2))
    is_pulseq = "pulseq" in text(protocol, "tSequenceFileName").lower()
    fov_read = number(protocol, "sSliceArray.asSlice[0].dReadoutFOV") * 1e-3
    fov_phase = number(protocol, "sSliceArray.asSlice[0].dPhaseFOV") * 1e-3 or fov_read
    thickness = number(protocol, "sSliceArray.asSlice[0].dThickness") * 1e-3
    n_lines = int(number(protocol, "sKSpace.lPhaseEncodingLines", 1.0))
    n_lines = max(n_lines, int(rows["kspace_encode_step_1"].max()) + 1)
    n_parts = int(rows["kspace_encode_step_2"].max()) + 1
    n_parts = max(n_parts, int(number(protocol, "sKSpace.lPartitions", 1.0))) if n_parts > 1 else 1
    centre = (int(mdh["centre_line"][0]), int(mdh["centre_partition"][0]))
    if is_pulseq:
        # The interpreter's protocol knows nothing of the grid that a Pulseq file plays.
        base = n_columns
        n_lines = int(rows["kspace_encode_step_1"].max()) + 1
        centre = (n_lines // 2, n_parts // 2)
    over = n_columns / max(1, base)
    # Siemens numbers phase lines over the oversampled field of view.
    over_phase = 1 + max(0.0, number(protocol, "sKSpace.dPhaseOversamplingForDialog"))
    encoded_fov = (fov_read * over, fov_phase * over_phase, thickness)
    field = number(protocol, "flMagneticFieldStrength")
    trajectory = []
    for j, i in enumerate(kept):
        ramp = np.arange(scan.signal[i].shape[1]) - rows["centre_sample"][j]
        sign = -1.0 if int(rows["flags"][j]) & Flag.REVERSE else 1.0
        k = np.zeros((len(ramp), 3), dtype=np.float32)
        steps = (rows["kspace_encode_step_1"][j], rows["kspace_encode_step_2"][j])
        k[:, 0] = sign * ramp / encoded_fov[0] if encoded_fov[0] > 0 else 0.0
        k[:, 1] = (steps[0] - centre[0]) / encoded_fov[1] if encoded_fov[1] > 0 else 0.0
        k[:, 2] = (steps[1] - centre[1]) / thickness if thickness > 0 and n_parts > 1 else 0.0
        trajectory.append(k)
    return Encoding(
        protocol_name=text(protocol, "tProtocolName"),
        trajectory_type="cartesian",
        field=field,
        frequency=PULSEQ_GAMMA * field,
        subject_position=text(protocol, "tPatientPosition", "HFS"),
        encoded_matrix=(n_columns, n_lines, n_parts),
        encoded_fov=encoded_fov,
        recon_matrix=(base, max(1, round(n_lines / over_phase)), n_parts),
        recon_fov=(fov_read, fov_phase, thickness),
        centre_step_1=centre[0],
        centre_step_2=centre[1],
        repetition_times=_times(protocol, "alTR[0]"),
        echo_times=_times(protocol, "alTE[0]"),
        flip_angles=(float(np.radians(number(protocol, "adFlipAngleDegree[0]"))),),
        centred=True,
        user=(("kind", "image"),),
        trajectory=tuple(trajectory),
        **rows,
    )


def _times(protocol: str, key: str) -> tuple[float, ...]:
    value = number(protocol, key) * 1e-6
    return (value,) if value > 0 else ()
