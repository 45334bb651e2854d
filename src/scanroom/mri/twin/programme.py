"""From a drive to what is played to the spins: moments, kinds of pulses and windows."""

import numpy as np
from jaxtyping import Float, Int

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Hertz, Second
from scanroom.mri.drive.model import Drive, PulseShape
from scanroom.mri.twin.courses import REACH, Moments, Timeline, dephasing
from scanroom.mri.twin.transmitting import sets_of
from scanroom.physics.spins.program import PULSE, WINDOW, Program, PulseKind, WindowKind
from scanroom.physics.spins.rotations import Envelope

# A gradient counts as constant when its moment strays from a straight line by less than a
# hundred-thousandth of a cycle at this distance from the centre of the magnet.
_STRAY = 1e-5
# Or, during a pulse, when less flip [rad] than this meets a wrong phase.
_WRONG_FLIP = 1e-4
_LONGEST_STEP: Second = 5e-6
# Two events may meet but not overlap by more than a tick of the fastest clock.
_OVERLAP: Second = 1e-8


def programme(drive: Drive, moments: Timeline | None = None, *, diffusing: bool = False) -> Program:
    """Compile a drive, given the moments that its gradients make; as asked for, if none are.

    With ``diffusing`` the programme knows what dims orders of what diffuses.

    Raises
    ------
    ProtocolError
        If a pulse overlaps another pulse or a receiver window, or if anything but plain gradients
        acts on what diffuses.
    """
    moments = moments or Moments(drive.gradients, (0.0, 0.0, 0.0))
    envelopes, peaks, of_shape = _envelopes(drive.shapes)
    pulses, pulse_kind, pulse_rows = _pulses(drive, moments, (envelopes, peaks, of_shape))
    windows, window_kind, window_rows = _windows(drive, moments)
    time = np.concatenate([pulse_rows[0], window_rows[0]])
    order = np.lexsort((time[:, 1], time[:, 0]))
    time = time[order]
    _refuse_overlap(time)
    more = {"dephasing": _dephasing(moments, time)} if diffusing else {}
    n_pulses, n_windows = len(pulse_kind), len(window_kind)
    return Program(
        envelopes=tuple(envelopes),
        pulses=tuple(pulses),
        windows=tuple(windows),
        event=np.repeat([PULSE, WINDOW], [n_pulses, n_windows]).astype(np.int64)[order],
        kind=np.concatenate([pulse_kind, window_kind])[order],
        time=time,
        moment=np.concatenate([pulse_rows[2], moments(window_rows[0])])[order],
        turns=np.concatenate([pulse_rows[1], np.zeros((n_windows, 2))])[order],
        **more,
    )


def _dephasing(
    moments: Timeline, time: Float[np.ndarray, "event 3"]
) -> Float[np.ndarray, "event 3 9"]:
    if not isinstance(moments, Moments):
        raise ProtocolError(
            "diffusion is asked for with motion, flow or fields that plain gradients do not make; "
            "orders of dephasing diffuse, and those do not follow such fields "
            "(scanroom.mri.twin). Switch one of them off."
        )
    return dephasing(moments, time)


def _refuse_overlap(time: Float[np.ndarray, "event 3"]) -> None:
    if len(time) < 2:
        return
    overlap = time[:-1, 1] - time[1:, 0]
    worst = int(overlap.argmax())
    if overlap[worst] > _OVERLAP:
        raise ProtocolError(
            f"two events overlap by {overlap[worst] * 1e6:.4g} us at {time[worst + 1, 0]:.6f} s; "
            "a pulse may not overlap another pulse or a receiver window (the twin has one "
            "transmitter and blanks its receiver). Move one of them."
        )


def _envelopes(
    shapes: tuple[PulseShape, ...],
) -> tuple[list[Envelope], list[float], list[int]]:
    """Shapes of unit peak, each once, their peaks [Hz], and the envelope of each shape."""
    envelopes: list[Envelope] = []
    peaks, of_shape = [], []
    seen: dict[bytes, int] = {}
    for shape in shapes:
        peak = float(np.abs(shape.step).max(initial=0.0))
        step = np.conj(np.asarray(shape.step, np.complex128)) / (peak or 1.0)
        edge = np.asarray(shape.edge, np.float64)
        key = np.round(step, 7).tobytes() + np.round(edge, 10).tobytes()
        if key not in seen:
            seen[key] = len(envelopes)
            envelopes.append(Envelope(edge=edge, step=step))
        peaks.append(peak)
        of_shape.append(seen[key])
    return envelopes, peaks, of_shape


