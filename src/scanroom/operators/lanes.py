"""Fourier transforms of sixteen neighbouring lines at once, in vector instructions.

A row of a work array holds one point of sixteen lines, real parts and then imaginary ones. Forward
transforms leave frequencies in the order of `frequencies`, inverse ones take them so: what lies
between, a product with weights of frequencies, needs no sorting. Neither is scaled.

Decimation in frequency and its mirror image in time, radices 2 to 5: W. M. Gentleman, G. Sande,
AFIPS Fall Joint Computer Conference 29, 563 (1966), doi:10.1145/1464291.1464352.
"""

import functools
from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Complex64, Float32, Int64
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
ROW = 2 * LANES
RADICES = (4, 2, 3, 5)
_FLAGS = ("contract", "nsz")
_INT = ir.IntType(64)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


@dataclass(frozen=True, slots=True)
class Plan:
    """Stages of a transform of ``n`` points: radix, length of a part and first twiddle of each."""

    n: int
    stages: Int64[np.ndarray, "stage 3"]
    twiddles: Float32[np.ndarray, " number"]
    frequencies: Int64[np.ndarray, " n"]


def can_transform(n: int) -> bool:
    """Tell whether ``n`` is a product of 2, 3 and 5."""
    for radix in (2, 3, 5):
        while n % radix == 0:
            n //= radix
    return n == 1


@functools.lru_cache(maxsize=32)
def plan(n: int) -> Plan:
    """Plan the transform of ``n`` points, a product of 2, 3 and 5.

    Raises
    ------
    ValueError
        If ``n`` has another prime factor.
    """
    if not can_transform(n):
        raise ValueError(f"{n} points cannot be transformed; only products of 2, 3 and 5 can.")
    stages: list[tuple[int, int, int]] = []
    twiddles: list[np.ndarray] = []
    length, at = n, 0
    while length > 1:
        radix = next(r for r in RADICES if length % r == 0)
        part = length // radix
        turns = np.outer(np.arange(part), np.arange(1, radix)) / length
        wave = np.exp(-2j * np.pi * turns)
        twiddles.append(np.stack([wave.real, wave.imag], axis=-1).ravel())
        stages.append((radix, part, at))
        at += twiddles[-1].size
        length = part
    return Plan(
        n=n,
        stages=np.array(stages, np.int64).reshape(-1, 3),
        twiddles=np.concatenate([*twiddles, np.zeros(0)]).astype(np.float32),
        frequencies=_order([radix for radix, _, _ in stages]),
    )


def _order(radices: list[int]) -> Int64[np.ndarray, " n"]:
    if not radices:
        return np.zeros(1, np.int64)
    inner = _order(radices[1:])
    return np.concatenate([each + radices[0] * inner for each in range(radices[0])])


