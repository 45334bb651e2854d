"""From what the coils pick up to raw data: noise, drift, demodulation, filter, converter."""

import numpy as np
from jaxtyping import Complex64, Float

from scanroom.mri.drive.model import Windows
from scanroom.mri.raw.model import Readout
from scanroom.mri.system import System
from scanroom.mri.twin.faults import Faults
from scanroom.physics.coils import LoopArray
from scanroom.physics.receiver import Receiver, demodulation, drifted, droop, quantise, spike
from scanroom.physics.thermal_noise import (
    coil_resistance,
    draw_noise,
    noise_covariance,
    sample_resistance,
)
from scanroom.subject.model import Subject


def covariance_of(
    subject: Subject, array: LoopArray, system: System, faults: Faults
) -> Float[np.ndarray, "coil coil"]:
    """Covariance of the noise per hertz of bandwidth [V2/Hz], of coils loaded by a subject."""
    conductivity = subject.maps.get("conductivity")
    loss = np.zeros((array.n_coils, array.n_coils))
    if conductivity is not None:
        loss = sample_resistance(array, conductivity, subject.affine, system.larmor)
    return noise_covariance(
        loss,
        coil_resistance(array, system.larmor),
        dwell=1.0,
        noise_figure=faults.noise_figure,
        coil_temperature=faults.coil_temperature,
    )


class Chain:
    """Receiver of one run; ``loudest`` [V] is the most a coil may pick up, ``seed`` its noise."""

    def __init__(
        self,
        windows: Windows,
        faults: Faults,
        covariance: Float[np.ndarray, "coil coil"] | None,
        loudest: float,
        seed: int,
    ) -> None:
        if covariance is not None:
            fastest = float(np.min(windows.dwell, initial=1.0))
            loudest = max(loudest, 8 * float(np.sqrt(np.diag(covariance).max() / fastest)))
        self.receiver = Receiver(full_scale=loudest or 1.0, n_bits=faults.n_bits)
        self.n_clipped = 0
        self._windows, self._faults = windows, faults
        self._covariance, self._seed = covariance, seed

    def receive(self, index: int, signal: Complex64[np.ndarray, "coil sample"]) -> Readout:
        """Make raw data of one window."""
        windows, faults, key = self._windows, self._faults, {"seed": self._seed, "index": index}
        dwell, n_samples = float(windows.dwell[index]), int(windows.n_samples[index])
        start = float(windows.start[index])
        if faults.dead:
            signal = signal.copy()
            signal[list(faults.dead)] = 0
        if self._covariance is not None:
            signal = signal + draw_noise(self._covariance / dwell, n_samples, **key)
        if faults.spikes:
            size = self.receiver.full_scale / 2
            signal = spike(signal, chance=faults.spikes, size=size, **key)
        if faults.drift is not None:
            signal = signal * drifted(faults.drift, start)
        extra = int(windows.modulation_index[index])
        signal = signal * demodulation(
            n_samples,
            dwell,
            frequency=float(windows.frequency[index]),
            phase=float(windows.phase[index]),
            modulation=windows.modulation[extra] if extra >= 0 else None,
        )
        if faults.filter:
            signal = droop(self.receiver, signal)
        if faults.quantisation:
            signal, n_clipped = quantise(self.receiver, signal, dwell)
            self.n_clipped += n_clipped
        return Readout(index=index, time=start, signal=np.ascontiguousarray(signal, np.complex64))
