"""What a network needs of an encoder's settings, told without loading it."""

from __future__ import annotations

import importlib.util
import os

from tfvlad.config import EncoderConfig
from tfvlad.errors import ConfigError
from tfvlad.named_networks import NAMED_NETWORKS, Preprocessing

_NEEDS_PREPROCESSING = "preprocessing (caffe, tf, torch or none: how its training scaled the pixels)"


def check_network(config: EncoderConfig, names_layer: bool = True) -> None:
    """Refuses a network that is not there or lacks settings, without loading it, which takes seconds.

    Args:
      config: the settings.
      names_layer: whether they are to name the layer, too. If only that is missing, loading the network tells which
        layers there are.

    Raises:
      ConfigError: says all that is missing.
    """
    check_presence(config.backbone)
    if config.backbone in NAMED_NETWORKS or config.preprocessing is not None:
        return
    lacks_layer = names_layer and config.layer is None and config.encoding != "fc"
    layer = f", and layer (tfvlad layers --backbone {config.backbone} lists them)" if lacks_layer else ""
    raise ConfigError(f"{config.backbone} needs {_NEEDS_PREPROCESSING}{layer}")


def check_presence(backbone: str) -> None:
    """Makes sure that what a network is built of is there: KerasHub for DINOv2, or the file that is the network.

    Raises:
      ConfigError: it is not.
    """
    named = NAMED_NETWORKS.get(backbone)
    if named and named.from_keras_hub and importlib.util.find_spec("keras_hub") is None:
        raise ConfigError(f"backbone {backbone} comes through KerasHub: pip install 'tfvlad[dinov2]'")
    if not named and not os.path.isfile(backbone):
        raise ConfigError(f"backbone {backbone}: no such file")


def comes_by_name(config: EncoderConfig) -> bool:
    """Whether a network can be had again by its name alone, so that nobody need keep a copy of it."""
    return config.backbone in NAMED_NETWORKS and config.weights == "imagenet"


def find_preprocessing(config: EncoderConfig) -> Preprocessing:
    """Finds how pixels must be scaled for a network: by the configuration, or else by what is known of a named network.

    Raises:
      ConfigError: neither says it.
    """
    named = NAMED_NETWORKS.get(config.backbone)
    preprocessing = config.preprocessing or (named.preprocessing if named else None)
    if preprocessing is None:
        raise ConfigError(f"{config.backbone} needs {_NEEDS_PREPROCESSING}")
    return preprocessing


def has_fc(config: EncoderConfig) -> bool:
    """Whether a network has fully connected features at the size of a configuration, as far as the settings tell."""
    named = NAMED_NETWORKS.get(config.backbone)
    fixed = named.fc_size if named else None
    return fixed is None or (config.image_size == fixed and config.resize == "stretch")


def check_fc(config: EncoderConfig) -> None:
    """Refuses settings with which a network has no fully connected features.

    Raises:
      ConfigError: says which settings it needs.
    """
    if not has_fc(config):
        size = NAMED_NETWORKS[config.backbone].fc_size
        raise ConfigError(
            f"encoding fc of {config.backbone} takes images of {size}x{size} pixels only: image_size must be {size} "
            f"and resize stretch, got {config.image_size} and {config.resize}"
        )
    if config.backbone in NAMED_NETWORKS and config.weights != "imagenet" and not config.weights.startswith("random:"):
        raise ConfigError(f"encoding fc needs weights imagenet or random:SEED, got {config.weights!r}")
