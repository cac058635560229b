"""The evaluation of an index: load queries with their right answers, encode them, search, judge the rankings."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from tfvlad.errors import ConfigError, Failure
from tfvlad.evaluation.datasets import (
    DatabaseImage,
    Dataset,
    Judgement,
    Query,
    Truth,
    as_indexed,
    check_plain,
    load_dataset,
    plain_folder,
    split_name,
)
from tfvlad.evaluation.metrics import Evaluation
from tfvlad.evaluation.queries_and_results import (
    EncodedQueries,
    Finding,
    QueryResult,
    ResultHit,
    encode_queries,
    search_queries,
)
from tfvlad.index.index import Hit, Index
from tfvlad.matching.verdict import Verdict

_MOST_HITS = 1 << 21  # hits held at a time: some 400 MB
_MOST_QUERIES = 64
_SEARCH_HITS = 100  # of `IndexEvaluation.verified_rankings` that are a search's; more where more are verified
_GRAPH_SHARE = 10  # an index does not use its graph for a search for more than a tenth of its images

Ranking = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class IndexEvaluation:
    """How well an index answers queries whose right answers are known.

    Attributes:
      dataset: the queries that could be used, with their right answers by the ids of the index.
      exact: protocol -> judgement of the complete, exact rankings.
      graph: protocol -> judgement of the rankings through the graph; None where the graph was not asked.
      exact_rankings: for each query the ids of all images of the index, the best first.
      graph_rankings: for each query the first hits through the graph, followed by all other ids in exact order, so that
        any loss is one of the graph; None where the graph was not asked.
      results: the queries with their first hits, verified where that was asked for and else exact, judged by the first
        protocol, and the first right answer where it comes later.
      failures: the queries that could not be used; they are left out of everything else.
      verified: protocol -> judgement of the rankings that a search gives which verifies, has query views, expands or
        re-orders by neighbours; None where that was not asked for.
      verified_rankings: for each query the first hits of such a search, followed by all other ids in exact order; None
        where that was not asked for.
      verdicts: verdict -> how many of the verified hits that got it are right, and how many are wrong, under the first
        protocol.
    """

    dataset: Dataset
    exact: dict[str, Judgement]
    graph: dict[str, Judgement] | None
    exact_rankings: list[Ranking]
    graph_rankings: list[Ranking] | None
    results: list[QueryResult]
    failures: list[Failure]
    verified: dict[str, Judgement] | None = None
    verified_rankings: list[Ranking] | None = None
    verdicts: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)

    @property
    def best(self) -> Judgement:
        """The judgement of `results` under the first protocol: of the verified rankings where there are any."""
        return next(iter((self.verified or self.exact).values()))

    @property
    def metrics(self) -> Evaluation:
        """The metrics of the exact rankings under the first protocol."""
        return next(iter(self.exact.values())).evaluation


def load_queries_and_database(
    index: Index,
    dataset: str | None = None,
    queries: str | None = None,
    ground_truth: str = "same_name",
    query_boxes: bool = True,
) -> tuple[Dataset, list[Failure]]:
    """Loads queries and their right answers, by the ids of an index.

    Args:
      index: the index that will be searched.
      dataset: ``NAME:FOLDER``, a public benchmark and the folder of its published files; or a plain folder, whose
        images are all queries.
      queries: folder of the query images, where it is not the folder in `dataset`; a benchmark has its own.
      ground_truth: which images of a plain folder match: ``same_name``, ``same_folder`` or the path of a JSON file, see
        `tfvlad.evaluation.datasets.plain_folder`.
      query_boxes: whether to search for the part of a query inside its box, as the protocols of Oxford and Paris ask,
        or for its whole image.

    Returns:
      The data set, and those images of its database that are not in the index, as failures.

    Raises:
      NotADirectoryError: the folder of the queries is not a folder.
      ConfigError: files are missing or malformed, or do not fit the index.

    Example:
      >>> dataset, not_indexed = load_queries_and_database(index, "oxford5k:/data/oxford")
      >>> dataset, _ = load_queries_and_database(index, queries="photographs", ground_truth="same_folder")
    """
    indexed = [DatabaseImage(name, path, image) for image, name, path in index.images()]
    name, folder = split_name(dataset or "")
    if not name:
        check_plain(folder)
        return plain_folder(queries or folder, indexed, ground_truth), []
    if queries:
        raise ConfigError(f"{name} has queries of its own; leave --queries out")
    published, missing = as_indexed(load_dataset(name, folder), indexed)
    failures = [Failure(path, "is not in the index, and so never found") for path in missing]
    return published if query_boxes else published.whole_images(), failures


def evaluate_index(
    index: Index,
    dataset: Dataset,
    graph_hits: int | None = None,
    results_kept: int = 4,
    finding: Finding | None = None,
) -> IndexEvaluation:
    """Ranks all images of an index for every query, and compares the rankings with the right answers.

    Args:
      index: the index to search.
      dataset: queries and right answers by the ids of the index, as `load_queries_and_database` returns them.
      graph_hits: number of hits to take from the graph as well, at most a tenth of the index; None searches exactly
        only.
      results_kept: number of hits that `IndexEvaluation.results` keeps of each query.
      finding: judges as well what `tfvlad.Index.search` finds with these arguments, such as ``{"verify": 50}``.

    Returns:
      The metrics under each protocol, the rankings, and the results to be shown.

    Raises:
      ConfigError: no query that has a right answer can be used.

    Example:
      >>> with tfvlad.Index.open("covers.index") as index:
      ...     dataset, _ = load_queries_and_database(index, queries="photographs")
      ...     evaluation = evaluate_index(index, dataset)
      >>> evaluation.metrics.map, evaluation.metrics.recall_at[1]
      (0.93, 0.9)
    """
    encoded = encode_queries(index.encoder, dataset.queries)
    usable = dataset.select(encoded.positions)
    if not any(truth["ok"] for truth in usable.ground_truth):
        raise _no_query_can_be_used(dataset, encoded)
    found = None if finding is None else _find(index, usable, finding)
    exact: list[Ranking] = []
    graph: list[Ranking] | None = None if graph_hits is None else []
    verified: list[Ranking] | None = None if found is None else []
    results: list[QueryResult] = []
    size = len(index)
    at_a_time = max(1, min(_MOST_QUERIES, _MOST_HITS // max(1, size)))
    for start in range(0, len(usable.queries), at_a_time):
        batch = encoded.descriptors[start : start + at_a_time]
        for position, hits in enumerate(_search(index, batch, size, exact=True), start):
            exact.append(_ids(hits))
            if found is not None and verified is not None:
                verified.append(_complete(_ids(found[position]), exact[position]))
                known = {hit.id for hit in found[position]}
                hits = [*found[position], *(hit for hit in hits if hit.id not in known)]
            judged = _judge_hits(hits, usable.ground_truth[position])
            results.append(_result(usable.queries[position], judged, results_kept))
        if graph is not None and graph_hits is not None:
            few = max(1, min(graph_hits, (size - 1) // _GRAPH_SHARE))
            for position, hits in enumerate(_search(index, batch, few, exact=False), start):
                graph.append(_complete(_ids(hits), exact[position]))
    return IndexEvaluation(
        dataset=usable,
        exact=usable.judge(exact),
        graph=None if graph is None else usable.judge(graph),
        exact_rankings=exact,
        graph_rankings=graph,
        results=results,
        failures=encoded.failures,
        verified=None if verified is None else usable.judge(verified),
        verified_rankings=verified,
        verdicts={} if found is None else _count_verdicts(found, usable.ground_truth),
    )


def _find(index: Index, dataset: Dataset, finding: Finding) -> list[list[Hit]]:
    """Searches for every query as `tfvlad search` does. Each of them has been encoded before, and so can be used.

    Raises:
      ConfigError: a query cannot be used any more, because its file has changed since.
    """
    searched = search_queries(index, dataset.queries, max(_SEARCH_HITS, finding.get("verify") or 0), **finding)
    if searched.failures:
        raise ConfigError(str(searched.failures[0]))
    return searched.hits


def _count_verdicts(found: Sequence[Sequence[Hit]], truths: Sequence[Truth]) -> dict[str, tuple[int, int]]:
    counts: collections.Counter[tuple[str, bool]] = collections.Counter()
    for hits, truth in zip(found, truths, strict=True):
        right, junk = set(truth["ok"]), set(truth["junk"])
        counts.update((hit.verdict, hit.id in right) for hit in hits if hit.verdict is not None and hit.id not in junk)
    verdicts = get_args(Verdict) if counts else ()
    return {verdict: (counts[verdict, True], counts[verdict, False]) for verdict in verdicts}


def _search(index: Index, descriptors: npt.NDArray[np.float32], k: int, *, exact: bool) -> list[list[Hit]]:
    """Searches for a batch of queries: the one place where an evaluation asks the index."""
    return index.search_descriptors(descriptors, k, exact=exact)


def _no_query_can_be_used(dataset: Dataset, encoded: EncodedQueries) -> ConfigError:
    reasons = {failure.path: failure.reason for failure in encoded.failures}
    path = next(
        query.path
        for query, truth in zip(dataset.queries, dataset.ground_truth, strict=True)
        if truth["ok"] and query.path in reasons
    )
    return ConfigError(f"no query of {dataset.name} that has a match can be used; the first is {path}: {reasons[path]}")


def _ids(hits: Sequence[Hit]) -> Ranking:
    """The hits' ids in the smallest type that holds them, because thousands of complete rankings are kept."""
    ids = np.array([hit.id for hit in hits], np.int64)
    return ids.astype(np.min_scalar_type(ids.max(initial=0)))


def _complete(first: Ranking, complete: Ranking) -> Ranking:
    """Appends to the first ids of a ranking all others, in the order of the complete ranking."""
    return np.concatenate([first, complete[~np.isin(complete, first)]])


def _judge_hits(hits: Sequence[Hit], truth: Truth) -> Iterator[ResultHit]:
    """Yields the hits that are not junk, and whether each is a right answer."""
    right, junk = set(truth["ok"]), set(truth["junk"])
    for hit in hits:
        if hit.id not in junk:
            yield ResultHit(hit.path, hit.score, hit.id in right, hit.inliers, hit.verdict)


def _result(query: Query, hits: Iterator[ResultHit], kept: int) -> QueryResult:
    first = list(itertools.islice(hits, kept))
    missed = None
    if not any(hit.right for hit in first):
        missed = next(((hit, rank) for rank, hit in enumerate(hits, kept + 1) if hit.right), None)
    return QueryResult(query.path, first, query.box, missed)
