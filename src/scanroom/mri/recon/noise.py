"""Noise of the receive chain: measured, made white, and taken as the unit of the image.

After `whiten` the real and the imaginary part of the noise of every channel have a standard
deviation of one and no two channels share any: SNR units (Kellman and McVeigh, Magn. Reson. Med.
54, 1439 (2005), doi:10.1002/mrm.20713).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Complex64

from scanroom.core.errors import FormatError
from scanroom.core.units import Second
from scanroom.mri.raw.encoding import Encoding
from scanroom.mri.raw.reader import Raw

MIN_SAMPLES_PER_CHANNEL = 4
"""Fewer noise samples than this many per channel make no covariance worth inverting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Readouts ready for reconstruction: ``signal[i]`` belongs to window ``i`` of ``encoding``.

    ``white`` tells whether a noise scan made the noise of every channel one.
    """

    encoding: Encoding
    signal: tuple[Complex64[np.ndarray, "coil _"], ...]
    white: bool
    notes: tuple[str, ...]

    @property
    def n_coils(self) -> int:
        """Receive channels."""
        return int(self.signal[0].shape[0])


def covariance(noise: Complex[np.ndarray, "coil sample"]) -> Complex[np.ndarray, "coil coil"]:
    """Noise covariance of the real (or imaginary) part: half of that of the complex samples."""
    centred = noise - noise.mean(axis=1, keepdims=True)
    product: np.ndarray = centred @ centred.conj().T / (2 * (noise.shape[1] - 1))
    return product


def whitener(matrix: Complex[np.ndarray, "coil coil"]) -> Complex[np.ndarray, "coil coil"]:
    """Return W such that W C W^H is the identity; a dead channel stays silent.

    Raises
    ------
    FormatError
        If the covariance is zero or not finite.
    """
    power = np.diag(matrix).real
    alive = power > 1e-12 * power.max(initial=0.0)
    if not np.isfinite(matrix).all() or not alive.any():
        raise FormatError(
            "the noise scan is zero or not finite in every channel; it must hold receiver noise "
            "(MRD flag ACQ_IS_NOISE_MEASUREMENT). Measure it again or leave it out."
        )
    result = np.zeros_like(matrix)
    block = np.ix_(alive, alive)
    lower = np.linalg.cholesky(matrix[block])
    result[block] = np.linalg.inv(lower)
    return result


def whiten(raw: Raw) -> Measurement:
    """Prewhiten every readout with the covariance of the noise scan, if there is one.

    The noise power of a readout goes with its bandwidth, so each is scaled by the ratio of the
    dwell times. The unit is the noise in the middle of the receiver's band, where images lie: that
    of the noise scan over the share of it that passed the receiver's filter.

    Raises
    ------
    FormatError
        If there is no readout, or samples are not finite.
    """
    if not raw.readouts:
        raise FormatError(f"{raw.path} holds no readout; an image needs some. Scan again.")
    signal = [readout.signal for readout in raw.readouts]
    if not all(np.isfinite(samples).all() for samples in signal):
        raise FormatError(
            f"{raw.path} holds samples that are not finite; a receiver gives numbers. "
            "The file is damaged."
        )
    notes = [] if raw.complete else ["fewer readouts than announced: the scan was cut short"]
    n_noise = sum(readout.signal.shape[1] for readout in raw.noise)
    if n_noise < MIN_SAMPLES_PER_CHANNEL * raw.n_coils:
        notes.append("no noise scan: channels are not prewhitened, intensities are arbitrary")
        return Measurement(
            encoding=raw.encoding, signal=tuple(signal), white=False, notes=tuple(notes)
        )
    samples = np.concatenate([readout.signal for readout in raw.noise], axis=1)
    matrix = whitener(covariance(samples.astype(np.complex128)))
    scales = _bandwidth_scales(raw.encoding)
    white = tuple(
        (np.complex64(scale) * matrix.astype(np.complex64)) @ samples
        for scale, samples in zip(scales, signal, strict=True)
    )
    return Measurement(encoding=raw.encoding, signal=white, white=True, notes=tuple(notes))


def _bandwidth_scales(encoding: Encoding) -> np.ndarray:
    """Noise amplitude of the noise scan over that in mid-band of each readout.

    Power goes as 1 / dwell.
    """
    reference: Second = encoding.noise_dwell
    ratio = np.ones(encoding.n_windows)
    if reference > 0:
        ratio = np.where(encoding.dwell > 0, encoding.dwell, reference) / reference
    scales: np.ndarray = np.sqrt(ratio * encoding.noise_bandwidth)
    return scales
