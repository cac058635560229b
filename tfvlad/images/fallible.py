"""Trying something that may fail, inside a TensorFlow graph, which has no other way to catch an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Tensor = Any


def attempt(function: Callable[[Tensor], Tensor], argument: Tensor, otherwise: Tensor) -> tuple[Tensor, Tensor]:
    """Calls a function; a result of it that cannot be computed is replaced, and nothing else is stopped.

    A `tf.data` pipeline of one element drops it on failure, and a second element takes its place. Read as a single
    element, such a pipeline costs half a millisecond (with the function's own operations: instantiated at each call,
    they should be few); read through an iterator, it would cost ten times as much.

    Args:
      function: graph operations.
      argument: what it is called with.
      otherwise: the result where it fails, of the same dtype; its shape may be another.

    Returns:
      The result, and () bool, whether it is the function's own.
    """

    def run(argument: Tensor) -> tuple[Tensor, Tensor]:
        result = tf.data.Dataset.from_tensors(argument).map(lambda given: (function(given), True)).ignore_errors()
        replacement = tf.data.Dataset.from_tensors((otherwise, False))
        found: tuple[Tensor, Tensor] = result.concatenate(replacement).take(1).get_single_element()
        return found

    traced = tf.function(run, input_signature=[tf.TensorSpec.from_tensor(argument)]).get_concrete_function()
    # Called as stateless, which it is, although a reader of datasets counts as stateful: several may run at a time.
    arguments = [argument, *traced.captured_inputs]
    outputs = tf.raw_ops.PartitionedCall(args=arguments, Tout=[output.dtype for output in traced.outputs], f=traced)
    result, succeeded = (tf.ensure_shape(*pair) for pair in zip(outputs, traced.output_shapes, strict=True))
    return result, succeeded
