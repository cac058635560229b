"""What a sweep is given: which images it works on, whatever their size."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from tfvlad.config import EncoderConfig
from tfvlad.encoding.codebook import images_to_sample
from tfvlad.evaluation.datasets import Dataset, Query
from tfvlad.sweep.plan import Grid
from tfvlad.sweep.roles import Roles, assign


@dataclasses.dataclass(frozen=True)
class Task:
    """What all image sizes share.

    Attributes:
      dataset: queries, database and right answers.
      fit_on: the images to fit on.
      config: settings; see `tfvlad.sweep.results.Study.config`.
      grid: what is to be tried.
      seed: of codebooks and whitening.
      folder: where cells and scratch files go.
    """

    dataset: Dataset
    fit_on: list[Query]
    config: EncoderConfig
    grid: Grid
    seed: int
    folder: str

    @functools.cached_property
    def sampled(self) -> npt.NDArray[np.intp]:
        """(M,) sorted positions of the images to fit on that give features to the codebooks."""
        return images_to_sample(len(self.fit_on), self.config.codebook_samples, self.seed)

    def described(self, failed: Collection[int] = ()) -> tuple[list[Query], Roles]:
        """The images to describe, and what each is for.

        Args:
          failed: positions of images to fit on that are known to be of no use.
        """
        database = [Query(image.path) for image in self.dataset.database]
        return assign(self._whitening_sample(failed), database, self.dataset.queries)

    def _whitening_sample(self, failed: Collection[int]) -> list[Query]:
        """The images that `tfvlad.Encoder.fit` would choose."""
        if not any(self.grid.dims):
            return []
        usable = np.array([number for number in range(len(self.fit_on)) if number not in failed], np.intp)
        order = np.random.default_rng(self.seed).permutation(usable)
        return [self.fit_on[number] for number in np.sort(order[: self.config.whitening_samples])]
