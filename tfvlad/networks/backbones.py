"""Loads a network, by its name or from a Keras file, with its weights, and cuts it at one layer."""

from __future__ import annotations

import dataclasses

import keras

from tfvlad.config import EncoderConfig, Precision, check_backbone
from tfvlad.errors import ConfigError
from tfvlad.named_networks import NAMED_NETWORKS, Preprocessing
from tfvlad.networks import dinov2, googlenet  # noqa: F401  by this import Keras knows their layers, for files with them
from tfvlad.networks.layers import fc_features, find_layer
from tfvlad.networks.requirements import check_fc, check_presence, find_preprocessing
from tfvlad.networks.weights import build_with_weights, first_line, weights_digest

_SCALE_PIXELS = (keras.layers.Normalization, keras.layers.Rescaling)


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


def load_cut_backbone(path: str, config: EncoderConfig) -> Backbone:
    """Loads a network that was cut before it was saved: the `backbone.keras` in an encoder's folder.

    Raises:
      ConfigError: the file is not a model.
    """
    if config.backbone in NAMED_NETWORKS:
        check_presence(config.backbone)
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
      with_fc: whether `fc_features` are wanted of it. VGG16 and VGG19 then come with their classifier, and take images
        of one size only; without, the named networks have no classifier, and all but the NASNets take any size.

    Raises:
      ConfigError: there is no such network, or it does not take RGB images.
      WeightsError: the weights cannot be had.
    """
    check_backbone(backbone)
    check_presence(backbone)
    if backbone in NAMED_NETWORKS:
        return build_with_weights(backbone, weights, with_fc and NAMED_NETWORKS[backbone].fc_size is not None)
    try:
        network = keras.models.load_model(backbone, compile=False)  # Keras' safe mode: no code in the file is run
    except Exception as error:
        raise ConfigError(f"backbone {backbone}: not a model that Keras can load ({first_line(error)})") from None
    shape: tuple[int | None, ...] = network.inputs[0].shape if len(network.inputs) == 1 else ()
    if len(shape) != 4 or shape[-1] != 3:
        raise ConfigError(f"backbone {backbone}: the input must be RGB images, (batch, height, width, 3), got {shape}")
    return network


def compute_in(precision: Precision, model: keras.Model) -> None:
    """Sets the precision in which a model's layers compute.

    Weights stay as they are. Quantised layers do, too, and those that scale pixels, which a short format would round.
    """
    policy = keras.DTypePolicy("float32" if precision == "float32" else f"mixed_{precision}")
    for layer in model._flatten_layers(include_self=False):  # those within other layers, too
        quantised = isinstance(layer.dtype_policy, keras.dtype_policies.QuantizedDTypePolicy)
        if not quantised and not isinstance(layer, _SCALE_PIXELS):
            layer.dtype_policy = policy


def check_input_size(model: keras.Model, config: EncoderConfig) -> None:
    """Refuses an image size that a network with a fixed input size does not take.

    Raises:
      ConfigError: the message says which size the network takes.
    """
    sides = tuple(model.inputs[0].shape[1:3])
    if sides == (None, None):
        return
    if sides != (config.image_size, config.image_size) or config.resize != "stretch":
        raise ConfigError(
            f"backbone {config.backbone} takes images of {sides[0]}x{sides[1]} pixels only: "
            f"image_size must be {sides[0]} and resize stretch, got {config.image_size} and {config.resize}"
        )
