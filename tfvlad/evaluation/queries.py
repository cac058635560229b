"""Queries -> descriptors, with an account of those that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tfvlad.encoding.interface import AnyEncoder
from tfvlad.errors import ConfigError, Failure, ImageError
from tfvlad.evaluation.datasets import Query
from tfvlad.images.crops import read_crop
from tfvlad.images.loading import Source


def encode_queries(
    encoder: AnyEncoder, queries: Sequence[Query]
) -> tuple[list[int], npt.NDArray[np.float32], list[Failure]]:
    """Encodes every query that can be read.

    Returns:
      The places in `queries` of those that could be encoded, their (n, dim) float32 descriptors, and the failures of
      the others.

    Raises:
      ConfigError: there is none that can be read.
    """
    given: list[int] = []
    failures: dict[int, str] = {}

    def sources() -> Iterator[Source]:
        """The images and cut-out parts, read a little ahead of their descriptors."""
        for place, query in enumerate(queries):
            try:
                part = query_source(query, encoder.max_pixels)
            except ImageError as error:
                failures[place] = error.reason
                continue
            given.append(place)
            yield part

    found, rows = [], []
    stream = tqdm(encoder.encode_stream(sources()), "Queries", len(queries), disable=None, delay=2, unit=" images")
    for number, row in enumerate(stream):
        if isinstance(row, ImageError):
            failures[given[number]] = row.reason
        elif not (np.isfinite(row).all() and row.any()):
            failures[given[number]] = "its descriptor is all zeros or not finite"
        else:
            found.append(given[number])
            rows.append(row)
    account = [Failure(queries[place].path, failures[place]) for place in sorted(failures)]
    if not found:
        others = f" (and {len(account) - 1} more that cannot be used)" if len(account) > 1 else ""
        raise ConfigError(f"{account[0]}{others}")
    return found, np.stack(rows), account


def query_source(query: Query, max_pixels: int) -> Source:
    """What an encoder takes for a query: its file, or the pixels of its box.

    Raises:
      ImageError: see `tfvlad.images.crops.read_crop`.
    """
    return query.path if query.box is None else read_crop(query.path, query.box, max_pixels)
