"""The public benchmarks by name: loaded from their published files, and matched with the images of an index."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets.dataset import DatabaseImage, Dataset, Truth
from tfvlad.evaluation.datasets.holidays import holidays
from tfvlad.evaluation.datasets.oxford import oxford5k, paris6k
from tfvlad.evaluation.datasets.revisited import roxford5k, rparis6k
from tfvlad.evaluation.datasets.smvs import smvs
from tfvlad.evaluation.datasets.ukbench import ukbench

PUBLISHED: dict[str, Callable[[str | os.PathLike[str]], Dataset]] = {
    loader.__name__: loader for loader in (oxford5k, paris6k, roxford5k, rparis6k, holidays, ukbench, smvs)
}


def split_name(text: str) -> tuple[str, str]:
    """Splits ``oxford5k:/data/oxford`` into the data set's name and its folder.

    Returns:
      The name, one of `PUBLISHED`, and the folder; for any other text the name is empty, and the text is the folder.
    """
    name, colon, folder = text.partition(":")
    if name not in PUBLISHED or (not colon and os.path.isdir(text)):
        return "", text
    return name, folder


def check_plain(folder: str) -> None:
    """Refuses the path of a plain folder that looks like a misspelt ``NAME:FOLDER``.

    Raises:
      ConfigError: there is a colon in it, and no such folder; the message lists the data sets.
    """
    if ":" in folder and not os.path.isdir(folder):
        raise ConfigError(f"{folder} is no folder, and no data set with its folder; there are {', '.join(PUBLISHED)}")


def load_dataset(name: str, folder: str | os.PathLike[str]) -> Dataset:
    """Reads a public benchmark's ground truth from its files as published.

    Args:
      name: one of `PUBLISHED`.
      folder: the folder where the user has put these files; see the function of that name.

    Returns:
      The data set; its ids are positions in its `database`, from 0.

    Raises:
      ConfigError: there is no such data set, or files are missing or malformed; the message says which, and where they
        are published.

    Example:
      >>> dataset = load_dataset("oxford5k", "/data/oxford")
      >>> dataset.queries[0].box
      (136.5, 34.1, 648.5, 955.7)
    """
    if name not in PUBLISHED:
        raise ConfigError(f"there is no data set {name!r}; there are {', '.join(PUBLISHED)}")
    if not os.fspath(folder):
        raise ConfigError(f"in which folder is {name}? give {name}:FOLDER")
    return PUBLISHED[name](folder)


def as_indexed(dataset: Dataset, indexed: Iterable[DatabaseImage]) -> tuple[Dataset, list[str]]:
    """Replaces the ids of a published data set by those of an index.

    Images are matched by file, after symbolic links are resolved. Where several links lead to one file, the first one
    stands for it, and the others are junk for every query. Other indexed images of the data set's folder (query images
    that the protocol keeps out, corrupted files) are junk for every query too; indexed images of other folders are
    distractors. A right answer that is not indexed counts as never found.

    Args:
      dataset: the data set as `load_dataset` returned it.
      indexed: the images of the index.

    Returns:
      The data set with the ids of the index, and the paths of those images of its database that are not indexed.

    Raises:
      ConfigError: no image of the data set is indexed.
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
    # No file of an index has a negative id, so what is not indexed is never found.
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
