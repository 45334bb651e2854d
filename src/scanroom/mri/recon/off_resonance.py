"""Images from long readouts where the field is not even: sums that know the field map.

A sample at time t after the excitation is ``sum rho(r) exp(-2 pi i (k.r + f(r) t))``. The last
factor is a table of samples by voxels of low rank: ``exp(-2 pi i f t) ~ sum_l b_l(t) c_l(f)``, so
that the sum becomes a few plain transforms. How the b and c are chosen:

- ``"hann"``, ``"segments"``: images at a few times, samples in between interpolated with a Hann
  window
  (Noll, Meyer, Pauly, Nishimura, Macovski, IEEE Trans. Med. Imaging 10, 629 (1991),
  doi:10.1109/42.108599) or with the least squares over the histogram of f (Sutton, Noll, Fessler,
  IEEE Trans. Med. Imaging 22, 178 (2003), doi:10.1109/TMI.2002.808360);
- ``"frequencies"``: images at a few frequencies, voxels in between interpolated with the least
  squares over the
  times (Man, Pauly, Macovski, Magn. Reson. Med. 37, 785 (1997), doi:10.1002/mrm.1910370523);
- ``"svd"``: the least error there is for so many terms (Fessler et al., IEEE Trans. Signal Process.
  53, 3393
  (2005), doi:10.1109/TSP.2005.853152).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

from scanroom.core.choice import one_of
from scanroom.core.errors import ProtocolError
from scanroom.core.units import Ratio
from scanroom.operators.linear import Array, Linear
from scanroom.operators.nufft import nufft, toeplitz

METHODS = ("svd", "segments", "frequencies", "hann")
MAX_TERMS = 64
N_NODES = 1 << 14
"""More different values than this are interpolated between as many."""
TOLERANCE: Ratio = 1e-3
"""Root-mean-square error of the phase factor that is small against a reconstruction's own."""

Times = Float[np.ndarray, " sample"]
FieldMap = Float[np.ndarray, "..."]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factors:
    """``exp(-2 pi i f t)`` as a sum of products, and how far it is off.

    ``error`` is the root mean square over samples and voxels, ``worst`` the largest.
    """

    of_time: Complex[np.ndarray, "term sample"]
    of_place: Complex[np.ndarray, "term ..."]
    error: Ratio
    worst: Ratio


@dataclass(frozen=True, slots=True)
class _Table:
    """Nodes of time [s] and frequency [Hz] that stand for all samples and voxels."""

    time: Float[np.ndarray, " node"]
    frequency: Float[np.ndarray, " bin"]
    share: Float[np.ndarray, " bin"]

    @property
    def turns(self) -> Complex[np.ndarray, "node bin"]:
        return turned(self.time, self.frequency)


