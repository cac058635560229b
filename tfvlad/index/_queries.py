"""Queries: from files, bytes, pixels or indexed images to the descriptors and local features of their views."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfvlad.config import QUERY_CELLS, QUERY_SCALE
from tfvlad.errors import ConfigError, ImageError
from tfvlad.images.files import read_regular
from tfvlad.images.sources import source_name
from tfvlad.images.views import WHOLE, View
from tfvlad.index.catalog import Catalog
from tfvlad.index.compact import compact
from tfvlad.index.ranking import unit_rows
from tfvlad.index.reranking import Query
from tfvlad.matching.local_features import LocalFeatures

if TYPE_CHECKING:
    from tfvlad.encoding.interface import AnyEncoder, ViewsDescription
    from tfvlad.images.sources import Source

T = TypeVar("T")
Box = tuple[float, float, float, float]  # x, y, width, height in pixels of the upright picture

_AT_ONCE = 32  # queries that are described before they are searched for


class QueryReader:
    """Describes queries.

    Args:
      catalog: where indexed images are looked up.
      encoder: gives the encoder; called only if a query is not an indexed image.
    """

    def __init__(self, catalog: Catalog, encoder: Callable[[], AnyEncoder]) -> None:
        self._catalog = catalog
        self._encoder = encoder

    def read(
        self, sources: Iterable[Source], views: Sequence[View], box: Box | None, features: bool, indexed: bool
    ) -> Iterator[list[Query]]:
        """Describes queries, some at a time.

        Args:
          sources: paths, image files' bytes, or pixels.
          views: the views of each.
          box: the part of each that is the query; None is all of it.
          features: whether local features are needed.
          indexed: whether an indexed image may be taken from the catalog, with the view of the whole picture only.

        Yields:
          Queries in the order of the sources. Neighbours that have different views are not in one list.

        Raises:
          ImageError: one of them cannot be used.
        """
        remaining = iter(sources)
        while chunk := list(itertools.islice(remaining, _AT_ONCE)):
            known = [self.find(source, features) if indexed and box is None else None for source in chunk]
            unknown = [source for source, query in zip(chunk, known, strict=True) if query is None]
            if box is not None:
                unknown = [_cut(source, box, self._encoder().max_pixels) for source in unknown]
            described = _described(unknown, views, features, self._encoder()) if unknown else iter(())
            queries = [query or next(described) for query in known]
            for _, alike in itertools.groupby(queries, key=lambda query: len(query.views)):
                yield list(alike)

    def indexed(self, file: int, features: bool, path: str) -> Query:
        """The query that is an indexed file, from the catalog alone.

        Raises:
          ConfigError: there is no such file.
        """
        with self._catalog.read() as snapshot:
            image = snapshot.image_of_file(file)
        query = None if image is None else self._of_image(image, features, path)
        if query is None:
            raise ConfigError(f"the index holds no file with the id {file}")
        return query

    def find(self, source: Source, features: bool) -> Query | None:
        """The query, if it is an indexed image; None if it is not, or is no readable file."""
        if isinstance(source, np.ndarray):
            return None
        content = source if isinstance(source, bytes) else _read(source)
        if content is None:
            return None
        with self._catalog.read() as snapshot:
            image = snapshot.image_of_content(hashlib.sha256(content).digest())
        return None if image is None else self._of_image(image, features, source)

    def _of_image(self, image: int, features: bool, source: Source) -> Query | None:
        with self._catalog.read() as snapshot:
            block = snapshot.view_of_images(np.array([image], np.int64), WHOLE.name)
            kept = dict(snapshot.local_features_of(block.images)) if features else {}
        if not len(block.vectors) or (features and not kept):
            return None
        local = {WHOLE.turn: LocalFeatures.from_bytes(kept[image], self._catalog.path)} if features else {}
        return Query(unit_rows(block.vectors, self._catalog.dim), (WHOLE,), source, local, image=image)


def _described(
    sources: Sequence[Source], views: Sequence[View], features: bool, encoder: AnyEncoder
) -> Iterator[Query]:
    """Describes pictures in one stream through the encoder."""
    if not features and tuple(views) == (WHOLE,):
        with contextlib.closing(encoder.encode_stream(sources)) as rows:
            for source, row in zip(sources, rows, strict=True):
                yield Query(_directions([_checked(row)], source, encoder.dim), (WHOLE,), source)
        return
    scale = 1.0 if tuple(views) == (WHOLE,) else QUERY_SCALE
    with contextlib.closing(encoder.describe_views(sources, views, scale)) as descriptions:
        for source, result in zip(sources, descriptions, strict=True):
            found = _checked(result)
            yield Query(
                _directions(found.descriptors, source, encoder.dim),
                found.views,
                source,
                _local_features(found),
                functools.partial(_turned, source, encoder, scale),
            )


def _local_features(found: ViewsDescription) -> dict[float, LocalFeatures]:
    """The local features of the whole picture by its turn."""
    return {
        one.view.turn: compact(one.features, found.size, one.to_picture, QUERY_CELLS)
        for one in found.passes
        if one.view.box == WHOLE.box
    }


def _turned(source: Source, encoder: AnyEncoder, scale: float, turns: Sequence[float]) -> list[LocalFeatures]:
    """The local features of a picture turned by some degrees."""
    views = [View(turn) for turn in turns]
    with contextlib.closing(encoder.describe_views([source], views, scale)) as descriptions:
        known = _local_features(_checked(next(descriptions)))
    return [known[view.turn] for view in views]


def _cut(source: Source, box: Box, max_pixels: int) -> NDArray[np.uint8]:
    """The pixels of a box in a picture."""
    from tfvlad.images.crops import crop, read_upright  # imports TensorFlow

    x, y, width, height = box
    pixels = read_upright(source, max_pixels)
    return np.ascontiguousarray(crop(pixels, (x, y, x + width, y + height), source_name(source)))


def _checked(result: T | ImageError) -> T:
    if isinstance(result, ImageError):
        raise result
    return result


def _directions(rows: ArrayLike, source: Source, dim: int) -> NDArray[np.float32]:
    """Descriptors as unit vectors.

    Raises:
      ImageError: one of them is all zeros or not finite.
    """
    descriptors = np.asarray(rows)
    if not (np.isfinite(descriptors).all() and descriptors.any(axis=1).all()):
        raise ImageError(source_name(source), "its descriptor is all zeros or not finite")
    return unit_rows(descriptors, dim)


def _read(path: str | os.PathLike[str]) -> bytes | None:
    """A file's bytes; None where it cannot be an indexed image."""
    try:
        return read_regular(path)[0]
    except (OSError, ValueError):
        return None
