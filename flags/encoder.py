"""How images become descriptors: the flags of an `EncoderConfig`."""

from __future__ import annotations

from typing import Any, get_args

from absl import flags

from tfvlad.config import EncoderConfig, Encoding, Precision, Resize
from tfvlad.named_networks import IMAGE_SIZE, Preprocessing

_DEFAULT = EncoderConfig()


def define(values: flags.FlagValues = flags.FLAGS, max_pixels: int | None = _DEFAULT.max_pixels) -> None:
    """Defines the flags of `encoder_config`.

    Args:
      values: where to define them.
      max_pixels: the default of --max_pixels; None for a command that also works with an encoder that has a limit.
    """
    define_network(values)
    _define_setting(values)
    define_encoding(values, max_pixels=max_pixels)


def define_network(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of the network, but for the layer."""
    define_backbone(values)
    flags.DEFINE_string(
        "weights",
        _DEFAULT.weights,
        "Its weights: imagenet (what it was published with, downloaded once), a .h5 or .weights.h5 file (for DINOv2 "
        "a folder with a KerasHub preset), or random:SEED. A .keras file brings its own.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "preprocessing",
        _DEFAULT.preprocessing,
        get_args(Preprocessing),
        "How the network's training scaled its pixels. Default: the named network's own; a .keras file needs it.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "precision",
        _DEFAULT.precision,
        get_args(Precision),
        "What the network computes in. The shorter ones pay where the hardware has them: AVX512-BF16, AMX, a GPU.",
        flag_values=values,
    )


def _define_setting(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "layer",
        _DEFAULT.layer,
        "The layer whose activations are the local features, by its name or the paper's (conv4_3, inception_4a); see "
        "`tfvlad layers`, which tells the default as well.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "image_size",
        None,
        "Pixels: the side of the square input, or the longest side with --resize=fit. Default: the network's own (see "
        f"`tfvlad layers`), {IMAGE_SIZE} for a .keras file.",
        lower_bound=1,
        upper_bound=10_000,  # beyond it a single image would not fit into memory
        flag_values=values,
    )
    flags.DEFINE_enum(
        "encoding",
        _DEFAULT.encoding,
        get_args(Encoding),
        "How the layer's activations become one vector: vlad; their mean, max or gem (generalised mean of power 3) "
        "over all cells; or fc, the network's last features before its classifier, for which --layer is left out.",
        flag_values=values,
    )
    flags.DEFINE_integer("clusters", _DEFAULT.clusters, "Centroids in the codebook.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer(
        "dim",
        _DEFAULT.dim,
        "Dimensions left by PCA-whitening; 0 keeps the whole vector, unwhitened. Fewer are left by default where there "
        "are too few images for so many.",
        lower_bound=0,
        flag_values=values,
    )


def define_encoding(
    values: flags.FlagValues = flags.FLAGS,
    resize: Resize = _DEFAULT.resize,
    max_pixels: int | None = _DEFAULT.max_pixels,
) -> None:
    """Defines the flags that a sweep does not vary, beside those of the network.

    Args:
      values: where to define them.
      resize: the default of --resize.
      max_pixels: see `define`.
    """
    flags.DEFINE_enum(
        "resize",
        resize,
        get_args(Resize),
        "stretch squashes images to a square (the paper's way), fit keeps their aspect ratio.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "intra_norm", _DEFAULT.intra_norm, "L2-normalise each cluster's residual sum.", flag_values=values
    )
    flags.DEFINE_float(
        "power",
        _DEFAULT.power,
        "Exponent of the signed power on the VLAD; 1 leaves it alone.",
        lower_bound=0.0,
        upper_bound=1.0,
        flag_values=values,
    )
    flags.DEFINE_float(
        "shrinkage",
        _DEFAULT.shrinkage,
        "How much of the dimensions' mean variance is added to each one's before it is divided by its square root; 0 "
        "is plain whitening.",
        lower_bound=0.0,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "codebook_samples",
        _DEFAULT.codebook_samples,
        "Local features to fit the codebook on, at most.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "whitening_samples",
        _DEFAULT.whitening_samples,
        "Images to fit the whitening on, at most.",
        lower_bound=2,
        flag_values=values,
    )
    define_max_pixels(values, max_pixels)


def define_max_pixels(values: flags.FlagValues = flags.FLAGS, default: int | None = None) -> None:
    """Defines --max_pixels; without a default, what the encoder was fitted with stays."""
    kept = "" if default else " Default: what the encoder was fitted with."
    flags.DEFINE_integer(
        "max_pixels",
        default,
        f"Refuse an image file whose header announces more pixels, before it is decoded.{kept}",
        lower_bound=1,
        flag_values=values,
    )


def define_backbone(values: flags.FlagValues = flags.FLAGS, default: str | None = _DEFAULT.backbone) -> None:
    """Defines --backbone."""
    flags.DEFINE_string(
        "backbone",
        default,
        "The network: vgg16, inceptionv3, another name that `tfvlad layers` lists, or the path of a .keras file.",
        flag_values=values,
    )


def define_seed(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --seed, which settles every random choice of fitting."""
    flags.DEFINE_integer(
        "seed",
        0,
        "Makes the result reproducible.",
        lower_bound=0,
        upper_bound=2**32 - 1,  # scikit-learn's bound
        flag_values=values,
    )


def encoder_config(values: flags.FlagValues = flags.FLAGS) -> EncoderConfig:
    """Turns the flags into settings.

    Raises:
      tfvlad.ConfigError: they do not go together.
    """
    return EncoderConfig(
        layer=values.layer or None,
        encoding=values.encoding,
        image_size=values.image_size,
        clusters=values.clusters,
        dim=values.dim or None,
        **_shared(values),
    )


def given(values: flags.FlagValues) -> list[str]:
    """Returns which of the flags of a new encoder the command line gives, but for --max_pixels."""
    alone = flags.FlagValues()  # type: ignore[no-untyped-call]
    define(alone)
    define_seed(alone)
    return [name for name in sorted(alone) if values[name].present and name != "max_pixels"]


def shared_config(values: flags.FlagValues, clusters: int) -> EncoderConfig:
    """The settings that a sweep does not vary.

    Args:
      values: with the flags of `define_network` and `define_encoding`.
      clusters: the most that a codebook is to have.

    Raises:
      tfvlad.ConfigError: they do not go together.
    """
    return EncoderConfig(clusters=clusters, **_shared(values))


def _shared(values: flags.FlagValues) -> dict[str, Any]:
    names = (
        "backbone",
        "weights",
        "preprocessing",
        "precision",
        "resize",
        "intra_norm",
        "power",
        "shrinkage",
        "codebook_samples",
        "whitening_samples",
        "max_pixels",
    )
    settings = {name: getattr(values, name) for name in names}
    return {name: value for name, value in settings.items() if (name, value) != ("max_pixels", None)}
