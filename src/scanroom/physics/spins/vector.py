"""One explicit vector instruction that the compiler does not find by itself."""

from typing import no_type_check

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

# Coils handled at once: eight real and eight imaginary parts fill one or two vector registers.
COILS = 8
_WIDTH = 2 * COILS


@intrinsic
@no_type_check
def add_weighted(_typing, grid, _node, weight, _spin, _real, _imag):
    """Add (real + i imag) weight[spin] to grid[node] for 8 coils, real parts then imaginary.

    ``grid`` and ``weight`` are flat single-precision arrays, ``node`` and ``spin`` places in them.
    """
    signature = types.void(grid, types.int64, weight, types.int64, types.float32, types.float32)

    def codegen(context, builder, signature, arguments):
        lane = ir.VectorType(ir.FloatType(), _WIDTH)

        def address(array, place):
            data = context.make_array(signature.args[array])(context, builder, arguments[array])
            pointer = builder.gep(data.data, [arguments[place]])
            return builder.bitcast(pointer, lane.as_pointer())

        def everywhere(scalar):
            undefined = ir.Constant(lane, ir.Undefined)
            single = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), _WIDTH), [0] * _WIDTH)
            return builder.shuffle_vector(single, undefined, zeros)

        target = address(0, 1)
        weights = builder.load(address(2, 3), align=4)
        order = [*range(COILS, _WIDTH), *range(COILS)]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), _WIDTH), order)
        swapped = builder.shuffle_vector(weights, weights, mask)
        sign = ir.Constant(lane, [-1.0] * COILS + [1.0] * COILS)
        turned = builder.fmul(everywhere(arguments[5]), sign)
        flags = ("contract",)
        total = builder.fadd(
            builder.load(target, align=4),
            builder.fmul(everywhere(arguments[4]), weights, flags=flags),
            flags=flags,
        )
        total = builder.fadd(total, builder.fmul(turned, swapped, flags=flags), flags=flags)
        builder.store(total, target, align=4)
        return context.get_dummy_value()

    return signature, codegen


def padded(n_coils: int) -> int:
    """Number of coils rounded up to whole vectors."""
    return -(-n_coils // COILS) * COILS
