"""Vector code for the few centroids that can be nearest: bounds of all scores, who reaches them, and exact scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import make_array

from tfvlad_kernels.codes import Integers
from tfvlad_kernels.emit import compiles_to, load, loop, splat, store, vector_function
from tfvlad_kernels.microkernel import LANES, Floats

_FLOAT, _VECTOR = ir.FloatType(), ir.VectorType(ir.FloatType(), LANES)


def bound_scores(
    products: Integers, slot: int, centroid_terms: Floats, feature_terms: Floats, highest: Floats
) -> float:
    """Bounds the scores of one feature.

    Args:
      products: (S, W) int32, of codes; W is a multiple of LANES.
      slot: the row.
      centroid_terms: (6, W) float32, from `encode_centroid`.
      feature_terms: (S, 4) float32, from `encode_features`.
      highest: (W,) float32, what each score is at most; written.

    Returns:
      What the best score is at least.
    """
    scale, total, bias, norm, error, slack = centroid_terms
    step, zero, lost, length = feature_terms[slot]
    score = products[slot].astype(np.float32) * scale * step + zero * total + bias
    bound = lost * norm + length * error + slack
    highest[:] = score + bound
    return float(np.max(score - bound))


def _generate_bound_scores(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    products, centroids, features, highest = (
        make_array(signature.args[i])(context, builder, args[i]) for i in (0, 2, 3, 4)
    )
    _, width = cgutils.unpack_tuple(builder, products.shape, 2)
    intp = width.type
    row = builder.gep(products.data, [builder.mul(args[1], width)])
    terms = [builder.gep(features.data, [builder.add(builder.mul(args[1], intp(4)), intp(i))]) for i in range(4)]
    step, zero, lost, length = (splat(builder, builder.load(term), _VECTOR) for term in terms)
    multiply_add = vector_function(builder, "fmuladd", _VECTOR, _VECTOR, _VECTOR, _VECTOR)

    def body(j: Any, carried: Sequence[Any]) -> list[Any]:
        places = (builder.gep(centroids.data, [builder.add(j, builder.mul(width, intp(i)))]) for i in range(6))
        scale, total, bias, norm, error, slack = (load(builder, place, _VECTOR) for place in places)
        product = load(builder, builder.gep(row, [j]), ir.VectorType(ir.IntType(32), LANES))
        score = builder.fmul(builder.sitofp(product, _VECTOR), scale)
        score = builder.call(multiply_add, [score, step, builder.call(multiply_add, [zero, total, bias])])
        bound = builder.call(multiply_add, [lost, norm, builder.call(multiply_add, [length, error, slack])])
        store(builder, builder.fadd(score, bound), builder.gep(highest.data, [j]))
        lowest = builder.fsub(score, bound)
        return [builder.select(builder.fcmp_ordered(">", lowest, carried[0]), lowest, carried[0])]

    [best] = loop(builder, width, LANES, [ir.Constant(_VECTOR, [float("-inf")] * LANES)], body)
    maximum = vector_function(builder, "vector.reduce.fmax", _FLOAT, _VECTOR)
    return builder.call(maximum, [best], fastmath=["nnan"])  # no comparison with NaN is true


compiles_to(
    bound_scores,
    lambda _, products, slot, centroids, features, highest: (
        types.float32(products, types.intp, centroids, features, highest),
        _generate_bound_scores,
    ),
)


def lanes_from(values: Floats, first: int, floor: float) -> int:
    """Which of LANES values are not below a floor, NaN among them: bit l says it of values[first + l]."""
    reached = ~(values[first : first + LANES] < floor)
    return int(np.sum(reached << np.arange(LANES, dtype=np.int64)))


def _generate_lanes_from(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    values = make_array(signature.args[0])(context, builder, args[0])
    lanes = load(builder, builder.gep(values.data, [args[1]]), _VECTOR)
    reached = builder.fcmp_unordered(">=", lanes, splat(builder, args[2], _VECTOR))
    return builder.zext(builder.bitcast(reached, ir.IntType(LANES)), ir.IntType(64))


compiles_to(
    lanes_from, lambda _, values, first, floor: (types.int64(values, types.intp, types.float32), _generate_lanes_from)
)


def lowest_bit(bits: int) -> int:
    """The position of the lowest bit that is set."""
    return (bits & -bits).bit_length() - 1


def _generate_lowest_bit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))


compiles_to(lowest_bit, lambda _, bits: (types.int64(types.int64), _generate_lowest_bit))


def inner_product(features: Floats, i: int, centroids: Floats, k: int) -> float:
    """The product of one feature, of (N, D), and one centroid, of (K, D), summed in the same order wherever it is."""
    return float(features[i] @ centroids[k])


def _generate_inner_product(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    vector = _VECTOR
    features, centroids = (make_array(signature.args[i])(context, builder, args[i]) for i in (0, 2))
    _, depth = cgutils.unpack_tuple(builder, features.shape, 2)
    intp = depth.type
    rows = [builder.gep(a.data, [builder.mul(args[i], depth)]) for a, i in ((features, 1), (centroids, 3))]
    whole = builder.and_(depth, intp(-vector.count))
    multiply_add = vector_function(builder, "fmuladd", vector, vector, vector, vector)
    add = vector_function(builder, "vector.reduce.fadd", _FLOAT, _FLOAT, vector)
    total = cgutils.alloca_once_value(builder, ir.Constant(_FLOAT, 0.0))

    def step(d: Any, sums: Sequence[Any]) -> list[Any]:
        return [builder.call(multiply_add, [*(load(builder, builder.gep(row, [d]), vector) for row in rows), *sums])]

    with builder.if_then(builder.icmp_signed(">", whole, intp(0))):
        [sums] = loop(builder, whole, vector.count, [ir.Constant(vector, [0.0] * vector.count)], step)
        builder.store(builder.call(add, [ir.Constant(_FLOAT, 0.0), sums], fastmath=["reassoc"]), total)
    with cgutils.for_range(builder, depth, whole) as rest:
        factors = [builder.load(builder.gep(row, [rest.index])) for row in rows]
        builder.store(builder.fadd(builder.load(total), builder.fmul(*factors)), total)
    return builder.load(total)


compiles_to(
    inner_product,
    lambda _, features, i, centroids, k: (
        types.float32(features, types.intp, centroids, types.intp),
        _generate_inner_product,
    ),
)
