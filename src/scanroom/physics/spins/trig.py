"""Sine, cosine and exponential decay, written so that the compiler vectorises them."""

from typing import no_type_check

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

# Adding and subtracting 1.5 * 2^52 (2^23) rounds a double (single) to the nearest integer.
_ROUND64 = 6755399441055744.0
_ROUND32 = np.float32(12582912.0)
_PI = np.float32(np.pi)
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
# Taylor series up to pi/2: truncation 6e-8 (sine) and 6e-9 (cosine).
_S3, _S5, _S7, _S9, _S11 = (
    np.float32(c) for c in (-1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800)
)
_C2, _C4, _C6, _C8, _C10 = (
    np.float32(c) for c in (-1 / 2, 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800)
)
_LOG2E = np.float32(1.4426950408889634)
_LN2 = np.float32(0.6931471805599453)
_E = tuple(np.float32(1.0 / c) for c in (1, 1, 2, 6, 24, 120, 720, 5040))
_E2, _E3, _E4, _E5, _E6, _E7 = _E[2:]
_SMALLEST = np.float32(-126.0)


@intrinsic
@no_type_check
def _float_of_bits(_typing, _bits):
    """Reinterpret a 32-bit integer as a single-precision number."""

    def codegen(_context, builder, _signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), codegen


@njit(inline="always")
@no_type_check
def turn(cycles):
    """Cosine and sine of a double-precision angle in cycles, in single precision."""
    angle = _PI * np.float32(cycles - ((cycles + _ROUND64) - _ROUND64))
    y = angle * angle
    sine = angle * (_ONE + y * (_S3 + y * (_S5 + y * (_S7 + y * (_S9 + y * _S11)))))
    cosine = _ONE + y * (_C2 + y * (_C4 + y * (_C6 + y * (_C8 + y * _C10))))
    return _ONE - _TWO * sine * sine, _TWO * sine * cosine


@njit(inline="always")
@no_type_check
def decay(exponent):
    """``exp(-exponent)`` of a non-negative single-precision number."""
    power = max(-exponent * _LOG2E, _SMALLEST)
    whole = (power + _ROUND32) - _ROUND32
    y = (power - whole) * _LN2
    series = _ONE + y * (_ONE + y * (_E2 + y * (_E3 + y * (_E4 + y * (_E5 + y * _E6)))))
    return series * _float_of_bits(np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)))
