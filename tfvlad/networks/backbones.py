"""A name or a Keras file -> the sub-model that ends at one layer, with its weights and preprocessing."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re

import keras

from tfvlad.config import EncoderConfig, Precision, Preprocessing
from tfvlad.errors import ConfigError
from tfvlad.networks.weights import build_with_weights, first_line, weights_digest


@dataclasses.dataclass(frozen=True)
class _Named:
    """A network of `keras.applications`.

    Attributes:
      application: its name there.
      preprocessing: how its training scaled the pixels.
      default_layer: the layer that is taken where none is named.
      aliases: the paper's name -> the layer's own name.
      fc_layer: the features before the classifier, which the paper compares with.
      fc_size: pixels of a side where those features take no other; else None.
    """

    application: str
    preprocessing: Preprocessing
    default_layer: str
    aliases: dict[str, str]
    fc_layer: str
    fc_size: int | None


_VGG16_ALIASES = {
    f"conv{block}_{conv}": f"block{block}_conv{conv}"
    for block, convs in enumerate((2, 2, 3, 3, 3), start=1)
    for conv in range(1, convs + 1)
} | {f"pool{block}": f"block{block}_pool" for block in range(1, 6)}

# The paper's GoogLeNet and InceptionV3 have the same three stages (strides 8, 16, 32): the nth module of a stage
# stands for the nth module of that stage. mixed8 only halves the grid, so 5a and 5b are mixed9 and mixed10.
_INCEPTION_ALIASES = {
    "inception_3a": "mixed0",
    "inception_3b": "mixed1",
    "inception_4a": "mixed3",
    "inception_4b": "mixed4",
    "inception_4c": "mixed5",
    "inception_4d": "mixed6",
    "inception_4e": "mixed7",
    "inception_5a": "mixed9",
    "inception_5b": "mixed10",
}

NAMED = {
    "vgg16": _Named("VGG16", "caffe", "block4_conv3", _VGG16_ALIASES, "fc2", 224),
    "inceptionv3": _Named("InceptionV3", "tf", "mixed5", _INCEPTION_ALIASES, "avg_pool", None),
}


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network up to one layer.

    Attributes:
      model: (B, H, W, 3) float32, preprocessed -> (B, h, w, C) float32 activations; layers beyond the cut are not in
        it. Fully connected features are a map of one cell: h = w = 1.
      layer: the layer's name.
      preprocessing: how pixels must be scaled.
      digest: SHA-256 of the kinds of layers and of all their weights.
    """

    model: keras.Model
    layer: str
    preprocessing: Preprocessing
    digest: str

    @property
    def channels(self) -> int:
        """C, the length of a local feature."""
        return int(self.model.output.shape[-1])


def load_backbone(config: EncoderConfig) -> Backbone:
    """Builds the network of a configuration, with its weights, cut at its layer.

    Raises:
      ConfigError: the network, the layer or a setting does not exist or does not fit.
      WeightsError: the weights cannot be had.
    """
    with_fc = config.encoding == "fc"
    if with_fc:
        check_fc(config)
    network = load_network(config.backbone, config.weights, with_fc)
    preprocessing = find_preprocessing(config)
    if with_fc:
        layer, output = fc_features(network, config.backbone)
        if config.layer not in (None, layer):
            raise ConfigError(f"layer must be {layer!r} or left out for encoding fc, got {config.layer!r}")
    else:
        layer, output = find_layer(network, config.backbone, config.layer)
    model = keras.Model(network.inputs[0], output)
    compute_in(config.precision, model)
    check_input_size(model, config)
    return Backbone(model, layer, preprocessing, weights_digest(model))


def comes_by_name(config: EncoderConfig) -> bool:
    """Whether a network can be had again by its name alone, so that nobody need keep a copy of it."""
    return config.backbone in NAMED and config.weights == "imagenet"


