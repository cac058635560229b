"""Which queries, and which right answers, a search is measured against."""

from __future__ import annotations

from absl import flags

from tfvlad.evaluation.datasets import PUBLISHED
from tfvlad_flags.paths import require, require_either


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of `define_dataset`, of which --dataset or --queries is needed, and --graph_hits."""
    define_dataset(values)
    flags.DEFINE_integer(
        "graph_hits",
        100,
        "Hits to take from the graph, at most a tenth of the index; the rest of each ranking is exact.",
        lower_bound=1,
        flag_values=values,
    )
    require_either("queries", "dataset", values)


def define_dataset(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --dataset, --queries, --ground_truth and --query_boxes; a command can do without each of them."""
    flags.DEFINE_string(
        "dataset",
        None,
        f"NAME:FOLDER, a public benchmark ({', '.join(PUBLISHED)}) and the folder of its published files; or a FOLDER "
        "whose images are all queries, each left out of its own ranking where it is indexed itself.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "queries", None, "The folder of the query images, where it is not the data set's.", flag_values=values
    )
    flags.DEFINE_string(
        "ground_truth",
        "same_name",
        "Of a plain folder: same_name (X/017.jpg matches Y/017.jpg), same_folder (images of one sub-folder match each "
        "other), or a JSON file. A benchmark has its own.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "query_boxes",
        True,
        "Search for the part of a query inside its box, as the protocols of Oxford and Paris ask; --noquery_boxes "
        "searches for whole images.",
        flag_values=values,
    )
    require("ground_truth", values)
