"""A network with all its layers, of which one forward pass gives the descriptors of all kinds.

An encoder uses one layer of a network (see `tfvlad.networks`). A sweep finds the layers to study by name or pattern,
cuts the network at all of them, and at the fully connected features that the paper compares with, and runs it once.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt

from tfvlad.config import EncoderConfig, Encoding, Precision
from tfvlad.encoding.aggregation import Aggregation, aggregation_of
from tfvlad.encoding.features import FeatureExtractor, Head
from tfvlad.errors import ConfigError
from tfvlad.images.loading import ImageLoader
from tfvlad.named_networks import NAMED_NETWORKS, Preprocessing
from tfvlad.networks.backbones import check_input_size, compute_in, load_network
from tfvlad.networks.dinov2 import PatchMap
from tfvlad.networks.layers import fc_features, find_layer, map_layers
from tfvlad.networks.requirements import check_fc, find_preprocessing, has_fc
from tfvlad.sweep.grid import DescriptorKind

Floats = npt.NDArray[np.float32]
HeadKey: TypeAlias = tuple[str, Encoding]  # layer and encoding: VLADs of one layer share their local features

FC = ""  # stands for the fully connected features among the names of layers


@dataclasses.dataclass(frozen=True)
class WholeNetwork:
    """A network at one image size, with the outputs of all layers that have activation maps.

    Attributes:
      model: the network.
      outputs: layer -> (B, h, w, C) symbolic output, in the order of the network; for `FC`, (B, 1, 1, D).
      preprocessing: how pixels must be scaled.
      precision: the number format that it computes in.
    """

    model: keras.Model
    outputs: dict[str, Any]
    preprocessing: Preprocessing
    precision: Precision

    def cut(self, layers: Sequence[str]) -> keras.Model:
        """Makes the sub-model that gives these layers' outputs; run it with `tfvlad.encoding.features.outputs_of`."""
        model = keras.Model(self.model.inputs[0], [self.outputs[layer] for layer in layers])
        compute_in(self.precision, model)
        return model


def load_networks(config: EncoderConfig, image_sizes: Sequence[int], with_fc: bool) -> dict[int, WholeNetwork]:
    """Loads a network with all its layers that have activation maps.

    Sizes share one network, or two if only some sizes have fully connected features.

    Args:
      config: settings; its layer and image size are not read.
      image_sizes: pixels.
      with_fc: whether `FC` is to be among the outputs, at the sizes that have it.

    Returns:
      Image size -> network.

    Raises:
      ConfigError: the network or a setting does not exist or does not fit.
      WeightsError: the weights cannot be loaded.
    """
    preprocessing = find_preprocessing(config)
    if with_fc:
        _check_fc(config, image_sizes)
    loaded: dict[bool, WholeNetwork] = {}
    networks = {}
    for size in image_sizes:
        kind = with_fc and has_fc(dataclasses.replace(config, image_size=size))
        if kind not in loaded:
            loaded[kind] = _load(config, kind, preprocessing)
        networks[size] = loaded[kind]
        check_input_size(networks[size].model, dataclasses.replace(config, image_size=size))
    return networks


def _load(config: EncoderConfig, with_fc: bool, preprocessing: Preprocessing) -> WholeNetwork:
    model = load_network(config.backbone, config.weights, with_fc)
    outputs: dict[str, Any] = dict(map_layers(model, config.backbone))
    if with_fc:
        _, outputs[FC] = fc_features(model, config.backbone)
    return WholeNetwork(model, outputs, preprocessing, config.precision)


def _check_fc(config: EncoderConfig, image_sizes: Sequence[int]) -> None:
    at_sizes = [dataclasses.replace(config, image_size=size) for size in image_sizes]
    with_features = [config for config in at_sizes if has_fc(config)]
    if not with_features:
        size = NAMED_NETWORKS[config.backbone].fc_size
        raise ConfigError(
            f"encodings: fc of {config.backbone} takes images of {size}x{size} pixels only: add {size} to "
            "image_sizes, with resize stretch, or leave fc out"
        )
    check_fc(with_features[0])


def select_layers(network: WholeNetwork, backbone: str, patterns: Sequence[str]) -> list[str]:
    """Finds the layers that names and patterns stand for, in the order of the network.

    ``all`` stands for every module of a network that consists of modules, such as InceptionV3's ``mixed0`` …
    ``mixed10``: every concatenation or sum that is not an input of another one. In a transformer it stands for every
    block, and in a network without modules for every convolution.

    Raises:
      ConfigError: a name or pattern stands for no layer.
    """
    named = NAMED_NETWORKS.get(backbone)
    aliases = named.aliases if named else {}
    maps = {name: output for name, output in network.outputs.items() if name != FC}
    chosen: set[str] = set()
    for pattern in patterns:
        if pattern == "all":
            chosen |= _every_stage(maps)
        elif any(sign in pattern for sign in "*?["):
            found = set(fnmatch.filter(maps, pattern)) | {aliases[name] for name in fnmatch.filter(aliases, pattern)}
            if not found:
                raise ConfigError(f"layers: nothing in {backbone} matches {pattern!r}; see `tfvlad layers`")
            chosen |= found
        else:
            chosen.add(find_layer(network.model, backbone, pattern)[0])
    return [name for name in maps if name in chosen]


def _every_stage(maps: dict[str, Any]) -> set[str]:
    operations = {name: output._keras_history.operation for name, output in maps.items()}
    modules = {name for name, operation in operations.items() if _merges(operation) and not _feeds_a_merge(operation)}
    blocks = {name for name, operation in operations.items() if isinstance(operation, PatchMap)}
    return modules or blocks or {name for name, layer in operations.items() if isinstance(layer, keras.layers.Conv2D)}


def _merges(operation: keras.Operation) -> bool:
    return type(operation).__name__ in ("Concatenate", "Add")  # layers, or operations such as that of `x + y`


def _feeds_a_merge(operation: keras.Operation) -> bool:
    return any(_merges(node.operation) for node in operation._outbound_nodes)


def extractor_for(
    network: WholeNetwork, loader: ImageLoader, image_size: int, kinds: Sequence[DescriptorKind], config: EncoderConfig
) -> FeatureExtractor[HeadKey]:
    """Makes the extractor that gives what descriptors of several kinds need, in one forward pass.

    Args:
      network: the network.
      loader: prepares the images.
      image_size: pixels.
      kinds: the kinds of descriptors that are wanted.
      config: the settings that they share.
    """
    layers = list(dict.fromkeys(kind.layer for kind in kinds))
    of_head = {head_key(kind): kind for kind in kinds}
    heads = {key: Head(layers.index(kind.layer), aggregation_for(kind, config).head()) for key, kind in of_head.items()}
    return FeatureExtractor(network.cut(layers), loader, image_size, heads)


def head_key(kind: DescriptorKind) -> HeadKey:
    """The head of `extractor_for` whose values the aggregation of a kind takes."""
    return kind.layer, kind.encoding


def aggregation_for(kind: DescriptorKind, config: EncoderConfig, codebook: Floats | None = None) -> Aggregation:
    """The aggregation that `tfvlad.Encoder` uses for descriptors of a kind, with the codebook if there is one."""
    clusters = kind.clusters or config.clusters
    samples = max(clusters, config.codebook_samples)  # a sweep that has too few features says so in the cell
    own = dataclasses.replace(config, encoding=kind.encoding, clusters=clusters, codebook_samples=samples)
    return aggregation_of(own, codebook)
