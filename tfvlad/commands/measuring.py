"""A folder of queries searched in an index and judged by ground truth."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import tfvlad
from tfvlad.commands.queries import encode_queries
from tfvlad.datasets import DatabaseImage, plain_folder
from tfvlad.errors import ConfigError
from tfvlad.metrics import Evaluation, evaluate
from tfvlad.reports.results import ResultHit, ResultRow

_BATCH = 64  # queries; their complete rankings are the largest thing held


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What a measurement gave.

    Attributes:
      evaluation: the metrics.
      rows: the queries with their first hits, each judged.
      failures: (path, reason) of the queries that could not be used; they are left out.
    """

    evaluation: Evaluation
    rows: list[ResultRow]
    failures: list[tuple[str, str]]


def measure(index: tfvlad.Index, queries: str, rule: str, exact: bool = False, shown: int = 4) -> Measurement:
    """Ranks the whole index for every query of a folder.

    Args:
      index: the database.
      queries: the folder of query images.
      rule: see `tfvlad.datasets.plain_folder`.
      exact: see `tfvlad.Index.search`.
      shown: hits that `rows` keeps of each query.

    Raises:
      ConfigError: the folder, or the ground truth, does not fit the index; or no query with a match can be used.
    """
    database = [DatabaseImage(name, path, image) for image, name, path in index.images()]
    dataset = plain_folder(queries, database, rule)
    found, descriptors, failures = encode_queries(index.encoder, dataset.queries)
    truth = dict(zip(dataset.queries, dataset.ground_truth, strict=True))
    if not any(truth[query]["ok"] for query in found):
        path, reason = next(failure for failure in failures if truth[failure[0]]["ok"])
        raise ConfigError(f"no query of {queries} that has a match can be used; the first is {path}: {reason}")
    rankings, rows = [], []
    for start in range(0, len(found), _BATCH):
        batch = slice(start, start + _BATCH)
        hits = index.search_descriptors(descriptors[batch], len(database), exact)
        for query, of_query in zip(found[batch], hits, strict=True):
            rankings.append([hit.id for hit in of_query])
            rows.append(ResultRow(query, list(_judged(of_query, truth[query], shown))))
    return Measurement(evaluate(rankings, [truth[query] for query in found]), rows, failures)


def _judged(hits: list[tfvlad.Hit], truth: dict[str, list[int]], shown: int) -> Iterator[ResultHit]:
    right, junk = set(truth["ok"]), set(truth["junk"])
    asked = (hit for hit in hits if hit.id not in junk)
    for hit in itertools.islice(asked, shown):
        yield ResultHit(hit.path, hit.score, hit.id in right)
