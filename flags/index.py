"""The flags of `tfvlad index`: the folders of images, how they are synchronised, and the settings of the graph."""

from __future__ import annotations

from typing import Any

from absl import flags

from tfvlad.config import IndexConfig

_DEFAULT = IndexConfig()
_MOST_CANDIDATES = 1_000_000  # far beyond any use, and within hnswlib's integers


def define_images(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --images and --report; one of the two is needed."""
    flags.DEFINE_multi_string(
        "images",
        None,
        "A folder of images, with its sub-folders; needed unless --report is given, may be repeated.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "report",
        False,
        "Change nothing: list the folders that the index holds and, with the reason, the files it could not use.",
        flag_values=values,
    )
    flags.register_multi_flags_validator(  # type: ignore[no-untyped-call]
        ["images", "report"], _images_or_report, message="--images is needed", flag_values=values
    )


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags that `index_config` reads, and those of a synchronisation."""
    flags.DEFINE_integer(
        "m",
        _DEFAULT.m,
        "Links per node of the graph. Of a new index.",
        lower_bound=2,
        upper_bound=10_000,  # hnswlib takes no more
        flag_values=values,
    )
    flags.DEFINE_integer(
        "ef_construction",
        _DEFAULT.ef_construction,
        "Candidates kept while a node is linked. Of a new index.",
        lower_bound=2,
        upper_bound=_MOST_CANDIDATES,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "ef_search",
        _DEFAULT.ef_search,
        "Candidates kept while searching; more of them find more and take longer. Of a new index.",
        lower_bound=2,
        upper_bound=_MOST_CANDIDATES,
        flag_values=values,
    )
    flags.DEFINE_float(
        "target_recall",
        None,
        "Find the smallest ef_search with which the graph gives this share of the exact 10 nearest, for queries near"
        " the index's own images, and store it in the index.",
        lower_bound=0.0,
        upper_bound=1.0,
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "allow_empty",
        False,
        "Accept a folder that holds no image, and one that is missing although the index holds images of it. The images"
        " of such a folder leave the index.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "retry_failed", False, "Try failed images again although they have not changed.", flag_values=values
    )


def index_config(values: flags.FlagValues = flags.FLAGS) -> IndexConfig:
    """Turns the flags into the settings of a new index."""
    return IndexConfig(m=values.m, ef_construction=values.ef_construction, ef_search=values.ef_search)


def _images_or_report(given: dict[str, Any]) -> bool:
    return bool(given["report"] or (given["images"] and all(given["images"])))
