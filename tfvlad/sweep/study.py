"""The results of a sweep: for each setting, and for each way to search, a cell with its quality and its cost.

No computation, no input or output, no TensorFlow.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from tfvlad.config import EncoderConfig
from tfvlad.sweep.grid import SearchSetting, Setting

SHOWN = 5  # hits of each query that a cell keeps


@dataclasses.dataclass(frozen=True)
class Quality:
    """How good a setting is under one protocol of the data set.

    Attributes:
      score: the data set's own measure: mAP, or UKBench's N-S score.
      values: (Q,) float64, the measure of each query; NaN for a query without a right answer.
      recall_at_1: share of the queries whose first hit is right.
      first_ranks: (Q,) int64, the rank of the first right answer, from 1, junk not counted; 0 where there is none.
    """

    score: float
    values: npt.NDArray[np.float64]
    recall_at_1: float
    first_ranks: npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Cell:
    """The result of one setting.

    Attributes:
      setting: which setting it is.
      qualities: protocol -> quality; empty where the setting was not possible.
      size: length of the descriptor.
      encoder_bytes: what an encoder of this setting holds beside its network: the codebook (K, C), and the whitening's
        projection (D, dim) with its offset, all float32.
      network_ms: milliseconds per image of the network up to the layer.
      encoding_ms: milliseconds per image of the encoding and the whitening.
      top: (Q, 5) int64, positions in `Study.database` of each query's first hits, junk left out; -1 beyond the last.
      impossible: why the setting was not possible, such as more dimensions than images to fit on; else empty.
      processor: the processor that the milliseconds were measured on; empty where nothing was measured.
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
        """The bytes that a descriptor takes in an index."""
        return 4 * self.size


@dataclasses.dataclass(frozen=True)
class SearchCell:
    """The result of one way to search an index whose encoder has one setting.

    Attributes:
      setting: of the encoder.
      search: which way it is.
      qualities: protocol -> quality; empty where the search was not possible.
      bytes_per_image: bytes of an image's descriptors and, where the search compares them, of its local features, on
        average over the index.
      ms_per_query: median milliseconds of a search, from the query's file to its hits. A query that is an image of the
        index needs no network where only its whole picture is searched for.
      impossible: why the search was not possible, such as a library that is not installed; else empty.
      processor: the processor that the milliseconds were measured on; empty where nothing was measured.
    """

    setting: Setting
    search: SearchSetting
    qualities: dict[str, Quality]
    bytes_per_image: float
    ms_per_query: float
    impossible: str = ""
    processor: str = ""


@dataclasses.dataclass(frozen=True)
class Study:
    """All results of a sweep.

    Attributes:
      name: of the data set or the folder.
      measure: ``mAP`` or ``N-S score``.
      protocols: the data set's protocols; settings are chosen by the first.
      proxy: whether the queries are altered copies of the user's own images, for want of ground truth.
      config: the settings that all cells share; its layer, image_size, clusters and dim have no meaning here.
      layers: the layers studied, in the order of the network.
      queries: paths of the query images.
      database: paths of the database images.
      right: (Q,) for each query the positions in `database` of its right answers under the first protocol.
      fit_on: how many images the codebooks and the whitening were fitted on.
      cells: one for every setting, sorted by setting.
      seed: of the whole sweep.
      searches: one cell for every way to search, in the order of the grid; none where no searches were asked for.
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
    searches: list[SearchCell] = dataclasses.field(default_factory=list)

    @property
    def processors(self) -> list[str]:
        """The processors that milliseconds were measured on; several where a stopped sweep went on elsewhere."""
        names = [cell.processor for cell in self.cells] + [cell.processor for cell in self.searches]
        return sorted(set(filter(None, names)))
