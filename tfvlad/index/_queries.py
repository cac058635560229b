"""Queries: from files, bytes, pixels or indexed images to the descriptors and local features of their views."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfvlad.config import QUERY_CELLS
from tfvlad.errors import ConfigError, ImageError
from tfvlad.images.listing import LARGEST_FILE
from tfvlad.images.views import WHOLE, View, longest_side
from tfvlad.index._compact import compact
from tfvlad.index.catalog import Catalog
from tfvlad.index.ranking import unit_rows
from tfvlad.index.reranking import Query
from tfvlad.matching.cells import cell_positions
from tfvlad.matching.local_features import LocalFeatures

if TYPE_CHECKING:
    from tfvlad.encoding.interface import AnyEncoder, Description
    from tfvlad.images.loading import Source

Floats = NDArray[np.float32]
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
            pictures = [
                _Picture(source, box, views, self._encoder())
                for source, query in zip(chunk, known, strict=True)
                if query is None
            ]
            described = _described(pictures, features, self._encoder) if pictures else iter(())
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
        return Query(unit_rows(block.vectors, self._catalog.dim), (WHOLE,), source, local)


class _Picture:
    """A query's picture, and what an encoder is given of it.

    Attributes:
      source: the picture itself: what was given, or the pixels of its box.
      name: what stands for it in messages.
      views: its views.
    """

    def __init__(self, source: Source, box: Box | None, views: Sequence[View], encoder: AnyEncoder) -> None:
        given = "<array>" if isinstance(source, np.ndarray) else source
        self.name = "<bytes>" if isinstance(given, bytes) else os.fsdecode(given)
        self.views = tuple(views)
        self._encoder = encoder
        self.source = source if box is None else self._cut(source, box)

    def _cut(self, source: Source, box: Box) -> NDArray[np.uint8]:
        from tfvlad.images.crops import crop, read_upright  # imports TensorFlow
        from tfvlad.images.loading import rgb_pixels

        if isinstance(source, np.ndarray):
            pixels = np.asarray(rgb_pixels(source))
        else:
            pixels = read_upright(_file(source), self._encoder.max_pixels)
        x, y, width, height = box
        return np.ascontiguousarray(crop(pixels, (x, y, x + width, y + height), self.name))

    @functools.cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        """The picture as pixels, no larger than its views need."""
        from tfvlad.images.crops import read_upright
        from tfvlad.images.loading import rgb_pixels

        if isinstance(self.source, np.ndarray):
            return np.asarray(rgb_pixels(self.source))
        longest = longest_side(self.views, self._encoder.image_size)
        return read_upright(_file(self.source), self._encoder.max_pixels, longest)

    def rendered(self, view: View) -> Source:
        """What the encoder is given for a view."""
        return self.source if view == WHOLE else view.render(self._pixels)

    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        from tfvlad.images.crops import upright_size

        return upright_size(self.source)


def _described(pictures: Sequence[_Picture], features: bool, encoder: Callable[[], AnyEncoder]) -> Iterator[Query]:
    """Describes pictures in one stream through the encoder.

    A part of a picture is described by those cells of the whole picture's map that lie in it, where the encoder can do
    that: all parts then cost one forward pass. Otherwise each is rendered.
    """
    able = encoder().encode_cells([]) is not None
    parts = any(view.box != WHOLE.box or view.turn % 90 for picture in pictures for view in picture.views)
    if not features and not (parts and able):
        plain = encoder().encode_stream(picture.rendered(view) for picture in pictures for view in picture.views)
        with contextlib.closing(plain) as rows:
            for picture in pictures:
                found = [_checked(next(rows), picture) for _ in picture.views]
                yield Query(unit_rows(found, encoder().dim), picture.views, picture.source)
        return
    rendered = [_to_render(picture.views, able) for picture in pictures]
    inputs = (picture.rendered(view) for picture, views in zip(pictures, rendered, strict=True) for view in views)
    with contextlib.closing(encoder().describe_stream(inputs)) as stream:
        for picture, views in zip(pictures, rendered, strict=True):
            size: tuple[int, int] | None = None
            descriptors: dict[View, Floats] = {}
            local: dict[float, LocalFeatures] = {}
            for view in views:
                description: Description = _checked(next(stream), picture)
                size = size or (description.size if view == WHOLE else picture.size())
                descriptors[view] = description.descriptor
                if view.box == WHOLE.box:
                    local[view.turn] = compact(description.features, size, view, QUERY_CELLS)
                    if able:
                        mine = [part for part in picture.views if part.turn == view.turn and _is_masked(part)]
                        descriptors |= zip(mine, _of_parts(description, view, mine, size, encoder()), strict=True)
            yield Query(
                unit_rows([descriptors[view] for view in picture.views], encoder().dim),
                picture.views,
                picture.source,
                local,
                functools.partial(_turned, picture, encoder, size or picture.size()),
            )


def _to_render(views: Sequence[View], able: bool) -> list[View]:
    """The views that go through the network: each turn of the whole picture, and parts where there is no other way."""
    turns = [View(turn) for turn in dict.fromkeys(view.turn for view in views)]
    return turns if able else list(dict.fromkeys([*turns, *views]))


def _is_masked(view: View) -> bool:
    """Whether a view's descriptor is made of some cells only; those of filled corners say nothing."""
    return view.box != WHOLE.box or bool(view.turn % 90)


def _of_parts(
    description: Description, view: View, parts: Sequence[View], size: tuple[int, int], encoder: AnyEncoder
) -> list[Floats]:
    """The descriptors of parts of a turned picture, of the cells of its map that lie in them."""
    height, width, channels = description.features.shape
    positions = cell_positions(height, width, view.to_picture(size))
    flat = description.features.reshape(height * width, channels)
    chosen = []
    for x0, y0, x1, y1 in (part.box for part in parts):
        inside = ((positions >= (x0, y0)) & (positions <= (x1, y1))).all(axis=1)
        chosen.append(flat[inside] if inside.any() else flat)
    rows = encoder.encode_cells(chosen) if chosen else None
    return [] if rows is None else list(rows)


def _turned(
    picture: _Picture, encoder: Callable[[], AnyEncoder], size: tuple[int, int], turns: Sequence[float]
) -> list[LocalFeatures]:
    """The local features of a picture turned by some degrees."""
    views = [View(turn) for turn in turns]
    with contextlib.closing(encoder().describe_stream(picture.rendered(view) for view in views)) as stream:
        return [compact(_checked(next(stream), picture).features, size, view, QUERY_CELLS) for view in views]


def _checked(result: Any, picture: _Picture) -> Any:
    if isinstance(result, ImageError):
        raise ImageError(picture.name, result.reason)
    descriptor = result if isinstance(result, np.ndarray) else result.descriptor
    if not (np.isfinite(descriptor).all() and descriptor.any()):
        raise ImageError(picture.name, "its descriptor is all zeros or not finite")
    return result


def _file(source: Any) -> str | bytes:
    return source if isinstance(source, bytes) else os.fsdecode(source)


def _read(path: str | os.PathLike[str]) -> bytes | None:
    """A file's bytes, without TensorFlow; None where it cannot be an indexed image."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE:
            return None
        with open(path, "rb") as file:
            return file.read(LARGEST_FILE)
    except (OSError, ValueError):
        return None
