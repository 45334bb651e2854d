"""Lays designed pulses, lobes and readouts one after the other into a pypulseq sequence."""

import copy
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pypulseq
from jaxtyping import Float

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Metre, Radian
from scanroom.mri.drive.compile.design import NANO, Lobe, ReadoutGradient, SlicePulse, options
from scanroom.mri.system import System

Vector = tuple[float, float, float]
# Below this share of a lobe's length a component is a rounding error of the rotation.
NEGLIGIBLE = 1e-12
# As many decimals as the text keeps of a frequency in kHz and of a phase.
FREQUENCY_DIGITS = 6
PHASE_DIGITS = 12
MAX_BLOCKS = 2_000_000


class Composer:
    """A sequence in the making: knows its clock, its frame and the labels that are set.

    Directions are read, phase, slice outside and scanner axes inside.
    """

    def __init__(self, system: System, rotation: Float[np.ndarray, "3 3"], centre: Vector) -> None:
        self.sequence = pypulseq.Sequence(options(system))
        self.now = 0
        self._options = options(system)
        self._frame = rotation
        self._depth = float(np.dot(rotation[:, 2], centre))
        self._labels: dict[str, int] = {}
        self._known: dict[Any, SimpleNamespace] = {}

    def pulse(self, pulse: SlicePulse, phase: Radian, offset: Metre) -> None:
        """Play a slice-selective pulse on the slice at ``offset`` from the centre."""
        frequency = pulse.amplitude * (offset + self._depth)
        event = self._pulse_event(pulse, phase, frequency)
        lobe = Lobe(pulse.rise, pulse.flat)
        gradients = self._trapezoids(lobe, (0.0, 0.0, pulse.amplitude), pulse.delay)
        self._block(pulse.duration, event, *gradients)

    def lobe(self, lobe: Lobe, areas: Vector, duration: int = 0) -> None:
        """Play one lobe with areas [1/m] along read, phase, slice, and wait out the duration."""
        amplitudes = tuple(lobe.amplitude(area) for area in areas)
        gradients = self._trapezoids(lobe, amplitudes, 0)
        self._block(max(duration, lobe.duration), *gradients)

    def readout(self, readout: ReadoutGradient, phase: Radian, labels: dict[str, int]) -> None:
        """Play a readout with its window open."""
        events = [self._label(name, value) for name, value in labels.items()]
        window = self._window_event(readout, phase)
        gradients = self._readout_gradients(readout)
        self._block(
            readout.duration, window, *gradients, *(event for event in events if event is not None)
        )

    def silent_readout(self, readout: ReadoutGradient) -> None:
        """Play a readout with its window shut."""
        self._block(readout.duration, *self._readout_gradients(readout))

    def wait_until(self, time: int) -> None:
        """Do nothing until a moment."""
        if time > self.now:
            self._block(time - self.now)

    def _readout_gradients(self, readout: ReadoutGradient) -> list[SimpleNamespace]:
        """Trapezoids of a readout."""
        return self._trapezoids(Lobe(readout.rise, readout.flat), (readout.amplitude, 0.0, 0.0), 0)

    def _block(self, duration: int, *events: SimpleNamespace) -> None:
        """Append one block of a duration."""
        if len(self.sequence.block_events) >= MAX_BLOCKS:
            raise ProtocolError(
                f"the sequence has more than {MAX_BLOCKS} blocks; that is the ceiling "
                "(scanroom.mri.drive.compile). Lower matrix, averages or dummies."
            )
        self.sequence.add_block(*events, pypulseq.make_delay(duration * NANO))
        self.now += duration

    def _trapezoids(
        self, lobe: Lobe, amplitudes: tuple[float, ...], delay: int
    ) -> list[SimpleNamespace]:
        """Turn a lobe into scanner axes; an axis without amplitude is left out."""
        length = math.sqrt(sum(amplitude**2 for amplitude in amplitudes))
        turned = self._frame @ np.array(amplitudes)
        return [
            self._trapezoid("xyz"[axis], lobe, float(turned[axis]), delay)
            for axis in range(3)
            if abs(turned[axis]) > NEGLIGIBLE * length
        ]

    def _trapezoid(self, channel: str, lobe: Lobe, amplitude: float, delay: int) -> SimpleNamespace:
        """One trapezoid, registered once."""
        key = (channel, lobe, amplitude, delay)
        if key not in self._known:
            event = pypulseq.make_trapezoid(
                channel=channel,
                amplitude=amplitude,
                rise_time=lobe.rise * NANO,
                flat_time=lobe.flat * NANO,
                fall_time=lobe.rise * NANO,
                delay=delay * NANO,
                system=self._options,
            )
            event.id = self.sequence.register_grad_event(event)
            self._known[key] = event
        return self._known[key]

    def _pulse_event(self, pulse: SlicePulse, phase: Radian, frequency: float) -> SimpleNamespace:
        """One pulse, registered once; its phase is meant at its centre."""
        frequency = round(frequency, FREQUENCY_DIGITS)
        wrapped = (phase - 2 * math.pi * frequency * pulse.event.center) % (2 * math.pi)
        key = (id(pulse), frequency, round(wrapped, PHASE_DIGITS))
        if key not in self._known:
            event = copy.copy(pulse.event)
            event.freq_offset, event.phase_offset = key[1], key[2]
            shapes = self._known.get((id(pulse), "shapes"))
            if shapes is not None:
                event.shape_IDs = shapes.ids
            event.id, ids = self.sequence.register_rf_event(event)
            self._known[id(pulse), "shapes"] = SimpleNamespace(ids=ids)
            self._known[key] = event
        return self._known[key]

    def _window_event(self, readout: ReadoutGradient, phase: Radian) -> SimpleNamespace:
        """One window, registered once."""
        key = ("window", readout, round(phase % (2 * math.pi), PHASE_DIGITS))
        if key not in self._known:
            event = pypulseq.make_adc(
                num_samples=readout.n_samples,
                dwell=readout.dwell * NANO,
                delay=readout.window * NANO,
                phase_offset=key[2],
                system=self._options,
            )
            event.id, _ = self.sequence.register_adc_event(event)
            self._known[key] = event
        return self._known[key]

    def _label(self, name: str, value: int) -> SimpleNamespace | None:
        """Set a label, if it is not set to this value already."""
        if self._labels.get(name, 0) == value:
            return None
        self._labels[name] = value
        key = ("label", name, value)
        if key not in self._known:
            event = pypulseq.make_label(label=name, type="SET", value=value)
            event.id = self.sequence.register_label_event(event)
            self._known[key] = event
        return self._known[key]
