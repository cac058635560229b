"""Hits: what a search gives, which are files."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tfvlad.index.reranking import Candidate

if TYPE_CHECKING:
    from tfvlad.matching.verdict import Verdict

Box = tuple[int, int, int, int]
Files = Mapping[int, list[tuple[str, int]]]  # image -> (full path, id) of each file that shows it


class _Hit(NamedTuple):
    path: str
    score: float
    id: int


class Hit(_Hit):
    """A file that a search found. Files with equal bytes are hits of their own, with equal scores.

    It is a tuple of `path`, `score` and `id`; the rest are attributes, None where they are not known.

    Attributes:
      path: the full path of the file, in its folder as that is located now.
      score: the cosine of a query's descriptor and an image's, of those two of their views that fit best.
      id: the file's id, which stays the same as long as the file is in the index.
      view: the image's view that fits best, such as ``whole`` or ``turn 45``; see `tfvlad.images.views.View.name`.
      query_view: the query's view that fits best.
      inliers: how many local features of the query and the image agree under one transform.
      verdict: ``same``, ``likely``, ``unsure`` or ``different``; see `tfvlad.matching.Calibration`.
      probability: that it is the same, 0 to 1.
      box: where the query lies in the image: x, y, width and height in pixels of the upright image.

    Example:
      ``for hit in index.search("query.jpg", k=5)[0]: print(hit.score, hit.path, hit.verdict)``
    """

    view: str | None = None
    query_view: str | None = None
    inliers: int | None = None
    verdict: Verdict | None = None
    probability: float | None = None
    box: Box | None = None

    def __repr__(self) -> str:
        """The hit in one line, with its verdict where it is verified."""
        verified = "" if self.verdict is None else f", verdict={self.verdict!r}, inliers={self.inliers}, box={self.box}"
        return f"Hit(path={self.path!r}, score={self.score:.4f}, id={self.id}{verified})"

    @classmethod
    def of(cls, path: str, id: int, candidate: Candidate, query_view: str | None = None) -> Hit:
        """The hit of a file that shows a candidate."""
        hit = cls(path, candidate.score, id)
        hit.view, hit.query_view = candidate.view, query_view
        if candidate.inliers is not None:
            hit.inliers, hit.verdict, hit.probability = candidate.inliers, candidate.verdict, candidate.probability
            hit.box = candidate.box
        return hit


class Hits(list[Hit]):
    """The hits of a query, the best first: a list, which a notebook shows with pictures."""

    def _repr_html_(self) -> str:
        """Each file's picture with its rank, its score and, where it is verified, its verdict."""
        from tfvlad.images.notebooks import pictures

        shown = []
        for rank, hit in enumerate(self, start=1):
            verified = [] if hit.verdict is None else [f"{hit.verdict}: {hit.inliers} local features agree"]
            shown.append((hit.path, [f"{rank}. score {hit.score:.3f}", *verified]))
        return pictures(shown)


def in_order(files: Files, candidates: Sequence[Candidate], query_views: Sequence[str], most: int) -> Hits:
    """The candidates' files, at most so many; those of neighbours that are equally good are in the order of their ids.

    Args:
      files: of the candidates' images.
      candidates: best first.
      query_views: the names of the query's views.
      most: the number of hits.
    """
    hits: list[Hit] = []
    for _, equal in itertools.groupby(candidates, key=lambda one: one.worth):
        if len(hits) >= most:
            break
        group = [
            Hit.of(path, file, one, query_views[one.query_view])
            for one in equal
            for path, file in files.get(one.image, ())
        ]
        hits += sorted(group, key=lambda hit: hit.id)
    return Hits(hits[:most])
