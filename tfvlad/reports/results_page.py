"""The results page: each query beside its hits, in one HTML file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from tfvlad.evaluation.queries_and_results import QueryResult, ResultHit
from tfvlad.reports._page import write_page
from tfvlad.reports.explanation_page import ExplainedMatch, Seen, seen

QUERY_SIDE = 280  # pixels; the longest side of a query's picture
HIT_SIDE = 200
WHY_SIDE = 240  # of the pictures of an explanation
WHY_LINES = 60


def write_results_page(
    path: str | os.PathLike[str],
    results: Iterable[QueryResult],
    *,
    title: str = "Search results",
    notes: Sequence[str] = (),
    metrics: Mapping[str, float | str] | None = None,
    explain: Callable[[QueryResult, ResultHit], ExplainedMatch | None] | None = None,
) -> None:
    """Writes a page of queries beside their hits.

    Results are read and written one after the other, so that their number is not limited by memory.

    The page holds its style and its images, runs no script and loads nothing from the network. In place of an image
    that cannot be read there is a tile that says so. Control characters of a file name, and bytes that are not UTF-8,
    are shown as escapes.

    Args:
      path: the HTML file; it appears, or replaces an earlier one, only when it is complete.
      results: the queries with their hits, in the order of the page.
      title: the heading.
      notes: paragraphs under the heading.
      metrics: name -> figure, shown above the queries; floats have three decimals.
      explain: gives what explains a hit, which a reader opens under it; None for a hit that is not explained.

    Raises:
      OSError: the file cannot be written.
    """

    def why(result: QueryResult, hit: ResultHit) -> Seen | None:
        match = explain(result, hit) if explain else None
        return None if match is None else seen(match, WHY_SIDE, WHY_LINES)

    write_page(
        path,
        "results_page.html.j2",
        {},
        title=title,
        notes=notes,
        metrics=metrics or {},
        results=results,
        query_side=QUERY_SIDE,
        hit_side=HIT_SIDE,
        explain=why,
    )
