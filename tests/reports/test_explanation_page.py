"""The explanation page: what it says and draws, complete, escaped and self-contained."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfvlad.evaluation.queries_and_results import QueryResult, ResultHit
from tfvlad.reports.explanation_page import (
    MOST_LINES,
    ExplainedMatch,
    Picture,
    chosen_lines,
    in_words,
    seen,
    write_explanation_page,
    written_probability,
)
from tfvlad.reports.results_page import write_results_page

SQUARE = np.array([(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)])
HALF = np.diag([0.5, 0.5, 1.0])


@pytest.fixture
def pictures() -> tuple[Picture, Picture]:
    """A wide picture, whose name is to be escaped, and a tall one."""
    query, found = np.full((300, 400, 3), 90, np.uint8), np.full((400, 300, 3), 120, np.uint8)
    return Picture("a/query <1>.png", query, SQUARE, np.linspace(-1, 1, 12).reshape(3, 4)), Picture(
        "b/found.png", found, SQUARE, np.full((4, 3), 0.02)
    )


def match(pictures: tuple[Picture, Picture], cells: int = 20, verdict: str = "same") -> ExplainedMatch:
    places = np.random.default_rng(0).random((cells, 2, 2))
    if not cells:
        pictures = (pictures[0]._replace(outline=None), pictures[1]._replace(outline=None))
    return ExplainedMatch(*pictures, places, HALF if cells else None, verdict, 0.9995)


def page(tmp_path: Path, explained: ExplainedMatch) -> str:
    write_explanation_page(tmp_path / "why.html", explained)
    return (tmp_path / "why.html").read_text(encoding="utf-8")


def test_it_shows_both_pictures_lines_outlines_and_shares(tmp_path: Path, pictures: tuple[Picture, Picture]) -> None:
    html = page(tmp_path, match(pictures))
    assert html.count("data:image/jpeg;base64,") == 2  # each picture once, for all drawings
    assert html.count("data:image/png;base64,") == 4  # the shares of each, on a wide page and on a narrow one
    assert html.count('class="line"') == 2 * 20
    assert html.count('class="outline"') == 2 * 2
    for told in ("The same", "0.9995", ">20<", "query &lt;1&gt;.png", "found.png"):
        assert told in html
    assert "20 local features agree under one transform, far more than chance" in html
    assert "the query is upright, 0.50 times as large and seen at a slant (stretched 1.8 times)." in html


def test_it_needs_nothing_else(tmp_path: Path, pictures: tuple[Picture, Picture]) -> None:
    html = page(tmp_path, match(pictures))
    assert not re.search(r"https?:|url\((?!#)|@import|<script|<iframe|<object", html)
    addresses = re.findall(r"(?:src|href)=\"([^\"]*)", html)
    assert all(address.startswith(("data:", "#seen-")) for address in addresses)
    ids = re.findall(r" id=\"([^\"]*)", html)
    assert len(ids) == len(set(ids))
    assert {address[1:] for address in addresses if address.startswith("#")} <= set(ids)


def test_nothing_that_agrees_is_said(tmp_path: Path, pictures: tuple[Picture, Picture]) -> None:
    html = page(tmp_path, match(pictures, cells=0, verdict="different"))
    assert "Probably not the same" in html
    assert "No local features of the two pictures agree under one transform." in html
    assert 'class="line"' not in html
    assert 'class="outline"' not in html


def test_shares_that_are_not_known(tmp_path: Path, pictures: tuple[Picture, Picture]) -> None:
    query, found = (picture._replace(shares=None) for picture in pictures)
    html = page(tmp_path, match((query, found)))
    assert "What makes the whole pictures alike" not in html
    assert "cosine of the whole pictures" not in html
    assert "upright and whole, is 0.240." in page(tmp_path, match((query, pictures[1])))


def test_many_lines_are_thinned_out(tmp_path: Path, pictures: tuple[Picture, Picture]) -> None:
    html = page(tmp_path, match(pictures, cells=1000))
    assert html.count('class="line"') == 2 * MOST_LINES
    assert f"({MOST_LINES} of 1000 are drawn)" in html
    assert len(chosen_lines(np.zeros((7, 2, 2)), 5)) == 5


def test_lines_join_the_places_in_both_pictures(pictures: tuple[Picture, Picture]) -> None:
    cells = np.array([[[0.0, 0.0], [1.0, 1.0]]])
    wide, tall = seen(match(pictures, cells=1)._replace(cells=cells)).drawings
    for drawing in (wide, tall):
        (line,) = drawing.lines
        assert (line.x1, line.y1) == (drawing.query.x, drawing.query.y)
        assert line.x2 == drawing.found.x + drawing.found.width
        assert line.y2 == drawing.found.y + drawing.found.height
        assert (drawing.query.width, drawing.query.height) == (560, 420)
        assert (drawing.found.width, drawing.found.height) == (420, 560)
    assert wide.found.x > wide.query.x + wide.query.width
    assert tall.found.y > tall.query.y + tall.query.height


def test_cells_are_warm_where_they_speak_for_the_match(tmp_path: Path, pictures: tuple[Picture, Picture]) -> None:
    html = page(tmp_path, match(pictures))
    (address, *_) = re.findall(r"data:image/png;base64,([^\"]*)", html)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(address))))
    assert pixels.shape == (3, 4, 4)
    against, neutral, speaks = pixels[0, 0], pixels[1, 1], pixels[2, 3]
    assert against[2] > against[0]
    assert speaks[0] > speaks[2]
    assert speaks[3] == against[3] > neutral[3]


@pytest.mark.parametrize(
    ("degrees", "scale", "told"),
    [
        (0, 1.0, "upright and equally large"),
        (30, 0.5, "turned by 30° clockwise and 0.50 times as large"),
        (-90, 2.0, "turned by 90° counter-clockwise and 2.00 times as large"),
        (180, 1.0, "turned by 180° clockwise and equally large"),
    ],
)
def test_the_transform_in_words(degrees: float, scale: float, told: str) -> None:
    query, found = (4, 3), (300, 400)
    angle = np.radians(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # y points down
    transform = np.eye(3)
    transform[:2, :2] = np.diag(400 / np.array(found)) @ turn @ np.diag(np.array(query) / 4)
    assert in_words(transform, query, found) == f"In the found picture, the query is {told}."


def test_probabilities_are_told_from_one() -> None:
    assert [written_probability(p) for p in (0.0, 0.421, 0.99, 0.99876, 0.99995, 1.0)] == [
        "0.00", "0.42", "0.99", "0.9987", "> 0.9999", "> 0.9999",
    ]  # fmt: skip


def test_results_pages_show_verdicts_and_why(tmp_path: Path, pictures: tuple[Picture, Picture]) -> None:
    hits = [ResultHit("a.jpg", 0.5, None, 84, "same"), ResultHit("b.jpg", 0.3, None, 3, "different")]
    results = [QueryResult("q.jpg", hits), QueryResult("q.jpg", hits[1:], unanswered="probably not in here")]
    explained: list[ResultHit] = []

    def explain(result: QueryResult, hit: ResultHit) -> ExplainedMatch | None:
        explained.append(hit)
        return match(pictures) if hit.verdict == "same" else None

    write_results_page(tmp_path / "page.html", results, explain=explain)
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert explained == [*hits, hits[1]]
    assert html.count("<details") == 1
    assert html.count("<b>same</b> · 84 agree") == 1
    assert html.count("<b>different</b> · 3 agree") == 2
    assert html.count("probably not in here") == 1
    ids = re.findall(r" id=\"([^\"]*)", html)
    assert len(ids) == len(set(ids))