def find_preprocessing(config: EncoderConfig) -> Preprocessing:
    """How a network's pixels must be scaled: as the configuration says, else as is known of the network.

    Raises:
      ConfigError: neither tells.
    """
    named = NAMED.get(config.backbone)
    preprocessing = config.preprocessing or (named.preprocessing if named else None)
    if preprocessing is None:
        raise ConfigError(
            f"preprocessing must be given for {config.backbone}: one of caffe, tf, torch, none; "
            "it is how the network's training scaled its pixels"
        )
    return preprocessing


def load_cut_backbone(path: str, config: EncoderConfig) -> Backbone:
    """Loads a sub-model that was saved already cut; for an encoder's own `backbone.keras`.

    Raises:
      ConfigError: the file is not a model.
    """
    model = load_network(path, config.weights)
    compute_in(config.precision, model)
    check_input_size(model, config)
    if config.layer is None or config.preprocessing is None:
        raise ConfigError("a stored encoder must name its layer and its preprocessing")
    return Backbone(model, config.layer, config.preprocessing, weights_digest(model))


def load_network(backbone: str, weights: str, with_fc: bool = False) -> keras.Model:
    """Builds a whole network.

    Args:
      backbone: see `EncoderConfig`.
      weights: likewise.
      with_fc: whether `fc_features` are wanted of it. VGG16 then comes with its classifier, and takes images of one
        size only; without, the named networks have no classifier and take any size.

    Raises:
      ConfigError: there is no such network, or it does not take RGB images.
      WeightsError: the weights cannot be had.
    """
    if backbone in NAMED:
        named = NAMED[backbone]
        top = with_fc and named.fc_size is not None
        return build_with_weights(backbone, getattr(keras.applications, named.application), weights, top)
    if not backbone.endswith(".keras"):
        raise ConfigError(f"backbone must be {', '.join(NAMED)} or the path of a .keras file, got {backbone!r}")
    if not os.path.isfile(backbone):
        raise ConfigError(f"backbone {backbone}: no such file")
    try:
        network = keras.models.load_model(backbone, compile=False)  # Keras' safe mode: no code in the file is run
    except Exception as error:
        raise ConfigError(f"backbone {backbone}: not a model that Keras can load ({first_line(error)})") from None
    shape: tuple[int | None, ...] = network.inputs[0].shape if len(network.inputs) == 1 else ()
    if len(shape) != 4 or shape[-1] != 3:
        raise ConfigError(f"backbone {backbone}: the input must be RGB images, (batch, height, width, 3), got {shape}")
    return network


