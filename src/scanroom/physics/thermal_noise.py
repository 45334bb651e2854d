"""Signal and noise in volts: reciprocity, losses in wire and sample, Johnson, preamplifier."""

import numpy as np
from jaxtyping import Complex, Complex64, Float
from scipy import sparse
from scipy.sparse.linalg import splu

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Hertz, Kelvin, Metre, Ohm, Ratio, Second, Tesla
from scanroom.physics.coils import VACUUM_PERMEABILITY, LoopArray, loop_potential

BOLTZMANN = 1.380649e-23  # J/K, exact (SI 2019)
REDUCED_PLANCK = 1.054571817e-34  # J s, exact (SI 2019)
PROTON_GAMMA = 2.6752218708e8  # rad/s/T, CODATA 2022
# Two protons per molecule of water, 993.3 kg/m3 at 37 degrees C, 18.0153 g/mol.
WATER_PROTONS = 2 * 993.3 / 18.0153e-3 * 6.02214076e23  # 1/m3
BODY: Kelvin = 310.15
ROOM: Kelvin = 293.15
NOISE_REFERENCE: Kelvin = 290.0  # a noise figure is defined against this: IEEE Std 161-1971
COPPER = 1.72e-8  # ohm m at 20 degrees C, IEC 60028
MAX_CELLS = 20_000


def magnetisation(
    field: Tesla, *, temperature: Kelvin = BODY, proton_density: float = WATER_PROTONS
) -> float:
    """Magnetisation of protons at rest [A/m], Curie's law for spin 1/2: 3.1 mA/m per tesla.

    References
    ----------
    A. Abragam, The Principles of Nuclear Magnetism (1961), chapter I.
    """
    return (
        proton_density
        * (PROTON_GAMMA * REDUCED_PLANCK) ** 2
        * field
        / (4 * BOLTZMANN * temperature)
    )


def signal_scale(field: Tesla, volume: float, *, temperature: Kelvin = BODY) -> float:
    """Peak volts per T/A of receive sensitivity: ``omega M0 V`` for pure water in ``volume`` [m3].

    The voltage of a voxel is this times its proton density, its transverse magnetisation as a
    fraction of equilibrium and ``|Bx - i By|`` of the coil.

    References
    ----------
    D. I. Hoult, R. E. Richards, J. Magn. Reson. 24, 71 (1976), doi:10.1016/0022-2364(76)90233-X.
    """
    return PROTON_GAMMA * field * magnetisation(field, temperature=temperature) * volume


def coil_resistance(
    array: LoopArray, frequency: Hertz, *, component_quality: Ratio = 300.0
) -> Float[np.ndarray, " coil"]:
    """Ohm of each loop by itself: skin effect in round copper wire, and its capacitors.

    ``component_quality`` is the reactance of the loop over the resistance of capacitors, solder and
    trap; with the wire it gives an unloaded quality near 250 at 3 T.

    References
    ----------
    D. I. Hoult, P. C. Lauterbur, J. Magn. Reson. 34, 425 (1979),
    doi:10.1016/0022-2364(79)90019-2 (wire); F. W. Grover, Inductance Calculations (1946) (loop).
    """
    omega = 2 * np.pi * frequency
    skin_depth = np.sqrt(2 * COPPER / (VACUUM_PERMEABILITY * omega))
    wire = array.radius * COPPER / (array.wire_radius * skin_depth)
    inductance = (
        VACUUM_PERMEABILITY * array.radius * (np.log(8 * array.radius / array.wire_radius) - 2)
    )
    return np.asarray(wire + omega * inductance / component_quality)


