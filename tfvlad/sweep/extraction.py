"""What a sweep wants of a network, for descriptors of several kinds in one forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tfvlad.config import EncoderConfig, Encoding
from tfvlad.encoding.aggregation import Aggregation, aggregation_of
from tfvlad.encoding.features import FeatureExtractor, Head
from tfvlad.images.loading import ImageLoader
from tfvlad.sweep.networks import Network
from tfvlad.sweep.plan import Stream

Floats = npt.NDArray[np.float32]
HeadKey: TypeAlias = tuple[str, Encoding]  # layer and encoding: VLADs of one layer share their local features


def head_key(stream: Stream) -> HeadKey:
    """The head of `stream_extractor` that a stream's aggregation goes on with."""
    return stream.layer, stream.encoding


def stream_extractor(
    network: Network, loader: ImageLoader, image_size: int, streams: Sequence[Stream], config: EncoderConfig
) -> FeatureExtractor[HeadKey]:
    """Makes the extractor that gives what all these streams need, in one pass.

    Args:
      network: the whole network.
      loader: prepares the images.
      image_size: pixels.
      streams: the kinds of descriptors that are wanted.
      config: settings that they share.
    """
    layers = list(dict.fromkeys(stream.layer for stream in streams))
    heads = {
        head_key(stream): Head(layers.index(stream.layer), aggregation_of_stream(stream, config).head())
        for stream in {head_key(stream): stream for stream in streams}.values()
    }
    return FeatureExtractor(network.cut(layers), loader, image_size, heads)


def aggregation_of_stream(stream: Stream, config: EncoderConfig, codebook: Floats | None = None) -> Aggregation:
    """The aggregation that `tfvlad.Encoder` would use for a stream's descriptors."""
    clusters = stream.clusters or config.clusters
    samples = max(clusters, config.codebook_samples)  # too few for so many clusters is a reason that the sweep gives
    own = dataclasses.replace(config, encoding=stream.encoding, clusters=clusters, codebook_samples=samples)
    return aggregation_of(own, codebook)


def aggregations(
    streams: Sequence[Stream], config: EncoderConfig, codebooks: Mapping[Stream, Floats]
) -> dict[Stream, Aggregation]:
    """The aggregation of each stream, with its codebook where it has one."""
    return {stream: aggregation_of_stream(stream, config, codebooks.get(stream)) for stream in streams}
