"""Pictures -> descriptors of their views: a forward pass for each turn; a view is some cells of its turn's map."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tfvlad.encoding._engines import whitening_function
from tfvlad.encoding.aggregation import Aggregation
from tfvlad.encoding.features import FeatureBatch, FeatureExtractor
from tfvlad.encoding.keras_layers import LocalFeatures
from tfvlad.encoding.views import PassFeatures, ViewsDescription, cell_centres, cells_of_view, turned_wholes
from tfvlad.encoding.whitening import Whitening
from tfvlad.errors import ImageError
from tfvlad.images.batching import Rejected, overlapped
from tfvlad.images.crops import upright_size
from tfvlad.images.renditions import Picture, Rendition
from tfvlad.images.sources import Source
from tfvlad.images.views import WHOLE, View

Floats = npt.NDArray[np.float32]
Described: TypeAlias = tuple[Floats, PassFeatures]  # the descriptors of a pass's views, in their order, and the pass

_OVERSAMPLING = 2  # pixels that a picture is decoded with for each that a rendition has, so that turning blurs little
_SMALLEST_NORM = 1e-12  # below it a vector counts as zero and stays zero


class ViewEngine:
    """Describes views of pictures.

    Args:
      extractor: its one head is the aggregation's `cell_head`.
      aggregation: makes a vector of a view's cells.
      whitening: of such vectors, or None.
      max_pixels: see `tfvlad.EncoderConfig`.
      by_parts: whether a part of a picture is a part of its map. Otherwise each view is rendered, as for networks whose
        map is a single cell.
    """

    def __init__(
        self,
        extractor: FeatureExtractor[str],
        aggregation: Aggregation,
        whitening: Whitening | None,
        max_pixels: int,
        by_parts: bool,
    ) -> None:
        self._extractor = extractor
        ((self._head, head),) = extractor.heads.items()
        self._aggregation = aggregation
        self._whiten = whitening_function(whitening) if whitening else None
        self._max_pixels = max_pixels
        self._by_parts = by_parts
        self._are_unit = isinstance(head.layer, LocalFeatures)
        self._takes_one_size = tuple(extractor.model.inputs[0].shape[1:3]) != (None, None)

    def stream(
        self, sources: Iterable[Source], views: Sequence[View], scale: float
    ) -> Generator[ViewsDescription | ImageError]:
        """See `tfvlad.Encoder.describe_views`."""
        work = _Work(views, self._by_parts)
        windows = self._extractor.stream(self._renditions(sources, work, 1.0 if self._takes_one_size else scale), scale)
        passes = len(work.rendered)
        results: dict[int, Described | ImageError] = {}
        for window in overlapped(windows, lambda window: self._describe(window, work)):
            results.update(window)
            while (first := work.done * passes) in results and first + passes - 1 in results:
                yield work.finish([results.pop(first + number) for number in range(passes)])

    def _renditions(self, sources: Iterable[Source], work: _Work, scale: float) -> Iterator[Source | Rendition]:
        side = scale * self._extractor.image_size
        for source in sources:
            picture = work.begin(source, Picture(source, self._max_pixels, round(_OVERSAMPLING * side)))
            for view in work.rendered:
                if view == WHOLE and scale == 1:
                    yield source  # prepared as it is everywhere else
                else:
                    extent = 1.0 if self._takes_one_size else view.extent
                    yield Rendition(picture, view, max(1, round(extent * side)))

    def _describe(self, window: list[FeatureBatch[str] | Rejected], work: _Work) -> dict[int, Described | ImageError]:
        results: dict[int, Described | ImageError] = {}
        for batch in window:
            if isinstance(batch, FeatureBatch):
                results.update(zip(batch.positions, self._describe_batch(batch, work), strict=True))
            else:
                results.update([batch])
        return results

    def _describe_batch(self, batch: FeatureBatch[str], work: _Work) -> Iterator[Described]:
        height, width = batch.grids[self._head]
        maps = batch.values[self._head].reshape(len(batch.positions), height * width, -1)
        matrices = [work.to_picture(position) for position in batch.positions]
        parts: list[Floats] = []
        for position, cells, matrix in zip(batch.positions, maps, matrices, strict=True):
            centres = cell_centres(height, width, matrix)
            parts += [cells[cells_of_view(view, centres)] for view in work.parts_of(position)]
        vectors = self._aggregation.vectors_of_cells(parts)
        descriptors = iter(self._whiten(vectors) if self._whiten else vectors)
        if not self._are_unit:
            maps = maps / np.maximum(np.linalg.norm(maps, axis=2, keepdims=True), _SMALLEST_NORM)
        for position, cells, matrix in zip(batch.positions, maps, matrices, strict=True):
            its = np.stack(list(itertools.islice(descriptors, len(work.parts_of(position)))))
            features = cells.reshape(height, width, -1)
            yield its, PassFeatures(work.rendered[position % len(work.rendered)], features, matrix)


class _Work:
    """Which views are made of which forward passes, and the pictures that are being worked on.

    A forward pass is known by its position among the passes of all pictures.

    Attributes:
      rendered: what the passes of a picture render.
      done: how many pictures are finished.
    """

    def __init__(self, views: Sequence[View], by_parts: bool) -> None:
        self.done = 0
        self._views = tuple(views)
        if by_parts:
            self.rendered, self._pass_of = turned_wholes(views)
        else:
            self.rendered = list(dict.fromkeys(views))
            self._pass_of = [self.rendered.index(view) for view in views]
        parts = self._views if by_parts else [WHOLE] * len(views)  # of the passes' maps
        self._parts = [
            [part for part, its in zip(parts, self._pass_of, strict=True) if its == number]
            for number in range(len(self.rendered))
        ]
        self._pictures: dict[int, tuple[Source, Picture]] = {}
        self._begun = 0

    def begin(self, source: Source, picture: Picture) -> Picture:
        """Notes the next picture."""
        self._pictures[self._begun] = source, picture
        self._begun += 1
        return picture

    def parts_of(self, position: int) -> list[View]:
        """The views that a pass gives."""
        return self._parts[position % len(self.rendered)]

    def to_picture(self, position: int) -> npt.NDArray[np.float64]:
        """See `PassFeatures`. It is computed with the size that the picture was rendered with."""
        number, its = divmod(position, len(self.rendered))
        view = self.rendered[its]
        if view == WHOLE:
            return view.to_picture((1, 1))
        height, width = self._pictures[number][1].pixels().shape[:2]
        return view.to_picture((width, height))

    def finish(self, results: Sequence[Described | ImageError]) -> ViewsDescription | ImageError:
        """Puts together the next picture's passes."""
        source, picture = self._pictures.pop(self.done)
        self.done += 1
        found = []
        for result in results:
            if isinstance(result, ImageError):
                return result
            found.append(result)
        rows = [iter(descriptors) for descriptors, _ in found]
        return ViewsDescription(
            self._views,
            np.stack([next(rows[number]) for number in self._pass_of]),
            tuple(its for _, its in found),
            tuple(self._pass_of),
            _size(source, picture),
        )


def _size(source: Source, picture: Picture) -> tuple[int, int]:
    """Width and height of a picture; of the decoded one where the header does not tell."""
    try:
        return upright_size(source)
    except ImageError:
        height, width = picture.pixels().shape[:2]
        return width, height
