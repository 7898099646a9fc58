"""Single instructions that Numba has no word for: bits of floats, bfloat16.

Importing this module imports numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

Single: TypeAlias = Any
"""A float32: the compiler's numbers have no type of Python's."""
Code: TypeAlias = Any
"""What the compiler hands to an intrinsic."""

instruction: Callable[[Callable[..., Code]], Callable[..., Single]] = intrinsic

_INT, _SHORT, _FLOAT = ir.IntType(32), ir.IntType(16), ir.FloatType()
_ROOT_HALF_BITS, _MANTISSA_BITS, _BIAS = 0x3F3504F3, 23, 127


@instruction
def rounded(typing: Code, x: types.Type) -> Code:
    """Return the whole number next to x."""

    def code(context: Code, builder: ir.IRBuilder, signature: Code, given: Code) -> Code:
        rint = builder.module.declare_intrinsic("llvm.rint", [_FLOAT])
        return builder.call(rint, given)

    return types.float32(types.float32), code


@instruction
def power_of_two(typing: Code, n: types.Type) -> Code:
    """Return 2^n of a whole number within ±126."""

    def code(context: Code, builder: ir.IRBuilder, signature: Code, given: Code) -> Code:
        biased = builder.add(builder.fptosi(given[0], _INT), _INT(_BIAS))
        return builder.bitcast(builder.shl(biased, _INT(_MANTISSA_BITS)), _FLOAT)

    return types.float32(types.float32), code


@instruction
def exponent(typing: Code, x: types.Type) -> Code:
    """Return k of x = m 2^k with √½ ≤ m < √2."""

    def code(context: Code, builder: ir.IRBuilder, signature: Code, given: Code) -> Code:
        return builder.sitofp(_exponent(builder, given[0])[1], _FLOAT)

    return types.float32(types.float32), code


@instruction
def mantissa(typing: Code, x: types.Type) -> Code:
    """Return m of x = m 2^k with √½ ≤ m < √2."""

    def code(context: Code, builder: ir.IRBuilder, signature: Code, given: Code) -> Code:
        bits, k = _exponent(builder, given[0])
        return builder.bitcast(builder.sub(bits, builder.shl(k, _INT(_MANTISSA_BITS))), _FLOAT)

    return types.float32(types.float32), code


def _exponent(builder: ir.IRBuilder, x: Code) -> tuple[Code, Code]:
    bits = builder.bitcast(x, _INT)
    above = builder.sub(bits, _INT(_ROOT_HALF_BITS))
    return bits, builder.ashr(above, _INT(_MANTISSA_BITS))


@instruction
def widened(typing: Code, x: types.Type) -> Code:
    """Return a float32, or a bfloat16 given as uint16, as float32."""

    def code(context: Code, builder: ir.IRBuilder, signature: Code, given: Code) -> Code:
        if signature.args[0] == types.float32:
            return given[0]
        return builder.bitcast(builder.shl(builder.zext(given[0], _INT), _INT(16)), _FLOAT)

    return types.float32(x), code


@instruction
def narrowed(typing: Code, x: types.Type, like: types.Type) -> Code:
    """Return a float32 as it is, or rounded to bfloat16 as uint16 where `like` is a uint16."""

    def code(context: Code, builder: ir.IRBuilder, signature: Code, given: Code) -> Code:
        if signature.args[1] == types.float32:
            return given[0]
        bits = builder.bitcast(given[0], _INT)
        odd = builder.and_(builder.lshr(bits, _INT(16)), _INT(1))
        bits = builder.add(bits, builder.add(odd, _INT(0x7FFF)))
        return builder.trunc(builder.lshr(bits, _INT(16)), _SHORT)

    return like(types.float32, like), code
