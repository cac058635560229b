"""Queries on both sides of a search: image files are searched for or become descriptors, and hits become results.

A query that cannot be used, such as a damaged file, is left out and accounted for, here and nowhere else: by
`search_queries`, which gives hits, and by `encode_queries`, which gives descriptors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from tfvlad.encoding.interface import AnyEncoder
from tfvlad.errors import ConfigError, Failure, ImageError
from tfvlad.evaluation.datasets.dataset import Query
from tfvlad.images import Box
from tfvlad.progress import Progress

if TYPE_CHECKING:
    from tfvlad.config import VerifierName
    from tfvlad.images.sources import Source
    from tfvlad.index import Hit, Index

_AT_A_TIME = 16  # queries that an index is asked for together
_PIXELS_AT_A_TIME = 2**26  # bytes of the parts that are cut out of them


class Finding(TypedDict, total=False):
    """How an index finds: the arguments of `tfvlad.Index.search` of these names, which see."""

    exact: bool
    verify: int | None
    query_views: str | None
    verifier: VerifierName
    expand: int
    reciprocal: int


class SearchedQueries(NamedTuple):
    """What was found for those queries that could be used.

    Attributes:
      positions: their n positions in the list of queries, ascending.
      hits: n lists of hits, the best first.
      failures: the queries that could not be used, with the reasons.
    """

    positions: list[int]
    hits: list[list[Hit]]
    failures: list[Failure]


class EncodedQueries(NamedTuple):
    """The descriptors of those queries that could be encoded.

    Attributes:
      positions: their n positions in the list of queries, ascending.
      descriptors: (n, dim) float32.
      failures: the queries that could not be encoded, with the reasons.
    """

    positions: list[int]
    descriptors: npt.NDArray[np.float32]
    failures: list[Failure]


class ResultHit(NamedTuple):
    """One hit of a query.

    Attributes:
      path: the image file.
      score: cosine similarity to the query.
      right: whether it is a right answer; None where that is not known.
      inliers: how many local features agree with the query's; None where the hit was not verified.
      verdict: ``same``, ``likely``, ``unsure`` or ``different``; None where the hit was not verified.
    """

    path: str
    score: float
    right: bool | None = None
    inliers: int | None = None
    verdict: str | None = None


class QueryResult(NamedTuple):
    """One query and its first hits.

    Attributes:
      query: the query's image file.
      hits: the best first.
      box: (x1, y1, x2, y2) in pixels of the upright image, where only this part of it was searched for.
      missed: the first right answer and its rank, where it comes later than `hits`.
      unanswered: says that the query is probably not in the index, see `no_answer`; None where that is not so.
    """

    query: str
    hits: Sequence[ResultHit]
    box: Box | None = None
    missed: tuple[ResultHit, int] | None = None
    unanswered: str | None = None

    @property
    def is_judged(self) -> bool:
        """Whether it is known which of the hits are right answers."""
        return any(hit.right is not None for hit in self.hits)

    @property
    def first_right_rank(self) -> int | None:
        """The rank, from 1, of the first right answer among the hits; None where none of them is one."""
        return next((rank for rank, hit in enumerate(self.hits, start=1) if hit.right), None)


def search_queries(index: Index, queries: Sequence[Query], k: int = 10, **finding: Unpack[Finding]) -> SearchedQueries:
    """Searches for every query that can be read.

    Args:
      index: the index to search.
      queries: image files, or parts of them.
      k: hits for each query.
      **finding: see `tfvlad.Index.search`.

    Returns:
      The hits, and the queries that have none because they cannot be used.

    Raises:
      ConfigError: not one of the queries can be used, or `finding` cannot work.

    Example:
      >>> searched = search_queries(index, [Query("017.jpg"), Query("018.jpg", box=(40, 0, 320, 240))], k=5)
      >>> searched.hits[0][0].path, searched.hits[0][0].verdict
    """
    reasons: dict[int, str] = {}
    found: dict[int, list[Hit]] = {}

    def search(group: Sequence[tuple[int, Source]]) -> None:
        """Searches for a few queries together; where one of them cannot be used, for one after the other."""
        try:
            hits = index.search([source for _, source in group], k, **finding)
        except ImageError as error:
            if len(group) == 1:
                reasons[group[0][0]] = error.reason
            else:
                for one in group:
                    search([one])
        else:
            found.update(zip((position for position, _ in group), hits, strict=True))

    with Progress(None, "Queries", len(queries)) as progress:
        for group in _groups(_sources(queries, index, reasons)):
            search(group)
            progress.update(len(group))
    positions = sorted(found)
    failures = _account(queries, reasons, is_any_usable=bool(positions))
    return SearchedQueries(positions, [found[position] for position in positions], failures)


def encode_queries(encoder: AnyEncoder, queries: Sequence[Query]) -> EncodedQueries:
    """Encodes every query that can be read.

    Args:
      encoder: a fitted or a served encoder.
      queries: image files, or parts of them.

    Returns:
      The descriptors, and the queries that have none because they cannot be used.

    Raises:
      ConfigError: not one of the queries can be used.

    Example:
      >>> encoded = encode_queries(index.encoder, [Query("017.jpg"), Query("018.jpg", box=(40, 0, 320, 240))])
      >>> hits = index.search_descriptors(encoded.descriptors, k=10)
    """
    given: list[int] = []  # positions of the queries that the encoder was given
    reasons: dict[int, str] = {}

    def sources() -> Iterator[Source]:
        """Yields the images and the parts that are cut out of them; the encoder reads a little ahead."""
        for position, query in enumerate(queries):
            try:
                source = query_source(query, encoder.max_pixels)
            except ImageError as error:
                reasons[position] = error.reason
                continue
            given.append(position)
            yield source

    positions, rows = [], []
    stream = Progress(encoder.encode_stream(sources()), "Queries", len(queries))
    for number, row in enumerate(stream):
        if isinstance(row, ImageError):
            reasons[given[number]] = row.reason
        elif not (np.isfinite(row).all() and row.any()):
            reasons[given[number]] = "its descriptor is all zeros or not finite"
        else:
            positions.append(given[number])
            rows.append(row)
    failures = _account(queries, reasons, is_any_usable=bool(positions))
    return EncodedQueries(positions, np.stack(rows), failures)


def query_source(query: Query, max_pixels: int) -> Source:
    """Returns what an encoder is given for a query: its file, or the pixels inside its box.

    Raises:
      ImageError: the file cannot be read, or the box does not lie in the image.
    """
    if query.box is None:
        return query.path
    from tfvlad.images.crops import read_crop  # imports TensorFlow, which pages of results do without

    return read_crop(query.path, query.box, max_pixels)


def no_answer(hits: Sequence[Hit]) -> str | None:
    """Says in one line that a query has no answer in the index, where its hits were verified and none is likely one.

    Args:
      hits: the query's, the best first.

    Returns:
      The line; None where the query has a likely answer, or no hit was verified.

    Example:
      >>> no_answer(index.search("something else.jpg")[0])
      'probably not in the index: no more than 9 local features agree with any of these'
    """
    verified = [hit for hit in hits if hit.verdict is not None]
    if not verified or any(hit.verdict in ("same", "likely") for hit in verified):
        return None
    best = max(verified, key=lambda hit: hit.inliers or 0)
    if best.verdict == "unsure":
        return f"probably not in the index: {best.inliers} local features agree with {best.path}, which is unsure"
    return f"probably not in the index: no more than {best.inliers} local features agree with any of these"


def _sources(queries: Sequence[Query], index: Index, reasons: dict[int, str]) -> Iterator[tuple[int, Source]]:
    """Yields the position and the image, or the part that is cut out, of each query; notes why others have none."""
    for position, query in enumerate(queries):
        try:
            # A file needs no encoder here: where the index holds it, none may be needed at all.
            source = query.path if query.box is None else query_source(query, index.encoder.max_pixels)
        except ImageError as error:
            reasons[position] = error.reason
            continue
        yield position, source


def _groups(sources: Iterable[tuple[int, Source]]) -> Iterator[list[tuple[int, Source]]]:
    """Collects queries that are searched for together: a few, and of cut out pixels only so many."""
    group: list[tuple[int, Source]] = []
    size = 0
    for position, source in sources:
        group.append((position, source))
        size += source.nbytes if isinstance(source, np.ndarray) else 0
        if len(group) == _AT_A_TIME or size >= _PIXELS_AT_A_TIME:
            yield group
            group, size = [], 0
    if group:
        yield group


def _account(queries: Sequence[Query], reasons: dict[int, str], is_any_usable: bool) -> list[Failure]:
    """Returns the queries that cannot be used, with the reasons.

    Raises:
      ConfigError: there is no other.
    """
    failures = [Failure(queries[position].path, reasons[position]) for position in sorted(reasons)]
    if not is_any_usable:
        others = f" (and {len(failures) - 1} more that cannot be used)" if len(failures) > 1 else ""
        raise ConfigError(f"{failures[0]}{others}")
    return failures
