"""What a setting costs: the network up to a layer, and the encoding, each timed by itself on a resident batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfvlad.encoding.aggregation import Aggregation
from tfvlad.encoding.features import outputs_of
from tfvlad.sweep.networks import Network
from tfvlad.sweep.plan import Stream

Tensor = Any

_RUNS = 5
_SECONDS = 1.0  # spent on one stage, beyond its first run


def milliseconds(
    network: Network,
    streams: Sequence[Stream],
    images: Tensor,
    ways: Mapping[Stream, Aggregation],
) -> dict[Stream, tuple[float, float]]:
    """What an image takes: the network up to a layer, and from there to descriptors of a kind, before any whitening.

    Args:
      network: any.
      streams: descriptors of one layer.
      images: (B, H, W, 3) float32, prepared.
      ways: the aggregation of each of them.
    """
    model = network.cut([streams[0].layer])
    run = _graph(lambda images: outputs_of(model, images)[0], images)
    output = run(images)

    def encode(stream: Stream) -> Callable[[], Any]:
        way = ways[stream]
        head = _graph(way.head(), output)
        return lambda: way.vectors(np.asarray(head(output)))

    network_ms = _milliseconds(lambda: np.asarray(run(images)), len(images))
    return {stream: (network_ms, _milliseconds(encode(stream), len(images))) for stream in streams}


def _graph(work: Callable[[Tensor], Tensor], example: Tensor) -> Callable[[Tensor], Tensor]:
    """A graph function for one shape; concrete, as TensorFlow warns of the tracing of many that it could reuse."""
    return tf.function(work).get_concrete_function(tf.TensorSpec(example.shape, example.dtype))  # type: ignore[no-any-return]


def _milliseconds(work: Callable[[], Any], images: int) -> float:
    """Median per image, after a run that compiles."""
    work()
    times: list[float] = []
    while len(times) < _RUNS and sum(times) < _SECONDS:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) / images * 1e3
