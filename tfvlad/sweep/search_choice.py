"""Which way to search to take, and whether verification, views and expansion lift the ranking: read from a study."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfvlad.images.views import parse_views
from tfvlad.sweep.choice import described as setting_in_words
from tfvlad.sweep.choice import score
from tfvlad.sweep.findings import Finding
from tfvlad.sweep.grid import WHOLE_PICTURE, SearchSetting
from tfvlad.sweep.statistics import best_of, difference, intervals
from tfvlad.sweep.study import SearchCell, Study


class _Part(NamedTuple):
    """A part of a way to search that may lift the ranking.

    Attributes:
      claim: that it does.
      of: the values of this part, by the names of attributes of `SearchSetting`.
      without: the same where it is left out.
      words: what is compared with what, in words.
    """

    claim: str
    of: Callable[[SearchSetting], dict[str, str | int]]
    without: dict[str, str | int]
    words: Callable[[SearchSetting], str]


_PARTS = (
    _Part(
        "Verification lifts the ranking",
        lambda way: {"verify": way.verify, "verifier": way.verifier},
        {"verify": 0, "verifier": ""},
        lambda way: f"{way.verify} images verified by {way.verifier} against none",
    ),
    _Part(
        "Views of the query lift the ranking",
        lambda way: {"query_views": way.query_views},
        {"query_views": WHOLE_PICTURE},
        lambda way: f"{way.query_views} of the query against the whole picture",
    ),
    _Part(
        "Views of the index lift the ranking",
        lambda way: {"views": way.views},
        {"views": WHOLE_PICTURE},
        lambda way: f"{way.views} of each image against the whole picture",
    ),
    _Part(
        "Query expansion lifts the ranking",
        lambda way: {"expand": way.expand},
        {"expand": 0},
        lambda way: f"queries expanded by {way.expand} hits against none",
    ),
)


def described(way: SearchSetting) -> str:
    """A way to search in words, such as ``query rotations:8, 50 verified by cells``."""
    parts = [
        f"index {way.views}" if way.views != WHOLE_PICTURE else "",
        f"query {way.query_views}",
        f"{way.verify} verified by {way.verifier}" if way.verify else "not verified",
        f"expanded by {way.expand}" if way.expand else "",
    ]
    return ", ".join(filter(None, parts))


def described_cell(study: Study, cell: SearchCell) -> str:
    """A way to search in words; with the encoder's setting where the study has several."""
    several = len({each.setting for each in study.searches}) > 1
    return f"{setting_in_words(cell.setting)}; {described(cell.search)}" if several else described(cell.search)


def ranked_searches(study: Study) -> list[SearchCell]:
    """The searches that have a score, the best first.

    Of equal scores the one that costs less comes first: fewer bytes, fewer images verified, fewer views, less
    expansion. Milliseconds do not decide, so that the order of a study does not depend on where it is timed.
    """

    def order(cell: SearchCell) -> tuple[object, ...]:
        way = cell.search
        views = len(parse_views(way.query_views))
        return -score(study, cell), cell.bytes_per_image, way.verify, views, way.expand, way, cell.setting

    return sorted((cell for cell in study.searches if not math.isnan(score(study, cell))), key=order)


def search_intervals(study: Study, cells: Sequence[SearchCell], protocol: str) -> list[tuple[float, float]]:
    """The 95 % confidence interval of each search's score under a protocol; NaN where it has none."""
    nothing = np.full(len(study.queries), np.nan)
    values = [cell.qualities[protocol].values if protocol in cell.qualities else nothing for cell in cells]
    return intervals(np.stack(values), study.seed) if values else []


def score_of_chosen_search(study: Study) -> tuple[float, float, float]:
    """The score of the best search with its interval, if it is chosen by other queries than it is measured on.

    Returns:
      Mean, lower and upper end; see `tfvlad.sweep.statistics.best_of`. At least one search must have a score.
    """
    protocol = study.protocols[0]
    return best_of(np.stack([cell.qualities[protocol].values for cell in ranked_searches(study)]), study.seed)


def search_front(study: Study, cost: Callable[[SearchCell], float]) -> list[SearchCell]:
    """The searches that no other one beats at the same or a lower cost (the Pareto front), the cheapest first."""
    kept: list[SearchCell] = []
    for cell in sorted(ranked_searches(study), key=lambda cell: (cost(cell), -score(study, cell))):
        if not kept or score(study, cell) > score(study, kept[-1]):
            kept.append(cell)
    return kept


def search_findings(study: Study) -> Iterator[Finding]:
    """Tests whether each part of a search lifts the ranking, under the study's first protocol.

    Searches with the part are compared with those that differ from them in nothing but its lack, query by query, on
    average over all such pairs.
    """
    protocol = study.protocols[0]
    values = {
        (cell.setting, cell.search): cell.qualities[protocol].values
        for cell in study.searches
        if protocol in cell.qualities
    }
    for part in _PARTS:
        tried = {part.words(cell.search): part.of(cell.search) for cell in study.searches}
        for words, of in tried.items():
            if of == part.without:
                continue
            pairs = [
                (values[setting, way], values[setting, without])
                for setting, way in values
                if part.of(way) == of and (setting, without := dataclasses.replace(way, **part.without)) in values  # type: ignore[arg-type]
            ]
            if pairs:
                with_part, without_part = (np.mean(side, axis=0) for side in zip(*pairs, strict=True))
                averaged = f", averaged over {len(pairs)} searches" if len(pairs) > 1 else ""
                yield Finding(part.claim, words + averaged, difference(with_part, without_part, study.seed))