def as_rows(
    array: Complex64[np.ndarray, "... x"],
) -> Float32[np.ndarray, "block row number"]:
    """Cut the last axis into blocks of sixteen, zeros added, real and imaginary parts apart."""
    flat = array.reshape(-1, array.shape[-1])
    n_blocks = -(-flat.shape[1] // LANES)
    rows = np.zeros((n_blocks, len(flat), ROW), np.float32)
    for block in range(n_blocks):
        some = flat[:, block * LANES : (block + 1) * LANES]
        rows[block, :, : some.shape[1]] = some.real
        rows[block, :, LANES : LANES + some.shape[1]] = some.imag
    return rows


class _Lanes:
    """Complex numbers of sixteen lanes, while code is generated."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def load(self, base: Any, row: Any) -> tuple[Any, Any]:
        place = self.builder.mul(row, ir.Constant(_INT, ROW))
        real, imag = (
            self.builder.load(self._at(base, place, shift), align=4) for shift in (0, LANES)
        )
        return real, imag

    def store(self, value: tuple[Any, Any], base: Any, row: Any) -> None:
        place = self.builder.mul(row, ir.Constant(_INT, ROW))
        for part, shift in zip(value, (0, LANES), strict=True):
            self.builder.store(part, self._at(base, place, shift), align=4)

    def _at(self, base: Any, place: Any, shift: int) -> Any:
        place = self.builder.add(place, ir.Constant(_INT, shift))
        return self.builder.bitcast(self.builder.gep(base, [place]), _VECTOR.as_pointer())

    def everywhere(self, scalar: Any) -> Any:
        """Copy one number to all lanes."""
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        single = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(single, undefined, zeros)

    def number(self, value: float) -> Any:
        return ir.Constant(_VECTOR, [value] * LANES)

    def add(self, a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Any, Any]:
        one, two = (self.builder.fadd(x, y, flags=_FLAGS) for x, y in zip(a, b, strict=True))
        return one, two

    def sub(self, a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Any, Any]:
        one, two = (self.builder.fsub(x, y, flags=_FLAGS) for x, y in zip(a, b, strict=True))
        return one, two

    def scaled(self, a: tuple[Any, Any], factor: Any) -> tuple[Any, Any]:
        one, two = (self.builder.fmul(x, factor, flags=_FLAGS) for x in a)
        return one, two

    def times_i(self, a: tuple[Any, Any], sign: float) -> tuple[Any, Any]:
        """Multiply by the imaginary unit, or by minus it."""
        negative = self.builder.fsub(self.number(-0.0), a[1 if sign > 0 else 0], flags=_FLAGS)
        return (negative, a[0]) if sign > 0 else (a[1], negative)

    def times(self, a: tuple[Any, Any], b: tuple[Any, Any], sign: float) -> tuple[Any, Any]:
        """Product with ``b``, or with its conjugate where ``sign`` is negative."""

        def product(x: Any, y: Any) -> Any:
            return self.builder.fmul(x, y, flags=_FLAGS)

        add, sub = self.builder.fadd, self.builder.fsub
        first, second = (sub, add) if sign > 0 else (add, sub)
        return (
            first(product(a[0], b[0]), product(a[1], b[1]), flags=_FLAGS),
            second(product(a[1], b[0]), product(a[0], b[1]), flags=_FLAGS),
        )


@no_type_check
def _transformed(lanes, given, sign):
    """Discrete Fourier transform of two to five numbers, exponent of ``sign``."""
    add, sub = lanes.add, lanes.sub
    n = len(given)
    if n == 2:
        return [add(*given), sub(*given)]
    if n == 4:
        even, odd = add(given[0], given[2]), add(given[1], given[3])
        left, right = sub(given[0], given[2]), lanes.times_i(sub(given[1], given[3]), sign)
        return [add(even, odd), add(left, right), sub(even, odd), sub(left, right)]
    pairs = [(given[i], given[n - i]) for i in range(1, n // 2 + 1)]
    sums, differences = [add(*p) for p in pairs], [sub(*p) for p in pairs]
    total = given[0]
    for each in sums:
        total = add(total, each)
    found = [total] + [None] * (n - 1)
    for k in range(1, n // 2 + 1):
        even, odd = given[0], None
        for i, (plus, minus) in enumerate(zip(sums, differences, strict=True), start=1):
            angle = 2 * np.pi * i * k / n
            even = add(even, lanes.scaled(plus, lanes.number(np.cos(angle))))
            part = lanes.scaled(minus, lanes.number(np.sin(angle)))
            odd = part if odd is None else add(odd, part)
        odd = lanes.times_i(odd, sign)
        found[k], found[n - k] = add(even, odd), sub(even, odd)
    return found


@no_type_check
def _stage(radix, *, forward):
    """One stage of a transform as an instruction: all butterflies of all its blocks."""

    @intrinsic
    def stage(_typing, work, first, n, part, table):
        signature = types.void(work, first, n, part, table)

        def codegen(context, builder, signature, arguments):
            kinds = signature.args

            def pointer(i, array=None):
                value = arguments[i] if array is None else array
                return context.make_array(kinds[i])(context, builder, value).data

            base, begin, length, quarter = pointer(0), *arguments[1:4]
            wave = pointer(4)
            lanes, zero = _Lanes(builder), ir.Constant(_INT, 0)
            count = ir.Constant(_INT, 2 * (radix - 1))
            with cgutils.for_range(builder, quarter) as point:
                turns = []
                for i in range(radix - 1):
                    place = builder.mul(point.index, count)
                    pair = [
                        builder.load(
                            builder.gep(wave, [builder.add(place, ir.Constant(_INT, 2 * i + j))])
                        )
                        for j in (0, 1)
                    ]
                    turns.append(tuple(lanes.everywhere(each) for each in pair))
                span = builder.mul(quarter, ir.Constant(_INT, radix))
                with cgutils.for_range_slice(builder, zero, length, span, inc=True) as (block, _):
                    row = builder.add(builder.add(begin, block), point.index)
                    rows = [row]
                    for _ in range(radix - 1):
                        rows.append(builder.add(rows[-1], quarter))
                    values = [lanes.load(base, each) for each in rows]
                    if not forward:
                        values[1:] = [
                            lanes.times(value, turn, -1.0)
                            for value, turn in zip(values[1:], turns, strict=True)
                        ]
                    values = _transformed(lanes, values, -1.0 if forward else 1.0)
                    if forward:
                        values[1:] = [
                            lanes.times(value, turn, 1.0)
                            for value, turn in zip(values[1:], turns, strict=True)
                        ]
                    for each, value in zip(rows, values, strict=True):
                        lanes.store(value, base, each)
            return context.get_dummy_value()

        return signature, codegen

    return stage


_forward2, _forward3, _forward4, _forward5 = (_stage(r, forward=True) for r in (2, 3, 4, 5))
_inverse2, _inverse3, _inverse4, _inverse5 = (_stage(r, forward=False) for r in (2, 3, 4, 5))


@njit(nogil=True)
@no_type_check
def forward(work, first, n, stages, twiddles):
    """Transform ``n`` rows of the flat ``work`` from row ``first`` on, in place."""
    for i in range(len(stages)):
        radix, part, table = stages[i, 0], stages[i, 1], twiddles[stages[i, 2] :]
        if radix == 4:
            _forward4(work, first, n, part, table)
        elif radix == 2:
            _forward2(work, first, n, part, table)
        elif radix == 3:
            _forward3(work, first, n, part, table)
        else:
            _forward5(work, first, n, part, table)


@njit(nogil=True)
@no_type_check
def inverse(work, first, n, stages, twiddles):
    """Undo `forward`, but for a factor of ``n``."""
    for i in range(len(stages) - 1, -1, -1):
        radix, part, table = stages[i, 0], stages[i, 1], twiddles[stages[i, 2] :]
        if radix == 4:
            _inverse4(work, first, n, part, table)
        elif radix == 2:
            _inverse2(work, first, n, part, table)
        elif radix == 3:
            _inverse3(work, first, n, part, table)
        else:
            _inverse5(work, first, n, part, table)


@intrinsic
@no_type_check
def weigh(_typing, work, first, maps, first_map, image, n):
    """``work = maps * image``, ``n`` rows each, from rows ``first``, ``first_map`` and 0 on."""
    signature = types.void(work, first, maps, first_map, image, n)

    def codegen(context, builder, signature, arguments):
        kinds = signature.args
        base, coil, seen = (
            context.make_array(kinds[i])(context, builder, arguments[i]).data for i in (0, 2, 4)
        )
        lanes = _Lanes(builder)
        with cgutils.for_range(builder, arguments[5]) as row:
            weight = lanes.load(coil, builder.add(arguments[3], row.index))
            value = lanes.times(lanes.load(seen, row.index), weight, 1.0)
            lanes.store(value, base, builder.add(arguments[1], row.index))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
@no_type_check
def combine(_typing, total, work, maps, first_map, n):
    """``total += conj(maps) * work``, ``n`` rows each, maps from row ``first_map`` on."""
    signature = types.void(total, work, maps, first_map, n)

    def codegen(context, builder, signature, arguments):
        kinds = signature.args
        sums, base, coil = (
            context.make_array(kinds[i])(context, builder, arguments[i]).data for i in range(3)
        )
        lanes = _Lanes(builder)
        with cgutils.for_range(builder, arguments[4]) as row:
            weight = lanes.load(coil, builder.add(arguments[3], row.index))
            value = lanes.times(lanes.load(base, row.index), weight, -1.0)
            lanes.store(lanes.add(lanes.load(sums, row.index), value), sums, row.index)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
@no_type_check
def scale(_typing, work, weights, first_weight, n):
    """Multiply each of the first ``n`` rows by a number of its own."""
    signature = types.void(work, weights, first_weight, n)

    def codegen(context, builder, signature, arguments):
        kinds = signature.args
        base, table = (
            context.make_array(kinds[i])(context, builder, arguments[i]).data for i in (0, 1)
        )
        lanes = _Lanes(builder)
        with cgutils.for_range(builder, arguments[3]) as row:
            place = builder.add(arguments[2], row.index)
            factor = lanes.everywhere(builder.load(builder.gep(table, [place])))
            lanes.store(lanes.scaled(lanes.load(base, row.index), factor), base, row.index)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
@no_type_check
def copy(_typing, target, first, step, source, first_source, step_source, n):
    """Copy ``n`` rows, each so many rows after the last."""
    signature = types.void(target, first, step, source, first_source, step_source, n)

    def codegen(context, builder, signature, arguments):
        kinds = signature.args
        base, given = (
            context.make_array(kinds[i])(context, builder, arguments[i]).data for i in (0, 3)
        )
        lanes = _Lanes(builder)
        with cgutils.for_range(builder, arguments[6]) as row:
            to = builder.add(arguments[1], builder.mul(row.index, arguments[2]))
            where = builder.add(arguments[4], builder.mul(row.index, arguments[5]))
            lanes.store(lanes.load(given, where), base, to)
        return context.get_dummy_value()

    return signature, codegen
