"""Pictures of a drive: what every output does over time, and where k-space is sampled."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from scanroom.core.errors import FormatError
from scanroom.core.units import Second
from scanroom.mri.drive.kspace import trajectory
from scanroom.mri.drive.model import Drive, Gradient
from scanroom.mri.system import PULSEQ_GAMMA

Span = tuple[Second, Second]
INK = "#1f2a36"
COLOURS = {"pulse": "#b3402a", "x": "#1f6f8b", "y": "#3c8d40", "z": "#7a4fa3", "window": "#444444"}
MAX_POINTS = 200_000
NEGLIGIBLE = 1e-3
MARGIN = 0.04  # of empty time after the last event


def plot_sequence(drive: Drive, path: Path, *, span: Span | None = None) -> None:
    """Draw pulses, gradients and receiver over time [ms] into a PNG; one repetition by default.

    Raises
    ------
    FormatError
        If the span is empty or outside the drive.
    """
    first, last = one_repetition(drive) if span is None else _checked(drive, span)
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    axes: Any = figure.subplots(6, 1, sharex=True, height_ratios=[1.2, 0.8, 1, 1, 1, 0.5])
    _draw_pulses(axes[0], axes[1], drive, (first, last))
    for axis, gradient, name in zip(axes[2:5], drive.gradients, "xyz", strict=True):
        _draw_gradient(axis, gradient, name, (first, last))
    _draw_windows(axes[5], drive, (first, last))
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(visible=True, axis="x", alpha=0.3, linewidth=0.5)
        axis.tick_params(labelsize=8)
    axes[5].set_xlabel("time [ms]")
    axes[5].set_xlim(0, (last - first) * 1e3)
    title = f"{drive.name}: {first * 1e3:.4g} to {last * 1e3:.4g} ms of {drive.duration:.4g} s"
    figure.suptitle(title, fontsize=10, color=INK)
    figure.savefig(path, format="png")


def one_repetition(drive: Drive) -> Span:
    """From the excitation before the first window to the next one, or the whole drive.

    Time in which nothing plays before the next excitation is left out.
    """
    starts = drive.pulses.start[[use == "e" for use in drive.pulses.use]]
    windows = drive.windows.start
    if starts.size == 0 or windows.size == 0 or not np.any(starts < windows[0]):
        return (0.0, drive.duration)
    here = int(np.flatnonzero(starts < windows[0])[-1])
    block = drive.block_edge[np.searchsorted(drive.block_edge, starts[here], side="right") - 1]
    later = starts[starts > windows[0]]
    end = drive.duration
    if later.size:
        end = drive.block_edge[np.searchsorted(drive.block_edge, later[0], side="right") - 1]
    knots = [gradient.time[gradient.time < end] for gradient in drive.gradients]
    closed = windows + drive.windows.n_samples * drive.windows.dwell
    quiet = max([*(float(time[-1]) for time in knots if time.size), *closed[closed < end][-1:]])
    return (float(block), float(min(end, quiet + MARGIN * (quiet - block))))


def _checked(drive: Drive, span: Span) -> Span:
    """Refuse a span that shows nothing."""
    if not 0 <= span[0] < span[1] <= drive.duration * (1 + 1e-9):
        raise FormatError(
            f"span is {span[0]:.6g} to {span[1]:.6g} s; it must be a piece of 0 to "
            f"{drive.duration:.6g} s (the drive's length). Choose another span."
        )
    return span


def _draw_pulses(magnitude: Any, phase: Any, drive: Drive, span: Span) -> None:
    """Magnitude [uT] and phase [rad] of every pulse in the span."""
    pulses = drive.pulses
    for index in np.flatnonzero((pulses.start < span[1]) & (pulses.start >= span[0])):
        shape = drive.shapes[pulses.shape[index]]
        time = (pulses.start[index] + shape.edge - span[0]) * 1e3
        microtesla = np.abs(shape.step) / PULSEQ_GAMMA * 1e6
        magnitude.stairs(microtesla, time, color=COLOURS["pulse"], fill=True, alpha=0.5)
        middle = (shape.edge[1:] + shape.edge[:-1]) / 2
        turn = pulses.phase[index] + 2 * np.pi * pulses.frequency[index] * middle
        angle = np.angle(shape.step * np.exp(1j * turn))
        phase.plot((time[1:] + time[:-1]) / 2, angle, ".", markersize=1, color=COLOURS["pulse"])
    magnitude.set_ylabel("|B1| [uT]", fontsize=8)
    magnitude.set_ylim(bottom=0)
    phase.set_ylabel("phase [rad]", fontsize=8)
    phase.set_ylim(-3.4, 3.4)


def _draw_gradient(axis: Any, gradient: Gradient, name: str, span: Span) -> None:
    """One gradient [mT/m], straight between its knots."""
    inside = (gradient.time > span[0]) & (gradient.time < span[1])
    ends = np.array(span)
    at_ends = np.interp(ends, gradient.time, gradient.amplitude) if gradient.time.size else 0 * ends
    time = np.concatenate([ends[:1], gradient.time[inside], ends[1:]])
    amplitude = np.concatenate([at_ends[:1], gradient.amplitude[inside], at_ends[1:]])
    millitesla = amplitude / PULSEQ_GAMMA * 1e3
    shown = (time - span[0]) * 1e3
    axis.fill_between(shown, millitesla, color=COLOURS[name], alpha=0.25, linewidth=0)
    axis.plot(shown, millitesla, color=COLOURS[name], linewidth=0.9)
    axis.axhline(0, color=INK, linewidth=0.4)
    axis.set_ylabel(f"G{name} [mT/m]", fontsize=8)
    if not np.any(millitesla):
        axis.set_ylim(-1, 1)


def _draw_windows(axis: Any, drive: Drive, span: Span) -> None:
    """When the receiver is open."""
    windows = drive.windows
    length = windows.n_samples * windows.dwell
    for index in np.flatnonzero((windows.start < span[1]) & (windows.start + length > span[0])):
        start = (windows.start[index] - span[0]) * 1e3
        axis.axvspan(start, start + length[index] * 1e3, color=COLOURS["window"], alpha=0.5)
    axis.set_ylabel("receiver", fontsize=8)
    axis.set_yticks([])


def plot_trajectory(drive: Drive, path: Path) -> None:
    """Draw the sampled wave numbers [1/m] in the plane they mostly lie in, coloured by time.

    Raises
    ------
    FormatError
        If the drive has no window.
    """
    rows = trajectory(drive)
    if not rows:
        raise FormatError(
            f"drive {drive.name!r} opens no receiver window; there is no trajectory to draw. "
            "Choose a sequence with ADC events."
        )
    k = np.concatenate(rows)
    window = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    keep = slice(None, None, max(1, k.shape[0] // MAX_POINTS))
    frame = _main_axes(k)
    shown = k[keep] @ frame.T
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axis: Any = figure.subplots()
    dots = axis.scatter(
        shown[:, 0], shown[:, 1], c=window[keep], s=1.5, cmap="viridis", linewidths=0
    )
    axis.set_xlabel(f"k along {_named(frame[0])} [1/m]")
    axis.set_ylabel(f"k along {_named(frame[1])} [1/m]")
    axis.set_aspect("equal", adjustable="datalim")
    figure.colorbar(dots, label="receiver window, in order of time")
    figure.suptitle(f"{drive.name}: sampled k-space", fontsize=10, color=INK)
    figure.savefig(path, format="png")


def _main_axes(k: Float[np.ndarray, "sample axis"]) -> Float[np.ndarray, "2 axis"]:
    """Directions in which k reaches furthest: the scanner's axes, else the readout's first.

    Each has its largest component positive.
    """
    reach = np.abs(k).max(axis=0)
    order = np.argsort(-reach, kind="stable")
    if reach[order[2]] < NEGLIGIBLE * reach[order[0]]:
        return np.eye(3)[np.sort(order[:2])]
    first = (k[1] - k[0]) / (np.linalg.norm(k[1] - k[0]) or 1.0)
    rest = k - np.outer(k @ first, first)
    frame = np.stack([first, np.linalg.eigh(rest.T @ rest)[1][:, 2]])
    sign = np.sign(frame[np.arange(2), np.abs(frame).argmax(axis=1)])
    main: np.ndarray = frame * sign[:, np.newaxis]
    return main


def _named(direction: Float[np.ndarray, " axis"]) -> str:
    """Name of a direction: x, y or z, or its components."""
    nearest = int(np.abs(direction).argmax())
    if abs(direction[nearest]) > 1 - 1e-6:
        return "xyz"[nearest]
    return "(" + ", ".join(f"{value:.2f}" for value in direction) + ")"
