"""What a search is measured against."""

from __future__ import annotations

from absl import flags

from tfvlad_flags.required import require


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --dataset, --queries and --ground_truth."""
    flags.DEFINE_string(
        "dataset",
        None,
        "A folder whose images are all queries against the index; one that is indexed itself is left out of its own "
        "ranking.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "queries", None, "The folder of the query images, where it is not the data set's.", flag_values=values
    )
    flags.DEFINE_string(
        "ground_truth",
        "same_name",
        "same_name (X/017.jpg matches Y/017.jpg), same_folder (images of one sub-folder match each other), or a JSON "
        "file.",
        flag_values=values,
    )
    require("ground_truth", values)
    flags.register_multi_flags_validator(  # type: ignore[no-untyped-call]
        ["dataset", "queries"],
        lambda given: bool(given["dataset"] or given["queries"]),
        message="--queries is needed",
        flag_values=values,
    )