def map_layers(network: keras.Model, backbone: str) -> dict[str, keras.KerasTensor]:
    """The layers whose output is a map of local features.

    Keras numbers unnamed layers by what else the process has built (``conv2d_94`` …). In the named networks they are
    counted from the network's own first one, so that a name means the same layer in every process.

    Returns:
      Layer name -> (B, h, w, C) symbolic output, in the order of the data.
    """
    outputs: dict[str, keras.KerasTensor] = {}
    first_numbers: dict[str, int] = {}
    for layer in network.layers:
        name = layer.name
        kind = re.sub("(?<!^)(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
        numbered = re.fullmatch(kind + r"(?:_(\d+))?", name)
        if numbered and backbone in NAMED:
            number = int(numbered[1] or 0)
            number -= first_numbers.setdefault(kind, number)
            name = f"{kind}_{number}" if number else kind
        output = layer.output  # of a layer used in several places, the first
        is_map = isinstance(output, keras.KerasTensor) and len(output.shape) == 4
        if is_map and not isinstance(layer, keras.layers.InputLayer):
            outputs[name] = output
    return outputs


def find_layer(network: keras.Model, backbone: str, name: str | None) -> tuple[str, keras.KerasTensor]:
    """Finds a layer by its name or by the paper's name for it.

    Args:
      network: from `load_network`.
      backbone: what it was loaded by.
      name: the layer; None is the named network's default.

    Returns:
      The layer's own name, and its (B, h, w, C) symbolic output.

    Raises:
      ConfigError: there is no such layer, or none was named; says which there are.
    """
    layers = map_layers(network, backbone)
    named = NAMED.get(backbone)
    wanted = (name or named.default_layer) if named else name
    own = named.aliases.get(str(wanted), wanted) if named else wanted
    if own in layers:
        return str(own), layers[str(own)]
    there_are = f"the layers of {backbone} are: {_listing(list(layers))}"
    if wanted is None:
        raise ConfigError(f"layer must be given for {backbone}; {there_are}")
    close = difflib.get_close_matches(wanted, layers, n=1)
    raise ConfigError(f"layer {wanted!r} is not there{f', did you mean {close[0]!r}?' if close else ';'} {there_are}")


def check_fc(config: EncoderConfig) -> None:
    """Refuses settings with which a network has no fully connected features.

    Raises:
      ConfigError: says which settings it needs.
    """
    if not has_fc(config):
        size = NAMED[config.backbone].fc_size
        raise ConfigError(
            f"encoding fc of {config.backbone} takes images of {size}x{size} pixels only: image_size must be {size} "
            f"and resize stretch, got {config.image_size} and {config.resize}"
        )
    if config.backbone in NAMED and config.weights != "imagenet" and not config.weights.startswith("random:"):
        raise ConfigError(f"encoding fc needs weights imagenet or random:SEED, got {config.weights!r}")


def has_fc(config: EncoderConfig) -> bool:
    """Whether a network has fully connected features at the size of a configuration, as far as the settings tell."""
    named = NAMED.get(config.backbone)
    fixed = named.fc_size if named else None
    return fixed is None or (config.image_size == fixed and config.resize == "stretch")


def fc_features(network: keras.Model, backbone: str) -> tuple[str, keras.KerasTensor]:
    """Finds the last features before a network's classifier.

    Args:
      network: from `load_network` with `with_fc`.
      backbone: what it was loaded by.

    Returns:
      The layer's name, and its symbolic output as a map of one cell, (B, 1, 1, D).

    Raises:
      ConfigError: the network has none.
    """
    name, output = _fc_layer(network, backbone)
    return name, keras.layers.Reshape((1, 1, int(output.shape[-1])))(output)


def _fc_layer(network: keras.Model, backbone: str) -> tuple[str, keras.KerasTensor]:
    if backbone in NAMED:
        name = NAMED[backbone].fc_layer
        if NAMED[backbone].fc_size is not None:
            return name, network.get_layer(name).output
        return name, keras.layers.GlobalAveragePooling2D(name=name, dtype="float32")(network.outputs[0])
    flat = [layer for layer in network.layers[:-1] if _is_vector(layer.output)]
    if not flat:
        raise ConfigError(
            f"encoding fc: {backbone} has no layer with (batch, features) before its last one, so no fc; "
            "vlad, mean, max and gem are possible"
        )
    return flat[-1].name, flat[-1].output


def _is_vector(output: object) -> bool:
    return isinstance(output, keras.KerasTensor) and len(output.shape) == 2


def compute_in(precision: Precision, model: keras.Model) -> None:
    """Sets what a model's layers compute in; their weights stay as they are. Quantised layers keep their arithmetic."""
    policy = keras.DTypePolicy("float32" if precision == "float32" else f"mixed_{precision}")
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            compute_in(precision, layer)
        elif not isinstance(layer.dtype_policy, keras.dtype_policies.QuantizedDTypePolicy):
            layer.dtype_policy = policy


def check_input_size(model: keras.Model, config: EncoderConfig) -> None:
    """Refuses an image size that a network of a fixed one does not take.

    Raises:
      ConfigError: says which it takes.
    """
    sides = tuple(model.inputs[0].shape[1:3])
    if sides == (None, None):
        return
    if sides != (config.image_size, config.image_size) or config.resize != "stretch":
        raise ConfigError(
            f"backbone {config.backbone} takes images of {sides[0]}x{sides[1]} pixels only: "
            f"image_size must be {sides[0]} and resize stretch, got {config.image_size} and {config.resize}"
        )


def _listing(names: list[str], most: int = 40) -> str:
    if len(names) <= most:
        return ", ".join(names)
    plain = [name for name in names if not re.match(r"(conv2d|batch_normalization|activation)", name)]
    return f"{', '.join(plain)} and {len(names) - len(plain)} more; the layers command lists them all"
