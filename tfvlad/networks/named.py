"""The networks that go by a name: what is known of each, and what a configuration says of any network."""

from __future__ import annotations

import dataclasses
import os

from tfvlad.config import EncoderConfig, Preprocessing
from tfvlad.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class NamedNetwork:
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

_NEEDS_PREPROCESSING = "preprocessing (caffe, tf, torch or none: how its training scaled the pixels)"

NAMED = {
    "vgg16": NamedNetwork("VGG16", "caffe", "block4_conv2", _VGG16_ALIASES, "fc2", 224),
    "inceptionv3": NamedNetwork("InceptionV3", "tf", "mixed5", _INCEPTION_ALIASES, "avg_pool", None),
}


def check_network(config: EncoderConfig, names_layer: bool = True) -> None:
    """Refuses a network that is not there or lacks settings, without loading it, which takes seconds.

    Args:
      config: the settings.
      names_layer: whether they are to name the layer, too. If only that is missing, loading the network tells which
        layers there are.

    Raises:
      ConfigError: says all that is missing.
    """
    check_backbone(config.backbone)
    if config.backbone in NAMED or config.preprocessing is not None:
        return
    lacks_layer = names_layer and config.layer is None and config.encoding != "fc"
    layer = f", and layer (tfvlad layers --backbone {config.backbone} lists them)" if lacks_layer else ""
    raise ConfigError(f"{config.backbone} needs {_NEEDS_PREPROCESSING}{layer}")


def check_backbone(backbone: str) -> None:
    """Makes sure that a network has a name that is known, or is a file that is there.

    Raises:
      ConfigError: neither is so.
    """
    if backbone in NAMED:
        return
    if not backbone.endswith(".keras"):
        raise ConfigError(f"backbone must be {', '.join(NAMED)} or the path of a .keras file, got {backbone!r}")
    if not os.path.isfile(backbone):
        raise ConfigError(f"backbone {backbone}: no such file")


def comes_by_name(config: EncoderConfig) -> bool:
    """Whether a network can be had again by its name alone, so that nobody need keep a copy of it."""
    return config.backbone in NAMED and config.weights == "imagenet"


def find_preprocessing(config: EncoderConfig) -> Preprocessing:
    """Finds how pixels must be scaled for a network: by the configuration, or else by what is known of a named network.

    Raises:
      ConfigError: neither says it.
    """
    named = NAMED.get(config.backbone)
    preprocessing = config.preprocessing or (named.preprocessing if named else None)
    if preprocessing is None:
        raise ConfigError(f"{config.backbone} needs {_NEEDS_PREPROCESSING}")
    return preprocessing


def has_fc(config: EncoderConfig) -> bool:
    """Whether a network has fully connected features at the size of a configuration, as far as the settings tell."""
    named = NAMED.get(config.backbone)
    fixed = named.fc_size if named else None
    return fixed is None or (config.image_size == fixed and config.resize == "stretch")


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
