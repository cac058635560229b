"""How an index is searched: the number of hits, the query's views, verification of what was found, and the graph."""

from __future__ import annotations

from typing import Any, get_args

from absl import flags

from tfvlad.config import VerifierName
from tfvlad.errors import ConfigError
from tfvlad.images.views import KINDS, parse_views
from tfvlad_flags.paths import define_token_file, require_either

_MOST_VERIFIED = 100_000  # some GiB of local features
_MOST_EXPANDED = 1000
_MOST_NEIGHBOURS = 500  # whose shortlist is as long as that of which all is re-ordered
_BOX = "must be x,y,w,h: four numbers of pixels, from 0 on, and the last two above 0"


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --k, --box and the flags of `define_finding`."""
    flags.DEFINE_integer("k", 10, "Hits per query.", lower_bound=1, flag_values=values)
    define_box(values)
    define_finding(values)


def define_searched(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines what is searched: --index, or --server with its --token_file."""
    flags.DEFINE_string(
        "index", None, "The index's folder; needed. With --server, the name of an index there.", flag_values=values
    )
    flags.DEFINE_string(
        "server",
        None,
        "Let a running `tfvlad serve` search, such as http://127.0.0.1:8000; its network is loaded already.",
        flag_values=values,
    )
    define_token_file(values, "A file with the token that the server wants.")
    require_either("index", "server", values)


def define_engine(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --search."""
    flags.DEFINE_string(
        "search",
        None,
        "Search on this engine, where `tfvlad index --search` mirrors the descriptors: milvus://HOST:19530, "
        "milvus:FILE.db or postgresql://USER:PASSWORD@HOST/DATABASE. Default: hnswlib, in this process.",
        flag_values=values,
    )


def define_fetch(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --fetch."""
    flags.DEFINE_boolean(
        "fetch", False, "Get queries that are URLs from the web: 64 MiB and 30 seconds at most.", flag_values=values
    )


def define_finding(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --exact, --expand, --reciprocal and the flags of `define_verification`, which decide what is found."""
    define_exact(values)
    define_verification(values)
    flags.DEFINE_integer(
        "expand",
        0,
        "Search again with the mean of the query and so many of its hits, of the verified ones where hits are "
        "verified; helps where several images show the same. 0 leaves that out.",
        lower_bound=0,
        upper_bound=_MOST_EXPANDED,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "reciprocal",
        0,
        "Re-order the shortlist by so many neighbours of each image, before it is verified: images come forward that "
        "have the query, or neighbours of it, among their own; helps where several images show the same, about as many "
        "as that. 0 leaves that out.",
        lower_bound=0,
        upper_bound=_MOST_NEIGHBOURS,
        flag_values=values,
    )


def define_verification(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --verify, --verifier and --query_views."""
    flags.DEFINE_integer(
        "verify",
        None,
        "Images of the shortlist to verify: those that show the same come first, and each gets a verdict. 0 ranks by "
        "descriptors only. Default: 50 where the index keeps local features, else 0.",
        lower_bound=0,
        upper_bound=_MOST_VERIFIED,
        flag_values=values,
    )
    define_verifier(values)
    flags.DEFINE_string(
        "query_views",
        None,
        f"Views of the query to search with, as {', '.join(f'{kind}:N' for kind in KINDS)}, with commas between them; "
        "whole is the whole picture only. Default: what the index's settings say.",
        flag_values=values,
    )
    flags.register_validator(  # type: ignore[no-untyped-call]
        "query_views", check_views("query_views"), flag_values=values
    )


def define_verifier(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --verifier."""
    flags.DEFINE_enum(
        "verifier",
        "cells",
        get_args(VerifierName),
        "What verifies: cells compares the local features that the index keeps; sift looks at the images' files anew, "
        "with OpenCV (pip install 'tfvlad[sift]'), which takes longer and is best for flat things.",
        flag_values=values,
    )


def define_box(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --box."""
    flags.DEFINE_list(
        "box",
        None,
        "Search for this part of the query: x,y,w,h in pixels of the upright image, x and y of its upper left corner.",
        flag_values=values,
    )
    flags.register_validator("box", _is_box, flag_values=values)  # type: ignore[no-untyped-call]


def define_exact(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --exact."""
    flags.DEFINE_boolean("exact", False, "Compare each query with every image, without the graph.", flag_values=values)


def box(values: flags.FlagValues = flags.FLAGS) -> tuple[float, float, float, float] | None:
    """Returns the part of the query that is searched for, (x, y, w, h), or None for the whole of it."""
    if not values.box:
        return None
    x, y, width, height = map(float, values.box)
    return x, y, width, height


def check_views(name: str) -> Any:
    """Makes the validator of a flag that says which views there are."""

    def check(text: str | None) -> bool:
        try:
            parse_views(text or "")
        except ConfigError as error:
            raise flags.ValidationError(f"--{name}: {error}") from None
        return True

    return check


def _is_box(given: list[str] | None) -> bool:
    if given is None:
        return True
    try:
        numbers = [float(number) for number in given]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or not all(0 <= number < 1e9 for number in numbers) or min(numbers[2:]) <= 0:
        raise flags.ValidationError(f"--box {_BOX}, got {','.join(given)!r}")
    return True
