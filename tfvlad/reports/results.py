"""The results page: each query beside its hits, in one HTML file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from tfvlad.evaluation.results import ResultHit, ResultRow
from tfvlad.reports.page import write_page

QUERY_SIDE = 280  # pixels
HIT_SIDE = 200


def write_results(
    path: str | os.PathLike[str],
    rows: Iterable[ResultRow],
    *,
    title: str = "Search results",
    notes: Sequence[str] = (),
    metrics: Mapping[str, float | str] | None = None,
) -> None:
    """Writes the page. Rows are read and written one after the other, so their number is not bound by memory.

    The page has its style and its images in itself, runs no script and asks the network for nothing. An image that
    cannot be read gets a tile that says so. Bytes of a file name that are not UTF-8 are shown as question marks.

    Args:
      path: the HTML file; it appears, or replaces an earlier one, only when it is complete.
      rows: the queries in the order of the page.
      title: heading.
      notes: paragraphs under the heading.
      metrics: figures to show first, name to value; floats are shown with three decimals.

    Raises:
      OSError: the file cannot be written.
    """
    write_page(
        path,
        "results.html.j2",
        {"verdict": verdict},
        title=title,
        notes=notes,
        metrics=metrics or {},
        rows=rows,
        query_side=QUERY_SIDE,
        hit_side=HIT_SIDE,
    )


def verdict(hits: Sequence[ResultHit]) -> str:
    """What the right answers among the hits come to, in words; empty where they are not known."""
    if all(hit.right is None for hit in hits):
        return ""
    ranks = [rank for rank, hit in enumerate(hits, start=1) if hit.right]
    return (
        f"✓ first right hit at rank\N{NO-BREAK SPACE}{ranks[0]}" if ranks else f"✗ no right hit among these {len(hits)}"
    )
