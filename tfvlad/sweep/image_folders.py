"""Which images a sweep studies, and by what ground truth."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence

from absl import flags

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets import DatabaseImage, Dataset, check_plain, load_dataset, plain_folder, split_name
from tfvlad.images.listing import image_paths


def given_dataset(values: flags.FlagValues) -> Dataset | None:
    """A public benchmark or plain folders; None where neither a data set nor queries are given.

    Args:
      values: the flags of the command.

    Returns:
      The data set, ids being places in its database.

    Raises:
      ConfigError: folders, files or ground truth are not there or do not fit.
    """
    name, folder = split_name(values.dataset or "")
    if name:
        if values.images or values.queries:
            raise ConfigError(f"{name} has images and queries of its own; leave --images and --queries out")
        published = load_dataset(name, folder)
        return published if values.query_boxes else published.whole_images()
    check_plain(folder)
    searched = values.images or [folder]
    database = database_images(searched)
    queries = values.queries or folder
    if not queries:
        return None
    asked = plain_folder(queries, database, values.ground_truth)
    return dataclasses.replace(asked, name=" in ".join(dict.fromkeys([title([queries]), title(searched)])))


def unique_images(folders: Iterable[str]) -> list[str]:
    """The images of folders; one counts once, whatever folders and links lead to it.

    Raises:
      ConfigError: one is not a folder, or holds no image.
    """
    return list(_located(folders))


def folders_of(paths: Sequence[str], given: Sequence[str]) -> list[str]:
    """The folders that hold exactly these images, in their order, as absolute paths; none where there are no such.

    Args:
      paths: the images.
      given: where they come from, as far as that is known; else the folder that they have in common is looked at.
    """
    located = [os.path.abspath(path) for path in paths]
    folders = [os.path.abspath(folder) for folder in given or [os.path.commonpath(map(os.path.dirname, located))]]
    return folders if unique_images(folders) == located else []


def title(folders: Iterable[str]) -> str:
    """The name of a study of folders."""
    return ", ".join(os.path.basename(os.path.abspath(folder)) for folder in folders)


def database_images(folders: Iterable[str]) -> list[DatabaseImage]:
    """The images of folders, each with its place as id.

    Raises:
      ConfigError: see `unique_images`.
    """
    located = enumerate(_located(folders).items())
    return [DatabaseImage(os.path.relpath(path, root), path, number) for number, (path, root) in located]


def _located(folders: Iterable[str]) -> dict[str, str]:
    """Path of each image -> the folder that was given."""
    found = {os.path.realpath(path): (path, folder) for folder in folders for path in image_paths(folder)}
    return dict(found.values())
