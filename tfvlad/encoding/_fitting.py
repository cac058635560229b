"""Fitting: the codebook, where one is needed, then the whitening, each from a bounded sample of the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tfvlad.config import EncoderConfig
from tfvlad.encoding._engines import AGGREGATED
from tfvlad.encoding.aggregation import Aggregation
from tfvlad.encoding.codebook import FeatureSample, fit_codebook, images_to_sample
from tfvlad.encoding.features import FeatureBatch, FeatureExtractor
from tfvlad.encoding.whitening import TooFewDirectionsError, Whitening, check_dim, fit_whitening
from tfvlad.errors import ConfigError, ImageError
from tfvlad.images.sources import Source
from tfvlad.progress import FASTER, Progress

Floats = npt.NDArray[np.float32]
OnError = Callable[[ImageError], None]

FEWEST_DIMENSIONS = 5  # that a whitening leaves where it may choose
_KEPT_BYTES = 1 << 30  # of local features that are kept, so that their images need not pass the network again
_KEPT_BATCH = 16


class Fitting:
    """The images to fit on, without those that turn out to be unusable.

    Args:
      sources: the images.
      extractor: its head `AGGREGATED` is the aggregation's.
      config: settings.
      seed: of both samples.
      on_error: is called with the error of each unusable image; None raises it instead.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        extractor: FeatureExtractor[str],
        config: EncoderConfig,
        seed: int,
        on_error: OnError | None,
    ) -> None:
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
        for batch in self._batches(chosen, "Images for the codebook"):
            images = batch.values[AGGREGATED]
            for position, features in zip(batch.positions, images, strict=True):
                sample.add(position, features)
            free -= images.nbytes
            if free >= 0:
                self._kept.update(zip(chosen[batch.positions].tolist(), images, strict=True))
        self._require_one_of(chosen)
        with Progress(None, "Fitting the codebook"):
            return fit_codebook(sample.features(), config.clusters, self._seed)

    def whitening(self, aggregation: Aggregation, size: int, dim: int, fewer: bool = False) -> Whitening | None:
        """Fits the whitening; None where only `fewer` than `FEWEST_DIMENSIONS` could be left.

        Args:
          aggregation: makes the vectors, with its codebook fitted.
          size: D, the length of a vector.
          dim: dimensions to leave.
          fewer: leave fewer where too many images turned out to be unusable, or copies of others.

        Raises:
          ConfigError: no image can be used, or too few for so many dimensions.
        """
        usable = np.flatnonzero(self._usable)
        if fewer:
            dim = min(dim, len(usable) - 1)
            if dim < FEWEST_DIMENSIONS and len(usable):
                return None
        check_dim(dim, len(usable), size)
        chosen = np.sort(np.random.default_rng(self._seed).permutation(usable)[: self._config.whitening_samples])
        vectors = np.zeros((len(chosen), size), np.float32)
        is_kept = np.isin(chosen, list(self._kept))
        known, others = np.flatnonzero(is_kept), np.flatnonzero(~is_kept)
        for start in range(0, len(known), _KEPT_BATCH):
            rows = known[start : start + _KEPT_BATCH]
            vectors[rows] = aggregation.vectors([self._kept.pop(position) for position in chosen[rows].tolist()])
        self._kept.clear()
        for batch in self._batches(chosen[others], "Images for the whitening"):
            vectors[others[batch.positions]] = aggregation.vectors(batch.values[AGGREGATED])
        self._require_one_of(chosen)
        with Progress(None, "Fitting the whitening"):
            vectors = vectors[self._usable[chosen]]
            try:
                whitening = fit_whitening(vectors, dim, self._seed)
            except TooFewDirectionsError as error:
                if not fewer:
                    raise
                if error.directions < FEWEST_DIMENSIONS:
                    return None
                whitening = fit_whitening(vectors, error.directions, self._seed)
            return whitening.shrunk(self._config.shrinkage)

    def _require_one_of(self, chosen: npt.NDArray[np.intp]) -> None:
        if not self._usable[chosen].any():
            raise ConfigError(f"none of the {len(chosen)} images can be used; the first is {self._first_error}")

    def _batches(self, chosen: npt.NDArray[np.intp], stage: str) -> Iterator[FeatureBatch[str]]:
        sources = (self._sources[i] for i in chosen)
        with Progress(None, stage, len(chosen), if_long=FASTER) as bar:
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
                    self._first_error = min(self._first_error or error, error, key=lambda one: one.path)
                    self._on_error(error)
                    bar.update()
