"""Orthogonal wavelets of compact support, periodic, in one to three axes.

An axis of ``n`` points takes as many levels as ``n`` can be halved without remainder. Coefficients
lie where the pyramid of S. G. Mallat leaves them (IEEE Trans. Pattern Anal. Mach. Intell. 11, 674
(1989), doi:10.1109/34.192463): the coarse corner first. Filters: I. Daubechies, Commun. Pure Appl.
Math. 41, 909 (1988), doi:10.1002/cpa.3160410705.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Complex, Float
from numba import njit

from scanroom.operators.linear import Array, Linear, Shape
from scanroom.operators.threads import each

MOMENTS = 2
MAX_MOMENTS = 10
COARSEST = 8
"""Fewest coarse coefficients along an axis, where the number of levels is not given."""

Band = tuple[slice, ...]
Shift = tuple[int, int, int]


@functools.lru_cache(maxsize=MAX_MOMENTS)
def daubechies(moments: int) -> Float[np.ndarray, " tap"]:
    """Low-pass filter of ``2 * moments`` taps whose wavelet has that many vanishing moments.

    Raises
    ------
    ValueError
        If there are fewer than 1 or more than 10 moments: beyond, factors lose precision.
    """
    if not 1 <= moments <= MAX_MOMENTS:
        raise ValueError(f"{moments} vanishing moments; there are filters of 1 to {MAX_MOMENTS}.")
    powers = [comb(moments - 1 + k, k) for k in range(moments)]
    taps = np.ones(1, complex)
    for root in np.roots(powers[::-1]):
        # y = (2 - z - 1/z) / 4; of the two roots z of each y the one inside the circle is taken
        pair = np.roots([1, 4 * root - 2, 1])
        taps = np.convolve(taps, [1, -pair[np.argmin(np.abs(pair))]])
    for _ in range(moments):
        taps = np.convolve(taps, [1, 1])
    low: Float[np.ndarray, " tap"] = taps.real * (np.sqrt(2) / taps.real.sum())
    return low


@dataclass(frozen=True, slots=True)
class Wavelet:
    """A transform of complex images of one shape; ``levels`` counts the halvings of each axis."""

    shape: Shape
    levels: tuple[int, int, int]
    moments: int = MOMENTS

    @property
    def n_levels(self) -> int:
        """How many levels the deepest axis has."""
        return max(self.levels)

    def bands(self) -> tuple[tuple[int, Band], ...]:
        """Level and place of every band of details, finest first."""
        return _bands(self.shape, self.levels)

    def forward(self, image: Complex[Array, "..."], shift: Shift = (0, 0, 0)) -> Array:
        """Coefficients of an image, its origin moved by ``shift`` on the circle of each axis."""
        result = np.array(image, order="C")
        parts, filters = _parts(result), self._filters(result.real.dtype)
        for level in range(self.n_levels):
            size, do = self._at(level)
            by = shift if level == 0 else (0, 0, 0)
            each(_bound(_split_plane, parts, size, by, do, filters), size[0])
            if do[0]:
                each(_bound(_split_across, parts, size, by, do, filters), size[1])
        return result

    def inverse(self, coefficients: Complex[Array, "..."], shift: Shift = (0, 0, 0)) -> Array:
        """Image of coefficients; inverse and adjoint of `forward` with the same shift."""
        result = np.array(coefficients, order="C")
        self._invert(result, shift)
        return result

    def shrunk(
        self,
        image: Complex[Array, "..."],
        thresholds: Sequence[float] | Float[Array, " band"],
        shift: Shift = (0, 0, 0),
    ) -> Array:
        """Soft-threshold the details of an image, one threshold for each of `bands`."""
        result = self.forward(image, shift)
        self.shrink(result, thresholds)
        self._invert(result, shift)
        return result

    def shrink(
        self,
        coefficients: Complex[Array, "..."],
        thresholds: Sequence[float] | Float[Array, " band"],
    ) -> None:
        """Soft-threshold details in place."""
        parts = _parts(coefficients)
        for (_, band), threshold in zip(self.bands(), thresholds, strict=True):
            _shrink(parts, _box(band), parts.dtype.type(threshold))

    def _invert(self, coefficients: Complex[Array, "..."], shift: Shift) -> None:
        parts, filters = _parts(coefficients), self._filters(coefficients.real.dtype)
        for level in reversed(range(self.n_levels)):
            size, do = self._at(level)
            by = shift if level == 0 else (0, 0, 0)
            if do[0]:
                each(_bound(_merge_across, parts, size, by, do, filters), size[1])
            each(_bound(_merge_plane, parts, size, by, do, filters), size[0])

    def _filters(self, dtype: np.dtype) -> tuple[Array, Array]:
        low = daubechies(self.moments)
        high = low[::-1] * (-1.0) ** np.arange(len(low))
        return low.astype(dtype), high.astype(dtype)

    def _at(self, level: int) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
        """Size of the corner that a level splits, and along which axes."""
        z, y, x = (
            n >> min(level, depth) for n, depth in zip(_three(self.shape), self.levels, strict=True)
        )
        return (z, y, x), (level < self.levels[0], level < self.levels[1], level < self.levels[2])


def wavelet(
    shape: Shape,
    *,
    moments: int = MOMENTS,
    n_levels: int | None = None,
    axes: tuple[int, ...] | None = None,
) -> Wavelet:
    """Plan the transform of images of one to three axes.

    ``axes`` are those transformed, all that are longer than one by default; each is halved as
    often as it can be down to `COARSEST` coefficients, or ``n_levels`` times where it can.

    Raises
    ------
    ValueError
        If the image has more than three axes, or none of them can be halved.
    """
    if not 1 <= len(shape) <= 3:
        raise ValueError(f"an image of {len(shape)} axes; one to three can be transformed.")
    chosen = {axis % len(shape) for axis in (range(len(shape)) if axes is None else axes)}
    depths = [0] * (3 - len(shape))
    for axis, n in enumerate(shape):
        depths.append(_depth(n, n_levels) if axis in chosen else 0)
    if not any(depths):
        raise ValueError(f"no axis of {shape} can be halved; pad the image to even sizes.")
    return Wavelet(tuple(shape), (depths[0], depths[1], depths[2]), moments)


def shrink_groups(
    transform: Wavelet, coefficients: Sequence[Array], thresholds: Float[Array, " band"]
) -> None:
    """Soft-threshold details in place by their norm over several sets of coefficients."""
    for (_, band), threshold in zip(transform.bands(), thresholds, strict=True):
        size = np.sqrt(sum(one[band].real ** 2 + one[band].imag ** 2 for one in coefficients))
        keep = np.maximum(size - size.dtype.type(threshold), 0) / np.where(size > 0, size, 1)
        for one in coefficients:
            one[band] *= keep


def linear(transform: Wavelet, shift: Shift = (0, 0, 0)) -> Linear:
    """Make the transform a `Linear`; it is unitary."""
    return Linear(
        lambda x: transform.forward(x, shift),
        lambda y: transform.inverse(y, shift),
        transform.shape,
        transform.shape,
        lambda x: x,
    )


def _depth(n: int, n_levels: int | None) -> int:
    """Halvings without remainder: as many as asked for, or down to `COARSEST`."""
    twos = (n & -n).bit_length() - 1
    wanted = max(n // COARSEST, 1).bit_length() - 1 if n_levels is None else n_levels
    return min(twos, wanted)


def padded(n: int, n_levels: int) -> int:
    """Next size that can be halved ``n_levels`` times."""
    step = 1 << n_levels
    return -(-n // step) * step


@functools.lru_cache(maxsize=32)
def _bands(shape: Shape, levels: tuple[int, int, int]) -> tuple[tuple[int, Band], ...]:
    found = []
    for level in range(max(levels)):
        halves = [
            ((0, n >> level + 1), (n >> level + 1, n >> level))
            if level < depth
            else ((0, n >> depth),)
            for n, depth in zip(_three(shape), levels, strict=True)
        ]
        for corner in itertools.product(*halves):
            # all low: the corner that the next level splits; an axis that is done lies at zero
            if any(begin for begin, _ in corner):
                place = tuple(slice(*ends) for ends in corner)
                found.append((level, place[3 - len(shape) :]))
    return tuple(found)


def _box(band: Band) -> tuple[int, int, int, int, int, int]:
    z, y, x = (slice(0, 1),) * (3 - len(band)) + band
    return z.start, z.stop, y.start, y.stop, 2 * x.start, 2 * x.stop


def _three(shape: Shape) -> tuple[int, int, int]:
    z, y, x = (1,) * (3 - len(shape)) + shape
    return z, y, x


def _parts(array: Array) -> Array:
    """Real and imaginary parts side by side, three axes, sharing the memory of ``array``."""
    return array.reshape(_three(array.shape)).view(array.real.dtype)


def _bound(kernel: Any, parts: Array, *how: Any) -> Callable[[int], None]:
    def work(item: int) -> None:
        kernel(parts, item, *how)

    return work


@njit(nogil=True)
@no_type_check
def _add(low, high, source, h, g, n):
    """Add one tap of both filters."""
    for i in range(n):
        value = source[i]
        low[i] += h * value
        high[i] += g * value


@njit(nogil=True)
@no_type_check
def _copy(target, source, n):
    for i in range(n):
        target[i] = source[i]


@njit(nogil=True)
@no_type_check
def _clear(target, n):
    for i in range(n):
        target[i] = 0


@njit(nogil=True)
@no_type_check
def _apart(row, even, odd, n):
    """Even and odd complex numbers of a row."""
    for i in range(n // 2):
        even[2 * i], even[2 * i + 1] = row[4 * i], row[4 * i + 1]
        odd[2 * i], odd[2 * i + 1] = row[4 * i + 2], row[4 * i + 3]


@njit(nogil=True)
@no_type_check
def _split_row(row, out, n, shift, filters, scratch):
    low_pass, high_pass = filters
    n_taps = len(low_pass)
    even, odd, turned = scratch[0], scratch[1], scratch[2]
    turn = 2 * (shift % n)
    _copy(turned, row[turn:], 2 * n - turn)
    _copy(turned[2 * n - turn :], row, turn)
    _apart(turned, even, odd, n)
    for i in range(n_taps):
        even[n + i], odd[n + i] = even[i % n], odd[i % n]
    low, high = out[:n], out[n : 2 * n]
    _clear(out, 2 * n)
    for t in range(n_taps // 2):
        _add(low, high, even[2 * t :], low_pass[2 * t], high_pass[2 * t], n)
        _add(low, high, odd[2 * t :], low_pass[2 * t + 1], high_pass[2 * t + 1], n)


@njit(cache=True, nogil=True)
@no_type_check
def _split_plane(parts, z, size, shift, do, filters):
    low_pass, high_pass = filters
    _, n_y, n_x = size
    width = 2 * n_x
    plane = np.empty((n_y, width), parts.dtype)
    scratch = np.empty((3, width + 2 * len(low_pass)), parts.dtype)
    for y in range(n_y):
        if do[2]:
            _split_row(parts[z, y], plane[y], n_x, shift[2], filters, scratch)
        else:
            _copy(plane[y], parts[z, y], width)
    half = n_y // 2
    for y in range(n_y):
        if not do[1]:
            _copy(parts[z, y], plane[y], width)
        elif y < half:
            low, high = parts[z, y], parts[z, half + y]
            _clear(low, width)
            _clear(high, width)
            for t in range(len(low_pass)):
                source = plane[(2 * y + t + shift[1]) % n_y]
                _add(low, high, source, low_pass[t], high_pass[t], width)


@njit(cache=True, nogil=True)
@no_type_check
def _split_across(parts, y, size, shift, _do, filters):
    low_pass, high_pass = filters
    n_z, _, n_x = size
    width, half = 2 * n_x, n_z // 2
    plane = parts[:n_z, y, :width].copy()
    for z in range(half):
        low, high = parts[z, y], parts[half + z, y]
        _clear(low, width)
        _clear(high, width)
        for t in range(len(low_pass)):
            source = plane[(2 * z + t + shift[0]) % n_z]
            _add(low, high, source, low_pass[t], high_pass[t], width)


@njit(nogil=True)
@no_type_check
def _sum(out, low, high, h, g, n):
    """Add what one tap of each filter gives back."""
    for i in range(n):
        out[i] += h * low[i] + g * high[i]


@njit(nogil=True)
@no_type_check
def _together(even, odd, row, n):
    """Undo `_apart`."""
    for i in range(n // 2):
        row[4 * i], row[4 * i + 1] = even[2 * i], even[2 * i + 1]
        row[4 * i + 2], row[4 * i + 3] = odd[2 * i], odd[2 * i + 1]


@njit(nogil=True)
@no_type_check
def _merge_row(row, out, n, shift, filters, scratch):
    low_pass, high_pass = filters
    n_taps = len(low_pass)
    low, high, even, odd = scratch[0], scratch[1], scratch[2], scratch[3]
    for i in range(n_taps):
        before = (i - n_taps) % n
        low[i], high[i] = row[before], row[n + before]
    _copy(low[n_taps:], row, n)
    _copy(high[n_taps:], row[n:], n)
    _clear(even, n)
    _clear(odd, n)
    for t in range(n_taps // 2):
        at = n_taps - 2 * t
        _sum(even, low[at:], high[at:], low_pass[2 * t], high_pass[2 * t], n)
        _sum(odd, low[at:], high[at:], low_pass[2 * t + 1], high_pass[2 * t + 1], n)
    turned, turn = scratch[4], 2 * (shift % n)
    _together(even, odd, turned, n)
    _copy(out[turn:], turned, 2 * n - turn)
    _copy(out, turned[2 * n - turn :], turn)


@njit(cache=True, nogil=True)
@no_type_check
def _merge_plane(parts, z, size, shift, do, filters):
    low_pass, high_pass = filters
    _, n_y, n_x = size
    width, half = 2 * n_x, n_y // 2
    plane = np.zeros((n_y, width), parts.dtype)
    scratch = np.empty((5, width + 2 * len(low_pass)), parts.dtype)
    for y in range(n_y):
        if not do[1]:
            _copy(plane[y], parts[z, y], width)
        else:
            out = plane[(y + shift[1]) % n_y]
            for t in range(y % 2, len(low_pass), 2):
                at = (y // 2 - t // 2) % half
                low, high = parts[z, at], parts[z, half + at]
                _sum(out, low, high, low_pass[t], high_pass[t], width)
    for y in range(n_y):
        if do[2]:
            _merge_row(plane[y], parts[z, y], n_x, shift[2], filters, scratch)
        else:
            _copy(parts[z, y], plane[y], width)


@njit(cache=True, nogil=True)
@no_type_check
def _merge_across(parts, y, size, shift, _do, filters):
    low_pass, high_pass = filters
    n_z, _, n_x = size
    width, half = 2 * n_x, n_z // 2
    plane = parts[:n_z, y, :width].copy()
    for z in range(n_z):
        out = parts[(z + shift[0]) % n_z, y]
        _clear(out, width)
        for t in range(z % 2, len(low_pass), 2):
            at = (z // 2 - t // 2) % half
            _sum(out, plane[at], plane[half + at], low_pass[t], high_pass[t], width)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _shrink(parts, box, threshold):
    """Soft threshold of the complex numbers of a box."""
    z0, z1, y0, y1, x0, x1 = box
    one, zero, tiny = parts.dtype.type(1), parts.dtype.type(0), parts.dtype.type(1e-30)
    for z in range(z0, z1):
        for y in range(y0, y1):
            row = parts[z, y, x0:x1]
            for i in range(len(row) // 2):
                real, imag = row[2 * i], row[2 * i + 1]
                size = np.sqrt(real * real + imag * imag + tiny)
                keep = one - threshold / size
                keep = keep if keep > 0 else zero
                row[2 * i], row[2 * i + 1] = keep * real, keep * imag
