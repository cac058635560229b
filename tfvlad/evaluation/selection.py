"""Which data set a command line asks for."""

from __future__ import annotations

import tfvlad
from tfvlad.errors import ConfigError, Failure
from tfvlad.evaluation.datasets import (
    DatabaseImage,
    Dataset,
    as_indexed,
    check_plain,
    load_dataset,
    plain_folder,
    split_name,
)


def asked_dataset(
    index: tfvlad.Index, dataset: str | None, queries: str | None, rule: str, query_boxes: bool = True
) -> tuple[Dataset, list[Failure]]:
    """A public benchmark or a plain folder, with its right answers by the ids of an index.

    Args:
      index: the database.
      dataset: ``NAME:FOLDER``, or a plain folder.
      queries: the folder of the queries, where that is not the plain folder itself.
      rule: of a plain folder, see `tfvlad.evaluation.datasets.plain_folder`.
      query_boxes: whether a query that is a part of its image is searched for by this part only.

    Returns:
      The data set, and failures for the images of its database that are not indexed.

    Raises:
      ConfigError: the files, or the ground truth, are not there or do not fit the index.
    """
    indexed = [DatabaseImage(name, path, image) for image, name, path in index.images()]
    name, folder = split_name(dataset or "")
    if not name:
        check_plain(folder)
        return plain_folder(queries or folder, indexed, rule), []
    if queries:
        raise ConfigError(f"{name} has queries of its own; leave --queries out")
    published, missing = as_indexed(load_dataset(name, folder), indexed)
    failures = [Failure(path, "is not in the index, and so never found") for path in missing]
    return published if query_boxes else published.whole_images(), failures
