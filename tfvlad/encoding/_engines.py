"""Images -> descriptors, with every stage at work at once.

Decoding runs ahead on threads of its own; the network runs in the caller's thread; what follows it runs in one more.
On a CPU that is the aggregation (VLAD by the Numba kernels) and the whitening; on a GPU it is only the fetching of the
results, as aggregation and whitening are in one graph with the network.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Protocol, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.encoding.aggregation import Aggregation
from tfvlad.encoding.features import NOT_FINITE, FeatureBatch, FeatureExtractor, Head
from tfvlad.encoding.keras_layers import LocalFeatures
from tfvlad.encoding.keras_layers import Whitening as WhiteningLayer
from tfvlad.encoding.whitening import Whitening
from tfvlad.errors import ImageError
from tfvlad.images.batching import ImageBatch, Rejected, overlapped
from tfvlad.images.sources import Source

Floats = npt.NDArray[np.float32]
Rows: TypeAlias = dict[int, Floats | ImageError]  # by the image's position in the input
DescribedRows: TypeAlias = dict[int, tuple[Floats, Floats] | ImageError]  # descriptor and (h, w, C) local features

AGGREGATED = "aggregated"  # the extractor's head that the aggregation goes on with
LOCAL = "local features"  # the head that gives local features, where the aggregation takes something else


class Engine(Protocol):
    """A way to run an encoder.

    Attributes:
      stages: the steps by name. The first takes (B, h, w, 3) float32 images, every other one the result of the step
        before it.
    """

    stages: dict[str, Callable[[Any], Any]]

    def stream(self, sources: Iterable[Source]) -> Generator[Rows]:
        """Encodes images as they come, one window of images after the other, in the order of the input.

        Yields:
          For each window, the descriptor or the error of each image, by the image's position in the input.
        """

    def describe(self, sources: Iterable[Source]) -> Generator[DescribedRows]:
        """Like `stream`, with the local features of the same forward pass."""


class KernelEngine:
    """The network and the aggregation's head in TensorFlow, the rest of the aggregation on the CPU."""

    def __init__(self, extractor: FeatureExtractor[str], aggregation: Aggregation, whitening: Whitening | None) -> None:
        self._extractor = extractor
        self._describing = describing(extractor)
        self._aggregation = aggregation
        self._whiten = whitening_function(whitening) if whitening else None
        merged = aggregation.tail() is None
        self.stages: dict[str, Callable[[Any], Any]] = {
            f"network and {aggregation.name}" if merged else "network": self._head_values
        }
        if not merged:
            self.stages[aggregation.name] = aggregation.vectors
        if self._whiten:
            self.stages["whitening"] = self._whiten

    def stream(self, sources: Iterable[Source]) -> Generator[Rows]:
        """See `Engine`."""
        yield from overlapped(self._extractor.stream(sources), self._describe)

    def _head_values(self, images: Any) -> Floats:
        values, _, _ = self._extractor.extract(images)
        return np.asarray(values[list(self._extractor.heads).index(AGGREGATED)])

    def describe(self, sources: Iterable[Source]) -> Generator[DescribedRows]:
        """See `Engine`."""
        yield from overlapped(self._describing.stream(sources), self._describe_both)

    def _describe(self, window: list[FeatureBatch[str] | Rejected]) -> Rows:
        rows: Rows = {}
        for batch in window:
            if isinstance(batch, FeatureBatch):
                rows.update(zip(batch.positions, self._descriptors(batch), strict=True))
            else:
                rows.update([batch])
        return rows

    def _describe_both(self, window: list[FeatureBatch[str] | Rejected]) -> DescribedRows:
        rows: DescribedRows = {}
        for batch in window:
            if isinstance(batch, FeatureBatch):
                local = LOCAL if LOCAL in batch.values else AGGREGATED
                values = batch.values[local]
                maps = values.reshape(len(values), *batch.grids[local], values.shape[-1])
                rows.update(zip(batch.positions, zip(self._descriptors(batch), maps, strict=True), strict=True))
            else:
                rows.update([batch])
        return rows

    def _descriptors(self, batch: FeatureBatch[str]) -> Floats:
        descriptors = self._aggregation.vectors(batch.values[AGGREGATED])
        return self._whiten(descriptors) if self._whiten else descriptors


