"""Heads of any number of voxels and the sequences that are played to them, for `mri_scaling`.

A scene is a slab of the built-in head about the middle of the magnet, cut into cubes; slices are
as thick as 0.6 of the slab. What winds up in the plane is rewound before the next excitation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pypulseq

from benchmarks.mri_simulation import FIELD_OF_VIEW, SYSTEM, Scene
from scanroom.subject import load_subject

# Edge of the cubes [mm] and layers of them, by about how many there are.
HEADS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"2e3": (5, 2), "1e4": (4, 5), "1e5": (2, 14), "1e6": (1, 34)}
)
_HEIGHT = 0.03
_HALF = (0.088, 0.108)
_TRAIN = 8
_SPOIL = 2.0


def head(name: str) -> Scene:
    """Voxels of a slab of the head; an offset of +-15 Hz that changes slowly."""
    edge, layers = HEADS[name]
    half = (*_HALF, 0.5e-3 * edge * layers)
    low = tuple(float(c - h) for c, h in zip((0.0, -0.01, _HEIGHT), half, strict=True))
    high = tuple(float(c + h) for c, h in zip((0.0, -0.01, _HEIGHT), half, strict=True))
    subject = load_subject("brain", 3.0, region=(low, high))
    some = (slice(None, None, edge),) * 3
    maps = {key: subject.maps[key][some] for key in ("proton_density", "t1", "t2")}
    maps = {key: value[:, :, :layers] for key, value in maps.items()}
    index = np.argwhere(maps["proton_density"] > 0)
    shape = maps["t1"].shape
    at = tuple(index.T)
    chosen = {key: value[at].astype(float) for key, value in maps.items()}
    offset = 15 * np.sin(index @ (edge * np.array([0.05, 0.03, 0.02])))
    return Scene(shape, (edge * 1e-3,) * 3, index, {**chosen, "off_resonance": offset})


@dataclass(frozen=True, slots=True)
class Design:
    """What all sequences share: matrix, slab [m], edge of a voxel [m], shaped pulses or not."""

    n: int
    slab: float
    edge: float
    selective: bool

    def pulse(self, flip: float, phase: float, use: str) -> tuple[Any, Any, Any]:
        """A pulse with what selects it and what rewinds that; nothing for a block pulse."""
        if not self.selective:
            block = pypulseq.make_block_pulse(
                flip, duration=200e-6, phase_offset=phase, system=SYSTEM, delay=100e-6, use=use
            )
            return block, None, None
        pulse, select, rewind = pypulseq.make_sinc_pulse(
            flip, duration=2e-3, slice_thickness=0.6 * self.slab, time_bw_product=4,
            apodization=0.5, phase_offset=phase, system=SYSTEM, return_gz=True, use=use,
            delay=100e-6,
        )  # fmt: skip
        return pulse, select, rewind

    def read(self, dwell: float) -> tuple[Any, Any, float]:
        """Readout gradient, receiver, and the area up to the middle sample."""
        gx = pypulseq.make_trapezoid(
            "x", flat_area=self.n / FIELD_OF_VIEW, flat_time=self.n * dwell, rise_time=200e-6,
            system=SYSTEM,
        )  # fmt: skip
        adc = pypulseq.make_adc(self.n, dwell=dwell, delay=gx.rise_time, system=SYSTEM)
        return gx, adc, gx.amplitude * (gx.rise_time / 2 + (self.n / 2 + 0.5) * dwell)

    def phase(self, line: int, sign: int = 1) -> Any:
        """Phase encoding of a line, or back."""
        area = sign * (line - self.n // 2) / FIELD_OF_VIEW
        return pypulseq.make_trapezoid("y", area=area, duration=1e-3, system=SYSTEM)

    def spoil(self) -> Any:
        """Two turns over a voxel across the slice."""
        return pypulseq.make_trapezoid("z", area=_SPOIL / self.edge, duration=2e-3, system=SYSTEM)


def _played(sequence: pypulseq.Sequence, pulse: tuple[Any, Any, Any]) -> None:
    sequence.add_block(*(event for event in pulse[:2] if event is not None))


def _with(*events: Any) -> list[Any]:
    return [event for event in events if event is not None]


def gradient_echo(how: Design) -> pypulseq.Sequence:
    """RF-spoiled, 15 degrees."""
    sequence, (gx, adc, centre) = pypulseq.Sequence(SYSTEM), how.read(10e-6)
    before = pypulseq.make_trapezoid("x", area=-centre, duration=1e-3, system=SYSTEM)
    after = pypulseq.make_trapezoid("x", area=centre - gx.area, duration=1e-3, system=SYSTEM)
    phase, step = 0.0, 0.0
    for line in range(how.n):
        pulse = how.pulse(np.deg2rad(15), phase, "excitation")
        adc.phase_offset = phase
        _played(sequence, pulse)
        sequence.add_block(*_with(before, how.phase(line), pulse[2]))
        sequence.add_block(gx, adc)
        sequence.add_block(after, how.phase(line, -1), how.spoil())
        sequence.add_block(pypulseq.make_delay(2e-3))
        step = (step + np.deg2rad(117)) % (2 * np.pi)
        phase = (phase + step) % (2 * np.pi)
    return sequence


def spin_echo(how: Design) -> pypulseq.Sequence:
    """90-180 with crushers, TR about 0.6 s."""
    return _train(how, 1, np.pi, 600e-3)


def turbo_spin_echo(how: Design) -> pypulseq.Sequence:
    """Eight echoes of 150 degrees with crushers, TR about 4 s."""
    return _train(how, _TRAIN, np.deg2rad(150), 3.9)


def _train(how: Design, n_echoes: int, flip: float, wait: float) -> pypulseq.Sequence:
    """Echoes evenly spaced by CPMG's condition; the area along x is the same up to each."""
    sequence, (gx, adc, centre) = pypulseq.Sequence(SYSTEM), how.read(10e-6)
    ahead = pypulseq.make_trapezoid("x", area=centre, duration=1e-3, system=SYSTEM)
    back = pypulseq.make_trapezoid("x", area=2 * centre - gx.area, duration=1e-3, system=SYSTEM)
    crusher = how.spoil()
    for first in range(0, how.n, n_echoes):
        excitation = how.pulse(np.pi / 2, 0.0, "excitation")
        refocusing = how.pulse(flip, np.pi / 2, "refocusing")
        lengths = [pypulseq.calc_duration(*_with(*pulse[:2])) for pulse in (excitation, refocusing)]
        middle = [_centre(pulse[0]) for pulse in (excitation, refocusing)]
        # From the refocusing pulse's middle to the echo, and the same before it.
        half = lengths[1] - middle[1] + 5e-3 + gx.rise_time + (how.n / 2 + 0.5) * 10e-6
        gap = half - (lengths[0] - middle[0]) - middle[1]
        _played(sequence, excitation)
        sequence.add_block(*_with(ahead, excitation[2]))
        spent = pypulseq.calc_duration(*_with(ahead, excitation[2]))
        sequence.add_block(pypulseq.make_delay(_raster(gap - spent - 2e-3)))
        sequence.add_block(crusher)
        for line in range(first, first + n_echoes):
            _played(sequence, refocusing)
            sequence.add_block(crusher)
            sequence.add_block(how.phase(line), pypulseq.make_delay(3e-3))
            sequence.add_block(gx, adc)
            sequence.add_block(how.phase(line, -1), back)
            left = half - (gx.rise_time + (how.n / 2 - 0.5) * 10e-6) - 3e-3 - middle[1]
            sequence.add_block(pypulseq.make_delay(_raster(left)))
            sequence.add_block(crusher)
        sequence.add_block(pypulseq.make_delay(wait))
    return sequence


