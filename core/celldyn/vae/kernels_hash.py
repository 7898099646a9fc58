"""A hash of 32 bits, for compiled code.

Importing this module imports numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from celldyn.kernels.bits import Code, instruction
from celldyn.vae.encoder_input import FIRST, SECOND

_INT = ir.IntType(32)


@instruction
def hashed(typing: Code, key: types.Type, number: types.Type, factor: types.Type) -> Code:
    """Return mixed(key ^ number · factor) in 32 bits; see `encoder_input`."""

    def code(context: Code, builder: ir.IRBuilder, signature: Code, given: Code) -> Code:
        bits = builder.xor(given[0], builder.mul(given[1], given[2]))
        for shift, multiplier in ((16, FIRST), (15, SECOND), (16, 1)):
            bits = builder.xor(bits, builder.lshr(bits, _INT(shift)))
            bits = builder.mul(bits, _INT(multiplier))
        return bits

    word = types.uint32
    return word(word, word, word), code