def _pulses(
    drive: Drive, moments: Timeline, shapes: tuple[list[Envelope], list[float], list[int]]
) -> tuple[list[PulseKind], Int[np.ndarray, " pulse"], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Kinds of pulses, the kind of each pulse, and its times, turns and moments."""
    envelopes, peaks, of_shape = shapes
    kinds: list[PulseKind] = []
    seen: dict[tuple[object, ...], int] = {}
    rows: tuple[list[object], ...] = ([], [], [])
    of_pulse = []
    finer = [_finer(envelope) for envelope in envelopes]
    pulses = drive.pulses
    for start, shape, frequency, phase, shim in zip(
        pulses.start, pulses.shape, pulses.frequency, pulses.phase, sets_of(drive)[1], strict=True
    ):
        place = of_shape[shape]
        fine = finer[place]
        if peaks[shape] == 0.0 or fine.duration <= 0.0:
            continue
        course = moments(start + fine.edge)
        gradient, ends, steady = _straight(fine, course, peaks[shape], moments.reach)
        bent = None if steady else course - course[0]
        mark = _mark(gradient, bent, moments.reach)
        key = (place, peaks[shape], float(frequency), mark, int(shim))
        if key not in seen:
            seen[key] = len(kinds)
            if not steady:
                envelopes.append(fine)
                place = len(envelopes) - 1
            kinds.append(
                PulseKind(
                    envelope=place,
                    strength=peaks[shape],
                    frequency=float(frequency),
                    gradient=gradient,
                    moment=bent,
                    shim=int(shim),
                )
            )
        of_pulse.append(seen[key])
        begin, end = start + fine.edge[0], start + fine.edge[-1]
        rows[0].append((begin, end, end))
        rows[1].append(phase / (2 * np.pi) + frequency * fine.edge[[0, -1]])
        rows[2].append(ends)
    return (
        kinds,
        np.array(of_pulse, np.int64),
        (
            np.array(rows[0]).reshape(-1, 3),
            np.array(rows[1]).reshape(-1, 2),
            np.array(rows[2]).reshape(-1, 3, len(moments.reach)),
        ),
    )


def _mark(
    gradient: Float[np.ndarray, " axis"],
    course: np.ndarray | None,
    reach: Float[np.ndarray, " axis"],
) -> bytes:
    """Equal for gradients that differ by nothing a spin could notice."""
    size = reach / REACH
    rounded = np.round(gradient * size, 1) if course is None else np.round(course * size, 6)
    return (rounded + 0.0).tobytes()


def _straight(
    envelope: Envelope,
    course: Float[np.ndarray, "edge axis"],
    peak: Hertz,
    reach: Float[np.ndarray, " axis"],
) -> tuple[Float[np.ndarray, " axis"], Float[np.ndarray, "3 axis"], bool]:
    """Constant gradient that serves a pulse best, moments at its ends, and whether it serves.

    The straight line is fitted where the pulse is strong: a plateau that begins late, before the
    pulse has any strength, is still a plateau. The flip that meets a wrong phase is bounded.
    """
    time = (envelope.edge[1:] + envelope.edge[:-1]) / 2 - envelope.edge[0]
    moment = (course[1:] + course[:-1]) / 2
    weight = np.abs(envelope.step) * np.diff(envelope.edge)
    middle = weight @ time / weight.sum()
    mean = weight @ moment / weight.sum()
    spread = weight @ (time - middle) ** 2
    gradient = np.zeros(course.shape[1])
    if spread > 0:
        gradient = (weight * (time - middle)) @ (moment - mean) / spread
    away = np.abs((moment - mean - np.outer(time - middle, gradient)) * reach).max(axis=1)
    wrong = (2 * np.pi) ** 2 * peak * float(weight @ away)
    first = mean - middle * gradient
    last = first + envelope.duration * gradient
    steady = wrong < _WRONG_FLIP
    if not steady:
        first, last = course[0], course[-1]
    return gradient, np.stack([first, last, last]), steady


def _finer(envelope: Envelope) -> Envelope:
    """Cut long steps, so that a changing gradient is followed inside them."""
    lengths = np.diff(envelope.edge)
    pieces = np.maximum(np.ceil(lengths / _LONGEST_STEP - 1e-6), 1).astype(int)
    short = np.repeat(lengths / pieces, pieces)
    edge = envelope.edge[0] + np.concatenate([[0.0], np.cumsum(short)])
    return Envelope(edge=edge, step=np.repeat(envelope.step, pieces))


def _windows(
    drive: Drive, moments: Timeline
) -> tuple[list[WindowKind], Int[np.ndarray, " window"], tuple[np.ndarray]]:
    """Kinds of windows, the kind of each window, and its times."""
    kinds: list[WindowKind] = []
    seen: dict[tuple[object, ...], int] = {}
    of_window, time = [], []
    windows = drive.windows
    for start, dwell, count in zip(windows.start, windows.dwell, windows.n_samples, strict=True):
        n_samples = int(count)
        since = (np.arange(n_samples) + 0.5) * dwell
        course = moments(np.concatenate([[start], start + since]))
        course = course[1:] - course[0]
        gradient = (course[-1] - course[0]) / max((n_samples - 1) * dwell, dwell)
        straight = course[n_samples // 2] + (since - since[n_samples // 2])[:, None] * gradient
        steady = bool((np.abs(course - straight) * moments.reach).max() < _STRAY)
        shape = _mark(gradient, None if steady else course, moments.reach)
        key = (n_samples, float(dwell), steady, shape)
        if key not in seen:
            seen[key] = len(kinds)
            kinds.append(
                WindowKind(
                    n_samples=n_samples,
                    dwell=float(dwell),
                    gradient=gradient,
                    moment=course,
                    steady=steady,
                )
            )
        of_window.append(seen[key])
        time.append((start, start + n_samples * dwell, start + since[n_samples // 2]))
    return kinds, np.array(of_window, np.int64), (np.array(time).reshape(-1, 3),)
