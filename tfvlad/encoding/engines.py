"""Images -> descriptors, with every stage at work at once.

Decoding runs ahead on its own threads; the network runs in the caller's; what follows it, in one more. On a CPU that
is the Numba kernels; on a GPU it is only the fetching, as VLAD and whitening are in one graph with the network.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Protocol, TypeAlias, TypeVar

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.config import EncoderConfig
from tfvlad.encoding.features import FeatureBatch, FeatureExtractor
from tfvlad.encoding.layers import Whitening as WhiteningLayer
from tfvlad.encoding.whitening import Whitening
from tfvlad.errors import ImageError
from tfvlad.images.batching import ImageBatch, Rejected
from tfvlad.images.loading import Source
from tfvlad_kernels import encode_vlad

Floats = npt.NDArray[np.float32]
Rows: TypeAlias = dict[int, Floats | ImageError]  # by the image's position in the input
T = TypeVar("T")
U = TypeVar("U")


class Engine(Protocol):
    """A way to run an encoder.

    Attributes:
      stages: its steps by name, each of which takes what the one before gives; the first takes (B, h, w, 3) float32.
    """

    stages: dict[str, Callable[[Any], Any]]

    def stream(self, sources: Iterable[Source]) -> Generator[Rows]:
        """Encodes images as they come, a window at a time; the positions of one come before those of the next."""


class KernelEngine:
    """The network in TensorFlow, VLAD and whitening by the kernels."""

    def __init__(
        self, extractor: FeatureExtractor, config: EncoderConfig, codebook: Floats, whitening: Whitening | None
    ) -> None:
        """Takes the parts of an encoder."""
        self._extractor = extractor
        self._config = config
        self._codebook = codebook
        self.stages: dict[str, Callable[[Any], Any]] = {
            "network": lambda images: np.asarray(extractor.extract(images)[0]),
            "VLAD": self._vlads,
        }
        if whitening:
            self.stages["whitening"] = _whiten(whitening)

    def stream(self, sources: Iterable[Source]) -> Generator[Rows]:
        """See `Engine`."""
        yield from overlapped(self._extractor.stream(sources), self._describe)

    def _describe(self, window: list[FeatureBatch | Rejected]) -> Rows:
        rows: Rows = {}
        for batch in window:
            if isinstance(batch, FeatureBatch):
                descriptors = self._vlads(batch.features)
                if "whitening" in self.stages:
                    descriptors = self.stages["whitening"](descriptors)
                rows.update(zip(batch.positions, descriptors, strict=True))
            else:
                rows.update([batch])
        return rows

    def _vlads(self, features: Floats) -> Floats:
        """(B, N, C) float32 local features -> (B, K*C) float32 VLADs."""
        return encode_vlad(features, self._codebook, intra_norm=self._config.intra_norm, power=self._config.power)


class GraphEngine:
    """Network, VLAD and whitening in one graph."""

    def __init__(self, extractor: FeatureExtractor, model: keras.Model) -> None:
        """Takes what prepares the images, and `tfvlad.Encoder.model`."""
        self._extractor = extractor
        self._run = tf.function(
            lambda images: model(images, training=False),
            input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)],
        )
        self.stages: dict[str, Callable[[Any], Any]] = {"graph": lambda images: np.asarray(self._run(images))}

    def stream(self, sources: Iterable[Source]) -> Generator[Rows]:
        """See `Engine`."""
        yield from overlapped(map(self._launch, self._extractor.batches(sources)), _fetch)

    def _launch(self, window: list[ImageBatch | Rejected]) -> list[tuple[ImageBatch, Any] | Rejected]:
        """Gives the device its work, and does not wait for it."""
        return [(batch, self._run(batch.images)) if isinstance(batch, ImageBatch) else batch for batch in window]


def _whiten(whitening: Whitening) -> Callable[[Floats], Floats]:
    """A function of (B, K*C) float32 VLADs that gives (B, dim) float32 descriptors.

    On TensorFlow's threads: those of NumPy's BLAS wait for each other by spinning, which takes a hundred times as long
    where the network's threads are at work.
    """
    layer = WhiteningLayer(whitening.dim, *whitening.folded())
    layer.build((None, whitening.components.shape[1]))
    graph = tf.function(layer, input_signature=[tf.TensorSpec((None, whitening.components.shape[1]), tf.float32)])
    return lambda vlads: np.asarray(graph(vlads))


def _fetch(window: list[tuple[ImageBatch, Any] | Rejected]) -> Rows:
    rows: Rows = {}
    for batch, result in window:
        if not isinstance(batch, ImageBatch):
            rows[batch] = result
            continue
        for position, name, descriptor in zip(batch.positions, batch.names, np.asarray(result), strict=True):
            good = np.isfinite(descriptor).all()
            rows[position] = descriptor if good else ImageError(name, "the network's activations are not finite")
    return rows


def overlapped(windows: Iterator[T], work: Callable[[T], U]) -> Generator[U]:
    """Yields `work` of each window, which is done in another thread while the next window is being made."""
    with concurrent.futures.ThreadPoolExecutor(1, "tfvlad-encode") as pool:
        before: concurrent.futures.Future[U] | None = None
        for window in windows:
            following = pool.submit(work, window)
            if before is not None:
                yield before.result()
            before = following
        if before is not None:
            yield before.result()
