"""Gradient delays of radial scans, found in the spokes themselves.

Late gradients move spokes: the one along ``n`` by ``S n`` in k-space, ``S`` a symmetric matrix
whose diagonal holds the delays of the two axes (in samples of a spoke, times its spacing) and whose
other element couples them. Two things tell ``S``:

- a spoke and the one that comes back along the same line see the same profile mirrored, shifted by
  twice
  ``n.S n`` (`from_opposed`; Block and Uecker 2011);
- two spokes measure the same signal where they cross, and with the right ``S`` they do
  (`from_crossings`, the
  condition of RING: Rosenzweig, Holme, Uecker 2019). Any spread of angles serves, of half a turn or
  whole.

References ---------- K. T. Block, M. Uecker, Proc. Intl. Soc. Mag. Reson. Med. 19, 2816 (2011). S.
Rosenzweig, H. C. M. Holme, M. Uecker, Magn. Reson. Med. 81, 1898 (2019), doi:10.1002/mrm.27506.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Complex, Float

from scanroom.core.errors import ProtocolError
from scanroom.operators.fourier import to_image

MAX_DELAY = 4.0
"""Largest delay searched for, in samples."""
N_PARTNERS = 8
"""Spokes that each spoke is compared with, spread over all angles at which they cross well."""
MIN_SPOKES = 5
_OPPOSED = np.deg2rad(2.0)
_FINER, _REACH = 32, 24
_N_TRIED = 200
_N_STEPS, _STEP, _SETTLED = 30, 0.05, 1e-4

Spokes = Complex[np.ndarray, "coil spoke sample"]
Angles = Float[np.ndarray, " spoke"]
Matrix = Float[np.ndarray, "2 2"]


def moved(
    place: Float[np.ndarray, "sample axis"],
    angle: Angles,
    shift: Matrix,
    spacing: float,
) -> Float[np.ndarray, "sample axis"]:
    """Where delayed spokes really are.

    ``place`` holds spoke after spoke in cycles per pixel, axes (y, x) with spokes along
    (sin, cos) of their ``angle`` [rad]; ``spacing`` is the distance of samples along a spoke.
    """
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    away = (along @ shift)[:, ::-1] * spacing
    spokes: np.ndarray = place.reshape(len(angle), -1, 2) + away[:, None]
    return spokes.reshape(place.shape)


def from_opposed(spokes: Spokes, angle: Angles) -> Matrix:
    """Delays (x, y) [samples] from pairs of spokes that run against each other.

    Sample ``n // 2`` is meant to be the middle. A pair tells the shift along its own line; three
    pairs of different lines tell all of ``S``.

    Raises
    ------
    ProtocolError
        If fewer than three pairs run against each other.
    """
    pairs = _opposed(angle)
    if len(pairs) < 3:
        raise ProtocolError(
            f"{len(pairs)} pairs of {len(angle)} spokes run against each other within "
            f"{np.rad2deg(_OPPOSED):.0f} degrees; three are needed (scanroom.mri.recon.delays). "
            "Use from_crossings, or measure spokes over a whole turn."
        )
    rows, shifts, weights = [], [], []
    for one, other in pairs:
        shift, weight = _profile_shift(spokes[:, one], spokes[:, other])
        x, y = np.cos(angle[one]), np.sin(angle[one])
        rows.append([x * x, y * y, 2 * x * y])
        shifts.append(shift / 2)
        weights.append(weight)
    root = np.sqrt(np.array(weights))
    solution = np.linalg.lstsq(np.array(rows) * root[:, None], np.array(shifts) * root)[0]
    return _matrix(solution)


def from_crossings(spokes: Spokes, angle: Angles) -> Matrix:
    """Delays (x, y) [samples] that make spokes agree where they cross.

    Raises
    ------
    ProtocolError
        If there are fewer than five spokes, or no two that cross.
    """
    if len(angle) < MIN_SPOKES:
        raise ProtocolError(
            f"{len(angle)} spokes; {MIN_SPOKES} or more tell delays (scanroom.mri.recon.delays). "
            "Take those of several frames."
        )
    pairs = _crossing(angle)
    fine = _fine_middle(spokes)

    def residual(delays: np.ndarray) -> np.ndarray:
        here, there = _sights(fine, angle, pairs, delays)
        apart = here - there
        return np.concatenate([apart.real.ravel(), apart.imag.ravel()])

    return _matrix(_least(residual, _start(fine, angle, pairs)))


def _start(fine: np.ndarray, angle: Angles, pairs: np.ndarray) -> np.ndarray:
    """Delays of a grid of trials at which some pairs differ least, as a share of their signal.

    Far from the middle there is little signal: a small difference alone would lead there.
    """
    few = pairs[:: max(1, len(pairs) // _N_TRIED)]

    def share(delays: np.ndarray) -> float:
        here, there = _sights(fine, angle, few, delays)
        return float((np.abs(here - there) ** 2).sum() / (np.abs(here + there) ** 2).sum())

    steps = np.arange(-MAX_DELAY, MAX_DELAY + 0.25, 0.5)
    tries = [np.array([x, y, 0.0]) for x in steps for y in steps]
    return min(tries, key=share)


def _sights(
    fine: np.ndarray, angle: Angles, pairs: np.ndarray, delays: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the two spokes of each pair measured where they would cross."""
    here, there = _crossings(angle, pairs, _matrix(delays))
    return _at(fine, pairs[:, 0], here), _at(fine, pairs[:, 1], there)


