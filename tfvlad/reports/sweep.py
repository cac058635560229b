"""The report of a sweep: what the study found, in one HTML file."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfvlad.config import ENCODING_NAMES
from tfvlad.reports import charts
from tfvlad.reports._page import write_page
from tfvlad.reports.examples import EXAMPLE_SIDE, examples
from tfvlad.reports.sweep_figures import Intervals, by_cost, by_dimension, by_layer, in_words
from tfvlad.sweep import choice
from tfvlad.sweep.findings import findings
from tfvlad.sweep.results import Cell, Study
from tfvlad.sweep.statistics import best_of, difference, intervals


class Choice(NamedTuple):
    """A setting that a reader may want to take.

    Attributes:
      why: what it is the best at.
      cell: the setting.
      behind: what it lacks to the best, in words.
    """

    why: str
    cell: Cell
    behind: str


def write_report(study: Study, path: str | os.PathLike[str], flagfile: str) -> None:
    """Writes the report, whole or not at all. Like the other pages it needs nothing beside itself and runs no script.

    Args:
      study: the sweep.
      path: the HTML file.
      flagfile: the text of the flagfile that makes the best encoder again; empty where there is none.

    Raises:
      OSError: the file cannot be written.
    """
    ranked = choice.ranked(study)
    rest = [cell for cell in study.cells if math.isnan(choice.score(study, cell))]
    bounds = _intervals(study, ranked)
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
        },
        title=f"Sweep of {study.name}",
        notes=_notes(study, ranked),
        metrics=_headline(study, ranked, bounds),
        study=study,
        ranked=ranked,
        rest=rest,
        reasons=list(dict.fromkeys(map(_reason, rest))),
        intervals=bounds,
        choices=_choices(study, ranked),
        claims=[(claim, list(of)) for claim, of in itertools.groupby(findings(study), lambda finding: finding.claim)],
        by_layer=by_layer(study, bounds),
        by_dimension=by_dimension(study, bounds),
        costs=[(chart, list(zip(chart.series[-1].points, front, strict=True))) for chart, front in costs],
        fronts=[{cell.setting for cell in front} for _, front in costs],
        examples=examples(study, ranked[0]) if ranked else [],
        example_side=EXAMPLE_SIDE,
        flagfile=flagfile,
        plot=charts.PLOT,
        chart_width=charts.WIDTH,
    )


def _intervals(study: Study, ranked: Sequence[Cell]) -> Intervals:
    if not ranked:
        return {}
    values = np.stack([cell.qualities[study.protocols[0]].values for cell in ranked])
    return dict(zip((cell.setting for cell in ranked), intervals(values, study.seed), strict=True))


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
        values = np.stack([cell.qualities[study.protocols[0]].values for cell in ranked])
        mean, low, high = best_of(values, study.seed)
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


def _choices(study: Study, ranked: Sequence[Cell]) -> Iterator[Choice]:
    """The best, the shortest as good, and the best of each other encoding."""
    shortest = choice.shortest_as_good(study)
    if shortest is None:
        return
    best = ranked[0]
    yield Choice("The best", best, "")
    if shortest is not best:
        yield Choice("The shortest that cannot be told from it", shortest, _behind(study, best, shortest))
    for encoding, name in ENCODING_NAMES.items():
        alike = [cell for cell in ranked if cell.setting.encoding == encoding]
        if alike and alike[0] is not best and alike[0] is not shortest:
            yield Choice(f"The best of {name}", alike[0], _behind(study, best, alike[0]))


def _behind(study: Study, best: Cell, other: Cell) -> str:
    protocol = study.protocols[0]
    gap = difference(other.qualities[protocol].values, best.qualities[protocol].values, study.seed)
    return f"{_signed(gap.mean)} ({_signed(gap.low)} to {_signed(gap.high)})"


def _reason(cell: Cell) -> str:
    """Why a cell has no score."""
    return cell.impossible or "no query has a right answer"


def _value(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _range(ends: tuple[float, float]) -> str:
    return "–" if math.isnan(ends[0]) else f"{ends[0]:.3f} to {ends[1]:.3f}"


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.3f}".replace("-", "−")


def _cost(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"
