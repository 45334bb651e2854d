"""One row of nodes at a time: a second loop written in vector instructions."""

from typing import no_type_check

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from scanroom.physics.spins.vector import FLAGS, INT, LANE, LANES, add_product, everywhere

ROW = 7
"""Nodes of a row."""


@intrinsic
@no_type_check
def add_row(_typing, target, values, taps, factors, bounds):
    """Add a group of spins that share their first node to a row of nodes, for 8 coils.

    ``target`` is the flat grid and the place of the row's first node; ``values`` what each spin
    gives to 8 coils, flat; ``taps`` and ``factors`` are flat arrays, the place of the first spin's
    and the distance to the next one's: weights of the nodes in the row, and of the row; ``bounds``
    are the group's first and last spin.
    """
    signature = types.void(target, values, taps, factors, bounds)

    def codegen(context, builder, signature, arguments):
        kinds = signature.args

        def part(group, item):
            return builder.extract_value(arguments[group], item)

        def data(kind, value):
            return context.make_array(kind)(context, builder, value).data

        def vector_at(base, place):
            return builder.bitcast(builder.gep(base, [place]), LANE.as_pointer())

        def number_of(group, spin):
            place = builder.add(part(group, 1), builder.mul(spin, part(group, 2)))
            return builder.gep(data(kinds[group][0], part(group, 0)), [place])

        grid, first_node = data(kinds[0][0], part(0, 0)), part(0, 1)
        given = data(kinds[1], arguments[1])
        nodes = [
            vector_at(grid, builder.add(first_node, ir.Constant(INT, LANES * tap)))
            for tap in range(ROW)
        ]
        # A group is added up by itself first: fewer roundings than one by one to the node.
        nothing = ir.Constant(LANE, [0.0] * LANES)
        sums = [cgutils.alloca_once_value(builder, nothing) for _ in nodes]
        with cgutils.for_range_slice(
            builder, part(4, 0), part(4, 1), ir.Constant(INT, 1), inc=True
        ) as (spin, _):
            place = builder.mul(spin, ir.Constant(INT, LANES))
            value = builder.load(vector_at(given, place), align=4)
            factor = everywhere(builder, builder.load(number_of(3, spin)))
            value = builder.fmul(value, factor, flags=FLAGS)
            first_tap = number_of(2, spin)
            for tap, total in enumerate(sums):
                scalar = builder.load(builder.gep(first_tap, [ir.Constant(INT, tap)]))
                weight = everywhere(builder, scalar)
                builder.store(add_product(builder, builder.load(total), weight, value), total)
        for node, total in zip(nodes, sums, strict=True):
            before = builder.load(node, align=4)
            builder.store(builder.fadd(before, builder.load(total)), node, align=4)
        return context.get_dummy_value()

    return signature, codegen
