"""Which way to search is chosen, what lifts the ranking, and the tables of both: on made-up studies."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers.made_up_studies import cell, search_cell, study

from tfvlad.sweep.grid import SearchGrid, SearchSetting, Setting, search_settings
from tfvlad.sweep.search_choice import ranked_searches, search_findings, search_front
from tfvlad.sweep.search_tables import (
    search_columns,
    search_flagfile,
    search_json,
    search_lines,
    search_reasons,
    search_rows,
)
from tfvlad.sweep.study import Study

VLAD = Setting(224, "conv4", "vlad", 100, 128)
PLAIN = SearchSetting("whole", "whole", 0, "", 0)
VERIFIED = dataclasses.replace(PLAIN, verify=50, verifier="cells")
TURNED = dataclasses.replace(PLAIN, query_views="rotations:8")
SIFT = dataclasses.replace(VERIFIED, verifier="sift")
LOW, HIGH = [0.2, 0.3, 0.25, 0.2], [1.0, 0.5, 1.0, 1.0]


@pytest.fixture
def made() -> Study:
    searches = [
        search_cell(VLAD, PLAIN, LOW, ms=5.0),
        search_cell(VLAD, VERIFIED, HIGH, ms=50.0, size=35_000.0),
        search_cell(VLAD, TURNED, LOW, ms=9.0),
        search_cell(VLAD, dataclasses.replace(TURNED, verify=50, verifier="cells"), HIGH, ms=60.0, size=35_000.0),
        search_cell(VLAD, SIFT, None),
    ]
    return dataclasses.replace(study([cell(VLAD, LOW)], 4), searches=searches)


def test_ways_that_mean_the_same_are_one() -> None:
    ways = search_settings(SearchGrid(query_views=("", "rotations:4"), verify=(0, 9), verifiers=("cells", "sift")))
    assert [(way.query_views, way.verify, way.verifier) for way in ways] == [
        ("whole", 0, ""), ("whole", 9, "cells"), ("whole", 9, "sift"),
        ("rotations:4", 0, ""), ("rotations:4", 9, "cells"), ("rotations:4", 9, "sift"),
    ]  # fmt: skip


def test_of_equally_good_ways_the_cheaper_one_comes_first(made: Study) -> None:
    assert [cell.search for cell in ranked_searches(made)][:2] == [
        VERIFIED,
        dataclasses.replace(TURNED, verify=50, verifier="cells"),
    ]
    assert [cell.search for cell in search_front(made, lambda cell: cell.ms_per_query)] == [PLAIN, VERIFIED]


def test_verification_is_found_to_lift_the_ranking(made: Study) -> None:
    verification, views = search_findings(made)
    assert verification.claim == "Verification lifts the ranking"
    assert verification.comparison == "50 images verified by cells against none, averaged over 2 searches"
    assert verification.difference.mean == pytest.approx(np.mean(HIGH) - np.mean(LOW))
    assert 0 < verification.difference.low < verification.difference.mean < verification.difference.high
    assert verification.verdict == "holds"
    assert views.difference == (0, 0, 0)
    assert next(search_lines(made)) == verification.claim


def test_tables_have_all_ways_and_say_why_one_is_not_possible(made: Study) -> None:
    head, rows = search_rows(made)
    assert head == [
        "index views", "query views", "verify", "verifier", "expand", "mAP", "95% interval", "recall@1", "ms/query",
        "bytes/image",
    ]  # fmt: skip
    assert rows[0] == ["whole", "whole", "50", "cells", "-", "0.8750", "0.62 to 1.00", "0.7500", "50.0", "35000"]
    assert rows[-1] == ["whole", "whole", "50", "sift", "-", "-", "", "-", "-", "-"]
    assert list(search_reasons(made)) == ["not possible: query whole, 50 verified by sift: no library for that"]
    head, columns = search_columns(made)
    assert dict(zip(head, columns[0], strict=True))["ms_per_query"] == 50.0
    assert len(columns) == 5
    document = search_json(made)
    assert [values["impossible"] for values in document["searches"]] == [""] * 4 + ["no library for that"]
    assert len(document["search_findings"]) == 2
    assert search_json(study([cell(VLAD, LOW)], 4)) == {}


def test_a_flagfile_names_the_way_and_how_its_index_is_made(made: Study) -> None:
    lines = search_flagfile(ranked_searches(made)[0]).splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "--query_views=whole", "--verify=50", "--verifier=cells", "--expand=0",
    ]  # fmt: skip
    assert any("tfvlad index" in line and "--views=whole --local_features=512" in line for line in lines)
