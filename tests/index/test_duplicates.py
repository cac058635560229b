"""Groups of the same picture: which pairs are compared, and how verified pairs become groups."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_encoder import FakeEncoder
from numpy.typing import NDArray
from PIL import Image

from tfvlad.index import Duplicate, Index
from tfvlad.index._copies import Link
from tfvlad.index._duplicate_search import _stars, find_duplicates
from tfvlad.index._similar_pairs import Neighbour, SimilarPairs, similar_pairs
from tfvlad.matching.explanation import Pose
from tfvlad.matching.registration import Registration

SHOWN = Registration(np.eye(3), Pose(0.0, 1.0, 1.0), (1.0, 1.0), 1.0, 1.0, 100)


class AlikeEncoder(FakeEncoder):
    """Gives every picture nearly the same descriptor, so that only verification tells pictures apart."""

    def describe(self, content: bytes) -> NDArray[np.float32]:
        vector = np.eye(self.dim)[0] + 0.1 * super().describe(content)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve pictures, ``00.png`` …, and a small copy of each of the first five."""
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(3)
    for number in range(12):
        blots = Image.fromarray(generator.integers(0, 256, (12, 16, 3), np.uint8))
        drawn = blots.resize((200, 150), Image.Resampling.BICUBIC)
        drawn.save(folder / f"{number:02}.png")
        if number < 5:
            drawn.resize((100, 75), Image.Resampling.BICUBIC).save(folder / f"{number:02}-small.jpg")
    return folder


@pytest.fixture
def index(photos: Path, tmp_path: Path) -> Index:
    index = Index.create(tmp_path / "index", AlikeEncoder(), local_features=20)  # type: ignore[arg-type]
    index.sync(photos)
    return index


def names(groups: Sequence[Sequence[Duplicate]]) -> list[list[str]]:
    return [[Path(one.path).name for one in group] for group in groups]


def test_each_copy_is_beside_its_picture_and_no_other(index: Index) -> None:
    found = index.duplicates()
    assert sorted(names(found.groups)) == [[f"{number:02}.png", f"{number:02}-small.jpg"] for number in range(5)]
    assert (found.failed, found.pairs) == ([], 17 * 16 // 2)
    copy = found.groups[0][1]
    assert (copy.kind, copy.how, copy.size, copy.bytes > 0) == ("same picture", "scaled by 0.50", (100, 75), True)


def test_the_graph_gives_the_same_as_the_exact_search(index: Index) -> None:
    exactly = index.duplicates()
    through_graph = find_duplicates(index._catalog, index._graphs, index._path, 0, None)
    assert through_graph == exactly


def test_no_more_than_so_many_neighbours_are_looked_at(index: Index) -> None:
    counted: list[int] = []
    pairs = similar_pairs(index._catalog, index._graphs, 1000, 3, 0.35, counted.append)
    assert sum(counted) == 17
    assert 17 * 3 / 2 <= len(pairs) <= 17 * 3
    assert len(similar_pairs(index._catalog, index._graphs, 1000, 3, 1.1, counted.append)) == 0


def test_a_view_that_is_turned_says_how_the_pictures_lie_on_each_other() -> None:
    pairs = SimilarPairs(np.array([[7, 4]]), np.array([0.9]), ["whole", "turn 90"], np.array([1]))
    [there], [back] = pairs.of(7), pairs.of(4)
    assert (there.image, back.image) == (4, 7)
    np.testing.assert_allclose(there.guess @ back.guess, np.eye(3), atol=1e-9)
    assert not np.allclose(there.guess, np.eye(3), atol=0.1)
    assert pairs.of(5) == []


class KnownVerifier:
    """Stands in for `CopyVerifier`: says which pairs show one picture, and counts what it is asked."""

    def __init__(self, same: set[tuple[int, int]]) -> None:
        self.same = same
        self.asked: list[tuple[int, int]] = []
        self.sizes = {image: (100 + image, 100) for image in range(1000)}

    def links(
        self, image: int, through: int, to_it: NDArray[np.float64], others: Sequence[Neighbour], again: Container[int]
    ) -> list[Link | None]:
        pairs = [(min(image, one.image), max(image, one.image)) for one in others]
        self.asked += pairs
        return [Link(SHOWN, 0) if pair in self.same else None for pair in pairs]


def stars(pairs: Sequence[tuple[int, int]], same: set[tuple[int, int]]) -> tuple[dict[int, list[int]], int]:
    verifier = KnownVerifier(same)
    zeros = np.zeros(len(pairs), np.int64)
    found = _stars(SimilarPairs(np.array(pairs), np.ones(len(pairs)), ["whole"], zeros), verifier)  # type: ignore[arg-type]
    assert max(map(verifier.asked.count, verifier.asked)) <= 3
    return {reference: sorted(group) for reference, group in found.items()}, len(verifier.asked)


def test_a_chain_is_no_group() -> None:
    """1 is as 2, and 2 as 3, but 1 is not as 3: 2, which is like both, has both; of a longer chain, nobody is left."""
    assert stars([(1, 2), (2, 3)], {(1, 2), (2, 3)})[0] == {2: [1, 3]}
    chain = [(number, number + 1) for number in range(9)]
    groups, _ = stars(chain, set(chain))
    for reference, members in groups.items():
        assert all(abs(reference - member) == 1 for member in members)
    assert sorted(image for reference, members in groups.items() for image in (reference, *members)) == [*range(9)]


def test_a_picture_is_reached_through_others_and_verified_against_the_first() -> None:
    pairs = [(1, 2), (1, 3), (3, 4)]
    assert stars(pairs, {(1, 2), (1, 3), (1, 4), (3, 4)})[0] in ({1: [2, 3, 4]}, {3: [1, 4]})


def test_of_two_pictures_the_larger_one_is_the_reference() -> None:
    assert stars([(5, 9)], {(5, 9)})[0] == {9: [5]}


def test_the_work_of_a_long_chain_grows_with_its_length() -> None:
    counts = []
    for length in (100, 200, 400):
        chain = [(number, number + 1) for number in range(length)]
        counts.append(stars(chain, set(chain))[1])
    assert counts[2] < 2.1 * counts[1] < 4.5 * counts[0]
