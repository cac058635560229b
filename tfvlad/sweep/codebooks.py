"""The codebooks of all layers at one image size, from one pass over a sample of the images to fit on."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tfvlad.atomic import atomic_file
from tfvlad.codebook import bounded, draw, fit_codebook, images_to_sample, share
from tfvlad.config import EncoderConfig
from tfvlad.datasets import Query
from tfvlad.errors import ConfigError
from tfvlad.sweep.extraction import LayerBatch, LayerExtractor
from tfvlad.sweep.passes import run_pass
from tfvlad.sweep.plan import Stream
from tfvlad.sweep.scratch import Progress, Scratch

Floats = npt.NDArray[np.float32]


class Codebooks:
    """Fits a codebook for each VLAD, as `tfvlad.Encoder.fit` does with the same seed.

    The sampled features of all layers lie on disk; memory holds those of one layer at a time.

    Attributes:
      progress: of the pass over the images.
      chosen: which of the images to fit on are sampled, sorted positions.
    """

    def __init__(self, scratch: Scratch, images: Sequence[Query], config: EncoderConfig, seed: int) -> None:
        """Takes where to work, the images to fit on, settings and the seed."""
        self._scratch = scratch
        self._streams = [stream for stream in scratch.streams if stream.encoding == "vlad"]
        self._images = images
        self._config = config
        self._seed = seed
        self.progress = Progress(scratch.path("codebooks.json"))
        self.chosen = images_to_sample(len(images), config.codebook_samples, seed)

    def failures(self) -> dict[int, str]:
        """Position among the images to fit on -> what is wrong."""
        return {int(self.chosen[position]): reason for position, reason in self.progress.failures.items()}

    def fit(self, extractor: LayerExtractor, maps: dict[str, tuple[int, ...]], title: str) -> dict[Stream, str]:
        """Fits those that are not there yet.

        Args:
          extractor: of these layers.
          maps: layer -> (h, w, C), the largest that an image gives.
          title: of the progress bars.

        Returns:
          VLADs that are not possible -> why.

        Raises:
          ConfigError: no image can be used.
        """
        each = share(len(self.chosen), self._config.codebook_samples)
        layers = list(dict.fromkeys(stream.layer for stream in self._streams))
        counts = self._scratch.array("counts", (len(layers), len(self.chosen)))
        shapes = [
            (len(self.chosen), min(each, height * width), depth)
            for height, width, depth in map(maps.__getitem__, layers)
        ]
        samples = [self._scratch.array(f"sample-{number}", shape) for number, shape in enumerate(shapes)]

        def store(positions: list[int], batch: LayerBatch) -> None:
            for number, layer in enumerate(layers):
                for position, features in zip(positions, batch.features[layer], strict=True):
                    places = draw(position, len(features), each, self._seed)
                    samples[number][position, : len(places)] = features[places]
                    counts[number, position] = len(places)

        images = [self._images[position] for position in self.chosen]
        run_pass(
            extractor, images, self.progress, [counts, *samples], store, self._config.max_pixels, f"{title}: features"
        )
        if len(self.progress.failures) == len(images):
            raise ConfigError(
                f"none of the {len(images)} images can be used; the first is {images[0].path}: "
                f"{self.progress.failures[0]}"
            )
        impossible: dict[Stream, str] = {}
        with tqdm(None, f"{title}: codebooks", len(self._streams), disable=None, delay=2) as bar:
            for number, layer in enumerate(layers):
                needed = [stream for stream in self._streams if stream.layer == layer and not self._is_fitted(stream)]
                if needed:
                    drawn = [rows[: int(count)] for rows, count in zip(samples[number], counts[number], strict=True)]
                    features = bounded(np.concatenate(drawn), self._config.codebook_samples, self._seed)
                for stream in needed:
                    try:
                        self._save(stream, fit_codebook(features, stream.clusters, self._seed))
                    except ConfigError as error:
                        impossible[stream] = str(error)
                bar.update(sum(stream.layer == layer for stream in self._streams))
        return impossible

    def _is_fitted(self, stream: Stream) -> bool:
        return os.path.exists(self._scratch.codebook(stream))

    def _save(self, stream: Stream, codebook: Floats) -> None:
        with atomic_file(self._scratch.codebook(stream)) as temporary, open(temporary, "wb") as file:
            np.save(file, codebook)
