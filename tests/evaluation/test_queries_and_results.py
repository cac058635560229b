"""Searching for many queries: those that cannot be used are accounted for, and the others are searched for together."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfvlad.errors import ConfigError, Failure, ImageError
from tfvlad.evaluation.datasets import Query
from tfvlad.evaluation.queries_and_results import no_answer, search_queries


class Asked:
    """Stands in for an index: it finds the source itself, and refuses sources that begin with ``bad``."""

    encoder = SimpleNamespace(max_pixels=10**8)

    def __init__(self) -> None:
        self.asked: list[tuple[list[Any], int, dict[str, Any]]] = []

    def search(self, sources: list[Any], k: int, **finding: Any) -> list[list[Any]]:
        self.asked.append((sources, k, finding))
        for source in sources:
            if isinstance(source, str) and source.startswith("bad"):
                raise ImageError(source, "an empty file")
        return [[source] for source in sources]


def test_queries_are_searched_for_together() -> None:
    index = Asked()
    searched = search_queries(index, [Query(f"{number}.jpg") for number in range(20)], 3, verify=7)  # type: ignore[arg-type]
    assert searched.positions == list(range(20))
    assert searched.hits == [[f"{number}.jpg"] for number in range(20)]
    assert searched.failures == []
    assert [(len(sources), k, finding) for sources, k, finding in index.asked] == [
        (16, 3, {"verify": 7}),
        (4, 3, {"verify": 7}),
    ]


def test_one_that_cannot_be_used_costs_no_other() -> None:
    index = Asked()
    queries = [Query("a.jpg"), Query("bad1.jpg"), Query("b.jpg"), Query("bad2.jpg")]
    searched = search_queries(index, queries)  # type: ignore[arg-type]
    assert searched.positions == [0, 2]
    assert searched.hits == [["a.jpg"], ["b.jpg"]]
    assert searched.failures == [Failure("bad1.jpg", "an empty file"), Failure("bad2.jpg", "an empty file")]


def test_none_that_can_be_used_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^bad1.jpg: an empty file \(and 1 more that cannot be used\)$"):
        search_queries(Asked(), [Query("bad1.jpg"), Query("bad2.jpg")])  # type: ignore[arg-type]


def test_boxes_are_cut_out_and_such_outside_of_the_image_are_listed(tmp_path: Path) -> None:
    path = str(tmp_path / "image.png")
    Image.fromarray(np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)).save(path)
    index = Asked()
    boxes = [(10, 5, 30, 25), (100, 0, 120, 20), None]
    searched = search_queries(index, [Query(path, box) for box in boxes])  # type: ignore[arg-type]
    assert searched.positions == [0, 2]
    ((cut, whole), _, _) = index.asked[0]
    assert cut.shape == (20, 20, 3)
    assert whole == path
    (failure,) = searched.failures
    assert failure == Failure(path, "the box 100,0 to 120,20 is not inside its 60 x 40 pixels")


def hit(path: str, inliers: int | None = None, verdict: str | None = None) -> Any:
    return SimpleNamespace(path=path, inliers=inliers, verdict=verdict)


@pytest.mark.parametrize("verdict", ["same", "likely"])
def test_a_likely_hit_answers(verdict: str) -> None:
    assert no_answer([hit("a.jpg", 12, "unsure"), hit("b.jpg", 30, verdict)]) is None


def test_without_verification_nothing_is_said() -> None:
    assert no_answer([hit("a.jpg")]) is None
    assert no_answer([]) is None


def test_a_query_without_an_answer_is_said_to_have_none() -> None:
    hits = [hit("a.jpg", 4, "different"), hit("b.jpg", 6, "different"), hit("c.jpg")]
    assert no_answer(hits) == "probably not in the index: no more than 6 local features agree with any of these"
    hits = [hit("a.jpg", 12, "unsure"), hit("b.jpg", 6, "different")]
    assert no_answer(hits) == "probably not in the index: 12 local features agree with a.jpg, which is unsure"
