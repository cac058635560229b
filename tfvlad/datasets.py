"""The public data sets under the name that the documentation gives them; see `tfvlad.evaluation.datasets`."""

from tfvlad.evaluation.datasets import (
    PUBLISHED,
    Box,
    DatabaseImage,
    Dataset,
    Judgement,
    Query,
    Size,
    Truth,
    as_indexed,
    check_plain,
    load_dataset,
    plain_folder,
    split_name,
)

__all__ = [
    "PUBLISHED",
    "Box",
    "DatabaseImage",
    "Dataset",
    "Judgement",
    "Query",
    "Size",
    "Truth",
    "as_indexed",
    "check_plain",
    "load_dataset",
    "plain_folder",
    "split_name",
]
