"""Receive loops and the transmit field: what one ampere in each coil does at every point."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import no_type_check

import numba as nb
import numpy as np
from jaxtyping import Complex, Complex64, Float, Float32
from scipy.special import jv

from scanroom.core.errors import ProtocolError
from scanroom.core.units import Hertz, Metre, Ratio

VACUUM_PERMEABILITY = 1.25663706127e-6  # T m/A, CODATA 2022
VACUUM_PERMITTIVITY = 8.8541878188e-12  # F/m, CODATA 2022
MAX_COILS = 64
# Neighbouring round loops share no flux when their centres are 0.75 diameters apart:
# P. B. Roemer et al., Magn. Reson. Med. 16, 192 (1990), doi:10.1002/mrm.1910160203.
CRITICAL_SPACING = 1.5
LARGEST_RADIUS: Metre = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopArray:
    """Round loops of wire; ``normal`` is the direction of the axis, a current runs right-handed."""

    centre: Float[np.ndarray, "coil axis"]
    normal: Float[np.ndarray, "coil axis"]
    radius: Float[np.ndarray, " coil"]
    wire_radius: Metre = 1.5e-3

    @property
    def n_coils(self) -> int:
        """How many loops there are."""
        return len(self.radius)


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """The helmet that carries the loops: an elliptic cylinder along z that ends in half an egg.

    The defaults clear a 97.5th-percentile head and the ACR large phantom (radius 102 mm).
    """

    half_width: Metre = 0.115
    half_depth: Metre = 0.135
    lower: Metre = -0.08
    dome_start: Metre = 0.05
    dome_height: Metre = 0.10


def head_array(n_coils: int, *, former: Former | None = None) -> LoopArray:
    """Cover a helmet with equal rings of overlapping loops, each axis pointing into the head.

    Raises
    ------
    ProtocolError
        If there are fewer than 1 or more than 64 coils.
    """
    if not 1 <= n_coils <= MAX_COILS:
        raise ProtocolError(
            f"the receive array has {n_coils} coils; it may have 1 to {MAX_COILS} "
            "(scanroom.physics.coils). Ask for a number in that range."
        )
    former = former or Former()
    upper = former.dome_start + 0.7 * former.dome_height
    girth = _ellipse_length(former.half_width, former.half_depth)
    n_rings = max(1, round(np.sqrt(n_coils * (upper - former.lower) / girth)))
    height = (upper - former.lower) / n_rings
    centres, normals, radii = [], [], []
    for ring, members in enumerate(np.array_split(np.arange(n_coils), n_rings)):
        level = former.lower + (ring + 0.5) * height
        centre, normal = _ring(former, level, len(members), turn=0.5 * (ring % 2))
        spacing = girth / len(members)
        radius = min(max(spacing, height if n_rings > 1 else 0.0) / CRITICAL_SPACING, 0.1)
        centres.append(centre)
        normals.append(normal)
        radii.append(np.full(len(members), min(radius, LARGEST_RADIUS)))
    return LoopArray(
        centre=np.concatenate(centres),
        normal=np.concatenate(normals),
        radius=np.concatenate(radii),
    )


def receive_sensitivity(
    array: LoopArray, points: Float[np.ndarray, "point axis"]
) -> Complex64[np.ndarray, "coil point"]:
    """``Bx - i By`` in T/A of every loop: what makes precessing magnetisation a voltage.

    Quasi-static: the wavelength in tissue is taken as long. A point inside the wire sees the
    field at the wire's surface.

    References
    ----------
    D. I. Hoult, R. E. Richards, J. Magn. Reson. 24, 71 (1976), doi:10.1016/0022-2364(76)90233-X.
    """
    sensitivity = np.empty((array.n_coils, len(points)), np.complex64)
    where = np.ascontiguousarray(points, np.float64)
    for coil in range(array.n_coils):
        field = loop_field(array, coil, where)
        sensitivity[coil] = field[:, 0] - 1j * field[:, 1]
    return sensitivity


def loop_field(
    array: LoopArray, coil: int, points: Float[np.ndarray, "point axis"]
) -> Float32[np.ndarray, "point axis"]:
    """Magnetic field [T/A] of one loop by complete elliptic integrals.

    References
    ----------
    J. C. Simpson et al., NASA/TM-2013-217919 (2001): both components of a circular loop.
    """
    return _of_loop(_field, array, coil, points, np.empty((len(points), 3), np.float32))


def loop_potential(
    array: LoopArray, coil: int, points: Float[np.ndarray, "point axis"]
) -> Float[np.ndarray, "point axis"]:
    """Vector potential [T m/A] of one loop, Coulomb gauge, by complete elliptic integrals.

    References
    ----------
    J. D. Jackson, Classical Electrodynamics, 3rd ed. (1999), section 5.5.
    """
    return _of_loop(_potential, array, coil, points, np.empty((len(points), 3)))


def _of_loop(
    kernel: Callable[..., None],
    array: LoopArray,
    coil: int,
    points: Float[np.ndarray, "point axis"],
    out: Float[np.ndarray, "point axis"],
) -> Float[np.ndarray, "point axis"]:
    """Fill ``out`` with what one loop does at every point."""
    where = np.ascontiguousarray(points, np.float64)
    kernel(
        array.centre[coil], array.normal[coil], array.radius[coil], array.wire_radius, where, out
    )
    return out


def transmit_field(
    points: Float[np.ndarray, "point axis"],
    *,
    frequency: Hertz,
    permittivity: Ratio = 60.0,
    conductivity: float = 0.55,
    centre: tuple[Metre, Metre] = (0.0, 0.0),
) -> Complex[np.ndarray, " point"]:
    """B1+ of a long quadrature birdcage in homogeneous tissue, relative to its value on the axis.

    The circularly polarised first mode of a cylinder has ``Ez ~ J1(k rho) exp(i phi)`` and
    ``B1+ ~ J0(k rho)``: brighter in the middle at 3 T, flat at 0.05 T. The defaults are the average
    head at 128 MHz.

    References
    ----------
    J. Tropp, J. Magn. Reson. 167, 12 (2004), doi:10.1016/j.jmr.2003.11.003 (the mode);
    C. Gabriel, S. Gabriel, E. Corthout, Phys. Med. Biol. 41, 2231 (1996),
    doi:10.1088/0031-9155/41/11/001 (tissue properties).
    """
    omega = 2 * np.pi * frequency
    complex_permittivity = VACUUM_PERMITTIVITY * permittivity - 1j * conductivity / omega
    wavenumber = omega * np.sqrt(VACUUM_PERMEABILITY * complex_permittivity)
    rho = np.hypot(points[:, 0] - centre[0], points[:, 1] - centre[1])
    return np.asarray(jv(0, wavenumber * rho))


def _ellipse_length(a: Metre, b: Metre) -> Metre:
    """Circumference by S. Ramanujan (1914); 1e-9 of the truth for the helmets meant here."""
    h = ((a - b) / (a + b)) ** 2
    return float(np.pi * (a + b) * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h))))


def _ring(
    former: Former, level: Metre, n_loops: int, *, turn: Ratio
) -> tuple[Float[np.ndarray, "loop axis"], Float[np.ndarray, "loop axis"]]:
    """Centres at equal arc length round the former at one height, and inward normals."""
    above = max(level - former.dome_start, 0.0)
    shrink = np.sqrt(1 - (above / former.dome_height) ** 2)
    a, b = shrink * former.half_width, shrink * former.half_depth
    angle = np.linspace(0.0, 2 * np.pi, 4097)
    step = np.hypot(np.diff(a * np.cos(angle)), np.diff(b * np.sin(angle)))
    arc = np.concatenate([[0.0], np.cumsum(step)])
    wanted = (np.arange(n_loops) + turn) / n_loops * arc[-1]
    # The first loop lies behind the head, where a single one is nearest to a supine subject.
    phi = np.interp(np.mod(wanted - arc[-1] / 4, arc[-1]), arc, angle)
    centre = np.stack([a * np.cos(phi), b * np.sin(phi), np.full(n_loops, level)], axis=1)
    outward = np.stack(
        [
            centre[:, 0] / former.half_width**2,
            centre[:, 1] / former.half_depth**2,
            np.full(n_loops, above / former.dome_height**2),
        ],
        axis=1,
    )
    return centre, -outward / np.linalg.norm(outward, axis=1, keepdims=True)


@nb.njit(cache=True)
@no_type_check
def _elliptic(m: float) -> tuple[float, float]:
    """Complete elliptic integrals K(m) and E(m) by the arithmetic-geometric mean."""
    a, b = 1.0, np.sqrt(1.0 - m)
    total, power = 0.5 * m, 1.0
    while abs(a - b) > 1e-15 * a:
        c = 0.5 * (a - b)
        a, b = 0.5 * (a + b), np.sqrt(a * b)
        total += power * c * c
        power *= 2.0
    first = 0.5 * np.pi / a
    return first, first * (1.0 - total)


@nb.njit(cache=True)
@no_type_check
def _place(
    centre: np.ndarray, normal: np.ndarray, point: np.ndarray
) -> tuple[float, float, float, float, float]:
    """Height above the plane of a loop, distance from its axis, and the unit vector outwards."""
    dx, dy, dz = point[0] - centre[0], point[1] - centre[1], point[2] - centre[2]
    height = dx * normal[0] + dy * normal[1] + dz * normal[2]
    rx, ry, rz = dx - height * normal[0], dy - height * normal[1], dz - height * normal[2]
    rho = np.sqrt(rx * rx + ry * ry + rz * rz)
    scale = 1.0 / rho if rho > 0.0 else 0.0
    return height, rho, rx * scale, ry * scale, rz * scale


@nb.njit(cache=True)
@no_type_check
def _reach(
    height: float, rho: float, radius: float, wire: float
) -> tuple[float, float, float, float]:
    """Squared distances to a loop: mean, nearest and farthest; and the parameter they make.

    No point is nearer to the loop than the surface of its wire.
    """
    square = radius * radius + rho * rho + height * height
    near = max(square - 2.0 * radius * rho, wire * wire)
    far = square + 2.0 * radius * rho
    return square, near, far, max(1.0 - near / far, 0.0)


@nb.njit(cache=True, parallel=True)
@no_type_check
def _field(
    centre: np.ndarray,
    normal: np.ndarray,
    radius: float,
    wire: float,
    points: np.ndarray,
    out: np.ndarray,
) -> None:
    for i in nb.prange(points.shape[0]):
        height, rho, ux, uy, uz = _place(centre, normal, points[i])
        square, near, far, m = _reach(height, rho, radius, wire)
        first, second = _elliptic(m)
        scale = VACUUM_PERMEABILITY / (2.0 * np.pi * near * np.sqrt(far))
        inner = radius * radius - rho * rho - height * height
        along = scale * (inner * second + near * first)
        if m < 1e-4:  # the difference of integrals cancels; the next term is of order m squared
            across = 0.75 * VACUUM_PERMEABILITY * radius**2 * height * rho / square**2.5
        else:
            across = scale * height / rho * (square * second - near * first)
        out[i, 0] = along * normal[0] + across * ux
        out[i, 1] = along * normal[1] + across * uy
        out[i, 2] = along * normal[2] + across * uz


@nb.njit(cache=True, parallel=True)
@no_type_check
def _potential(
    centre: np.ndarray,
    normal: np.ndarray,
    radius: float,
    wire: float,
    points: np.ndarray,
    out: np.ndarray,
) -> None:
    for i in nb.prange(points.shape[0]):
        height, rho, ux, uy, uz = _place(centre, normal, points[i])
        square, _, _, m = _reach(height, rho, radius, wire)
        if m < 1e-4:
            size = 0.25 * VACUUM_PERMEABILITY * radius**2 * rho / square**1.5
        else:
            first, second = _elliptic(m)
            bracket = (1.0 - 0.5 * m) * first - second
            size = VACUUM_PERMEABILITY / np.pi * np.sqrt(radius / (m * rho)) * bracket
        out[i, 0] = size * (normal[1] * uz - normal[2] * uy)
        out[i, 1] = size * (normal[2] * ux - normal[0] * uz)
        out[i, 2] = size * (normal[0] * uy - normal[1] * ux)
