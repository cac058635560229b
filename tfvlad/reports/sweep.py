"""The report of a sweep as one HTML file: best settings, claims, charts, examples, ways to search and all settings."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tfvlad.reports import charts
from tfvlad.reports._page import write_page
from tfvlad.reports.sweep_charts import Intervals, by_cost, by_dimension, by_layer, in_words
from tfvlad.reports.sweep_searches import search_part
from tfvlad.sweep import choice
from tfvlad.sweep.findings import findings
from tfvlad.sweep.statistics import Difference
from tfvlad.sweep.study import Cell, Study

EXAMPLES = 8  # queries that are shown at most
EXAMPLE_SIDE = 150  # pixels of their pictures


class Side(NamedTuple):
    """What one setting finds for a query.

    Attributes:
      name: the setting in words.
      found: whether a right answer comes first.
      rank: the rank of the first right answer, in words.
      hits: the paths of the first hits, each with whether it is right.
    """

    name: str
    found: bool
    rank: str
    hits: Sequence[tuple[str, bool]]


class Example(NamedTuple):
    """A query on which two settings disagree, and what either of them finds."""

    query: str
    sides: Sequence[Side]


def write_report(study: Study, path: str | os.PathLike[str], flagfile: str) -> None:
    """Writes the report, whole or not at all. Like the other pages it needs no other file and runs no script.

    Args:
      study: the results of the sweep.
      path: the HTML file.
      flagfile: the text of the flagfile that makes the best encoder again; empty if there is none.

    Raises:
      OSError: the file cannot be written.
    """
    ranked = choice.ranked(study)
    rest = [cell for cell in study.cells if math.isnan(choice.score(study, cell))]
    bounds = choice.score_intervals(study, study.protocols[0])
    costs = [
        by_cost(study, "milliseconds per image", choice.milliseconds),
        by_cost(study, "bytes per image", lambda cell: cell.bytes_per_image),
    ]
    write_page(
        path,
        "sweep.html.j2",
        {
            **charts.FILTERS,
            "described": in_words,
            "milliseconds": choice.milliseconds,
            "score": lambda cell: choice.score(study, cell),
            "value": _value,
            "reason": _reason,
            "range": _range,
            "signed": _signed,
            "cost": _cost,
            "difference": _difference,
        },
        title=f"Sweep of {study.name}",
        notes=_notes(study, ranked),
        metrics=_headline(study, ranked, bounds),
        study=study,
        ranked=ranked,
        rest=rest,
        reasons=list(dict.fromkeys(map(_reason, rest))),
        intervals=bounds,
        choices=list(choice.recommendations(study)),
        claims=[(claim, list(of)) for claim, of in itertools.groupby(findings(study), lambda finding: finding.claim)],
        by_layer=by_layer(study, bounds),
        by_dimension=by_dimension(study, bounds),
        costs=[(chart, list(zip(chart.series[-1].points, front, strict=True))) for chart, front in costs],
        fronts=[{cell.setting for cell in front} for _, front in costs],
        examples=_examples(study, ranked[0]) if ranked else [],
        example_side=EXAMPLE_SIDE,
        flagfile=flagfile,
        searches=search_part(study),
        plot=charts.PLOT,
        chart_width=charts.WIDTH,
    )


def _notes(study: Study, ranked: Sequence[Cell]) -> Iterator[str]:
    settings = "one setting" if len(study.cells) == 1 else f"{len(study.cells)} settings"
    yield (
        f"{settings.capitalize()} of {os.path.basename(study.config.backbone)}: {len(study.queries)} queries in "
        f"{len(study.database)} images; codebooks and whitening fitted on {study.fit_on} images."
    )
    if len(study.protocols) > 1:
        yield f"Settings are chosen by the protocol “{study.protocols[0]}”; the table has the others beside it."
    if study.proxy:
        yield (
            "This is a proxy: there was no ground truth, so the queries are altered copies of the images themselves "
            "(cropped, turned, blurred, compressed), to be found again. That tells which settings stand such changes, "
            "not which find another photograph of the same object, where figures would be lower."
        )
    if warning := choice.several_processors(study):
        yield f"{warning}."
    if not ranked:
        yield "No setting has a score."
        return
    yield f"Best setting: {in_words(ranked[0].setting)}."
    if len(ranked) > 1:
        mean, low, high = choice.score_of_choice(study)
        yield (
            f"It was chosen among {len(ranked)} by the queries that measure it, which flatters. Chosen by some queries "
            f"and measured on the others, over and over, the best setting has {study.measure} {_value(mean)} "
            f"({_range((low, high))})."
        )


def _headline(study: Study, ranked: Sequence[Cell], bounds: Intervals) -> dict[str, str]:
    if not ranked:
        return {}
    best = ranked[0]
    return {
        study.measure: _value(choice.score(study, best)),
        "95 % interval": _range(bounds[best.setting]),
        "recall@1": _value(best.qualities[study.protocols[0]].recall_at_1),
        "ms per image": _cost(choice.milliseconds(best)),
        "bytes per image": f"{best.bytes_per_image:,}",
    }


def _examples(study: Study, best: Cell) -> list[Example]:
    """Queries on which the best setting and its rival (see `tfvlad.sweep.choice.rival`) disagree most."""
    other = choice.rival(study, best)
    if other is None:
        return []
    return [
        Example(study.queries[query], [_side(study, cell, query) for cell in (best, other)])
        for query in choice.disagreements(study, best, other, EXAMPLES)
    ]


def _side(study: Study, cell: Cell, query: int) -> Side:
    rank = int(cell.qualities[study.protocols[0]].first_ranks[query])
    right = set(study.right[query])
    hits = [(study.database[hit], int(hit) in right) for hit in cell.top[query] if hit >= 0]
    words = f"first right answer at rank {rank:,}" if rank else "no right answer"
    return Side(in_words(cell.setting), rank == 1, words, hits)


def _reason(cell: Cell) -> str:
    """Why a cell has no score."""
    return cell.impossible or "no query has a right answer"


def _difference(difference: Difference | None) -> str:
    """A difference with its interval; empty for the best setting, which is compared with nothing."""
    if difference is None:
        return ""
    return f"{_signed(difference.mean)} ({_signed(difference.low)} to {_signed(difference.high)})"


def _value(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _range(ends: tuple[float, float]) -> str:
    return "–" if math.isnan(ends[0]) else f"{ends[0]:.3f} to {ends[1]:.3f}"


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.3f}".replace("-", "−")


def _cost(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"
