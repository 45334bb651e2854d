"""Truth of the simulation benchmarks: isochromats in double precision, by the book.

Reads nothing but pypulseq's own record of the sequence. Free precession and relaxation are exact
between events; a pulse is played in its raster steps, each a rotation about the effective field
between two halves of its relaxation (error of order step squared, below 1e-8 at 1 us).
"""

from dataclasses import dataclass

import numba as nb
import numpy as np
import pypulseq


@dataclass(frozen=True, slots=True)
class Steps:
    """One row per step: duration [s], gradient area (3) [1/m], field (re, im) [Hz]; receiver."""

    value: np.ndarray
    sampled: np.ndarray
    phase: np.ndarray


def steps_of(sequence: pypulseq.Sequence) -> Steps:
    """Cut a sequence at every edge of pulse raster, receiver sample and block."""
    values, sampled, phases = [], [], []
    for number in sequence.block_events:
        block = sequence.get_block(number)
        length = float(block.block_duration)
        edges, samples = [np.array([0.0, length])], np.empty(0)
        if block.adc is not None:
            samples = block.adc.delay + (np.arange(block.adc.num_samples) + 0.5) * block.adc.dwell
            edges.append(samples)
        if block.rf is not None:
            raster = sequence.system.rf_raster_time
            n_steps = round(block.rf.shape_dur / raster)
            edges.append(block.rf.delay + np.arange(n_steps + 1) * raster)
        edge = np.unique(np.round(np.concatenate(edges), 10))
        middle = (edge[1:] + edge[:-1]) / 2
        area = np.stack([_areas(getattr(block, name), edge) for name in ("gx", "gy", "gz")], axis=1)
        field = _field(block.rf, middle)
        values.append(np.column_stack([np.diff(edge), area, field.real, field.imag]))
        is_sample = np.isin(edge[1:], np.round(samples, 10))
        sampled.append(is_sample)
        phase = np.zeros(len(middle))
        if block.adc is not None:
            elapsed = edge[1:] - block.adc.delay
            phase = block.adc.phase_offset + 2 * np.pi * block.adc.freq_offset * elapsed
        phases.append(phase)
    return Steps(np.concatenate(values), np.concatenate(sampled), np.concatenate(phases))


def _areas(gradient: object, edge: np.ndarray) -> np.ndarray:
    """Integral of straight lines between edges, exact: the running area is quadratic in pieces."""
    if gradient is None:
        return np.zeros(len(edge) - 1)
    knots, height = _lines(gradient)
    every = np.union1d(edge, knots)
    amplitude = np.interp(every, knots, height, left=0.0, right=0.0)
    running = np.concatenate(
        [[0.0], np.cumsum(np.diff(every) * (amplitude[1:] + amplitude[:-1]) / 2)]
    )
    return np.diff(running[np.searchsorted(every, edge)])


def _lines(gradient: object) -> tuple[np.ndarray, np.ndarray]:
    """Knots of a trapezoid, or of a shape: its samples, and its values at begin and end."""
    if gradient.type == "trap":
        lengths = [gradient.delay, gradient.rise_time, gradient.flat_time, gradient.fall_time]
        return np.cumsum(lengths), gradient.amplitude * np.array([0.0, 1.0, 1.0, 0.0])
    time = np.concatenate([[0.0], gradient.tt, [gradient.shape_dur]])
    height = np.concatenate([[gradient.first], gradient.waveform, [gradient.last]])
    inside = np.concatenate([[gradient.tt[0] > 0], np.ones(len(gradient.tt), bool),
                             [gradient.tt[-1] < gradient.shape_dur]])  # fmt: skip
    return gradient.delay + time[inside], height[inside]


