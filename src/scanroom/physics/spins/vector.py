"""One loop written in vector instructions, which the compiler does not find by itself."""

from typing import no_type_check

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# Coils handled at once: eight real and eight imaginary parts fill one or two vector registers.
COILS = 8
WIDTH = 6
LANES = 2 * COILS
FLAGS = ("contract",)
INT = ir.IntType(64)
LANE = ir.VectorType(ir.FloatType(), LANES)


def padded(n_coils: int) -> int:
    """Number of coils rounded up to whole vectors."""
    return -(-n_coils // COILS) * COILS


def _times_i(builder, values):  # type: ignore[no-untyped-def]
    """Multiply by the imaginary unit: eight real parts, then eight imaginary ones."""
    order = [*range(COILS, LANES), *range(COILS)]
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), order)
    sign = ir.Constant(LANE, [-1.0] * COILS + [1.0] * COILS)
    return builder.fmul(builder.shuffle_vector(values, values, mask), sign)


def everywhere(builder, scalar):  # type: ignore[no-untyped-def]
    """Copy one number to all lanes."""
    undefined = ir.Constant(LANE, ir.Undefined)
    single = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(single, undefined, zeros)


def add_product(builder, total, left, right):  # type: ignore[no-untyped-def]
    """``total + left * right``, fused where the machine can."""
    return builder.fadd(total, builder.fmul(left, right, flags=FLAGS), flags=FLAGS)


@intrinsic
@no_type_check
def add_group(_typing, target, spins, plan, _bounds):
    """Add a group of spins that share their first grid node to the nodes, for 8 coils.

    ``target`` is the flat grid, the place of the first node and the distance between nodes;
    ``spins`` the flat transverse magnetisation and weights, the number of weights per spin and the
    block of coils; ``plan`` the order of the spins and their flat taps; ``_bounds`` the group's
    first and last place in the plan.
    """
    signature = types.void(target, spins, plan, _bounds)

    def codegen(context, builder, signature, arguments):
        kinds = signature.args

        def part(group, item):
            return builder.extract_value(arguments[group], item)

        def pointer(group, item):
            return context.make_array(kinds[group][item])(context, builder, part(group, item)).data

        def vector_at(base, place):
            return builder.bitcast(builder.gep(base, [place]), LANE.as_pointer())

        grid, first_node, stride = pointer(0, 0), part(0, 1), part(0, 2)
        mx, my, weight = pointer(1, 0), pointer(1, 1), pointer(1, 2)
        columns, block = part(1, 3), part(1, 4)
        order, taps = pointer(2, 0), pointer(2, 1)
        nodes = [
            vector_at(grid, builder.add(first_node, builder.mul(stride, ir.Constant(INT, tap))))
            for tap in range(WIDTH)
        ]
        sums = [cgutils.alloca_once_value(builder, builder.load(n, align=4)) for n in nodes]
        with cgutils.for_range_slice(
            builder, part(3, 0), part(3, 1), ir.Constant(INT, 1), inc=True
        ) as (at, _):
            spin = builder.load(builder.gep(order, [at]))
            row = builder.add(builder.mul(spin, columns), block)
            weights = builder.load(vector_at(weight, row), align=4)
            real = builder.load(builder.gep(mx, [spin]))
            imag = builder.load(builder.gep(my, [spin]))
            signal = builder.fmul(everywhere(builder, real), weights, flags=FLAGS)
            turned = _times_i(builder, weights)
            signal = add_product(builder, signal, everywhere(builder, imag), turned)
            turned = _times_i(builder, signal)
            first_tap = builder.mul(at, ir.Constant(INT, 2 * WIDTH))
            for tap, total in enumerate(sums):
                value = builder.load(total)
                for offset, factor in ((tap, signal), (WIDTH + tap, turned)):
                    place = builder.add(first_tap, ir.Constant(INT, offset))
                    scalar = builder.load(builder.gep(taps, [place]))
                    value = add_product(builder, value, everywhere(builder, scalar), factor)
                builder.store(value, total)
        for node, total in zip(nodes, sums, strict=True):
            builder.store(builder.load(total), node, align=4)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
@no_type_check
def add_columns(_typing, target, spins, plan, _bounds):
    """Add groups of spins that share their first grid node to the nodes, for 8 coils.

    As `add_group`, but the spins of a group share their taps too and are added up first:
    ``plan`` is the first and last spin of each group, the order of the groups, and their flat taps.
    """
    signature = types.void(target, spins, plan, _bounds)

    def codegen(context, builder, signature, arguments):
        kinds = signature.args
        one = ir.Constant(INT, 1)

        def part(group, item):
            return builder.extract_value(arguments[group], item)

        def pointer(group, item):
            return context.make_array(kinds[group][item])(context, builder, part(group, item)).data

        def vector_at(base, place):
            return builder.bitcast(builder.gep(base, [place]), LANE.as_pointer())

        grid, first_node, stride = pointer(0, 0), part(0, 1), part(0, 2)
        mx, my, weight = pointer(1, 0), pointer(1, 1), pointer(1, 2)
        columns, block = part(1, 3), part(1, 4)
        begin, end, order, taps = (pointer(2, item) for item in range(4))
        nodes = [
            vector_at(grid, builder.add(first_node, builder.mul(stride, ir.Constant(INT, tap))))
            for tap in range(WIDTH)
        ]
        sums = [cgutils.alloca_once_value(builder, builder.load(n, align=4)) for n in nodes]
        signal = cgutils.alloca_once(builder, LANE)
        with cgutils.for_range_slice(builder, part(3, 0), part(3, 1), one, inc=True) as (at, _):
            group = builder.load(builder.gep(order, [at]))
            builder.store(ir.Constant(LANE, [0.0] * LANES), signal)
            low = builder.load(builder.gep(begin, [group]))
            high = builder.load(builder.gep(end, [group]))
            with cgutils.for_range_slice(builder, low, high, one, inc=True) as (spin, _):
                row = builder.add(builder.mul(spin, columns), block)
                weights = builder.load(vector_at(weight, row), align=4)
                real = everywhere(builder, builder.load(builder.gep(mx, [spin])))
                imag = everywhere(builder, builder.load(builder.gep(my, [spin])))
                value = add_product(builder, builder.load(signal), real, weights)
                value = add_product(builder, value, imag, _times_i(builder, weights))
                builder.store(value, signal)
            factor = builder.load(signal)
            turned = _times_i(builder, factor)
            first_tap = builder.mul(group, ir.Constant(INT, 2 * WIDTH))
            for tap, total in enumerate(sums):
                value = builder.load(total)
                for offset, given in ((tap, factor), (WIDTH + tap, turned)):
                    place = builder.add(first_tap, ir.Constant(INT, offset))
                    scalar = builder.load(builder.gep(taps, [place]))
                    value = add_product(builder, value, everywhere(builder, scalar), given)
                builder.store(value, total)
        for node, total in zip(nodes, sums, strict=True):
            builder.store(builder.load(total), node, align=4)
        return context.get_dummy_value()

    return signature, codegen
