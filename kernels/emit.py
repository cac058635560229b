"""Writing LLVM code for what its own vectoriser does not find. All values are llvmlite's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic, overload


def compiles_to(function: Callable[..., Any], typed: Callable[..., Any]) -> None:
    """Makes compiled code run LLVM code where it calls `function`; plain Python runs the function itself.

    Args:
      function: what the code computes, in NumPy.
      typed: as for `numba.extending.intrinsic`: takes the arguments' types, returns the signature and the generator.
    """
    code = intrinsic(typed)

    def implementation(*_: Any) -> Any:
        return lambda *args: code(*args)

    overload(function, strict=False)(implementation)


def loop(
    builder: Any, stop: Any, step: int, initial: list[Any], body: Callable[[Any, Sequence[Any]], list[Any]]
) -> Any:
    """``for i in range(0, stop, step): carried = body(i, carried)``, run at least once; returns the last `carried`."""
    before, block, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.branch(block)
    builder.position_at_end(block)
    index, *carried = (builder.phi(value.type) for value in (stop, *initial))
    updated = body(index, carried)
    following = builder.add(index, stop.type(step))
    builder.cbranch(builder.icmp_signed("<", following, stop), block, after)
    starts, ends = (stop.type(0), *initial), (following, *updated)
    for phi, start, end in zip((index, *carried), starts, ends, strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(end, block)
    builder.position_at_end(after)
    return updated


def vector_function(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Declares one of LLVM's vector intrinsics, whose full name ends in the type of its first vector."""
    vector = next(argument for argument in arguments if isinstance(argument, ir.VectorType))
    suffix = f"v{vector.count}{'f32' if isinstance(vector.element, ir.FloatType) else 'i32'}"
    return builder.module.declare_intrinsic(f"llvm.{name}.{suffix}", fnty=ir.FunctionType(result, arguments))


def prefetch_line(builder: Any, address: Any) -> None:
    """Asks for a line of memory in the second-level cache; an address that is not ours does no harm."""
    integer = ir.IntType(32)
    signature = ir.FunctionType(ir.VoidType(), [address.type, integer, integer, integer])
    prefetch = builder.module.declare_intrinsic("llvm.prefetch", [address.type], signature)
    builder.call(prefetch, [address, integer(0), integer(2), integer(1)])  # to read, twice the distance of L1, data


def load(builder: Any, address: Any, vector: Any) -> Any:
    """Reads a vector of floats, aligned no better than one float."""
    return builder.load(builder.bitcast(address, vector.as_pointer()), align=4)


def store(builder: Any, value: Any, address: Any) -> None:
    """Writes a vector of floats, aligned no better than one float."""
    builder.store(value, builder.bitcast(address, value.type.as_pointer()), align=4)


def splat(builder: Any, scalar: Any, vector: Any) -> Any:
    """Fills a vector with copies of a scalar."""
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.IntType(32)(0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))
