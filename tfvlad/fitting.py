"""Fitting: the codebook, then the whitening, from bounded samples of a collection of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tfvlad.codebook import FeatureSample, fit_codebook, images_to_sample
from tfvlad.config import EncoderConfig
from tfvlad.errors import ConfigError, ImageError
from tfvlad.features import FeatureBatch, FeatureExtractor
from tfvlad.images import Source
from tfvlad.whitening import Whitening, check_dim, fit_whitening
from tfvlad_kernels import encode_vlad

Floats = npt.NDArray[np.float32]
OnError = Callable[[ImageError], None]


class Fitting:
    """The images to fit on, less those that turn out to be unusable."""

    def __init__(
        self,
        sources: Sequence[Source],
        extractor: FeatureExtractor,
        config: EncoderConfig,
        seed: int,
        on_error: OnError | None,
    ) -> None:
        """See `tfvlad.encoder.Encoder.fit` for the arguments."""
        self._sources = sources
        self._extractor = extractor
        self._config = config
        self._seed = seed
        self._on_error = on_error
        self._usable = np.ones(len(sources), bool)
        self._first_error: ImageError | None = None

    def codebook(self) -> Floats:
        """Fits the centroids, (K, C) float32.

        Raises:
          ConfigError: no image can be used, or they have fewer features than there are to be clusters.
        """
        config = self._config
        chosen = images_to_sample(len(self._sources), config.codebook_samples, self._seed)
        sample = FeatureSample(len(chosen), config.codebook_samples, self._seed)
        for batch in self._batches(chosen, "Codebook"):
            for position, features in zip(batch.positions, batch.features, strict=True):
                sample.add(position, features)
        if not self._usable[chosen].any():
            raise ConfigError(f"none of the {len(chosen)} images can be used; the first is {self._first_error}")
        return fit_codebook(sample.features(), config.clusters, self._seed)

    def whitening(self, codebook: Floats, dim: int) -> Whitening:
        """Fits the whitening to `dim` dimensions on the VLADs of that codebook."""
        config = self._config
        usable = np.flatnonzero(self._usable)
        check_dim(dim, len(usable), codebook.size)
        chosen = np.sort(np.random.default_rng(self._seed).permutation(usable)[: config.whitening_samples])
        vlads = np.zeros((len(chosen), codebook.size), np.float32)
        for batch in self._batches(chosen, "Whitening"):
            vlads[batch.positions] = encode_vlad(
                batch.features, codebook, intra_norm=config.intra_norm, power=config.power
            )
        return fit_whitening(vlads[self._usable[chosen]], dim, self._seed)

    def _batches(self, chosen: npt.NDArray[np.intp], stage: str) -> Iterator[FeatureBatch]:
        sources = (self._sources[i] for i in chosen)
        with tqdm(None, stage, len(chosen), disable=None, delay=2, unit=" images") as bar:
            for window in self._extractor.stream(sources):
                for batch in window:
                    if isinstance(batch, FeatureBatch):
                        yield batch
                        bar.update(len(batch.positions))
                        continue
                    position, error = batch
                    if self._on_error is None:
                        raise error
                    self._usable[chosen[position]] = False
                    self._first_error = self._first_error or error
                    self._on_error(error)
                    bar.update()
