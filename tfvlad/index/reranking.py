"""Re-ranking: a closer look at the few images that the descriptors found.

Descriptors give a shortlist from millions of images in milliseconds. A re-ranker then compares the query with the
images of the shortlist, and with no others, in whatever way it likes. `tfvlad.Index` applies one between the ranking
and the hits; `tfvlad.index.verification.Verification` is the one that there is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tfvlad.images.views import WHOLE, View
from tfvlad.index.catalog import Snapshot
from tfvlad.matching.local_features import LocalFeatures

if TYPE_CHECKING:
    from tfvlad.images.sources import Source
    from tfvlad.matching.verdict import Verdict


@dataclasses.dataclass(eq=False)
class Query:
    """What is searched for.

    Attributes:
      descriptors: (V, dim) float32, unit length, one for each view.
      views: the V views that are searched for; an image's score is the best of any view of it with any of these.
      source: the query's picture; None where only descriptors were given.
      features: the compact local features of whole pictures by their turn in degrees, as far as they are known.
      describe: gives the local features of the picture turned by some degrees; None where that cannot be done.
      image: the id of the indexed image that has the same bytes as the query; None where that is not known.
    """

    descriptors: NDArray[np.float32]
    views: Sequence[View] = (WHOLE,)
    source: Source | None = None
    features: dict[float, LocalFeatures] = dataclasses.field(default_factory=dict)
    describe: Callable[[Sequence[float]], Sequence[LocalFeatures]] | None = None
    image: int | None = None

    @property
    def descriptor(self) -> NDArray[np.float32]:
        """The first view's descriptor, (dim,) float32."""
        first: NDArray[np.float32] = self.descriptors[0]
        return first

    def know(self, turns: Sequence[float]) -> None:
        """Fills in `features` for these turns, if that can be done."""
        unknown = [turn for turn in dict.fromkeys(turns) if turn not in self.features]
        if unknown and self.describe is not None:
            self.features.update(zip(unknown, self.describe(unknown), strict=True))


class Candidate(NamedTuple):
    """An image of the shortlist.

    Attributes:
      image: its id in the catalog. The catalog tells its files and its descriptors.
      score: the cosine of a descriptor of the query and one of the image, of their two views that fit best.
      inliers: how many local features agree with the query's, where that was counted.
      verdict: whether the image shows the same as the query, where that was decided.
      probability: that it does, 0 to 1.
      view: the name of the image's view that fits best; None where that is not known.
      query_view: the position of the query's view that fits best; -1 where that is not known.
      box: where the query lies in the image: x, y, width, height in pixels; None where that is not known.
      corrected: the score minus how near the image's view is to any query, see `tfvlad.index.hubness`; the score itself
        where there is no such correction. `tfvlad.index.reciprocal` mixes it with what neighbours say. The shortlist is
        in the order of these.
      path: one of the files that show the image.
    """

    image: int
    score: float
    inliers: int | None = None
    verdict: Verdict | None = None
    probability: float | None = None
    view: str | None = None
    query_view: int = 0
    box: tuple[int, int, int, int] | None = None
    corrected: float = 0.0
    path: str = ""

    @property
    def worth(self) -> tuple[object, ...]:
        """Neighbours whose worth is equal are equally good."""
        return self.score, self.inliers, self.verdict


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
          snapshot: the catalog; it may be in a later state than the one that was searched.

        Returns:
          The same images. Neighbours with equal scores, inliers and verdicts count as equally good.
        """
        ...
