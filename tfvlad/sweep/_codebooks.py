"""The codebooks of all layers at one image size, from one pass over a sample of the images to fit on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tfvlad.encoding.codebook import bounded, draw, fit_codebook, share
from tfvlad.errors import ConfigError
from tfvlad.storage.atomic import atomic_file
from tfvlad.storage.json_files import read_json, write_json
from tfvlad.sweep.extraction import LayerBatch, LayerExtractor
from tfvlad.sweep.passes import run_pass
from tfvlad.sweep.plan import Stream
from tfvlad.sweep.scratch import Mapped, Progress, Scratch
from tfvlad.sweep.task import Task

Floats = npt.NDArray[np.float32]

_SAMPLES, _DONE = "samples", "codebooks-done.json"


class Codebooks:
    """Fits a codebook for each VLAD, as `tfvlad.Encoder.fit` does with the same seed.

    The sampled features of all layers lie on disk until all codebooks are fitted; memory holds those of one layer at a
    time, where they must be copied.

    Attributes:
      progress: of the pass over the images.
    """

    def __init__(self, scratch: Scratch, task: Task) -> None:
        """Takes where to work and what to do."""
        self._scratch = scratch
        self._streams = [stream for stream in scratch.streams if stream.encoding == "vlad"]
        self._layers = list(dict.fromkeys(stream.layer for stream in self._streams))
        self._task = task
        self._sampled = task.sampled
        self.progress = Progress(scratch.path("codebooks.json"))

    def failures(self) -> dict[int, str]:
        """Position among the images to fit on -> what is wrong."""
        return {int(self._sampled[position]): reason for position, reason in self.progress.failures.items()}

    def is_fitted(self, stream: Stream) -> bool:
        """Whether a VLAD's codebook is there."""
        return os.path.exists(self._scratch.codebook(stream))

    def fit(
        self,
        extractor: Callable[[], LayerExtractor],
        shapes: Sequence[tuple[int, int, int]],
        image_done: Callable[[int], None],
        codebook_done: Callable[[Stream], None],
    ) -> dict[Stream, str]:
        """Fits those that are not there yet.

        Args:
          extractor: makes that of these layers.
          shapes: of each layer's sample, see `tfvlad.sweep.workload.Workload.samples`.
          image_done: is told of so many more images.
          codebook_done: is told of each codebook.

        Returns:
          VLADs that are not possible -> why.

        Raises:
          ConfigError: no image can be used.
        """
        done = read_json(self._scratch.path(_DONE))
        if done is None:
            done = self._fit_all(extractor(), shapes, image_done, codebook_done)
            write_json(self._scratch.path(_DONE), done)
        self._scratch.remove(_SAMPLES)
        return {self._scratch.streams[int(number)]: why for number, why in done.items()}

    def _fit_all(
        self,
        extractor: LayerExtractor,
        shapes: Sequence[tuple[int, int, int]],
        image_done: Callable[[int], None],
        codebook_done: Callable[[Stream], None],
    ) -> dict[int, str]:
        counts, *samples = self._scratch.arrays(_SAMPLES, [(len(shapes), len(self._sampled)), *shapes])
        self._sample(extractor, counts, samples, image_done)
        impossible: dict[int, str] = {}
        for layer, of_images, kept in zip(self._layers, counts, samples, strict=True):
            needed = [stream for stream in self._streams if stream.layer == layer and not self.is_fitted(stream)]
            if not needed:
                continue
            features = self._drawn(kept, of_images)
            for stream in needed:
                try:
                    self._save(stream, fit_codebook(features, stream.clusters, self._task.seed))
                except ConfigError as error:
                    impossible[self._scratch.streams.index(stream)] = str(error)
                codebook_done(stream)
        return impossible

    def _sample(
        self, extractor: LayerExtractor, counts: Mapped, samples: list[Mapped], image_done: Callable[[int], None]
    ) -> None:
        """Draws from every image: of each layer up to so many features, and how many there were."""
        config, seed = self._task.config, self._task.seed
        each = share(len(self._sampled), config.codebook_samples)

        def store(positions: list[int], batch: LayerBatch) -> None:
            for layer, of_images, kept in zip(self._layers, counts, samples, strict=True):
                for position, features in zip(positions, batch.features[layer], strict=True):
                    places = draw(position, len(features), each, seed)
                    kept[position, : len(places)] = features[places]
                    of_images[position] = len(places)

        images = [self._task.fit_on[position] for position in self._sampled]
        run_pass(extractor, images, self.progress, counts, store, config.max_pixels, image_done)
        if len(self.progress.failures) == len(images):
            raise ConfigError(
                f"none of the {len(images)} images can be used; the first is {images[0].path}: "
                f"{self.progress.failures[0]}"
            )

    def _drawn(self, kept: Floats, counts: Floats) -> Floats:
        """One layer's features, (S, C), in the images' order; not copied where every image gave all that it could."""
        there = np.flatnonzero(np.arange(kept.shape[1]) < counts[:, np.newaxis])
        places = bounded(there, self._task.config.codebook_samples, self._task.seed)
        features = kept.reshape(-1, kept.shape[2])
        return np.asarray(features if len(places) == len(features) else features[places])

    def _save(self, stream: Stream, codebook: Floats) -> None:
        with atomic_file(self._scratch.codebook(stream)) as temporary, open(temporary, "wb") as file:
            np.save(file, codebook)