class GraphEngine:
    """Network, aggregation and whitening in one graph.

    Args:
      extractor: prepares the images; its own graph is not run.
      model: `tfvlad.Encoder.model_with_activations`.
    """

    def __init__(self, extractor: FeatureExtractor[str], model: keras.Model) -> None:
        self._extractor = extractor
        local = LocalFeatures()

        def describe(images: Any) -> tuple[Any, Any]:
            descriptors, activations = model(images, training=False)
            features = tf.reshape(tf.cast(local(activations), tf.float32), tf.shape(activations))
            return tf.cast(descriptors, tf.float32), features

        images = tf.TensorSpec((None, None, None, 3), tf.float32)
        self._run_both = tf.function(describe, [images], autograph=False)
        self._run = tf.function(
            lambda images: model(images, training=False)[0],
            input_signature=[images],
        )
        self.stages: dict[str, Callable[[Any], Any]] = {"graph": lambda images: np.asarray(self._run(images))}

    def stream(self, sources: Iterable[Source]) -> Generator[Rows]:
        """See `Engine`."""
        yield from overlapped(self._launched(sources, self._run), _fetch)

    def describe(self, sources: Iterable[Source]) -> Generator[DescribedRows]:
        """See `Engine`."""
        yield from overlapped(self._launched(sources, self._run_both), _fetch_both)

    def _launched(
        self, sources: Iterable[Source], run: Callable[[Any], Any]
    ) -> Iterator[list[tuple[ImageBatch, Any] | Rejected]]:
        """Starts the work of the device, window by window, without waiting for the results."""
        for window in self._extractor.batches(sources):
            yield [(batch, run(batch.images)) if isinstance(batch, ImageBatch) else batch for batch in window]


def describing(extractor: FeatureExtractor[str]) -> FeatureExtractor[str]:
    """An extractor of the same that gives local features as well: itself, where its aggregation starts with them."""
    head = extractor.heads[AGGREGATED]
    if isinstance(head.layer, LocalFeatures):
        return extractor
    heads = {AGGREGATED: head, LOCAL: Head(head.output, LocalFeatures())}
    return FeatureExtractor(extractor.model, extractor.loader, extractor.image_size, heads)


def whitening_function(whitening: Whitening) -> Callable[[Floats], Floats]:
    """Makes a function that takes (B, D) float32 vectors and gives (B, dim) float32 descriptors.

    It runs on TensorFlow's threads. Those of NumPy's BLAS wait for each other by spinning, which takes a hundred times
    as long while the network's threads are at work.
    """
    layer = WhiteningLayer(whitening.dim, *whitening.folded())
    layer.build((None, whitening.components.shape[1]))
    graph = tf.function(layer, [tf.TensorSpec((None, whitening.components.shape[1]), tf.float32)], autograph=False)
    return lambda vlads: np.asarray(graph(vlads))


def _fetch(window: list[tuple[ImageBatch, Any] | Rejected]) -> Rows:
    rows: Rows = {}
    for batch, result in window:
        if not isinstance(batch, ImageBatch):
            rows[batch] = result
            continue
        for position, name, descriptor in zip(batch.positions, batch.names, np.asarray(result), strict=True):
            good = np.isfinite(descriptor).all()
            rows[position] = descriptor if good else ImageError(name, NOT_FINITE)
    return rows


def _fetch_both(window: list[tuple[ImageBatch, Any] | Rejected]) -> DescribedRows:
    rows: DescribedRows = {}
    for batch, result in window:
        if not isinstance(batch, ImageBatch):
            rows[batch] = result
            continue
        assert not isinstance(result, ImageError)  # that is with a position only
        descriptors, features = (np.asarray(part) for part in result)
        for position, name, *both in zip(batch.positions, batch.names, descriptors, features, strict=True):
            good = all(np.isfinite(part).all() for part in both)
            rows[position] = (both[0], both[1]) if good else ImageError(name, NOT_FINITE)
    return rows
