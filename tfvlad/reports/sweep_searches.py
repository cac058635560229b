"""The part of a sweep's report about ways to search: the best ones, what lifts the ranking, cost, and all of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tfvlad.reports.charts import Chart, Point, Series, linear, logarithmic
from tfvlad.sweep.choice import score
from tfvlad.sweep.findings import Finding
from tfvlad.sweep.search_choice import (
    described_cell,
    ranked_searches,
    score_of_chosen_search,
    search_findings,
    search_front,
    search_intervals,
)
from tfvlad.sweep.study import SearchCell, Study

_FRONT_COLOUR = 5
_VERIFIED = {"": "not verified", "cells": "verified by cells", "sift": "verified by sift"}


class SearchRow(NamedTuple):
    """A way to search in the table of all.

    Attributes:
      name: the way in words; with the encoder's setting where the study has several.
      cell: its cell.
      interval: the 95 % confidence interval of its score under the first protocol; NaN where it has none.
    """

    name: str
    cell: SearchCell
    interval: tuple[float, float]


class SearchPart(NamedTuple):
    """What the report shows of the ways to search.

    Attributes:
      rows: all ways, the best first; those without a score come last.
      expected: mean and interval of the best one's score, chosen and measured by different queries; None where no way
        has a score.
      claims: each claim with the comparisons that test it.
      costs: a chart of quality by each cost, and the ways that are numbered in it with their names.
    """

    rows: Sequence[SearchRow]
    expected: tuple[float, float, float] | None
    claims: Sequence[tuple[str, Sequence[Finding]]]
    costs: Sequence[tuple[Chart, Sequence[tuple[Point, str]]]]


def search_part(study: Study) -> SearchPart | None:
    """Collects what the report shows of the ways to search; None where none were tried."""
    if not study.searches:
        return None
    best = ranked_searches(study)
    known = {id(cell) for cell in best}
    cells = [*best, *(cell for cell in study.searches if id(cell) not in known)]
    bounds = search_intervals(study, cells, study.protocols[0])
    found = itertools.groupby(search_findings(study), lambda finding: finding.claim)
    return SearchPart(
        rows=[
            SearchRow(described_cell(study, cell), cell, interval) for cell, interval in zip(cells, bounds, strict=True)
        ],
        expected=score_of_chosen_search(study) if best else None,
        claims=[(claim, list(of)) for claim, of in found],
        costs=list(_costs(study)) if best else [],
    )


def _costs(study: Study) -> Iterator[tuple[Chart, list[tuple[Point, str]]]]:
    yield _by_cost(study, "milliseconds per query", lambda cell: cell.ms_per_query)
    yield _by_cost(study, "bytes per image", lambda cell: cell.bytes_per_image)


def _by_cost(study: Study, label: str, cost: Callable[[SearchCell], float]) -> tuple[Chart, list[tuple[Point, str]]]:
    """Quality by cost. The ways that nothing beats at their cost are joined by a line and numbered from 1."""
    cells = ranked_searches(study)
    series = []
    for colour, (verifier, name) in enumerate(_VERIFIED.items()):
        points = [
            Point(
                cost(cell),
                score(study, cell),
                about=f"{described_cell(study, cell)}: {study.measure} {score(study, cell):.3f}",
            )
            for cell in cells
            if cell.search.verifier == verifier
        ]
        if points:
            series.append(Series(name, points, colour, joined=False))
    front = search_front(study, cost)
    numbers = [Point(cost(cell), score(study, cell), number=n) for n, cell in enumerate(front, start=1)]
    series.append(Series("nothing better at this cost", numbers, _FRONT_COLOUR, marked=False))
    quality = linear(study.measure, (point.y for one in series for point in one.points))
    chart = Chart(f"Quality of searches by {label}", logarithmic(label, map(cost, cells)), quality, series)
    return chart, [(point, described_cell(study, cell)) for point, cell in zip(numbers, front, strict=True)]
