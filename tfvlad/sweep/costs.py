"""What a setting costs: the network up to a layer, and the encoding, each timed by itself on a resident batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.config import EncoderConfig
from tfvlad.layers import LocalFeatures
from tfvlad.sweep.extraction import pool
from tfvlad.sweep.networks import Network, outputs_of
from tfvlad.sweep.plan import Stream
from tfvlad_kernels import encode_vlad

Floats = npt.NDArray[np.float32]
Tensor = Any

_RUNS = 5
_SECONDS = 1.0  # spent on one stage, beyond its first run


def network_ms(network: Network, layers: Sequence[str], images: Tensor) -> dict[str, float]:
    """Milliseconds per image that the network takes up to each layer.

    Args:
      network: any.
      layers: those to measure.
      images: (B, H, W, 3) float32, prepared.
    """

    def up_to(layer: str) -> Callable[[], Any]:
        model = network.cut([layer])
        run = tf.function(lambda images: outputs_of(model, images)[0])
        return lambda: np.asarray(run(images))

    return {layer: _milliseconds(up_to(layer), len(images)) for layer in layers}


def encoding_ms(
    network: Network, streams: Sequence[Stream], images: Tensor, codebooks: dict[Stream, Floats], config: EncoderConfig
) -> dict[Stream, float]:
    """Milliseconds per image that it takes from a layer's output to a descriptor, before any whitening."""
    layers = list(dict.fromkeys(stream.layer for stream in streams))
    outputs = dict(zip(layers, outputs_of(network.cut(layers), images), strict=True))

    def encode(stream: Stream) -> Callable[[], Any]:
        output = outputs[stream.layer]
        if stream.encoding != "vlad":
            pooled = tf.function(lambda output: pool(output, stream.encoding))
            return lambda: np.asarray(pooled(output))
        local, codebook = tf.function(LocalFeatures(dtype="float32")), codebooks[stream]
        return lambda: encode_vlad(np.asarray(local(output)), codebook, config.intra_norm, config.power)

    return {stream: _milliseconds(encode(stream), len(images)) for stream in streams}


def _milliseconds(work: Callable[[], Any], images: int) -> float:
    """Median per image, after a run that compiles."""
    work()
    times: list[float] = []
    while len(times) < _RUNS and sum(times) < _SECONDS:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) / images * 1e3
