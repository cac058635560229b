"""The flags of `tfvlad index`: the folders of images, how they are synchronised, and the settings of the graph."""

from __future__ import annotations

from typing import Any

from absl import flags

from tfvlad.config import LOCAL_FEATURES, IndexConfig
from tfvlad.images.views import KINDS
from tfvlad_flags.search import check_views

_DEFAULT = IndexConfig()
_MOST_CELLS = 2**14  # of an image; the format of local features has no more
_WANTED = {
    "images": "--images must be a folder",
    "forget": "--forget must be a folder",
    "relocate": "--relocate must be OLD=NEW, two folders",
}
_MOST_CANDIDATES = 1_000_000  # far beyond any use, and within hnswlib's integers


def define_engine(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --engine and --from, which decide what encodes."""
    flags.DEFINE_string(
        "engine",
        "local",
        "What encodes: local is this process; ray is a worker for each core of the Ray cluster that this machine "
        "belongs to, or of this machine alone; ray://HOST:10001 is another cluster. pip install 'tfvlad[ray]'.",
        flag_values=values,
    )
    flags.register_validator(  # type: ignore[no-untyped-call]
        "engine",
        lambda given: given in ("local", "ray") or given.startswith("ray://"),
        message="--engine must be local, ray or ray://HOST:10001",
        flag_values=values,
    )
    flags.DEFINE_string(
        "from",
        None,
        "Encode nothing: take what this Parquet data set of tfvlad.cluster holds of the images' bytes.",
        flag_values=values,
    )


def define_images(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --images, and what can be done to an index without: --report, --calibrate, --forget, --relocate."""
    flags.DEFINE_multi_string(
        "images",
        None,
        "A folder of images, with its sub-folders; may be repeated. Needed for a new index; of one that is there, the "
        "default is every folder that it holds.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "forget",
        [],
        "Remove this folder and its images from the index; the files are not touched. May be repeated.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "relocate",
        [],
        "OLD=NEW: the folder OLD has been moved to NEW; nothing is encoded anew for that. May be repeated.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "report",
        False,
        "Change nothing: list the folders that the index holds and, with the reason, the files it could not use.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "calibrate",
        False,
        "Measure anew, on pairs of the index's own images, how many local features agree by chance, which verdicts "
        "rest on. It is done by itself whenever an index has doubled.",
        flag_values=values,
    )
    for name, check in (("images", all), ("forget", all), ("relocate", _are_pairs)):
        flags.register_validator(  # type: ignore[no-untyped-call]
            name, lambda given, check=check: check(given or []), message=_WANTED[name], flag_values=values
        )


def define_kept(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --views and --local_features: what an index keeps of each image."""
    flags.DEFINE_string(
        "views",
        None,
        f"Views of each image to keep descriptors of, as {', '.join(f'{kind}:N' for kind in KINDS)}, with commas "
        "between them; whole is the whole picture only. Of an index that is there already, what is missing is encoded, "
        "and views that are no longer named are removed. Default: as the index has them; whole for a new one.",
        flag_values=values,
    )
    flags.register_validator("views", check_views("views"), flag_values=values)  # type: ignore[no-untyped-call]
    flags.DEFINE_flag(
        _CellsFlag(
            "local_features",
            "Local features to keep of each image, at most; each takes 68 bytes. Searches are verified by them. "
            f"Default: as the index has it; {LOCAL_FEATURES} for a new one.",
        ),
        flag_values=values,
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
        "check_content",
        False,
        "Read every file and compare its bytes, however unchanged it looks by its size, dates and inode.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "retry_failed", False, "Try failed images again although they have not changed.", flag_values=values
    )


def index_config(values: flags.FlagValues = flags.FLAGS) -> IndexConfig:
    """Turns the flags into the settings of a new index."""
    return IndexConfig(m=values.m, ef_construction=values.ef_construction, ef_search=values.ef_search)


def kept(values: flags.FlagValues = flags.FLAGS) -> dict[str, Any]:
    """Returns what a new index is to keep of each image, where the flags say so: arguments of `tfvlad.Index.create`."""
    return {name: values[name].value for name in ("views", "local_features") if values[name].value is not None}


def relocations(values: flags.FlagValues = flags.FLAGS) -> list[tuple[str, str]]:
    """Returns the pairs of --relocate: where a folder was, and where it is."""
    return [_halves(pair) for pair in values.relocate]


def _are_pairs(given: list[str]) -> bool:
    return all(all(_halves(pair)) for pair in given)


def _halves(pair: str) -> tuple[str, str]:
    old, _, new = pair.partition("=")
    return old, new


class _Cells(flags.ArgumentParser[int]):
    """Reads a number of local features; true and false, as of a flag without a value, are the usual number and 0."""

    syntactic_help = "a whole number"

    def parse(self, argument: Any) -> int:
        if str(argument).lower() in ("true", "false"):
            return LOCAL_FEATURES if str(argument).lower() == "true" else 0
        number = int(argument)
        if not 0 <= number <= _MOST_CELLS:
            raise ValueError(f"must be 0 to {_MOST_CELLS}")
        return number

    def flag_type(self) -> str:
        return "int"


class _CellsFlag(flags.Flag[int]):
    """``--local_features``, ``--local_features=N`` and ``--nolocal_features``."""

    def __init__(self, name: str, help_text: str) -> None:
        super().__init__(_Cells(), flags.ArgumentSerializer(), name, None, help_text, boolean=True)