def thinned(steps: Steps, wanted: np.ndarray) -> Steps:
    """Only some of the samples, by number: what lies between them becomes one step.

    Exact, because free precession and relaxation are; pulses keep their steps.
    """
    keep = np.zeros(len(steps.value), bool)
    keep[np.flatnonzero(steps.sampled)[wanted]] = True
    pulse = (steps.value[:, 4:] != 0).any(axis=1)
    ends = keep | pulse | np.append(pulse[1:], True)
    ends[-1] = True
    starts = np.append(0, np.flatnonzero(ends)[:-1] + 1)
    return Steps(np.add.reduceat(steps.value, starts, axis=0), keep[ends], steps.phase[ends])


def _field(pulse: object, middle: np.ndarray) -> np.ndarray:
    """Field gamma B1 [Hz] as it acts on the spins, the conjugate of Pulseq's envelope."""
    if pulse is None:
        return np.zeros(len(middle), complex)
    time = middle - pulse.delay
    inside = (time > 0) & (time < pulse.shape_dur)
    real = np.interp(time, pulse.t, pulse.signal.real)
    imag = np.interp(time, pulse.t, pulse.signal.imag)
    carrier = np.exp(1j * (pulse.phase_offset + 2 * np.pi * pulse.freq_offset * time))
    return np.conj(np.where(inside, (real + 1j * imag) * carrier, 0))


def signal(steps: Steps, position: np.ndarray, maps: dict[str, np.ndarray]) -> np.ndarray:
    """Sum of all spins at every receiver sample, demodulated as Pulseq asks."""
    order = ("proton_density", "t1", "t2", "off_resonance")
    columns = np.column_stack([position, *(maps[name] for name in order)]).astype(np.float64)
    raw = _simulate(steps.value, steps.sampled, columns)
    return raw.sum(axis=0) * np.exp(1j * steps.phase[steps.sampled])


@nb.njit(cache=True, parallel=True)
def _simulate(steps: np.ndarray, sampled: np.ndarray, spins: np.ndarray) -> np.ndarray:
    n_chunks = 32
    out = np.zeros((n_chunks, sampled.sum()), np.complex128)
    for chunk in nb.prange(n_chunks):
        for i in range(chunk, spins.shape[0], n_chunks):
            x, y, z, density, t1, t2, offset = spins[i]
            m, mz, at = 0j, 1.0, 0
            for j in range(steps.shape[0]):
                duration, field = steps[j, 0], complex(steps[j, 4], steps[j, 5])
                cycle = steps[j, 1] * x + steps[j, 2] * y + steps[j, 3] * z + offset * duration
                if field == 0j:
                    angle = 2 * np.pi * cycle
                    m *= np.exp(-duration / t2) * complex(np.cos(angle), -np.sin(angle))
                    mz = 1.0 + (mz - 1.0) * np.exp(-duration / t1)
                else:
                    half1, half2 = np.exp(-duration / 2 / t1), np.exp(-duration / 2 / t2)
                    m, mz = m * half2, 1.0 + (mz - 1.0) * half1
                    m, mz = _rotate(m, mz, field * duration, cycle)
                    m, mz = m * half2, 1.0 + (mz - 1.0) * half1
                if sampled[j]:
                    out[chunk, at] += density * m
                    at += 1
    return out


@nb.njit(cache=True)
def _rotate(m: complex, mz: float, field: complex, cycle: float) -> tuple[complex, float]:
    """One step of dM/dt = gamma M x B, by Rodrigues: turns about (b, cycle), clockwise."""
    bx, by, bz = field.real, field.imag, cycle
    turns = np.sqrt(bx * bx + by * by + bz * bz)
    nx, ny, nz = bx / turns, by / turns, bz / turns
    c, s = np.cos(2 * np.pi * turns), -np.sin(2 * np.pi * turns)
    mx, my = m.real, m.imag
    dot = (nx * mx + ny * my + nz * mz) * (1 - c)
    rx = c * mx + s * (ny * mz - nz * my) + dot * nx
    ry = c * my + s * (nz * mx - nx * mz) + dot * ny
    rz = c * mz + s * (nx * my - ny * mx) + dot * nz
    return complex(rx, ry), rz
