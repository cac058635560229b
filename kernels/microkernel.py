"""The product at the heart of the assignment, written for the processor's vector registers.

A BLAS product has to write all scores to memory before the best can be chosen, and its threads belong to the whole
process. Here a block of ROWS features meets a panel of LANES centroids in registers (Goto and van de Geijn 2008,
"Anatomy of high-performance matrix multiplication", section 6), and the scores of a few rows stay in the cache. A
score depends on its feature and its centroid alone, never on the batch, the tile or the thread it is computed in.

LLVM's vectoriser does not keep such a block in registers, so it is given vector code for the functions below. Each is
first written in NumPy: what it means, and what runs with ``NUMBA_DISABLE_JIT=1``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import make_array

from tfvlad_kernels.emit import compiles_to, load, loop, prefetch_line, splat, store, vector_function
from tfvlad_kernels.jit import CPU_FEATURES

Floats = npt.NDArray[np.float32]
Order = npt.NDArray[np.intp]

# 6 x 16 floats fill 12 of the 16 registers of AVX2 (24 of NEON's 32); the registers of AVX-512 are twice as wide.
ROWS = 6
LANES = 32 if "+avx512f" in CPU_FEATURES else 16
HALF_LANES = LANES // 2
TILE = 20 * ROWS  # features that meet all panels before the next ones do; measured, flat from 48 to 192


def block_code(lanes: int, scalar: Any, multiply_add: Callable[[Any, Any, Any, Any], Any]) -> Any:
    """Types, for `compiles_to`, what multiplies ROWS rows by the first lanes of a panel: see `score_panel`.

    Args:
      lanes: how many.
      scalar: LLVM's type of an element of rows, panels and scores, 32 bits wide.
      multiply_add: from the builder, a row's element in every lane, the panel's elements and the sums: the new sums.
    """
    vector = ir.VectorType(scalar, lanes)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = (make_array(signature.args[i])(context, builder, args[i]) for i in (0, 1, 3, 5, 6))
        features, order, panels, scores, coming = arrays
        first, panel = args[2], args[4]
        intp = first.type
        _, depth = cgutils.unpack_tuple(builder, features.shape, 2)
        panel_count, panel_rows, _ = cgutils.unpack_tuple(builder, panels.shape, 3)
        _, width = cgutils.unpack_tuple(builder, scores.shape, 2)
        _, coming_depth = cgutils.unpack_tuple(builder, coming.shape, 2)
        rows = []
        for r in range(ROWS):
            row = builder.load(builder.gep(order.data, [builder.add(first, intp(r))]))
            rows.append(builder.gep(features.data, [builder.mul(row, depth)]))
        column = builder.mul(panel, intp(LANES))
        weights = builder.gep(panels.data, [builder.mul(column, panel_rows)])
        # The calls for all panels, of `depth` steps each, share ROWS rows: `stride` floats per step.
        share = builder.mul(coming_depth, intp(ROWS))
        steps = builder.mul(panel_count, depth)
        stride = builder.sdiv(builder.sub(builder.add(share, steps), intp(1)), steps)
        start = builder.mul(builder.add(args[7], first), coming_depth)
        start = builder.add(start, builder.mul(builder.mul(panel, depth), stride))
        ahead = builder.gep(coming.data, [start])

        def step(d: Any, sums: Sequence[Any]) -> list[Any]:
            prefetch_line(builder, builder.gep(ahead, [builder.mul(d, stride)]))
            weight = load(builder, builder.gep(weights, [builder.mul(d, intp(LANES))]), vector)
            values = [splat(builder, builder.load(builder.gep(row, [d])), vector) for row in rows]
            return [multiply_add(builder, value, weight, total) for value, total in zip(values, sums, strict=True)]

        start = load(builder, builder.gep(weights, [builder.mul(depth, intp(LANES))]), vector)
        for r, score in enumerate(loop(builder, depth, 1, [start] * ROWS, step)):
            cell = builder.add(builder.mul(builder.add(first, intp(r)), width), column)
            store(builder, score, builder.gep(scores.data, [cell]))
        return context.get_dummy_value()

    def typed(
        _: Any, features: Any, order: Any, first: Any, panels: Any, panel: Any, scores: Any, coming: Any, ahead: Any
    ) -> Any:
        return types.void(features, order, types.intp, panels, types.intp, scores, coming, types.intp), generate

    return typed


def _multiply_add(builder: Any, values: Any, weights: Any, sums: Any) -> Any:
    function = vector_function(builder, "fmuladd", sums.type, *[sums.type] * 3)
    return builder.call(function, [values, weights, sums])


def _scorer(lanes: int) -> Callable[[Floats, Order, int, Floats, int, Floats, Floats, int], None]:
    def score(
        features: Floats,
        order: Order,
        first: int,
        panels: Floats,
        panel: int,
        scores: Floats,
        coming: Floats,
        ahead: int,
    ) -> None:
        """Scores ROWS features against the first lanes of a panel, and asks the cache for a share of as many others.

        Args:
          features: (N, D) float32.
          order: (S,) intp, positions of features.
          first: where in `order` the ROWS features start, and in `scores` their rows.
          panels: (P, D + 1, LANES) float32, a centroid in each lane, and below it what its scores start from.
          panel: which of the P panels.
          scores: (S, P * LANES) float32; written from column panel * LANES on.
          coming: (M, C) float32, what comes next.
          ahead: the first row of it that the rows of `order` stand for; rows beyond M do no harm.
        """
        weights = panels[panel, :, :lanes]
        column, rows = panel * LANES, slice(first, first + ROWS)
        scores[rows, column : column + lanes] = features[order[rows]] @ weights[:-1] + weights[-1]

    compiles_to(score, block_code(lanes, ir.FloatType(), _multiply_add))
    return score


score_panel = _scorer(LANES)
score_half_panel = _scorer(HALF_LANES)


def best_lane(scores: Floats, slot: int) -> int:
    """Chooses the best of one feature's scores.

    Args:
      scores: (S, P * LANES) float32.
      slot: the row.

    Returns:
      The lowest position of the largest score, or -1 where that is not finite. NaN counts as smaller than any number.
    """
    best = np.fmax.reduce(scores[slot])
    return int(np.flatnonzero(scores[slot] == best)[0]) if np.isfinite(best) else -1


def _generate_best_lane(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    vector, integers = (ir.VectorType(scalar, LANES) for scalar in (ir.FloatType(), ir.IntType(32)))
    scores = make_array(signature.args[0])(context, builder, args[0])
    _, width = cgutils.unpack_tuple(builder, scores.shape, 2)
    row = builder.gep(scores.data, [builder.mul(args[1], width)])

    def step(position: Any, carried: Sequence[Any]) -> list[Any]:
        best, chosen, positions = carried
        score = load(builder, builder.gep(row, [position]), vector)
        better = builder.fcmp_ordered(">", score, best)
        following = builder.add(positions, ir.Constant(integers, [LANES] * LANES))
        return [builder.select(better, score, best), builder.select(better, positions, chosen), following]

    smallest = ir.Constant(vector, [float("-inf")] * LANES)
    none = ir.Constant(integers, [-1] * LANES)
    positions = ir.Constant(integers, list(range(LANES)))
    best, chosen, _ = loop(builder, width, LANES, [smallest, none, positions], step)
    # `best` holds no NaN: it starts from numbers, and no comparison with NaN is true.
    maximum = vector_function(builder, "vector.reduce.fmax", vector.element, vector)
    largest = builder.call(maximum, [best], fastmath=["nnan"])
    ties = builder.select(builder.fcmp_ordered("==", best, splat(builder, largest, vector)), chosen, none)
    minimum = vector_function(builder, "vector.reduce.umin", integers.element, integers)  # -1 is the largest, unsigned
    lowest = builder.call(minimum, [ties])
    finite = builder.fcmp_ordered("<", largest, ir.Constant(largest.type, float("inf")))
    return builder.select(finite, lowest, ir.Constant(lowest.type, -1))


compiles_to(best_lane, lambda _, scores, slot: (types.int32(scores, types.intp), _generate_best_lane))
