"""Fits the codebooks of all layers at one image size, from one pass over a sample of the images to fit on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfvlad.encoding.codebook import bounded, draw, fit_codebook, share
from tfvlad.encoding.features import FeatureBatch, FeatureExtractor
from tfvlad.errors import ConfigError
from tfvlad.storage.atomic import atomic_file, read_json, write_json
from tfvlad.sweep._multi_layer_network import HeadKey
from tfvlad.sweep._plan import SweepTask
from tfvlad.sweep._unfinished_work import Mapped, PassProgress, Scratch, run_pass
from tfvlad.sweep.grid import DescriptorKind

Floats = npt.NDArray[np.float32]

_SAMPLES, _DONE = "samples", "codebooks-done.json"


class Codebooks:
    """Fits a codebook for each VLAD, the one that `tfvlad.Encoder.fit` fits with the same seed.

    The sampled local features of all layers lie on disk until all codebooks are fitted. Memory holds those of one layer
    at a time, and only where they must be copied.

    Attributes:
      progress: how far the pass over the images is.
    """

    def __init__(self, scratch: Scratch, task: SweepTask) -> None:
        """Finds out how far the work in the scratch folder is."""
        self._scratch = scratch
        self._kinds = [kind for kind in scratch.kinds if kind.encoding == "vlad"]
        self._layers = list(dict.fromkeys(kind.layer for kind in self._kinds))
        self._task = task
        self.progress = PassProgress(scratch.path("codebooks.json"))

    def failures(self) -> dict[int, str]:
        """Position among the images to fit on -> why the image cannot be used."""
        return {int(self._task.sampled[position]): reason for position, reason in self.progress.failures.items()}

    def is_fitted(self, kind: DescriptorKind) -> bool:
        """Whether the codebook of a VLAD is on disk."""
        return os.path.exists(self._scratch.codebook(kind))

    def fit(
        self,
        extractor: Callable[[], FeatureExtractor[HeadKey]],
        shapes: Sequence[tuple[int, int, int]],
        image_done: Callable[[int], None],
        codebook_done: Callable[[DescriptorKind], None],
    ) -> dict[DescriptorKind, str]:
        """Fits the codebooks that are not on disk yet.

        Args:
          extractor: returns the feature extractor for the VLADs' layers; called once, and only if it is needed.
          shapes: the shape of each layer's sample, see `SizePlan.sample_shape`.
          image_done: called with the number of images done since its last call.
          codebook_done: called for each codebook.

        Returns:
          VLADs that are not possible -> why.

        Raises:
          ConfigError: no image can be used.
        """
        done = read_json(self._scratch.path(_DONE))
        if not self._is_done(done):
            done = self._fit_all(extractor(), shapes, image_done, codebook_done)
            write_json(self._scratch.path(_DONE), done)
        self._scratch.remove(_SAMPLES)
        return {self._scratch.kinds[int(number)]: why for number, why in done.items()}

    def _is_done(self, done: Any) -> bool:
        """Whether a stored account of VLADs that are not possible is one, and every other VLAD has its codebook."""
        numbers = {str(number) for number in range(len(self._scratch.kinds))}
        return isinstance(done, dict) and set(done) <= numbers and all(isinstance(why, str) for why in done.values())

    def _fit_all(
        self,
        extractor: FeatureExtractor[HeadKey],
        shapes: Sequence[tuple[int, int, int]],
        image_done: Callable[[int], None],
        codebook_done: Callable[[DescriptorKind], None],
    ) -> dict[int, str]:
        counts, *samples = self._scratch.arrays(_SAMPLES, [(len(shapes), len(self._task.sampled)), *shapes])
        self._sample(extractor, counts, samples, image_done)
        impossible: dict[int, str] = {}
        for layer, of_images, sample in zip(self._layers, counts, samples, strict=True):
            needed = [kind for kind in self._kinds if kind.layer == layer and not self.is_fitted(kind)]
            if not needed:
                continue
            features = self._drawn_features(sample, of_images)
            for kind in needed:
                try:
                    self._save(kind, fit_codebook(features, kind.clusters, self._task.seed))
                except ConfigError as error:
                    impossible[self._scratch.kinds.index(kind)] = str(error)
                codebook_done(kind)
        return impossible

    def _sample(
        self,
        extractor: FeatureExtractor[HeadKey],
        counts: Mapped,
        samples: list[Mapped],
        image_done: Callable[[int], None],
    ) -> None:
        """Draws up to so many local features of each layer from every image, and notes how many there were."""
        config, seed = self._task.config, self._task.seed
        each = share(len(self._task.sampled), config.codebook_samples)

        def store(positions: list[int], batch: FeatureBatch[HeadKey]) -> None:
            for layer, of_images, sample in zip(self._layers, counts, samples, strict=True):
                for position, features in zip(positions, batch.values[layer, "vlad"], strict=True):
                    places = draw(position, len(features), each, seed)
                    sample[position, : len(places)] = features[places]
                    of_images[position] = len(places)

        images = [self._task.fit_on[position] for position in self._task.sampled]
        run_pass(extractor, images, self.progress, counts, store, config.max_pixels, image_done)
        if len(self.progress.failures) == len(images):
            path, reason = min((images[number].path, reason) for number, reason in self.progress.failures.items())
            raise ConfigError(f"none of the {len(images)} images can be used; the first is {path}: {reason}")

    def _drawn_features(self, sample: Floats, counts: Floats) -> Floats:
        """One layer's features, (S, C), in the images' order; not copied where every image gave all that it could."""
        drawn = np.flatnonzero(np.arange(sample.shape[1]) < counts[:, np.newaxis])
        places = bounded(drawn, self._task.config.codebook_samples, self._task.seed)
        features = sample.reshape(-1, sample.shape[2])
        return np.asarray(features if len(places) == len(features) else features[places])

    def _save(self, kind: DescriptorKind, codebook: Floats) -> None:
        with atomic_file(self._scratch.codebook(kind)) as temporary, open(temporary, "wb") as file:
            np.save(file, codebook)
