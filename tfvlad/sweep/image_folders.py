"""Which images a sweep searches, and with which queries and right answers: a public data set, or plain folders."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets import DatabaseImage, Dataset, check_plain, load_dataset, plain_folder, split_name
from tfvlad.images.listing import image_paths


def dataset_to_study(
    dataset: str | None, images: Sequence[str], queries: str | None, rule: str, query_boxes: bool = True
) -> Dataset | None:
    """Loads a public data set, or plain folders of images and queries.

    Args:
      dataset: ``NAME:FOLDER``, or a plain folder of queries.
      images: folders of the database images; none for a public data set, which brings its own.
      queries: the folder of the queries, if that is not the plain folder itself.
      rule: which images are right answers in plain folders; see `tfvlad.evaluation.datasets.plain_folder`.
      query_boxes: whether a query that is a part of its image is searched for by this part only.

    Returns:
      The data set, ids being positions in its database; None if neither a data set nor queries are given.

    Raises:
      ConfigError: folders, files or ground truth are missing or do not fit.
    """
    name, folder = split_name(dataset or "")
    if name:
        if images or queries:
            raise ConfigError(f"{name} has images and queries of its own; leave --images and --queries out")
        published = load_dataset(name, folder)
        return published if query_boxes else published.whole_images()
    check_plain(folder)
    searched = images or [folder]
    database = database_images(searched)
    queries = queries or folder
    if not queries:
        return None
    plain = plain_folder(queries, database, rule)
    return dataclasses.replace(plain, name=" in ".join(dict.fromkeys([title([queries]), title(searched)])))


def database_images(folders: Iterable[str]) -> list[DatabaseImage]:
    """Lists the images of folders, each with its position as id.

    Raises:
      ConfigError: see `unique_images`.
    """
    located = enumerate(_folder_of_image(folders).items())
    return [DatabaseImage(os.path.relpath(path, root), path, number) for number, (path, root) in located]


def unique_images(folders: Iterable[str]) -> list[str]:
    """Lists the paths of the images of folders. An image counts once, even if several folders and links lead to it.

    Raises:
      ConfigError: one is not a folder, or holds no image.
    """
    return list(_folder_of_image(folders))


def folders_of(paths: Sequence[str], given: Sequence[str]) -> list[str]:
    """Finds folders that hold exactly these images, in their order, as absolute paths; an empty list if none do.

    Args:
      paths: the images.
      given: the folders that the images come from; if that is not known, the folder that they have in common is tried.
    """
    located = [os.path.abspath(path) for path in paths]
    folders = [os.path.abspath(folder) for folder in given or [os.path.commonpath(map(os.path.dirname, located))]]
    return folders if unique_images(folders) == located else []


def title(folders: Iterable[str]) -> str:
    """The name of a study of folders: their own names."""
    return ", ".join(os.path.basename(os.path.abspath(folder)) for folder in folders)


def _folder_of_image(folders: Iterable[str]) -> dict[str, str]:
    """Path of each image -> the folder that it was found in, as given."""
    found = {os.path.realpath(path): (path, folder) for folder in folders for path in image_paths(folder)}
    return dict(found.values())
