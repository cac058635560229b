"""A published data set, asked of an index instead of its own list of images."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets.dataset import DatabaseImage, Dataset, Truth


def as_indexed(dataset: Dataset, indexed: Iterable[DatabaseImage]) -> tuple[Dataset, list[str]]:
    """Names the right answers by the ids of an index.

    Images are matched by file, symbolic links resolved; of several links to one file the first stands for it, and the
    others are junk for every query. What the index holds of the data set's folder beside its
    database (query images that the protocol keeps out, corrupted files) is junk for every query; what it holds of
    other folders are distractors. A right answer that is not indexed counts as never found.

    Args:
      dataset: as its loader returned it.
      indexed: the index's images.

    Returns:
      The data set with the index's ids, and the paths of its database that are not indexed.

    Raises:
      ConfigError: nothing of it is indexed.
    """
    ids: dict[str, int] = {}
    again: list[int] = []
    for image in indexed:
        if ids.setdefault(os.path.realpath(image.path), image.id) != image.id:
            again.append(image.id)
    files = [os.path.realpath(image.path) for image in dataset.database]
    missing = [image.path for image, file in zip(dataset.database, files, strict=True) if file not in ids]
    if len(missing) == len(files):
        raise ConfigError(
            f"the index holds no image of {dataset.name}, such as {missing[0]}; bring it in line with "
            f"`tfvlad index --images {dataset.folder}`"
        )
    # No file of an index has a negative id.
    known = {image.id: ids.get(file, -1 - image.id) for image, file in zip(dataset.database, files, strict=True)}
    own = set(files)
    inside = os.path.join(os.path.realpath(dataset.folder), "") if dataset.folder else None
    outsiders = [id_ for file, id_ in ids.items() if inside and file not in own and file.startswith(inside)]

    def renamed(truth: Truth) -> Truth:
        ok, junk = (list(dict.fromkeys(known[id_] for id_ in truth[kind])) for kind in ("ok", "junk"))
        return {"ok": ok, "junk": junk + outsiders + again}

    protocols = {name: [renamed(truth) for truth in truths] for name, truths in dataset.protocols.items()}
    database = [image._replace(id=known[image.id]) for image in dataset.database]
    return dataclasses.replace(dataset, protocols=protocols, database=database), missing
