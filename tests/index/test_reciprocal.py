from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_encoder import FakeEncoder, unit_vectors

from tfvlad.errors import ConfigError
from tfvlad.index import Index
from tfvlad.index._synced_folders import Root
from tfvlad.index.catalog import Block, EncodedView, Snapshot, Stamp, to_blob
from tfvlad.index.ranking import Ranking
from tfvlad.index.reciprocal import reordered, similarities
from tfvlad.index.reranking import Candidate, Query

DIM = 16


def put_whole_views(index: Index, vectors: np.ndarray) -> None:
    """Adds an image for each row; their ids are 1, 2, ..."""
    with index._catalog.write() as change:
        root = change.put_root(Root(-1, "/nowhere", "../nowhere"))
        for row, vector in enumerate(vectors, start=1):
            view = EncodedView("whole", to_blob(vector))
            change.put_file(root, f"{row}.jpg", Stamp(1, 1), str(row).encode(), [view])


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "index", FakeEncoder(dim=DIM), local_features=0) as made:
        yield made


def by_the_paper(query: np.ndarray, images: np.ndarray, k: int) -> np.ndarray:
    """The mixed scores of images by Zhong et al., set by set: similarities are one less distances. Needs no catalog."""
    everything = np.concatenate([query[None], images]).astype(np.float64)
    cosines = everything @ everything.T
    nearest = np.argsort(-cosines + -10 * np.eye(len(everything)), axis=1, kind="stable")  # each first among its own

    def reciprocal(p: int, k: int) -> set[int]:
        return {int(g) for g in nearest[p, : k + 1] if p in nearest[g, : k + 1]}

    vectors = np.zeros(cosines.shape)
    for p in range(len(everything)):
        members = reciprocal(p, k)
        grown = set(members)
        for g in members:
            other = reciprocal(g, -(-k // 2))
            if 3 * len(other & members) >= 2 * len(other):
                grown |= other
        for g in grown:
            vectors[p, g] = np.exp(cosines[p, g] - 1) if g != p else 1
        vectors[p] /= vectors[p].sum()
    few = max(2, int(np.ceil(0.3 * k)))
    vectors = np.array([vectors[nearest[p, :few]].mean(axis=0) for p in range(len(everything))])
    jaccard = np.array([np.minimum(vectors[0], one).sum() / np.maximum(vectors[0], one).sum() for one in vectors[1:]])
    return 0.3 * cosines[0, 1:] + 0.7 * jaccard


def grouped(groups: int, size: int, seed: int) -> np.ndarray:
    """Groups of unit vectors that are near each other, and as many that are near nothing."""
    random = np.random.default_rng(seed)
    centres = np.repeat(unit_vectors(groups, DIM, seed), size, axis=0)
    near = centres + random.normal(scale=0.15, size=centres.shape)
    every = np.concatenate([near / np.linalg.norm(near, axis=1, keepdims=True), unit_vectors(40, DIM, seed + 1)])
    return every.astype(np.float32)


def test_a_case_that_can_be_worked_out_by_hand() -> None:
    """The query q is nearest to A (0.9), then X (0.8), then B (0.7), and K is 2.

    A's nearest are q and B (0.85), B's are A and q, and X's are two others that are no candidates. So the sets of
    reciprocal neighbours are q: {q, A}, A: {A, q, B}, B: {B, A}, X: {X}. By the nearest one only, q and A have each
    other: q's own set grows by nothing. The sets are averaged over each picture and its nearest.
    """
    whole = Block(np.array([1, 2, 3]), np.array([10, 20, 30]), np.array([[1, 0], [0.85, 0.5268], [0, 1]], np.float32))
    a, x, b = 10, 30, 20
    ranking = Ranking(
        np.array([[1, 0.85, 0.1], [1, 0.85, 0.5], [1, 0.95, 0.94]], np.float32),
        np.array([[a, b, x], [b, a, x], [x, 40, 50]]),
        np.full((3, 3), -1),
    )
    found = similarities(np.array([a, x, b]), np.array([0.9, 0.8, 0.7]), whole, ranking, 2)
    of_a, of_b = np.exp(-0.1), np.exp(-0.15)  # q with A, and A with B
    set_of_q = np.array([1, of_a, 0]) / (1 + of_a)  # of q, A, B
    set_of_a = np.array([of_a, 1, of_b]) / (1 + of_a + of_b)
    set_of_b = np.array([0, of_b, 1]) / (1 + of_b)
    q, b_averaged = (set_of_q + set_of_a) / 2, (set_of_b + set_of_a) / 2
    expected = np.minimum(q, b_averaged).sum() / np.maximum(q, b_averaged).sum()
    assert found == pytest.approx([1, 0, expected])  # A's and q's average is the same; X has nothing in common with q


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8, 20])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_method_of_the_paper_where_all_images_are_candidates(index: Index, k: int, seed: int) -> None:
    images = grouped(6, 8, seed)
    put_whole_views(index, images)
    query = images[:8].sum(axis=0) / np.linalg.norm(images[:8].sum(axis=0))
    scores = by_the_paper(query, images, k)
    hits = index._searcher.find([Query(query[None].astype(np.float32))], len(images), True, reciprocal=k)[0]
    assert sorted(hit.id for hit in hits) == list(range(1, len(images) + 1))
    in_order = scores[[hit.id - 1 for hit in hits]]
    assert (np.diff(in_order) < 1e-6).all()  # rounding may swap neighbours that are equally good


