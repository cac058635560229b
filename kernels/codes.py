"""Products of bytes: four multiply-adds for each that the same vector registers do of floats.

Four bytes stand in each 32-bit element, so that the block of `microkernel` serves again. AVX-512 VNNI multiplies
unsigned bytes by signed ones and adds four products to a 32-bit sum; nothing overflows up to DEEPEST.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils

from tfvlad_kernels.emit import compiles_to
from tfvlad_kernels.jit import CPU_FEATURES
from tfvlad_kernels.microkernel import HALF_LANES, LANES, ROWS, Floats, Order, block_code

Integers = npt.NDArray[np.int32]

HAS_BYTE_PRODUCTS = {"+avx512f", "+avx512vnni"} <= CPU_FEATURES
DEEPEST = (2**31 - 1) // (255 * 127)  # 66,311
_REGISTER = ir.VectorType(ir.IntType(32), 16)


def _multiply_add(builder: Any, values: Any, weights: Any, sums: Any) -> Any:
    name = "llvm.x86.avx512.vpdpbusd.512"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_REGISTER, [_REGISTER] * 3), name)
    parts = []
    for first in range(0, sums.type.count, _REGISTER.count):
        lanes = ir.Constant(_REGISTER, list(range(first, first + _REGISTER.count)))
        operands = (builder.shuffle_vector(v, v, lanes) for v in (sums, values, weights))
        parts.append(builder.call(function, list(operands)))
    if len(parts) == 1:
        return parts[0]
    return builder.shuffle_vector(*parts, ir.Constant(sums.type, list(range(sums.type.count))))


def _multiplier(lanes: int) -> Callable[[Integers, Order, int, Integers, int, Integers, Floats, int], None]:
    def multiply(
        codes: Integers,
        order: Order,
        first: int,
        panels: Integers,
        panel: int,
        products: Integers,
        coming: Floats,
        ahead: int,
    ) -> None:
        """Multiplies ROWS rows of codes by the first lanes of a panel; asks the cache for what comes next.

        Args:
          codes: (N, G) int32, each four unsigned bytes.
          order: (S,) intp, positions of rows of codes.
          first: where in `order` the ROWS rows start, and in `products` theirs.
          panels: (P, G + 1, LANES) int32, each four signed bytes of a lane's code, and below it what its products
            start from.
          panel: which of the P panels.
          products: (S, P * LANES) int32; written from column panel * LANES on.
          coming: (M, C) float32, as for `score_panel`.
          ahead: likewise.
        """
        column, rows = panel * LANES, slice(first, first + ROWS)
        values = codes.view(np.uint8)[order[rows]].astype(np.int32)
        weights = panels[panel, :-1].view(np.int8).reshape(-1, LANES, 4)[:, :lanes].astype(np.int32)
        weights = weights.transpose(0, 2, 1).reshape(-1, lanes)  # (G, lanes, 4) -> (4 G, lanes)
        products[rows, column : column + lanes] = values @ weights + panels[panel, -1, :lanes]

    compiles_to(multiply, block_code(lanes, ir.IntType(32), _multiply_add))
    return multiply


multiply_panel = _multiplier(LANES)
multiply_half_panel = _multiplier(HALF_LANES)
