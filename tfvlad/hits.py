"""Hits: the files that stand behind what a search found."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfvlad.errors import ArtifactError
from tfvlad.ranking import Ranking
from tfvlad.roots import Root
from tfvlad.tables import Ids, Snapshot, Version

# Descriptors whose files are remembered, at most, beyond what one search needs: some 30 MB.
_REMEMBERED = 100_000


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
        _best(
            [
                Hit(path, score, file)
                for score, image in zip(scores, images, strict=True)
                for path, file in files.get(image, ())
            ],
            k,
        )
        for scores, images in found
    ]


class RememberedFiles:
    """The files of descriptors, remembered while the catalog and its folders stay as they are. Not thread-safe."""

    def __init__(self, index_folder: str) -> None:
        self._index_folder = index_folder
        self._version: Version | None = None
        self._roots: list[Root] = []
        self._folders: dict[int, str] = {}
        self._files: dict[int, list[tuple[str, int]]] = {}  # (full path, id) of each, by id

    def hits(self, snapshot: Snapshot, scores: NDArray[np.float32], descriptors: Ids, k: int) -> list[list[Hit]] | None:
        """The k best files of each query.

        Args:
          snapshot: where the descriptors are.
          scores: (q, n) float32, best first.
          descriptors: (q, n) int64, in each row different ones.
          k: files.

        Returns:
          q lists; None where a descriptor is not the only one of its image, so that others may score higher.
        """
        self._follow(snapshot)
        rows = descriptors.tolist()
        try:
            found = self._join(scores, rows)
        except KeyError:
            self._look_up(snapshot, rows)
            try:
                found = self._join(scores, rows)
            except KeyError:
                return None
        tied = scores[:, 1:] == scores[:, :-1]
        if tied.any():
            for row in np.flatnonzero(tied.any(axis=1)).tolist():
                found[row] = _best(found[row], k)
        return [hits[:k] if len(hits) > k else hits for hits in found]

    def _join(self, scores: NDArray[np.float32], rows: list[list[int]]) -> list[list[Hit]]:
        files = self._files
        return [
            [Hit(path, score, file) for score, one in zip(best, row, strict=True) for path, file in files[one]]
            for best, row in zip(scores.tolist(), rows, strict=True)
        ]

    def _follow(self, snapshot: Snapshot) -> None:
        """Forgets everything where the catalog has changed, or a folder has gone elsewhere."""
        version = snapshot.version()
        if version != self._version:
            self._roots = snapshot.roots()
            self._files.clear()
            self._version = version
        folders = locate(self._roots, self._index_folder)
        if folders != self._folders:
            self._files.clear()
            self._folders = folders

    def _look_up(self, snapshot: Snapshot, rows: Iterable[list[int]]) -> None:
        wanted = set().union(*rows)
        missing = wanted - self._files.keys()
        if len(self._files) + len(missing) > _REMEMBERED:
            self._files.clear()
            missing = wanted
        for descriptor, file, root, path in snapshot.files_of_sole(missing):
            full = full_path(snapshot, self._folders, root, path)
            self._files.setdefault(descriptor, []).append((full, file))


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


def _best(hits: list[Hit], k: int) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]