@pytest.mark.parametrize("exact", [True, False])
def test_a_stranger_among_a_group_falls_behind_it(index: Index, exact: bool) -> None:
    """With 1,500 images and without `exact`, all neighbours are found through the graph."""
    axes = np.eye(DIM)

    def between(degrees: float) -> np.ndarray:
        at: np.ndarray = np.cos(np.radians(degrees)) * axes[0] + np.sin(np.radians(degrees)) * axes[7]
        return at

    query = between(26)
    group = 0.8 * axes[0] + 0.6 * axes[[1, 2, 3, 4, 5, 6, 8, 9]]  # at 0.72 from the query, and at 0.64 from each other
    stranger = between(50)  # at a cosine of 0.91 from the query
    noise = 0.03 * axes[10:]
    crowd = between(72) + np.concatenate([noise, -noise])  # nearer to the stranger than the query, at 0.70 from which
    others = unit_vectors(1500, DIM)
    others[:, [0, 7]] = 0
    images = np.concatenate([group, stranger[None], crowd, others])
    put_whole_views(index, (images / np.linalg.norm(images, axis=1, keepdims=True)).astype(np.float32))
    asked = [Query(query[None].astype(np.float32))]
    plain, by_neighbours = (index._searcher.find(asked, 9, exact, reciprocal=k)[0] for k in (0, 10))
    assert plain[0].id == 9
    assert sorted(hit.id for hit in by_neighbours[:8]) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert by_neighbours == index._searcher.find(asked, 9, exact, reciprocal=10)[0]


def test_the_re_ranker_sees_the_new_order_with_falling_scores(index: Index) -> None:
    images = grouped(6, 8, 1)
    put_whole_views(index, images)
    seen: list[list[Candidate]] = []

    class Watching:
        depth = 3

        def rerank(self, query: Query, shortlist: Sequence[Candidate], snapshot: Snapshot) -> list[Candidate]:
            seen.append(list(shortlist))
            return list(shortlist)

    query = Query(unit_vectors(1, DIM, 9) + images[:1])
    plain = index._searcher.find([query], 88, True)[0]
    index._searcher.find([query], 3, True, Watching(), reciprocal=4, expand=2)
    first, second = seen  # of the query, and of the expanded one
    assert len(first) == len(second) == len(images)
    for shortlist in seen:
        assert shortlist == sorted(shortlist, key=lambda one: -one.corrected)
    assert {one.image: one.score for one in first} == {hit.id: hit.score for hit in plain}
    assert [one.image for one in first] != [hit.id for hit in plain]


def test_what_is_not_re_ordered_stays_behind(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfvlad.index.reciprocal._MOST_REORDERED", 10)
    images = grouped(6, 8, 1)
    put_whole_views(index, images)
    plain, by_neighbours = (index._searcher.find([Query(images[:1])], 88, True, reciprocal=k)[0] for k in (0, 3))
    assert sorted(plain[:10]) == sorted(by_neighbours[:10])
    assert plain[10:] == by_neighbours[10:]


def test_images_without_a_whole_view_have_no_neighbours() -> None:
    candidates = [Candidate(image, 1 / image, corrected=1 / image) for image in (1, 2, 3)]
    nothing = Block(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, DIM), np.float32))
    same = reordered(candidates, 2, lambda images: nothing, lambda vectors, k: pytest.fail("nothing to look for"))
    assert [one.image for one in same] == [1, 2, 3]
    known = Block(np.array([7]), np.array([3]), unit_vectors(1, DIM))
    ranking = Ranking(np.ones((1, 1), np.float32), np.array([[3]]), np.array([[7]]))
    assert reordered(candidates, 3, lambda images: known, lambda vectors, k: ranking)[0].image == 3


@pytest.mark.parametrize("count", [0, 1, 2])
def test_indexes_of_hardly_any_image(index: Index, count: int) -> None:
    vectors = unit_vectors(count, DIM)
    put_whole_views(index, vectors)
    [hits] = index._searcher.find([Query(unit_vectors(1, DIM))], 5, False, reciprocal=500)
    assert sorted(hit.id for hit in hits) == list(range(1, count + 1))


def test_it_is_off_by_default_and_never_below_nothing(index: Index) -> None:
    put_whole_views(index, unit_vectors(30, DIM))
    assert index.search(b"query", k=30) == index.search(b"query", k=30, reciprocal=0)
    with pytest.raises(ConfigError, match="reciprocal must be 0 or more, got -1"):
        index.search(b"query", reciprocal=-1)
    with pytest.raises(ConfigError, match="reciprocal must be 0 or more, got -2"):
        index.search_indexed(1, reciprocal=-2)
