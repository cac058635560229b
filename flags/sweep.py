"""The flags of a sweep: which settings it tries, and on which images."""

from __future__ import annotations

from typing import Any

from absl import flags

from tfvlad.sweep.grid import Grid

_DEFAULT = Grid()
_WHOLE = "full"  # of --dims


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of `grid`."""
    _define_list(
        values,
        "layers",
        _DEFAULT.layers,
        "Layers to try: names (see `tfvlad layers`), patterns such as fire*_concat or conv4_*, or all: every module of "
        "a network of modules (inceptionv3 mixed0 to mixed10), every convolution of another.",
    )
    _define_list(values, "image_sizes", _DEFAULT.image_sizes, "Image sizes to try, in pixels.")
    _define_list(values, "clusters", _DEFAULT.clusters, "Numbers of centroids to try.")
    _define_list(
        values,
        "dims",
        _DEFAULT.dims,
        "Numbers of dimensions to leave by PCA-whitening; full, or 0, is the whole descriptor, unwhitened.",
    )
    _define_list(
        values,
        "encodings",
        _DEFAULT.encodings,
        "Encodings to try: vlad; mean, max or gem (power 3) pooling of a layer's activations; fc, the features of no "
        "layer but those before the network's classifier (vgg16 fc2, at 224 pixels only; inceptionv3 avg_pool).",
    )
    for name, least in (("image_sizes", 1), ("clusters", 1), ("dims", 0)):
        flags.register_validator(  # type: ignore[no-untyped-call]
            name, _are_numbers(name, least), flag_values=values
        )


def define_images(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --images, --fit_on and --proxy_queries."""
    flags.DEFINE_multi_string(
        "images",
        None,
        "A folder of images, with its sub-folders, to be searched; may be repeated. Needed unless --dataset brings "
        "them.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "fit_on",
        None,
        "A folder of images that codebooks and whitening are fitted on; may be repeated. Default: the images that are "
        "searched; the paper fits on another data set than it measures.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "proxy_queries",
        200,
        "Without --dataset and --queries: so many of the images, at most, are cut, turned, blurred and compressed, and "
        "each copy is to find its original. It tells which settings stand such changes, not which find another "
        "photograph of the same thing.",
        lower_bound=1,
        flag_values=values,
    )
    flags.register_multi_flags_validator(  # type: ignore[no-untyped-call]
        ["images", "dataset"],
        lambda given: bool(given["dataset"] or (given["images"] and all(given["images"]))),
        message="--images is needed",
        flag_values=values,
    )


def grid(values: flags.FlagValues = flags.FLAGS) -> Grid:
    """Makes the grid of settings that the flags ask for.

    Raises:
      tfvlad.ConfigError: they do not fit together.
    """
    return Grid(
        layers=tuple(values.layers),
        image_sizes=tuple(map(int, values.image_sizes)),
        clusters=tuple(map(int, values.clusters)),
        dims=tuple(0 if dim == _WHOLE else int(dim) for dim in values.dims),
        encodings=tuple(values.encodings),
    )


def _define_list(values: flags.FlagValues, name: str, default: tuple[Any, ...], help_text: str) -> None:
    flags.DEFINE_list(name, [str(value) for value in default], help_text, flag_values=values)


def _are_numbers(name: str, least: int) -> Any:
    whole = f", or {_WHOLE}" if name == "dims" else ""

    def check(given: list[str]) -> bool:
        for number in given:
            if not (number.isdecimal() and int(number) >= least) and not (whole and number == _WHOLE):
                raise flags.ValidationError(
                    f"--{name} must be whole numbers from {least}, with commas between them{whole}, got {number!r}"
                )
        return True

    return check
