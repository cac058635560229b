"""Re-rankers that exist in this test only: where the index applies one, and what it makes of the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.catalogs import put_images
from helpers.fake_encoder import FakeEncoder

from tfvlad.index import Index
from tfvlad.index.catalog import Snapshot, Stamp
from tfvlad.index.reranking import Candidate, Query

AXES = np.eye(8, dtype=np.float32)


class Reversed:
    """Turns the shortlist round; the last comes with 10 inliers more than the one before it, and so on."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.asked: list[tuple[Query, list[Candidate]]] = []

    def rerank(self, query: Query, shortlist: Sequence[Candidate], snapshot: Snapshot) -> list[Candidate]:
        self.asked.append((query, list(shortlist)))
        return [one._replace(inliers=10 * rank) for rank, one in reversed(list(enumerate(shortlist)))]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """Images 1 to 5; image i lies at the cosine 1 / i from the first axis. Image 2 is in two files."""
    with Index.create(tmp_path / "index", FakeEncoder()) as made:
        cosines = 1 / np.arange(1, 6)[:, None]
        put_images(made._catalog, np.arange(5), cosines * AXES[0] + (1 - cosines**2) ** 0.5 * AXES[1])
        with made._catalog.write() as change:
            change.put_file(1, "copy.jpg", Stamp(1, 1), b"1", [])
        yield made


def test_a_re_ranker_decides_the_order_of_the_shortlist(index: Index) -> None:
    reranker = Reversed(depth=3)
    [hits] = index._searcher.search(AXES[:1], 10, exact=False, reranker=reranker)
    # The shortlist is as long as k asks for where that is more than the depth.
    assert [Path(hit.path).stem for hit in hits] == ["4", "3", "2", "1", "copy", "0"]
    [hits] = index._searcher.search(AXES[:1], 2, exact=False, reranker=reranker)
    assert [Path(hit.path).stem for hit in hits] == ["2", "1"]  # of the three best
    assert [hit.score for hit in hits] == pytest.approx([1 / 3, 1 / 2])


def test_a_re_ranker_is_given_the_query_and_the_shortlist(index: Index) -> None:
    reranker = Reversed(depth=2)
    index._searcher.search(AXES[:2], 1, exact=True, reranker=reranker, sources=[b"first", b"second"])
    (first, shortlist), (second, _) = reranker.asked
    assert (first.source, second.source) == (b"first", b"second")
    assert np.array_equal(second.descriptor, AXES[1])
    assert [candidate.image for candidate in shortlist] == [1, 2]
    assert [candidate.score for candidate in shortlist] == pytest.approx([1, 1 / 2])
    index._searcher.search(AXES[:1], 1, exact=True, reranker=reranker)
    assert reranker.asked[-1][0].source is None


def test_candidates_that_are_equally_good_are_in_the_order_of_their_files(index: Index) -> None:
    class Indifferent(Reversed):
        def rerank(self, query: Query, shortlist: Sequence[Candidate], snapshot: Snapshot) -> list[Candidate]:
            return [candidate._replace(score=0.5) for candidate in reversed(shortlist)]

    [hits] = index._searcher.search(AXES[:1], 10, exact=True, reranker=Indifferent(depth=5))
    assert [hit.id for hit in hits] == [1, 2, 3, 4, 5, 6]
