"""A network with all its layers: chosen by name or pattern, and cut at several of them at once.

An encoder uses one layer of a network (see `tfvlad.networks`); a sweep runs the network once for all the layers that
it studies, and for the fully connected features that the paper compares with.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence
from typing import Any

import keras

from tfvlad.config import EncoderConfig, Precision, Preprocessing
from tfvlad.errors import ConfigError
from tfvlad.networks.backbones import (
    NAMED,
    check_input_size,
    compute_in,
    find_layer,
    find_preprocessing,
    load_network,
    map_layers,
)
from tfvlad.networks.weights import build_with_weights

_FC = {"vgg16": "fc2", "inceptionv3": "avg_pool"}  # the features before the classifier, which the paper compares with
_VGG16_SIZE = 224  # pixels; its fully connected layers take no other

FC = ""  # stands for the fully connected features among the names of layers


@dataclasses.dataclass(frozen=True)
class WholeNetwork:
    """A network at one image size, with the outputs of all layers that have activation maps.

    Attributes:
      model: the network.
      outputs: layer -> (B, h, w, C) symbolic output, in the order of the network; for `FC`, (B, D).
      preprocessing: how pixels must be scaled.
      precision: the number format that it computes in.
    """

    model: keras.Model
    outputs: dict[str, Any]
    preprocessing: Preprocessing
    precision: Precision

    def cut(self, layers: Sequence[str]) -> keras.Model:
        """Makes the sub-model whose outputs are those of these layers; run it with `outputs_of`."""
        model = keras.Model(self.model.inputs[0], [self.outputs[layer] for layer in layers])
        compute_in(self.precision, model)
        return model


def outputs_of(model: keras.Model, images: Any) -> list[Any]:
    """Runs a sub-model on (B, H, W, 3) float32. Returns a list even for one output, which Keras would unpack."""
    return list(keras.tree.flatten(model(images, training=False)))


def output_shapes(model: keras.Model, height: int, width: int) -> list[tuple[int, ...]] | None:
    """The shapes of the outputs for one image of so many pixels, (h, w, C) or (D,); None if one of them is empty."""
    try:
        shapes = [tuple(shape[1:]) for shape in model.compute_output_shape((1, height, width, 3))]
    except ValueError:  # a window larger than what is left of the image
        return None
    return shapes if all(min(shape) > 0 for shape in shapes) else None


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
        kind = with_fc and _has_fc(config, size)
        if kind not in loaded:
            loaded[kind] = _load(config, kind, preprocessing)
        networks[size] = loaded[kind]
        check_input_size(networks[size].model, dataclasses.replace(config, image_size=size))
    return networks


def _load(config: EncoderConfig, with_fc: bool, preprocessing: Preprocessing) -> WholeNetwork:
    if with_fc and config.backbone == "vgg16":
        model = build_with_weights("vgg16", keras.applications.VGG16, config.weights, top=True)
    else:
        model = load_network(config.backbone, config.weights)
    outputs: dict[str, Any] = dict(map_layers(model, config.backbone))
    if with_fc:
        outputs[FC] = _fc_output(model, config.backbone)
    return WholeNetwork(model, outputs, preprocessing, config.precision)


def _has_fc(config: EncoderConfig, image_size: int) -> bool:
    """Whether the network has fully connected features at this size, as far as the settings tell."""
    return config.backbone != "vgg16" or (image_size == _VGG16_SIZE and config.resize == "stretch")


def _check_fc(config: EncoderConfig, image_sizes: Sequence[int]) -> None:
    if not any(_has_fc(config, size) for size in image_sizes):
        raise ConfigError(
            f"encodings: fc of vgg16 takes images of {_VGG16_SIZE}x{_VGG16_SIZE} pixels only: add {_VGG16_SIZE} to "
            "image_sizes, with resize stretch, or leave fc out"
        )
    if config.backbone in NAMED and config.weights != "imagenet" and not config.weights.startswith("random:"):
        raise ConfigError(f"encodings: fc needs weights imagenet or random:SEED, got {config.weights!r}; leave fc out")


def select_layers(network: WholeNetwork, backbone: str, patterns: Sequence[str]) -> list[str]:
    """Finds the layers that names and patterns stand for, in the order of the network.

    ``all`` stands for every module of a network that consists of modules, such as InceptionV3's ``mixed0`` …
    ``mixed10``: every concatenation or sum that is not an input of another one. In a network without modules it stands
    for every convolution.

    Raises:
      ConfigError: a name or pattern stands for no layer.
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
    operations = {name: output._keras_history.operation for name, output in maps.items()}
    modules = {name for name, layer in operations.items() if isinstance(layer, merging) and not _feeds(layer, merging)}
    return modules or {name for name, layer in operations.items() if isinstance(layer, keras.layers.Conv2D)}


def _feeds(layer: keras.layers.Layer, kinds: tuple[type, ...]) -> bool:
    return any(isinstance(node.operation, kinds) for node in layer._outbound_nodes)


def _fc_output(network: keras.Model, backbone: str) -> Any:
    if backbone == "inceptionv3":
        return keras.layers.GlobalAveragePooling2D(name=_FC[backbone], dtype="float32")(network.outputs[0])
    if backbone in _FC:
        return network.get_layer(_FC[backbone]).output
    flat = [layer.output for layer in network.layers[:-1] if _is_vector(layer)]
    if not flat:
        raise ConfigError(
            f"encodings: {backbone} has no layer with (batch, features) before its last one, so no fc; "
            "vlad, mean, max and gem are possible"
        )
    return flat[-1]


def _is_vector(layer: keras.layers.Layer) -> bool:
    output = layer.output
    return isinstance(output, keras.KerasTensor) and len(output.shape) == 2
