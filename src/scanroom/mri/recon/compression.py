"""Fewer virtual coils in place of many, the noise of each still one.

References
----------
M. Buehrer, K. P. Pruessmann, P. Boesiger, S. Kozerke, Magn. Reson. Med. 57, 1131 (2007),
doi:10.1002/mrm.21237 (by principal components); T. Zhang, J. M. Pauly, S. S. Vasanawala, M. Lustig,
Magn. Reson. Med. 69, 571 (2013), doi:10.1002/mrm.24267 (geometric: one matrix for each place along
the readout, aligned from place to place).
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Complex64

from scanroom.core.errors import ProtocolError
from scanroom.mri.recon.noise import Measurement

Hybrid = Complex64[np.ndarray, "coil z y x"]


def principal(kspace: Hybrid, n_coils: int) -> Complex64[np.ndarray, "virtual coil"]:
    """Matrix of the virtual coils that keep most energy; its rows are orthonormal.

    Raises
    ------
    ProtocolError
        If more virtual coils than coils are asked for, or none.
    """
    _check(kspace, n_coils)
    flat = kspace.reshape(len(kspace), -1).astype(np.complex128)
    vectors = np.linalg.eigh(flat @ flat.conj().T)[1][:, ::-1]
    matrix: np.ndarray = vectors[:, :n_coils].conj().T.astype(np.complex64)
    return matrix


def geometric(kspace: Hybrid, n_coils: int) -> Complex64[np.ndarray, "x virtual coil"]:
    """Matrices for each place along the readout of hybrid k-space, aligned from place to place.

    Raises
    ------
    ProtocolError
        If more virtual coils than coils are asked for, or none.
    """
    _check(kspace, n_coils)
    flat = kspace.reshape(len(kspace), -1, kspace.shape[-1]).astype(np.complex128)
    covariance = np.einsum("apx,bpx->xab", flat, flat.conj(), optimize=True)
    # a little of the whole keeps places that hold nothing but noise where their neighbours are
    covariance = covariance + 1e-6 * covariance.mean(axis=0)
    vectors = np.linalg.eigh(covariance)[1][..., ::-1][..., :n_coils].conj().transpose(0, 2, 1)
    middle = len(vectors) // 2
    for here, before in [(x, x - 1) for x in range(middle + 1, len(vectors))] + [
        (x, x + 1) for x in range(middle - 1, -1, -1)
    ]:
        left, _, right = np.linalg.svd(vectors[before] @ vectors[here].conj().T)
        vectors[here] = left @ right @ vectors[here]
    aligned: np.ndarray = vectors.astype(np.complex64)
    return aligned


def compressed(
    kspace: Hybrid,
    matrix: Complex64[np.ndarray, "virtual coil"] | Complex64[np.ndarray, "x virtual coil"],
) -> Complex64[np.ndarray, "virtual z y x"]:
    """Apply either matrix to hybrid k-space."""
    how = "vc,czyx->vzyx" if matrix.ndim == 2 else "xvc,czyx->vzyx"
    out: np.ndarray = np.einsum(how, matrix, kspace, optimize=True)
    return np.ascontiguousarray(out)


def _check(kspace: Hybrid, n_coils: int) -> None:
    if not 1 <= n_coils <= len(kspace):
        raise ProtocolError(
            f"{n_coils} virtual coils are asked for; there may be 1 to {len(kspace)}, as many as "
            "coils (scanroom.mri.recon.compression). Ask for fewer."
        )


def fewer_coils(measurement: Measurement, n_coils: int) -> Measurement:
    """Virtual coils by principal components of all samples of the images, for every readout."""
    images = np.flatnonzero(measurement.encoding.is_image)
    power = np.zeros((measurement.n_coils, measurement.n_coils), np.complex128)
    for window in images:
        line = measurement.signal[window].astype(np.complex128)
        power += line @ line.conj().T
    values, vectors = np.linalg.eigh(power)
    matrix = vectors[:, ::-1][:, :n_coils].conj().T.astype(np.complex64)
    kept = values[-n_coils:].sum() / max(values.sum(), 1e-300)
    note = f"{measurement.n_coils} coils compressed to {n_coils}, {kept:.2%} of the energy"
    return replace(
        measurement,
        signal=tuple(matrix @ line for line in measurement.signal),
        notes=(*measurement.notes, note),
    )
