"""The results page: each query beside its hits, in one HTML file that needs nothing else."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import jinja2

from tfvlad.atomic import atomic_file
from tfvlad.reports.thumbnails import thumbnail

QUERY_SIDE = 280  # pixels
HIT_SIDE = 200
THUMBNAILS_KEPT = 1024  # some 10 MB; a file met again while among them is not encoded again


class ResultHit(NamedTuple):
    """One answer.

    Attributes:
      path: the image file.
      score: cosine similarity.
      right: whether it is a right answer; None where that is not known.
    """

    path: str
    score: float
    right: bool | None = None


class ResultRow(NamedTuple):
    """One query and its answers.

    Attributes:
      query: the query's image file.
      hits: best first.
    """

    query: str
    hits: Sequence[ResultHit]


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
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfvlad.reports", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(figure=_figure, file_name=os.path.basename, verdict=_verdict)
    page = environment.get_template("results.html.j2").generate(
        title=title,
        notes=notes,
        metrics=metrics or {},
        rows=rows,
        thumbnail=functools.lru_cache(THUMBNAILS_KEPT)(thumbnail),
        query_side=QUERY_SIDE,
        hit_side=HIT_SIDE,
    )
    with atomic_file(path) as partial, open(partial, "w", encoding="utf-8", errors="replace") as file:
        file.writelines(page)


def _figure(value: float | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _verdict(hits: Sequence[ResultHit]) -> str:
    """What the right answers among the hits come to, in words; empty where they are not known."""
    if all(hit.right is None for hit in hits):
        return ""
    ranks = [rank for rank, hit in enumerate(hits, start=1) if hit.right]
    return (
        f"✓ first right hit at rank\N{NO-BREAK SPACE}{ranks[0]}" if ranks else f"✗ no right hit among these {len(hits)}"
    )
