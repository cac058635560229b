"""The network of a sweep: its layers by name or pattern, its fully connected features, sub-models cut at them."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence
from typing import Any

import keras

from tfvlad.config import EncoderConfig, Precision, Preprocessing
from tfvlad.errors import ConfigError
from tfvlad.networks.backbones import check_input_size, compute_in, load_network
from tfvlad.networks.layers import fc_features, find_layer, map_layers
from tfvlad.networks.named import NAMED, check_fc, find_preprocessing, has_fc
from tfvlad.networks.weights import weights_digest
from tfvlad.sweep.architecture import architecture
from tfvlad.sweep.cells import digest

FC = ""  # the name of the fully connected features among the layers


@dataclasses.dataclass(frozen=True)
class Network:
    """A network at one image size.

    Attributes:
      model: the whole of it.
      outputs: layer -> (B, h, w, C) symbolic output, in the order of the network; for `FC`, (B, 1, 1, D).
      preprocessing: how pixels must be scaled.
      precision: what it computes in.
    """

    model: keras.Model
    outputs: dict[str, Any]
    preprocessing: Preprocessing
    precision: Precision

    def cut(self, layers: Sequence[str]) -> keras.Model:
        """The sub-model that gives these layers' outputs; see `tfvlad.encoding.features.outputs_of`."""
        model = keras.Model(self.model.inputs[0], [self.outputs[layer] for layer in layers])
        compute_in(self.precision, model)
        return model

    def digest(self, layers: Sequence[str]) -> str:
        """A name for what leads to these layers: settings and connections of layers, and weights."""
        model = self.cut(layers)
        return digest([architecture(model), weights_digest(model)])


def load_networks(config: EncoderConfig, image_sizes: Sequence[int], with_fc: bool) -> dict[int, Network]:
    """Loads a whole network with all its layers that have maps; once, or once with and once without its classifier.

    Args:
      config: settings; its layer and image size are not read.
      image_sizes: pixels.
      with_fc: whether `FC` is to be among the outputs, at the sizes that have it.

    Returns:
      Image size -> network.

    Raises:
      ConfigError: the network or a setting does not exist or does not fit.
      WeightsError: the weights cannot be had.
    """
    preprocessing = find_preprocessing(config)
    if with_fc:
        _check_fc(config, image_sizes)
    loaded: dict[bool, Network] = {}
    networks = {}
    for size in image_sizes:
        kind = with_fc and has_fc(dataclasses.replace(config, image_size=size))
        if kind not in loaded:
            loaded[kind] = _load(config, kind, preprocessing)
        networks[size] = loaded[kind]
        check_input_size(networks[size].model, dataclasses.replace(config, image_size=size))
    return networks


def _load(config: EncoderConfig, with_fc: bool, preprocessing: Preprocessing) -> Network:
    model = load_network(config.backbone, config.weights, with_fc)
    outputs: dict[str, Any] = dict(map_layers(model, config.backbone))
    if with_fc:
        _, outputs[FC] = fc_features(model, config.backbone)
    return Network(model, outputs, preprocessing, config.precision)


def _check_fc(config: EncoderConfig, image_sizes: Sequence[int]) -> None:
    at_sizes = [dataclasses.replace(config, image_size=size) for size in image_sizes]
    with_features = [config for config in at_sizes if has_fc(config)]
    if not with_features:
        size = NAMED[config.backbone].fc_size
        raise ConfigError(
            f"encodings: fc of {config.backbone} takes images of {size}x{size} pixels only: add {size} to "
            "image_sizes, with resize stretch, or leave fc out"
        )
    check_fc(with_features[0])


def select_layers(network: Network, backbone: str, patterns: Sequence[str]) -> list[str]:
    """The layers that names and patterns stand for, in the order of the network.

    ``all`` is every module of a network of modules (a concatenation or sum that does not go straight into another,
    such as InceptionV3's ``mixed0`` … ``mixed10``), and every convolution of a network without.

    Raises:
      ConfigError: one stands for no layer.
    """
    named = NAMED.get(backbone)
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
    merging = (keras.layers.Concatenate, keras.layers.Add)
    of = {name: output._keras_history.operation for name, output in maps.items()}
    modules = {name for name, layer in of.items() if isinstance(layer, merging) and not _feeds(layer, merging)}
    return modules or {name for name, layer in of.items() if isinstance(layer, keras.layers.Conv2D)}


def _feeds(layer: keras.layers.Layer, kinds: tuple[type, ...]) -> bool:
    return any(isinstance(node.operation, kinds) for node in layer._outbound_nodes)
