"""Queries on which two settings of a study disagree, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tfvlad.reports.sweep_figures import in_words
from tfvlad.sweep.choice import disagreements, rival
from tfvlad.sweep.results import Cell, Study

EXAMPLES = 8
EXAMPLE_SIDE = 150  # pixels


class Side(NamedTuple):
    """What one setting finds for a query.

    Attributes:
      name: the setting in words.
      found: whether a right answer comes first.
      rank: where the first right answer comes, in words.
      hits: the first hits' paths, each with whether it is right.
    """

    name: str
    found: bool
    rank: str
    hits: Sequence[tuple[str, bool]]


class Example(NamedTuple):
    """A query and what either setting finds for it."""

    query: str
    sides: Sequence[Side]


def examples(study: Study, best: Cell) -> list[Example]:
    """Where the best setting and its `rival` disagree most, in either's favour.

    Args:
      study: the study.
      best: its best cell.

    Returns:
      `EXAMPLES` at most; none where there is no rival.
    """
    other = rival(study, best)
    if other is None:
        return []
    return [
        Example(study.queries[query], [_side(study, cell, query) for cell in (best, other)])
        for query in disagreements(study, best, other, EXAMPLES)
    ]


def _side(study: Study, cell: Cell, query: int) -> Side:
    rank = int(cell.qualities[study.protocols[0]].first_ranks[query])
    right = set(study.right[query])
    hits = [(study.database[hit], int(hit) in right) for hit in cell.top[query] if hit >= 0]
    words = f"first right answer at rank {rank:,}" if rank else "no right answer"
    return Side(in_words(cell.setting), rank == 1, words, hits)
