"""What a sweep gives: a cell for each setting, with its quality, its cost and its rankings. No computation, no I/O."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt

from tfvlad.config import EncoderConfig

Encoding = Literal["vlad", "mean", "max", "gem", "fc"]

SHOWN = 5  # hits that a cell keeps of each query


@dataclasses.dataclass(frozen=True, order=True)
class Setting:
    """A point of the study.

    Attributes:
      image_size: pixels, as in `EncoderConfig`.
      layer: its name in the network; empty for ``fc``.
      encoding: ``vlad``; ``mean``, ``max`` or ``gem`` pooling of the layer's activations; ``fc``, the network's fully
        connected features.
      clusters: K of the VLAD; 0 for the others.
      dim: dimensions left by PCA-whitening; 0 for the whole, unwhitened descriptor.
    """

    image_size: int
    layer: str
    encoding: Encoding
    clusters: int
    dim: int


@dataclasses.dataclass(frozen=True)
class Quality:
    """How good a setting is under one protocol of the data set.

    Attributes:
      score: the data set's own measure: mAP, or UKBench's N-S score.
      values: (Q,) float64, the measure of each query; NaN for one without a right answer.
      recall_at_1: share of the queries whose first hit is right.
      first_ranks: (Q,) int64, the rank of the first right answer, from 1, junk not counted; 0 where there is none.
    """

    score: float
    values: npt.NDArray[np.float64]
    recall_at_1: float
    first_ranks: npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one setting came to.

    Attributes:
      setting: the point of the study.
      qualities: protocol -> quality; empty where the setting was not possible.
      size: length of the descriptor.
      encoder_bytes: what an encoder of this setting holds beside its network: the codebook (K, C), and the whitening's
        projection (D, dim) with its offset, all float32.
      network_ms: milliseconds per image that the network takes up to the layer, by itself.
      encoding_ms: milliseconds per image that the encoding and the whitening take.
      top: (Q, 5) int64, positions in `Study.database` of the first hits that are not junk; -1 beyond the last.
      impossible: why the setting was not possible, such as more dimensions than images to fit on; else empty.
      processor: what the milliseconds were measured on; empty where nothing was.
    """

    setting: Setting
    qualities: dict[str, Quality]
    size: int
    encoder_bytes: int
    network_ms: float
    encoding_ms: float
    top: npt.NDArray[np.int64]
    impossible: str = ""
    processor: str = ""

    @property
    def bytes_per_image(self) -> int:
        """What a descriptor takes in an index."""
        return 4 * self.size


@dataclasses.dataclass(frozen=True)
class Study:
    """A whole sweep.

    Attributes:
      name: of the data set or the folder.
      measure: ``mAP`` or ``N-S score``.
      protocols: the data set's, the one to choose by first.
      proxy: whether the queries are altered copies of the user's own images, for want of ground truth.
      config: what all settings share; its layer, image_size, clusters and dim mean nothing here.
      layers: those studied, in the order of the network.
      queries: the query images' paths.
      database: the database images' paths.
      right: (Q,) for each query the positions in `database` of its right answers under the first protocol.
      fit_on: how many images the codebooks and the whitening were fitted on.
      cells: every setting, sorted.
      seed: of the whole sweep.
    """

    name: str
    measure: str
    protocols: list[str]
    proxy: bool
    config: EncoderConfig
    layers: list[str]
    queries: list[str]
    database: list[str]
    right: list[list[int]]
    fit_on: int
    cells: list[Cell]
    seed: int

    @property
    def processors(self) -> list[str]:
        """What milliseconds were measured on: several where the sweep went on elsewhere than it began."""
        return sorted({cell.processor for cell in self.cells if cell.processor})
