"""Hits: the files that stand behind what a search found."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tfvlad.errors import ArtifactError
from tfvlad.index.catalog.reading import Snapshot
from tfvlad.index.ranking import Ranking
from tfvlad.index.roots import Root


class Hit(NamedTuple):
    """A file that a search found. Equal files are hits of their own, with equal scores.

    Attributes:
      path: full path, of the folder as it is now.
      score: cosine of the query's descriptor and the nearest of the image's.
      id: the file's id, the same as long as it is in the index.
    """

    path: str
    score: float
    id: int


def hits_of_images(snapshot: Snapshot, index_folder: str, ranking: Ranking, k: int) -> list[list[Hit]]:
    """The k best files of each query: equal ones share an image, and each of them is a hit."""
    folders = locate(snapshot.roots(), index_folder)
    files = defaultdict[int, list[tuple[str, int]]](list)
    for image, file, root, path in snapshot.files_of(np.unique(ranking.images[ranking.images >= 0])):
        files[image].append((full_path(snapshot, folders, root, path), file))
    found = zip(ranking.scores.tolist(), ranking.images.tolist(), strict=True)
    return [
        best_hits(
            [
                Hit(path, score, file)
                for score, image in zip(scores, images, strict=True)
                for path, file in files.get(image, ())
            ],
            k,
        )
        for scores, images in found
    ]


def locate(roots: Iterable[Root], index_folder: str) -> dict[int, str]:
    """Each root's folder, with a separator at the end."""
    return {root.id: os.path.join(root.locate(index_folder), "") for root in roots}


def full_path(snapshot: Snapshot, folders: dict[int, str], root: int, path: str) -> str:
    """The full path of a file in a root.

    Raises:
      ArtifactError: the catalog names a root that it does not hold.
    """
    if root not in folders:
        raise ArtifactError(snapshot.path, f"is damaged: the folder of {path} is not in it")
    return folders[root] + path


def best_hits(hits: list[Hit], k: int) -> list[Hit]:
    """The k best, best first, equal scores by lower id."""
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]
