"""What a pulse does to one order of dephasing, in vector instructions."""

from typing import no_type_check

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from scanroom.physics.spins.vector import FLAGS, INT, LANE, LANES, add_product, everywhere

_ZERO = ir.Constant(LANE, [0.0] * LANES)
_HALF = ir.Constant(LANE, [0.5] * LANES)


@no_type_check
def _rows(builder, base, length, at):
    """Return how to find the vector at ``at`` of the row that is ``row`` after place ``first``."""

    def vector(first, row):
        begin = builder.add(first, builder.mul(length, ir.Constant(INT, row)))
        return builder.bitcast(builder.gep(base, [builder.add(begin, at)]), LANE.as_pointer())

    return vector


@no_type_check
def _components(builder, bank, places, sign):
    """Vector M_k, real and imaginary parts, from F_k, F_-k and Z_k."""
    parts = [[builder.load(bank(place, row), align=4) for row in range(2)] for place in places]
    (fr, fi), (gr, gi), (zr, zi) = parts

    def half(value):
        return builder.fmul(_HALF, value, flags=FLAGS)

    real = (half(builder.fadd(fr, gr)), half(builder.fadd(fi, gi)), zr)
    imag = (half(builder.fsub(fi, gi)), half(builder.fsub(gr, fr)), builder.fmul(sign, zi))
    return real, imag


@no_type_check
def _mapped(builder, maps, share, parts):
    """Map both parts of M_k; the vector of the map goes to the real one, times ``share``."""
    none = ir.Constant(INT, 0)
    real, imag = [], []
    for axis in range(3):
        row = [builder.load(maps(none, 3 * axis + i), align=4) for i in range(3)]
        a = builder.fmul(share, builder.load(maps(none, 9 + axis), align=4), flags=FLAGS)
        b = _ZERO
        for entry, x, y in zip(row, *parts, strict=True):
            a = add_product(builder, a, entry, x)
            b = add_product(builder, b, entry, y)
        real.append(a)
        imag.append(b)
    return real, imag


@no_type_check
def _keep_largest(builder, squares, pairs):
    """Keep the largest square of each pair, lane by lane."""
    for square, (a, b) in zip(squares, pairs, strict=True):
        value = add_product(builder, builder.fmul(a, a, flags=FLAGS), b, b)
        before = builder.load(square)
        more = builder.fcmp_ordered(">", value, before)
        builder.store(builder.select(more, value, before), square)


@no_type_check
def _largest(builder, vector):
    """Largest of the lanes."""
    best = builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))
    for lane in range(1, LANES):
        value = builder.extract_element(vector, ir.Constant(ir.IntType(32), lane))
        best = builder.select(builder.fcmp_ordered(">", value, best), value, best)
    return best


@intrinsic
@no_type_check
def mix_orders(_typing, banks, rows, numbers, sizes, n_spins):
    """Apply one real map per spin to one order of dephasing (see `configurations`).

    ``banks`` are the flat old and new configurations and the flat maps, each of rows of
    ``n_spins`` (a multiple of 16); ``rows`` the places, in numbers, of the old F of this order, of
    the opposite one, of Z, and of the same three to be written, real parts first and imaginary
    ones in the next row; ``numbers`` are the sign of the imaginary part of Z and the share of the
    maps' vector; ``sizes``, an array and a place in it, takes the largest square of F, opposite F
    and Z.
    """
    signature = types.void(banks, rows, numbers, sizes, n_spins)

    def codegen(context, builder, signature, arguments):
        kinds = signature.args

        def part(group, item):
            return builder.extract_value(arguments[group], item)

        def pointer(group, item):
            return context.make_array(kinds[group][item])(context, builder, part(group, item)).data

        places = [part(1, i) for i in range(6)]
        sign, share = (everywhere(builder, part(2, i)) for i in range(2))
        length = arguments[4]
        squares = [cgutils.alloca_once_value(builder, _ZERO) for _ in range(3)]
        bases = [pointer(0, i) for i in range(3)]
        step = ir.Constant(INT, LANES)
        with cgutils.for_range_slice(builder, ir.Constant(INT, 0), length, step, inc=True) as loop:
            old, new, maps = (_rows(builder, base, length, loop[0]) for base in bases)
            given = _components(builder, old, places[:3], sign)
            (xr, yr, zr), (xi, yi, zi) = _mapped(builder, maps, share, given)
            pairs = (
                (builder.fsub(xr, yi), builder.fadd(xi, yr)),
                (builder.fadd(xr, yi), builder.fsub(yr, xi)),
                (zr, zi),
            )
            for place, pair in zip(places[3:], pairs, strict=True):
                for row, value in enumerate(pair):
                    builder.store(value, new(place, row), align=4)
            _keep_largest(builder, squares, pairs)
        out, first = pointer(3, 0), part(3, 1)
        for which, square in enumerate(squares):
            place = builder.add(first, ir.Constant(INT, which))
            builder.store(_largest(builder, builder.load(square)), builder.gep(out, [place]))
        return context.get_dummy_value()

    return signature, codegen
