"""The flags of a sweep: which settings and ways to search it tries, and on which images."""

from __future__ import annotations

from typing import Any

from absl import flags

from tfvlad.images.views import KINDS
from tfvlad.sweep.grid import Grid, SearchGrid

_DEFAULT, _SEARCHES = Grid(), SearchGrid()
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


def define_searches(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of `search_grid`."""
    kinds = f"as {', '.join(f'{kind}:N' for kind in KINDS)}, with commas between them, or whole; may be repeated."
    flags.DEFINE_integer(
        "search_settings",
        None,
        "With so many of the best settings, one by default, an index is made and searched in each of the ways that "
        "--views, --query_views, --verify, --verifier and --expand name. None of these six: no ways to search are "
        "tried.",
        lower_bound=1,
        flag_values=values,
    )
    for name, default, help_text in (
        ("views", _SEARCHES.views, f"Views of each image to try, {kinds}"),
        ("query_views", _SEARCHES.query_views, f"Views of each query to try, {kinds}"),
    ):
        tried = " and ".join(default)
        flags.DEFINE_multi_string(name, None, f"{help_text} Default of a search: {tried}.", flag_values=values)
    for name, given, help_text in (
        ("verify", _SEARCHES.verify, "Numbers of images of the shortlist to try to verify; 0 verifies none."),
        ("verifier", _SEARCHES.verifiers, "Verifiers to try: cells, sift."),
        ("expand", _SEARCHES.expand, "Numbers of hits to try to expand the query by; 0 does not expand it."),
    ):
        tried = ",".join(map(str, given))
        flags.DEFINE_list(name, None, f"{help_text} Default of a search: {tried}.", flag_values=values)
    for name in ("verify", "expand"):
        flags.register_validator(name, _are_numbers(name, 0), flag_values=values)  # type: ignore[no-untyped-call]


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


def search_grid(values: flags.FlagValues = flags.FLAGS) -> SearchGrid | None:
    """Makes the grid of ways to search that the flags ask for; None where they ask for none.

    Raises:
      tfvlad.ConfigError: they do not fit together.
    """
    given: dict[str, Any] = {
        "settings": values.search_settings,
        "views": values.views and tuple(values.views),
        "query_views": values.query_views and tuple(values.query_views),
        "verify": values.verify and tuple(map(int, values.verify)),
        "verifiers": values.verifier and tuple(values.verifier),
        "expand": values.expand and tuple(map(int, values.expand)),
    }
    asked_for = {name: value for name, value in given.items() if value is not None}
    return SearchGrid(**asked_for) if asked_for else None


def _define_list(values: flags.FlagValues, name: str, default: tuple[Any, ...], help_text: str) -> None:
    flags.DEFINE_list(name, [str(value) for value in default], help_text, flag_values=values)


def _are_numbers(name: str, least: int) -> Any:
    whole = f", or {_WHOLE}" if name == "dims" else ""

    def check(given: list[str] | None) -> bool:
        for number in given or []:
            if not (number.isdecimal() and int(number) >= least) and not (whole and number == _WHOLE):
                raise flags.ValidationError(
                    f"--{name} must be whole numbers from {least}, with commas between them{whole}, got {number!r}"
                )
        return True

    return check
