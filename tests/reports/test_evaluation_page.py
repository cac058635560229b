"""The evaluation page: curves where they belong, everything escaped, nothing from outside."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfvlad.evaluation.queries_and_results import QueryResult, ResultHit
from tfvlad.evaluation.summary import Curve, EvaluationPage, JudgedQuery
from tfvlad.images.thumbnails import thumbnail
from tfvlad.reports.evaluation_page import write_evaluation_page
from tfvlad.reports.results_page import QUERY_SIDE

FALLING = Curve("medium, exact", np.array([0, 0.5, 1]), np.array([1.0, 0.5, 0.0]))
RISING = Curve("medium, exact", np.array([1.0, 10, 100]), np.array([0.5, 1, 1]))


@pytest.fixture
def photograph(tmp_path: Path) -> str:
    """400 x 300, its right half red."""
    image = Image.new("RGB", (400, 300))
    image.paste((255, 0, 0), (200, 0, 400, 300))
    image.save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def written(tmp_path: Path, title: str = "Evaluation", **parts: list[JudgedQuery]) -> str:
    curves = [FALLING, FALLING._replace(name="medium, graph", dashed=True), FALLING._replace(name="hard, exact")]
    queries = {"worst": [], "best": []} | parts
    write_evaluation_page(
        tmp_path / "page.html",
        EvaluationPage(title, ["a note"], ["metric", "exact"], [["mAP", "0.5000"]], [RISING], curves, **queries),
    )
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_curve_runs_over_the_chart(tmp_path: Path) -> None:
    page = written(tmp_path)
    # The plot is 404 x 264 from (60, 22): precision 1 at its top left, 0 at its bottom right.
    assert page.count('points="60.0,22.0 262.0,154.0 464.0,286.0"') == 3
    assert re.findall(r'<polyline class="([^"]*)"', page) == ["colour-0", "colour-0", "colour-0 dashed", "colour-1"]
    assert page.index("Queries answered among the first\N{NO-BREAK SPACE}k") < page.index("Precision and recall")
    assert page.index("mAP") < page.index("0.5000")
    assert "Worst queries" not in page


def test_queries_are_numbered_through_and_cut_to_their_boxes(tmp_path: Path, photograph: str) -> None:
    row = QueryResult(photograph, [ResultHit(photograph, 0.9, True)], (200, 0, 400, 300))
    worst, best = JudgedQuery(row, "AP 0.1", "found late", FALLING), JudgedQuery(row, "AP 0.9", "found early", None)
    page = written(tmp_path, worst=[worst], best=[best])
    assert re.findall(r"<small>Query (\d)</small>", page) == ["1", "2"]
    assert page.index("AP 0.1") < page.index("Best queries") < page.index("AP 0.9") < page.index("found early")
    assert page.count('<svg class="own-curve"') == 1
    small = thumbnail(photograph, QUERY_SIDE, row.box)
    assert small is not None
    assert (small.width, small.height) == (187, 280)
    assert page.count(small.address) == 2


def test_everything_is_escaped_and_nothing_comes_from_outside(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>{{ 7 * 7 }}"
    row = QueryResult(name, [ResultHit(name, 0.5)])
    page = written(tmp_path, title=name, worst=[JudgedQuery(row, name, name, FALLING._replace(name=f'"{name}'))])
    assert "<img" not in page
    assert 'aria-label="&#34;&lt;img' in page
    assert not re.search(r"https?:|url\(|@import|<script", page)