def sample_resistance(
    array: LoopArray,
    conductivity: Float[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    frequency: Hertz,
) -> Float[np.ndarray, "coil coil"]:
    """Ohm that eddy currents in the sample add: ``Re integral sigma Ei . Ej* dV`` per ampere.

    ``E = -i omega A - grad phi``, where phi keeps the current inside the sample: it solves
    ``div sigma E = 0``, finite volumes on cells of 8 mm or more (1 % low on a sphere of 0.1 m).
    Quasi-static: skin depth and wavelength are taken as long. Losses that two loops share
    correlate their noise.

    Raises
    ------
    ProtocolError
        If the conductivity is negative or not a number.

    References
    ----------
    P. B. Roemer et al., Magn. Reson. Med. 16, 192 (1990), doi:10.1002/mrm.1910160203.
    """
    if not (conductivity >= 0).all():
        raise ProtocolError(
            f"conductivity is {np.min(conductivity):.3g} S/m somewhere; it may be 0 or more "
            "(scanroom.subject.model.PROPERTIES). Correct the subject."
        )
    cells, grid = _coarse(conductivity, affine)
    if not cells.any():
        return np.zeros((array.n_coils, array.n_coils))
    first, second, conductance, place, edge = _faces(cells, grid)
    potential = np.stack(
        [(loop_potential(array, coil, place) * edge).sum(axis=1) for coil in range(array.n_coils)],
        axis=1,
    )
    rows = np.arange(len(first))
    signs = np.repeat([-1.0, 1.0], len(first))
    gradient = sparse.csr_array(
        (signs, (np.tile(rows, 2), np.concatenate([first, second]))),
        (len(first), np.count_nonzero(cells)),
    )
    weighted = gradient.T @ sparse.diags_array(conductance)
    laplacian = (weighted @ gradient).tocsc()
    # The potential is free up to a constant: a speck on the diagonal ties it down.
    speck = 1e-9 * conductance.max(initial=0.0)
    tied = laplacian + sparse.eye_array(laplacian.shape[0], format="csc") * (speck or 1.0)
    solver = splu(tied, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    scalar = solver.solve(np.ascontiguousarray(weighted @ potential))
    voltage = potential - gradient @ scalar
    loss = (voltage.T * conductance) @ voltage * (2 * np.pi * frequency) ** 2
    return np.asarray((loss + loss.T) / 2)


def noise_covariance(
    sample: Float[np.ndarray, "coil coil"],
    coil: Float[np.ndarray, " coil"],
    *,
    dwell: Second,
    noise_figure: Ratio = 0.5,
    sample_temperature: Kelvin = BODY,
    coil_temperature: Kelvin = ROOM,
) -> Float[np.ndarray, "coil coil"]:
    """Covariance [V2] of the real parts, and of the imaginary parts, of one receiver sample.

    Johnson noise ``4 k T R`` over a band of ``1 / dwell``, sample and coil each at its temperature;
    the preamplifier adds ``noise_figure`` [dB] of its own. Same volts as `signal_scale`: peak
    signal beside root-mean-square noise of one part, the ratio an image's SNR is made of.
    Preamplifiers are taken as decoupling the loops wholly.

    References
    ----------
    D. I. Hoult, P. C. Lauterbur, J. Magn. Reson. 34, 425 (1979),
    doi:10.1016/0022-2364(79)90019-2.
    """
    amplifier = NOISE_REFERENCE * (10 ** (noise_figure / 10) - 1) * (np.diag(sample) + coil)
    power = sample_temperature * sample + np.diag(coil_temperature * coil + amplifier)
    return np.asarray(4 * BOLTZMANN * power / dwell)


def combined_snr(
    sensitivity: Complex[np.ndarray, "coil point"], covariance: Float[np.ndarray, "coil coil"]
) -> Float[np.ndarray, " point"]:
    """Best SNR of any weighting of the coils, ``sqrt(b^H Psi^-1 b)``, per volt of `signal_scale`.

    References
    ----------
    P. B. Roemer et al., Magn. Reson. Med. 16, 192 (1990), doi:10.1002/mrm.1910160203.
    """
    white = np.linalg.solve(np.linalg.cholesky(covariance), sensitivity.astype(np.complex128))
    return np.asarray(np.linalg.norm(white, axis=0))


def draw_noise(
    covariance: Float[np.ndarray, "coil coil"], n_samples: int, *, seed: int, index: int
) -> Complex64[np.ndarray, "coil sample"]:
    """Noise [V] of one window. The same seed and index give the same bytes, in any order."""
    key = np.array([seed & 0xFFFF_FFFF_FFFF_FFFF, index], np.uint64)
    source = np.random.Generator(np.random.Philox(key=key))
    parts = source.standard_normal((2, len(covariance), n_samples))
    root = np.linalg.cholesky(covariance)
    return np.asarray(root @ parts[0] + 1j * (root @ parts[1]), np.complex64)


def _coarse(
    conductivity: Float[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]
) -> tuple[Float[np.ndarray, "a b c"], Float[np.ndarray, "4 4"]]:
    """Block means of the part that conducts, on cells of 8 mm or more, `MAX_CELLS` at most."""
    occupied = np.nonzero(conductivity)
    if not len(occupied[0]):
        return np.zeros((1, 1, 1)), affine
    low = [int(i.min()) for i in occupied]
    part = conductivity[
        tuple(slice(a, int(i.max()) + 1) for a, i in zip(low, occupied, strict=True))
    ]
    step = np.linalg.norm(affine[:3, :3], axis=0)
    largest = float((np.prod(step) * part.size / MAX_CELLS) ** (1 / 3))
    block = np.maximum(np.round(8e-3 / step), np.ceil(largest / step - 0.25)).astype(int)
    block = np.maximum(block, 1)
    padded = np.pad(part, [(0, int(-n % b)) for n, b in zip(part.shape, block, strict=True)])
    a, b, c = (n // m for n, m in zip(padded.shape, block, strict=True))
    cells = padded.reshape(a, block[0], b, block[1], c, block[2]).mean(axis=(1, 3, 5))
    grid = affine.copy()
    grid[:3, 3] = affine[:3, :3] @ (np.array(low) + (block - 1) / 2) + affine[:3, 3]
    grid[:3, :3] = affine[:3, :3] * block
    return cells, grid


def _faces(
    cells: Float[np.ndarray, "a b c"], grid: Float[np.ndarray, "4 4"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Inner faces: cells on both sides, conductance [S], centre [m], vector across [m]."""
    volume = abs(np.linalg.det(grid[:3, :3]))
    number = np.cumsum(cells.ravel() > 0).reshape(cells.shape) - 1  # of those that conduct
    every = np.arange(cells.size).reshape(cells.shape)
    found: list[list[np.ndarray]] = [[], [], [], [], []]
    for axis in range(3):
        left = every.take(range(cells.shape[axis] - 1), axis).ravel()
        right = every.take(range(1, cells.shape[axis]), axis).ravel()
        a, b = cells.ravel()[left], cells.ravel()[right]
        joined = (a > 0) & (b > 0)
        left, right, a, b = left[joined], right[joined], a[joined], b[joined]
        across = grid[:3, axis]
        index = np.stack(np.unravel_index(left, cells.shape), axis=1) + 0.5 * np.eye(3)[axis]
        found[0].append(number.ravel()[left])
        found[1].append(number.ravel()[right])
        found[2].append((a + b) / 2 * volume / (across @ across))
        found[3].append(index @ grid[:3, :3].T + grid[:3, 3])
        found[4].append(np.broadcast_to(across, (len(left), 3)))
    first, second, conductance, place, edge = (np.concatenate(part) for part in found)
    return first, second, conductance, place, edge


def sphere_resistance(
    field_per_ampere: float, radius: Metre, conductivity: float, frequency: Hertz
) -> Ohm:
    """Loss of a uniform alternating field in a conducting sphere: ``2 pi sigma w2 B2 b5 / 15``.

    References
    ----------
    D. I. Hoult, P. C. Lauterbur, J. Magn. Reson. 34, 425 (1979),
    doi:10.1016/0022-2364(79)90019-2.
    """
    omega = 2 * np.pi * frequency
    return float(2 * np.pi * conductivity * (omega * field_per_ampere) ** 2 * radius**5 / 15)
