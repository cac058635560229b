"""Fitting: the codebook, then the whitening, from bounded samples of a collection of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tfvlad.config import EncoderConfig
from tfvlad.encoding.codebook import FeatureSample, fit_codebook, images_to_sample
from tfvlad.encoding.features import FeatureBatch, FeatureExtractor
from tfvlad.encoding.whitening import Whitening, check_dim, fit_whitening
from tfvlad.errors import ConfigError, ImageError
from tfvlad.images.loading import Source
from tfvlad_kernels import encode_vlad

Floats = npt.NDArray[np.float32]
OnError = Callable[[ImageError], None]

_KEPT_BYTES = 1 << 30  # of local features, kept so that these images need not pass the network again
_KEPT_BATCH = 16


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
        """See `tfvlad.encoding.encoder.Encoder.fit` for the arguments."""
        self._sources = sources
        self._extractor = extractor
        self._config = config
        self._seed = seed
        self._on_error = on_error
        self._usable = np.ones(len(sources), bool)
        self._first_error: ImageError | None = None
        self._kept: dict[int, Floats] = {}  # by position in the sources

    def codebook(self) -> Floats:
        """Fits the centroids, (K, C) float32.

        Raises:
          ConfigError: no image can be used, or they have fewer features than there are to be clusters.
        """
        config = self._config
        chosen = images_to_sample(len(self._sources), config.codebook_samples, self._seed)
        sample = FeatureSample(len(chosen), config.codebook_samples, self._seed)
        free = _KEPT_BYTES
        for batch in self._batches(chosen, "Codebook"):
            for position, features in zip(batch.positions, batch.features, strict=True):
                sample.add(position, features)
            free -= batch.features.nbytes
            if free >= 0:
                self._kept.update(zip(chosen[batch.positions].tolist(), batch.features, strict=True))
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
        is_kept = np.isin(chosen, list(self._kept))
        known, others = np.flatnonzero(is_kept), np.flatnonzero(~is_kept)
        for start in range(0, len(known), _KEPT_BATCH):
            rows = known[start : start + _KEPT_BATCH]
            vlads[rows] = self._vlads([self._kept.pop(position) for position in chosen[rows].tolist()], codebook)
        self._kept.clear()
        for batch in self._batches(chosen[others], "Whitening"):
            vlads[others[batch.positions]] = self._vlads(batch.features, codebook)
        return fit_whitening(vlads[self._usable[chosen]], dim, self._seed)

    def _vlads(self, features: Floats | list[Floats], codebook: Floats) -> Floats:
        return encode_vlad(features, codebook, intra_norm=self._config.intra_norm, power=self._config.power)

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
