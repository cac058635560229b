"""Queries on both sides of a search: image files become descriptors, and hits become results that can be shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tfvlad.encoding.interface import AnyEncoder
from tfvlad.errors import ConfigError, Failure, ImageError
from tfvlad.evaluation.datasets.dataset import Query
from tfvlad.images import Box

if TYPE_CHECKING:
    from tfvlad.images.loading import Source


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
    """

    path: str
    score: float
    right: bool | None = None


class QueryResult(NamedTuple):
    """One query and its first hits.

    Attributes:
      query: the query's image file.
      hits: the best first.
      box: (x1, y1, x2, y2) in pixels of the upright image, where only this part of it was searched for.
      missed: the first right answer and its rank, where it comes later than `hits`.
    """

    query: str
    hits: Sequence[ResultHit]
    box: Box | None = None
    missed: tuple[ResultHit, int] | None = None

    @property
    def is_judged(self) -> bool:
        """Whether it is known which of the hits are right answers."""
        return any(hit.right is not None for hit in self.hits)

    @property
    def first_right_rank(self) -> int | None:
        """The rank, from 1, of the first right answer among the hits; None where none of them is one."""
        return next((rank for rank, hit in enumerate(self.hits, start=1) if hit.right), None)


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
    stream = tqdm(encoder.encode_stream(sources()), "Queries", len(queries), disable=None, delay=2, unit=" images")
    for number, row in enumerate(stream):
        if isinstance(row, ImageError):
            reasons[given[number]] = row.reason
        elif not (np.isfinite(row).all() and row.any()):
            reasons[given[number]] = "its descriptor is all zeros or not finite"
        else:
            positions.append(given[number])
            rows.append(row)
    failures = [Failure(queries[position].path, reasons[position]) for position in sorted(reasons)]
    if not positions:
        others = f" (and {len(failures) - 1} more that cannot be used)" if len(failures) > 1 else ""
        raise ConfigError(f"{failures[0]}{others}")
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
