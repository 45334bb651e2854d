"""Transmit loops round a cylinder of tissue: the field of every channel, waves included."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Complex64, Float, Int
from scipy.ndimage import map_coordinates, spline_filter
from scipy.special import h2vp, hankel2, jv, jvp

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Hertz, Metre, Ratio
from scanroom.physics.coils import VACUUM_PERMEABILITY, VACUUM_PERMITTIVITY

MAX_CHANNELS = 8
LIGHT_SPEED = 299_792_458.0
# Angular orders that are summed: within 0.11 m those beyond add less than 1e-6.
_ORDERS = 64
# Points nearer to the wires than this share of their radius feel the field there.
_NEAREST = 0.9
# Nodes of the table along the radius and round it: cubic splines between them err by 3e-7.
_RADII, _ANGLES, _RIM = 192, 512, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class TransmitArray:
    """Equal loops side by side on a cylinder along z, about a cylinder of homogeneous tissue.

    Channel c stands at the angle ``2 pi c / n_channels`` from x (right) towards y (anterior). A
    loop is two straight legs, far longer than the head, ``share`` of its sector apart, its current
    right-handed about the direction inwards. The defaults are a head coil and an average head
    (tissue as in `coils.transmit_field`).
    """

    n_channels: int
    radius: Metre = 0.14
    load: Metre = 0.09
    share: Ratio = 0.8
    permittivity: Ratio = 60.0
    conductivity: float = 0.55

    def __post_init__(self) -> None:
        if not 1 <= self.n_channels <= MAX_CHANNELS:
            raise ProtocolError(
                f"the transmit array has {self.n_channels} channels; it may have 1 to "
                f"{MAX_CHANNELS} (scanroom.physics.transmit_array). Ask for a number in that range."
            )

    @property
    def angle(self) -> Float[np.ndarray, " channel"]:
        """Where each loop stands [rad]."""
        return np.asarray(2 * np.pi * np.arange(self.n_channels) / self.n_channels)

    def wavenumber(self, frequency: Hertz) -> complex:
        """Of waves in the tissue [rad/m]; time runs as ``exp(+i omega t)``."""
        omega = 2 * np.pi * frequency
        lossy = VACUUM_PERMITTIVITY * self.permittivity - 1j * self.conductivity / omega
        return complex(omega * np.sqrt(VACUUM_PERMEABILITY * lossy))


def circular(n_channels: int) -> Complex[np.ndarray, " channel"]:
    """Weights of the circularly polarised mode, of unit power: what plays when nothing is asked."""
    turns = np.arange(n_channels) / n_channels
    return np.asarray(np.exp(2j * np.pi * turns) / np.sqrt(n_channels))


@dataclass(frozen=True, slots=True, kw_only=True)
class Waves:
    """Field of channel 0 by angular order m: in tissue and, as it comes and goes, in air.

    ``Az = sum over m of radial_m(rho) exp(i m phi)`` [T m/A].
    """

    m: Int[np.ndarray, " order"]
    wavenumber: tuple[complex, complex]
    tissue: Complex[np.ndarray, " order"]
    coming: Complex[np.ndarray, " order"]
    going: Complex[np.ndarray, " order"]

    def radial(
        self, rho: Float[np.ndarray, " radius"], lower: int, *, tissue: bool
    ) -> Complex[np.ndarray, "radius order"]:
        """``radial_m`` with its cylinder functions of order m - ``lower``."""
        m, far = self.m - lower, rho[:, None]
        if tissue:
            return np.asarray(self.tissue * jv(m, self.wavenumber[0] * far))
        far = self.wavenumber[1] * far
        return np.asarray(self.coming * jv(m, far) + self.going * hankel2(m, far))

    def potential(self, rho: Float[np.ndarray, " radius"], *, tissue: bool) -> np.ndarray:
        """Orders of the vector potential Az [T m]."""
        return self.radial(rho, 0, tissue=tissue)

    def field(self, rho: Float[np.ndarray, " radius"], *, tissue: bool) -> np.ndarray:
        """Orders of ``(Bx - i By) / 2`` [T], which go round as ``exp(i (m - 1) phi)``."""
        scale = 0.5j * self.wavenumber[0 if tissue else 1]
        return np.asarray(scale * self.radial(rho, 1, tissue=tissue))


def waves(array: TransmitArray, frequency: Hertz) -> Waves:
    """Solve for one ampere in channel 0: lines of current in air beside a cylinder of tissue.

    Az and its slope are continuous at the surface; waves in the air leave (Hankel functions).

    References
    ----------
    R. F. Harrington, Time-Harmonic Electromagnetic Fields (1961), chapter 5: currents beside
    cylinders, doi:10.1109/9780470546710.
    """
    m = np.arange(-_ORDERS, _ORDERS + 1)
    k, k0 = array.wavenumber(frequency), 2 * np.pi * frequency / LIGHT_SPEED
    inner, outer = k * array.load, k0 * array.load
    legs = 2j * np.sin(m * (array.share * np.pi / array.n_channels))
    coming = -0.25j * VACUUM_PERMEABILITY * hankel2(m, k0 * array.radius) * legs
    # The Wronskian of Bessel's and Hankel's functions stands in the numerator.
    match = k0 * h2vp(m, outer) * jv(m, inner) - k * jvp(m, inner) * hankel2(m, outer)
    tissue = coming * (-2j / (np.pi * array.load)) / match
    going = (tissue * jv(m, inner) - coming * jv(m, outer)) / hankel2(m, outer)
    return Waves(m=m, wavenumber=(k, complex(k0)), tissue=tissue, coming=coming, going=going)


def array_field(
    array: TransmitArray,
    points: Float[np.ndarray, "point axis"],
    weights: Complex[np.ndarray, "set channel"],
    *,
    frequency: Hertz,
) -> Complex64[np.ndarray, "point set"]:
    """``sum over c of weight_c b1_c`` for sets of weights; b1 of one channel is a set of its own.

    ``b1 = (Bx - i By) / 2`` of a channel, for a current ``Re(p exp(i omega t))``, is what meets the
    spins: a pulse p plays as ``p sum w b1`` (signs of a Pulseq phase). It is relative to the
    circularly polarised mode of unit power, `circular`, whose field in the centre is 1.
    """
    series = waves(array, frequency)
    rho = np.minimum(np.hypot(points[:, 0], points[:, 1]), _NEAREST * array.radius)
    phi = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi) % 1.0
    middle = series.field(np.zeros(1), tissue=True)[0, series.m == 1]
    turn = np.exp(-1j * np.outer(series.m, array.angle)) / (middle * np.sqrt(array.n_channels))
    mix = turn @ np.asarray(weights, np.complex128).T
    out = np.empty((len(points), len(weights)), np.complex64)
    for tissue, low, high in (
        (True, 0.0, array.load),
        (False, array.load, _NEAREST * array.radius),
    ):
        step = (high - low) / _RADII
        radii = low + step * np.arange(-_RIM, _RADII + _RIM + 1)
        orders = series.field(radii, tissue=tissue)
        chosen = (rho <= array.load) == tissue
        where = np.stack([(rho[chosen] - low) / step, phi[chosen] * _ANGLES]) + _RIM
        for column, share in enumerate(mix.T):
            spectrum = np.zeros((len(radii), _ANGLES), np.complex128)
            spectrum[:, (series.m - 1) % _ANGLES] = orders * share
            table = np.fft.ifft(spectrum, axis=1) * _ANGLES
            rimmed = np.pad(table, ((0, 0), (_RIM, _RIM)), mode="wrap")
            smooth = spline_filter(rimmed, output=np.complex128)
            out[chosen, column] = map_coordinates(
                smooth, where, output=np.complex128, prefilter=False
            )
    return out


def worst_absorption(array: TransmitArray, frequency: Hertz) -> Ratio:
    """Most power that weights of unit power deposit in the tissue, relative to `circular`.

    Equal loops about a round load make modes ``w_c ~ exp(2 pi i k c / n)`` that absorb apart
    from each other: order m of Ez belongs to mode k = m modulo n. Any weights of power P deposit at
    most P times what the worst of the modes deposits.
    """
    node, share = np.polynomial.legendre.leggauss(200)
    rho = (node + 1) / 2 * array.load
    series = waves(array, frequency)
    power = share @ (np.abs(series.potential(rho, tissue=True)) ** 2 * rho[:, None])
    modes = np.bincount(series.m % array.n_channels, power, array.n_channels)
    return float(modes.max() / modes[1 % array.n_channels])
