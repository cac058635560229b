"""Re-ranking: a closer look at the few images that the descriptors found.

Descriptors give a shortlist from millions of images in milliseconds. A re-ranker then compares the query with the
images of the shortlist, and with no others, in whatever way it likes. There is none yet; `tfvlad.Index` applies one
between the ranking and the hits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tfvlad.index.catalog import Snapshot

if TYPE_CHECKING:
    from tfvlad.images.loading import Source


class Query(NamedTuple):
    """What is searched for.

    Attributes:
      descriptor: (dim,) float32, unit length.
      source: the query's image; None where only a descriptor was given.
    """

    descriptor: NDArray[np.float32]
    source: Source | None


class Candidate(NamedTuple):
    """An image of the shortlist.

    Attributes:
      image: its id in the catalog. The catalog tells its files and its descriptors.
      score: the cosine of the query's descriptor and the nearest of the image's, or the re-ranker's own score.
      inliers: how many local features agree with the query's, where that was counted.
      verdict: whether the image shows the same as the query, where that was decided.
    """

    image: int
    score: float
    inliers: int | None = None
    verdict: str | None = None


class Reranker(Protocol):
    """Puts the images of a shortlist in a better order.

    Attributes:
      depth: the number of images that the shortlist should have; fewer come where the index holds fewer.
    """

    @property
    def depth(self) -> int: ...

    def rerank(self, query: Query, shortlist: Sequence[Candidate], snapshot: Snapshot) -> list[Candidate]:
        """Gives the candidates in their new order, best first.

        Args:
          query: what is searched for.
          shortlist: the candidates by their descriptors' score, best first.
          snapshot: the catalog in the state that was searched.

        Returns:
          The same images. Neighbours with equal scores, inliers and verdicts count as equally good.
        """
        ...