def turned(time: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Table of exp(-2 pi i f t)."""
    table: np.ndarray = np.exp(-2j * np.pi * np.outer(time, frequency))
    return table


def factors(
    time: Times, frequency: FieldMap, *, n_terms: int | None = None, method: str = "svd"
) -> Factors:
    """Factors for samples at ``time`` [s] and voxels of ``frequency`` [Hz].

    Without ``n_terms`` as many are taken as bring the error below `TOLERANCE`.

    Raises
    ------
    ProtocolError
        If there is no such method, a time or frequency is no number, or `MAX_TERMS` are too few.
    """
    one_of("method", method, METHODS, "scanroom.mri.recon.off_resonance")
    if not (np.isfinite(time).all() and np.isfinite(frequency).all()):
        raise ProtocolError(
            "times and field map hold values that are no numbers; every sample and voxel needs one "
            "(scanroom.mri.recon.off_resonance). Fill voxels without signal with 0 Hz."
        )
    (of_time, of_place), error, worst = _chosen(_table(time, frequency), n_terms, method)
    return Factors(
        of_time=_at_once(of_time, time),
        of_place=_at_once(of_place, frequency),
        error=error,
        worst=worst,
    )


def _table(time: Times, frequency: FieldMap) -> _Table:
    """Ten nodes for each turn that the ends differ by, 64 at least."""
    turns = float(np.ptp(time) * np.ptp(frequency))
    n = int(64 + 10 * turns)
    low, high = float(frequency.min()), float(frequency.max())
    spread = max(high - low, 1e-3)
    counts, edges = np.histogram(frequency, bins=n, range=(low - 1e-9, low + spread))
    middle = (edges[1:] + edges[:-1]) / 2
    nodes = np.linspace(float(time.min()), float(time.max()) + 1e-12, n)
    return _Table(nodes, middle[counts > 0], (counts / counts.sum())[counts > 0])


def _between(table: _Table) -> _Table:
    """Differences of frequency between voxels, and how often each occurs: symmetric."""
    n = len(table.time)
    low, high = table.frequency[0], table.frequency[-1]
    even = np.linspace(low, max(high, low + 1e-3), n)
    share, _ = np.histogram(table.frequency, bins=n, range=(low, even[-1]), weights=table.share)
    pairs = np.convolve(share, share[::-1])
    step = even[1] - even[0]
    return _Table(table.time, step * np.arange(1 - n, n), pairs / pairs.sum())


Basis = Callable[[np.ndarray], Complex[np.ndarray, "term _"]]


def _chosen(
    table: _Table, n_terms: int | None, method: str
) -> tuple[tuple[Basis, Basis], Ratio, Ratio]:
    """As many terms as asked for, or as bring the error below `TOLERANCE`; with their errors."""
    turns = float(np.ptp(table.time) * np.ptp(table.frequency))
    for n in [n_terms] if n_terms else range(max(1, int(turns)), MAX_TERMS + 1):
        bases = _bases(table, n, method)
        error, worst = _errors(table, bases)
        if n_terms or error <= TOLERANCE:
            return bases, error, worst
    raise ProtocolError(
        f"{np.ptp(table.frequency):.4g} Hz over {np.ptp(table.time):.4g} s need more than "
        f"{MAX_TERMS} terms for an error of {TOLERANCE} by {method} "
        "(scanroom.mri.recon.off_resonance). Clip the field map, or state n_terms."
    )


def _bases(table: _Table, n: int, method: str) -> tuple[Basis, Basis]:
    """Functions of time and of frequency, to be evaluated at any sample and voxel."""
    if method == "svd":
        return _singular(table, n)
    if method == "frequencies":
        return _at_frequencies(table, n)
    return _at_times(table, n, hann=method == "hann")


def _singular(table: _Table, n: int) -> tuple[Basis, Basis]:
    root = np.sqrt(table.share)
    left, sizes, right = np.linalg.svd(table.turns * root, full_matrices=False)
    n = min(n, int((sizes > 1e-12 * sizes[0]).sum()))
    mix = (right[:n].conj() * root / sizes[:n, None]).T

    def of_time(time: np.ndarray) -> np.ndarray:
        terms: np.ndarray = (turned(time, table.frequency) @ mix).T
        return terms

    def of_place(frequency: np.ndarray) -> np.ndarray:
        terms: np.ndarray = left[:, :n].conj().T @ turned(table.time, frequency)
        return terms

    return of_time, of_place


def _at_times(table: _Table, n: int, *, hann: bool) -> tuple[Basis, Basis]:
    knots = _knots(table.time, n)
    knots_turned = turned(table.frequency, knots)
    heavy = table.share[:, None] * knots_turned.conj()
    inverse = np.linalg.pinv(heavy.T @ knots_turned, rcond=1e-12, hermitian=True)

    def of_time(time: np.ndarray) -> np.ndarray:
        if hann:
            step = max(float(np.ptp(table.time)) / max(n - 1, 1), 1e-30)
            away = np.clip(np.abs(time[None] - knots[:, None]) / step, 0, 1)
            window: np.ndarray = (0.5 + 0.5 * np.cos(np.pi * away)) if n > 1 else away * 0 + 1
            return window.astype(complex)
        weights: np.ndarray = inverse @ (heavy.T @ turned(table.frequency, time))
        return weights

    return of_time, lambda frequency: turned(knots, frequency)


def _at_frequencies(table: _Table, n: int) -> tuple[Basis, Basis]:
    knots = _knots(table.frequency, n)
    knots_turned = turned(table.time, knots)
    inverse = np.linalg.pinv(knots_turned, rcond=1e-10)

    def of_place(frequency: np.ndarray) -> np.ndarray:
        weights: np.ndarray = inverse @ turned(table.time, frequency)
        return weights

    return lambda time: turned(knots, time), of_place


def _knots(values: np.ndarray, n: int) -> Float[np.ndarray, " knot"]:
    """Evenly from the first to the last; a single one in the middle."""
    if n == 1:
        return np.array([(values[0] + values[-1]) / 2])
    return np.linspace(values[0], values[-1], n)


def _errors(table: _Table, bases: tuple[Basis, Basis]) -> tuple[Ratio, Ratio]:
    of_time, of_place = bases
    missing = np.abs(of_time(table.time).T @ of_place(table.frequency) - table.turns)
    return float(np.sqrt((missing**2 @ table.share).mean())), float(missing.max())


def _at_once(basis: Basis, values: np.ndarray) -> Complex[np.ndarray, "term ..."]:
    """Evaluate at every different value once: shots share times. Of many, between nodes."""
    different, back = np.unique(values, return_inverse=True)
    if len(different) <= N_NODES:
        flat = basis(different)[:, back.ravel()]
    else:
        nodes = np.linspace(different[0], different[-1], N_NODES)
        terms = basis(nodes)
        at = (values.ravel() - nodes[0]) / (nodes[1] - nodes[0])
        below = np.minimum(at.astype(int), N_NODES - 2)
        flat = terms[:, below] + (at - below) * (terms[:, below + 1] - terms[:, below])
    return flat.reshape(-1, *values.shape)


def off_resonance(
    place: Float[np.ndarray, "sample axis"],
    time: Times,
    frequency: FieldMap,
    *,
    weight: Float[np.ndarray, " sample"] | None = None,
    n_terms: int | None = None,
    method: str = "svd",
) -> Linear:
    """As `nufft`, for an image of the shape of ``frequency`` [Hz] and samples at ``time`` [s].

    ``gram`` needs no samples: the phase between two voxels is segmented in time, with real
    weights, each the weight of one convolution (Fessler et al. 2005).
    """
    found = factors(time, frequency, n_terms=n_terms, method=method)
    plain = nufft(place, frequency.shape, weight=weight)
    of_time, of_place = _both(found.of_time), _both(found.of_place)
    normal: dict[np.dtype, Callable[[Array], Array]] = {}

    def forward(image: Array) -> Array:
        terms = zip(of_time(image.dtype), of_place(image.dtype), strict=True)
        return _added(b * plain.forward(c * image) for b, c in terms)

    def adjoint(samples: Array) -> Array:
        terms = zip(of_time(samples.dtype), of_place(samples.dtype), strict=True)
        return _added(c.conj() * plain.adjoint(b.conj() * samples) for b, c in terms)

    def gram(image: Array) -> Array:
        if image.dtype not in normal:
            normal[image.dtype] = _normal(place, time, frequency, weight, image.dtype)
        return normal[image.dtype](image)

    return Linear(forward, adjoint, plain.domain, plain.codomain, gram)


def _normal(
    place: Float[np.ndarray, "sample axis"],
    time: Times,
    frequency: FieldMap,
    weight: Float[np.ndarray, " sample"] | None,
    dtype: np.dtype,
) -> Callable[[Array], Array]:
    """Sum of convolutions of the image as it looks at a few times."""
    (of_time, of_place), _, _ = _chosen(_between(_table(time, frequency)), None, "segments")
    weights = _at_once(of_time, time).real * (1.0 if weight is None else weight)
    sights = _at_once(of_place, frequency).astype(dtype)
    spreads = [toeplitz(place, frequency.shape, weight=w, dtype=dtype).forward for w in weights]

    def apply(image: Array) -> Array:
        pairs = zip(spreads, sights, strict=True)
        return _added(sight.conj() * spread(sight * image) for spread, sight in pairs)

    return apply


def _both(terms: np.ndarray) -> Callable[[np.dtype], np.ndarray]:
    """Terms in whichever precision the data have; cast once."""
    kept: dict[np.dtype, np.ndarray] = {}

    def of(dtype: np.dtype) -> np.ndarray:
        if dtype not in kept:
            kept[dtype] = terms.astype(dtype)
        return kept[dtype]

    return of


def _added(parts: Iterable[Array]) -> Array:
    """Sum of arrays, one at a time."""
    total: Array | None = None
    for part in parts:
        total = part if total is None else np.add(total, part, out=total)
    if total is None:
        raise ProtocolError("a sum of no terms is no image; at least one term is needed.")
    return total
