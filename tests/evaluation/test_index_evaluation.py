"""What the graph loses is the graph's alone, by a stand-in for an index that says what each search finds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

import tfvlad
from tfvlad.errors import ConfigError, Failure, ImageError
from tfvlad.evaluation.datasets import DatabaseImage, Dataset, Query
from tfvlad.evaluation.index_evaluation import evaluate_index
from tfvlad.evaluation.summary import json_document, metric_table

FILES = 40


class Encoder:
    max_pixels = 10**8

    def encode_stream(self, sources: Iterable[str]) -> Iterator[Any]:
        for source in sources:
            yield ImageError(source, "is no picture") if "broken" in source else np.ones(2, np.float32)


class Index:
    """Finds 0 1 2 … exactly; through the graph it misses every file in `missed`."""

    encoder = Encoder()

    def __init__(self, *missed: int) -> None:
        self.missed = missed
        self.asked: list[int] = []

    def __len__(self) -> int:
        return FILES

    def search_descriptors(self, vectors: np.ndarray, k: int, exact: bool = False) -> list[list[tfvlad.Hit]]:
        ids = [id_ for id_ in range(FILES) if exact or id_ not in self.missed][:k]
        if not exact:
            self.asked.append(k)
        return [[tfvlad.Hit(f"{id_}.jpg", 1 / (1 + id_), id_) for id_ in ids] for _ in vectors]


def dataset(*queries: str, **protocols: list[dict[str, list[int]]]) -> Dataset:
    database = [DatabaseImage(f"{id_}.jpg", f"{id_}.jpg", id_) for id_ in range(FILES)]
    return Dataset([Query(query) for query in queries], protocols, database, "set")


def test_what_the_graph_misses_comes_where_its_hits_end() -> None:
    # A tenth of 39 is 3 hits: the graph finds 0 2 3, and 1 follows: 0 2 3 1 4 … The right answer 1 is second exactly,
    # AP (0 + 1/2) / 2 = 1/4, and fourth through the graph, AP (0 + 1/4) / 2 = 1/8.
    index = Index(1)
    evaluation = evaluate_index(index, dataset("a.jpg", all=[{"ok": [1], "junk": []}]), graph_hits=100)  # type: ignore[arg-type]
    assert index.asked == [3]
    assert evaluation.graph is not None
    assert evaluation.graph_rankings is not None
    assert evaluation.graph_rankings[0].tolist() == [0, 2, 3, 1, *range(4, FILES)]
    assert (evaluation.exact["all"].score, evaluation.graph["all"].score) == (1 / 4, 1 / 8)
    assert [hit.right for hit in evaluation.results[0].hits] == [False, True, False, False]
    assert evaluation.results[0].missed is None
    head, rows = metric_table(evaluation)
    assert head == ["metric", "exact", "graph", "loss"]
    assert rows[:3] == [
        ["queries", "1", "", ""],
        ["mAP", "0.2500", "0.1250", "0.1250"],
        ["MRR", "0.5000", "0.2500", "0.2500"],
    ]
    found = json_document(evaluation)
    assert found["protocols"]["all"]["loss"]["mAP"] == 1 / 8  # type: ignore[index]
    assert found["per_query"] == [{"query": "a.jpg", "box": None, "ap": {"all": 1 / 4}, "graph_ap": {"all": 1 / 8}}]


def test_the_first_right_answer_is_kept_wherever_it_is() -> None:
    truths = [{"ok": [7, 9], "junk": [0, 2]}]
    (row,) = evaluate_index(Index(), dataset("a.jpg", all=truths), results_kept=3).results  # type: ignore[arg-type]
    # Without junk 0 and 2 the ranking is 1 3 4 5 6 7: the first right answer is sixth.
    assert [hit.path for hit in row.hits] == ["1.jpg", "3.jpg", "4.jpg"]
    assert row.missed is not None
    assert (row.missed[0].path, row.missed[1]) == ("7.jpg", 6)


def test_every_protocol_is_judged() -> None:
    protocols = {
        "medium": [{"ok": [0, 1], "junk": []}] * 2,
        "hard": [{"ok": [1], "junk": [0]}, {"ok": [], "junk": [0]}],
    }
    evaluation = evaluate_index(Index(), dataset("a.jpg", "b.jpg", **protocols))  # type: ignore[arg-type]
    assert {name: judged.score for name, judged in evaluation.exact.items()} == {"medium": 1, "hard": 1}
    assert evaluation.graph is None
    head, rows = metric_table(evaluation)
    assert head == ["metric", "value"]
    assert [row for row in rows if "queries" in row[0]] == [["queries (medium)", "2"], ["queries (hard)", "1"]]
    found = json_document(evaluation)
    assert found["per_query"] == [
        {"query": "a.jpg", "box": None, "ap": {"medium": 1, "hard": 1}},
        {"query": "b.jpg", "box": None, "ap": {"medium": 1, "hard": None}},
    ]


def test_ukbench_is_told_by_its_own_score_first() -> None:
    groups = dataclasses.replace(dataset("a.jpg", all=[{"ok": [0, 1, 3, 9], "junk": []}]), measure="N-S score")
    evaluation = evaluate_index(Index(1), groups, graph_hits=3)  # type: ignore[arg-type]
    # Exactly 0 1 2 3 come first, three of the four; through the graph 0 2 3 1, three as well.
    assert metric_table(evaluation)[1][1] == ["N-S score", "3.0000", "3.0000", "0.0000"]
    assert json_document(evaluation)["score"] == 3


def test_queries_that_cannot_be_used_are_left_out() -> None:
    truths = [{"ok": [0], "junk": []}, {"ok": [1], "junk": []}]
    evaluation = evaluate_index(Index(), dataset("broken.jpg", "b.jpg", all=truths))  # type: ignore[arg-type]
    assert evaluation.dataset.ground_truth == truths[1:]
    assert [row.query for row in evaluation.results] == ["b.jpg"]
    assert evaluation.failures == [Failure("broken.jpg", "is no picture")]
    with pytest.raises(ConfigError, match=r"no query of set that has a match can be used; the first is broken.jpg: is"):
        evaluate_index(Index(), dataset("broken.jpg", "b.jpg", all=[truths[0], {"ok": [], "junk": []}]))  # type: ignore[arg-type]
