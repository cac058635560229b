"""Hits: the files that show the images of a ranking."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfvlad.index._folders import Folders
from tfvlad.index.catalog import Snapshot
from tfvlad.index.ranking import Ranking
from tfvlad.index.reranking import Candidate, Query, Reranker


class Hit(NamedTuple):
    """A file that a search found. Files with equal bytes are hits of their own, with equal scores.

    Attributes:
      path: the full path of the file, in its folder as that is located now.
      score: the cosine of the query's descriptor and the nearest of the image's descriptors.
      id: the file's id, which stays the same as long as the file is in the index.

    Example:
      ``for hit in index.search("query.jpg", k=5)[0]: print(hit.score, hit.path)``
    """

    path: str
    score: float
    id: int


Files = Mapping[int, list[tuple[str, int]]]  # image -> (full path, id) of each file that shows it


def hits_of_ranking(snapshot: Snapshot, folders: Folders, ranking: Ranking, k: int) -> list[list[Hit]]:
    """The k best files of each query; equal scores are in the order of the files' ids."""
    files = _files(snapshot, folders, ranking)
    found = []
    for scores, images in zip(ranking.scores.tolist(), ranking.images.tolist(), strict=True):
        hits = [
            Hit(path, score, file)
            for score, image in zip(scores, images, strict=True)
            for path, file in files.get(image, ())
        ]
        hits.sort(key=lambda hit: (-hit.score, hit.id))
        found.append(hits[:k])
    return found


def hits_of_reranking(
    snapshot: Snapshot, folders: Folders, ranking: Ranking, k: int, queries: Sequence[Query], reranker: Reranker
) -> list[list[Hit]]:
    """The k best files of each query in the order of a re-ranker."""
    files = _files(snapshot, folders, ranking)
    found = []
    for query, scores, images in zip(queries, ranking.scores.tolist(), ranking.images.tolist(), strict=True):
        shortlist = [Candidate(image, score) for image, score in zip(images, scores, strict=True) if image >= 0]
        hits: list[Hit] = []
        for _, equal in itertools.groupby(reranker.rerank(query, shortlist, snapshot), key=lambda one: one[1:]):
            group = [Hit(path, one.score, file) for one in equal for path, file in files.get(one.image, ())]
            hits += sorted(group, key=lambda hit: hit.id)
        found.append(hits[:k])
    return found


def _files(snapshot: Snapshot, folders: Folders, ranking: Ranking) -> Files:
    files = defaultdict[int, list[tuple[str, int]]](list)
    for image, file, root, path in snapshot.files_of(np.unique(ranking.images[ranking.images >= 0])):
        files[image].append((folders.full_path(root, path), file))
    return files