def _centre(pulse: Any) -> float:
    return float(pulse.delay + pypulseq.calc_rf_center(pulse)[0])


def _raster(time: float) -> float:
    return round(time / 10e-6) * 10e-6


def echo_planar(how: Design) -> pypulseq.Sequence:
    """Single shot, echoes on flat tops, blips between."""
    sequence, (gx, adc, centre) = pypulseq.Sequence(SYSTEM), how.read(5e-6)
    before = pypulseq.make_trapezoid("x", area=-centre, duration=2e-3, system=SYSTEM)
    blip = pypulseq.make_trapezoid("y", area=1 / FIELD_OF_VIEW, duration=100e-6, system=SYSTEM)
    back = pypulseq.scale_grad(gx, -1)
    pulse = how.pulse(np.pi / 2, 0.0, "excitation")
    _played(sequence, pulse)
    sequence.add_block(*_with(before, how.phase(0), pulse[2]))
    for line in range(how.n):
        sequence.add_block(back if line % 2 else gx, adc)
        sequence.add_block(blip)
    return sequence


SEQUENCES: Mapping[str, Callable[[Design], pypulseq.Sequence]] = MappingProxyType(
    {
        "gradient echo": gradient_echo,
        "spin echo": spin_echo,
        "turbo spin echo": turbo_spin_echo,
        "echo-planar": echo_planar,
    }
)
