"""How long the parts of a sweep take, roughly: seconds on two cores, which `tfvlad.sweep.meter` scales to any machine.

Counts of multiply-adds over speeds measured there; what matters is that the parts are right beside each other.
"""

from __future__ import annotations

import keras

from tfvlad.encoding.whitening import fits_exactly
from tfvlad.sweep.networks import Network

_PER_SECOND = 2.5e10  # multiply-adds of networks, VLADs and k-means
_PER_SECOND_IN_DOUBLE = 1e10  # of what is fitted and compared in float64
_ITERATIONS = 16  # of k-means, as if each took all features
_TRACING = 1.0  # seconds until a part of a network has run for the first time
_STORED = 0.2  # seconds that a cell takes beside its arithmetic
_RUNS, _LONGEST = 6, 1.0  # of a measured stage; see `tfvlad.sweep.costs`


def network_seconds(network: Network, layers: list[str], side: int) -> float:
    """One image of `side` pixels up to the last of some layers: of each layer on the way, its weights at each place."""
    ways = network.cut(layers).layers
    weighed = [layer for layer in ways if layer.count_params() and len(layer.output.shape) == 4]
    maps = keras.Model(network.model.inputs[0], [layer.output for layer in weighed])
    shapes = maps.compute_output_shape((1, side, side, 3)) if weighed else []
    adds = sum(layer.count_params() * shape[1] * shape[2] for layer, shape in zip(weighed, shapes, strict=True))
    adds += sum(layer.count_params() for layer in ways if layer not in weighed)
    return float(adds) / _PER_SECOND


def vlad_seconds(features: int, depth: int, clusters: int) -> float:
    """A VLAD of one image."""
    return features * depth * clusters / _PER_SECOND


def codebook_seconds(samples: int, depth: int, clusters: int) -> float:
    """k-means."""
    return _ITERATIONS * samples * depth * clusters / _PER_SECOND


def timing_seconds(batch_seconds: float) -> float:
    """Measuring what a batch takes: some runs, and no more once they have taken a while."""
    return _TRACING + min(_RUNS * batch_seconds, 2 * batch_seconds + _LONGEST)


def ranking_seconds(images: int, fitted: int, queries: int, database: int, length: int, dims: list[int]) -> float:
    """Whitening and judging descriptors of one kind.

    Args:
      images: all that are described.
      fitted: of these, those that the whitening is fitted on.
      queries: number of queries.
      database: number of database images.
      length: of a whole descriptor.
      dims: dimensions to leave; 0 is the whole descriptor.
    """
    short = {dim: fits_exactly((fitted, length), dim) for dim in dims if dim}
    fits = [dim for dim, exactly in short.items() if not exactly or dim == max(short)]  # see `judge_dims`
    fitting = fitted * length * sum(min(fitted, length, 10 * dim) for dim in fits)
    projecting = images * length * sum(fits)
    comparing = queries * database * sum(dim or length for dim in dims)
    return (fitting + projecting + comparing) / _PER_SECOND_IN_DOUBLE + _STORED * len(dims)