def _least(residual: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> np.ndarray:
    """Gauss-Newton with central differences; steps that make it worse are halved."""
    value = start
    for _ in range(_N_STEPS):
        now = residual(value)
        slope = np.stack(
            [(residual(value + h) - residual(value - h)) / (2 * _STEP) for h in _STEP * np.eye(3)],
            axis=1,
        )
        step = np.linalg.lstsq(slope, -now)[0]
        while np.abs(step).max() > _SETTLED and (residual(value + step) ** 2).sum() > now @ now:
            step = step / 2
        value = value + step
        if np.abs(step).max() < _SETTLED:
            break
    return value


def _matrix(delays: np.ndarray) -> Matrix:
    x, y, both = (float(value) for value in delays)
    return np.array([[x, both], [both, y]])


def _opposed(angle: Angles) -> list[tuple[int, int]]:
    """Each spoke with the one nearest to its opposite, if that is near enough."""
    turn = np.angle(np.exp(1j * (angle[:, None] - angle[None] - np.pi)))
    nearest = np.argmin(np.abs(turn), axis=1)
    return [
        (one, int(other))
        for one, other in enumerate(nearest)
        if abs(turn[one, other]) < _OPPOSED and (one < other or nearest[other] != one)
    ]


def _crossing(angle: Angles) -> np.ndarray:
    """Pairs that cross at 30 to 150 degrees, every spoke with several others."""
    pairs = []
    for one in range(len(angle)):
        others = np.flatnonzero(np.abs(np.sin(angle - angle[one])) > 0.5)
        others = others[others > one]
        if len(others):
            picked = np.unique(np.linspace(0, len(others) - 1, N_PARTNERS).astype(int))
            pairs += [(one, int(other)) for other in others[picked]]
    if not pairs:
        raise ProtocolError(
            "no two spokes cross at 30 to 150 degrees; delays show only where spokes of different "
            "direction meet (scanroom.mri.recon.delays). Measure over half a turn or more."
        )
    return np.array(pairs)


def _crossings(angle: Angles, pairs: np.ndarray, shift: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """Where along each spoke of a pair [samples from its middle] the two lines meet."""
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    one, other = along[pairs[:, 0]], along[pairs[:, 1]]
    apart = (other - one) @ shift
    sine = _cross(one, other)
    return _cross(apart, other) / sine, -_cross(one, apart) / sine


def _cross(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    product: np.ndarray = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    return product


def _fine_middle(spokes: Spokes) -> Complex[np.ndarray, "coil spoke fine"]:
    """Middle of every spoke, `_FINER` times denser: the exact sum over its profile."""
    n = spokes.shape[-1]
    profile = to_image(spokes.astype(np.complex128), (-1,))
    reach = np.arange(-_REACH * _FINER, _REACH * _FINER + 1) / _FINER
    pixel = np.arange(n) - n // 2
    matrix = np.exp(-2j * np.pi * np.outer(pixel, reach) / n) / np.sqrt(n)
    fine: np.ndarray = profile @ matrix
    fine /= np.abs(fine).max()
    return fine


def _at(fine: np.ndarray, spoke: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Signal "coil pair" of spokes at places in samples from their middle."""
    at = np.clip((place + _REACH) * _FINER, 0, fine.shape[-1] - 1.001)
    below = at.astype(int)
    share = at - below
    found: np.ndarray = fine[:, spoke, below] * (1 - share) + fine[:, spoke, below + 1] * share
    return found


def _profile_shift(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Shift [samples] of a spoke against its mirrored partner, and how much signal tells it."""
    n = one.shape[-1]
    back = np.roll(other[:, ::-1], 1 - n % 2, axis=1)
    product = (to_image(one, (-1,)) * to_image(back, (-1,)).conj()).sum(axis=0)
    pixel = np.arange(n) - n // 2
    weight = np.abs(product)
    slope = float(np.angle((product[1:] * product[:-1].conj()).sum()))
    for _ in range(3):
        rest = product * np.exp(-1j * slope * pixel)
        residual = np.angle(rest * np.exp(-1j * np.angle(rest.sum())))
        middle = float(weight @ pixel) / weight.sum()
        slope += float(weight @ ((pixel - middle) * residual)) / float(
            weight @ (pixel - middle) ** 2
        )
    return -slope * n / (2 * np.pi), float(weight.sum())
