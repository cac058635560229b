"""What a data set is: queries, the database they are asked of, and right answers under one or more protocols."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tfvlad.evaluation.metrics import Evaluation, FloatArray, Ids, evaluate
from tfvlad.images import Box

Truth = dict[str, list[int]]
Measure = Literal["mAP", "N-S score"]

GROUP = 4  # images of one object in UKBench


class DatabaseImage(NamedTuple):
    """An image to be found.

    Attributes:
      name: path relative to the folder that was indexed, or that the data set lies in.
      path: the file itself.
      id: what rankings name it by.
    """

    name: str
    path: str
    id: int


class Size(NamedTuple):
    """How many there are of a data set as it is published."""

    queries: int
    images: int


class Query(NamedTuple):
    """An image to search for, or a part of one.

    Attributes:
      path: the image file.
      box: (x1, y1, x2, y2) in pixels of the upright image, where only this part of it is searched for.
    """

    path: str
    box: Box | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """What rankings come to under one protocol.

    Attributes:
      measure: the name of the data set's own measure.
      values: (Q,) float64, its value for each query: average precision, or how many of its group are among the first
        four; NaN for a query without a right answer.
      score: mean of the values that are not NaN, what papers report; NaN where all are.
      evaluation: all the metrics.
    """

    measure: Measure
    values: FloatArray
    score: float
    evaluation: Evaluation


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Queries and their right answers, in the same order, as `tfvlad.evaluation.metrics.evaluate` takes them.

    Attributes:
      queries: the Q queries.
      protocols: name -> for each query the ids of the images that show its object (``ok``) and of those to be ignored
        (``junk``). A query that its protocol takes out of its own ranking is junk for itself. The first protocol is
        the one to choose settings by.
      database: the images to be ranked.
      name: for titles.
      folder: where the published files lie; images in it that are not in `database` have no part in the protocol.
      measure: what is reported of the data set.
      published: its whole size; None where the files themselves tell it, or it has none.
    """

    queries: list[Query]
    protocols: dict[str, list[Truth]]
    database: list[DatabaseImage]
    name: str = ""
    folder: str | None = None
    measure: Measure = "mAP"
    published: Size | None = None

    @property
    def lacking(self) -> str:
        """What a part of the published data set is told by; empty for the whole, or where that is not known."""
        whole, here = self.published, Size(len(self.queries), len(self.database))
        if whole is None or (here.queries >= whole.queries and here.images >= whole.images):
            return ""
        return (
            f"{self.folder} holds {here.queries:,} of the {whole.queries:,} queries and {here.images:,} of the "
            f"{whole.images:,} images of {self.name}; figures on a part do not compare with published ones"
        )

    @property
    def ground_truth(self) -> list[Truth]:
        """For each query, the right answers under the first protocol."""
        return next(iter(self.protocols.values()))

    def whole_images(self) -> Dataset:
        """The same with each query the whole of its image."""
        return dataclasses.replace(self, queries=[Query(query.path) for query in self.queries])

    def select(self, positions: Sequence[int]) -> Dataset:
        """The same with these queries only, in this order."""
        protocols = {name: [truths[position] for position in positions] for name, truths in self.protocols.items()}
        return dataclasses.replace(
            self, queries=[self.queries[position] for position in positions], protocols=protocols
        )

    def judge(
        self, rankings: Sequence[Ids] | npt.NDArray[Any], kappas: Sequence[int] = (1, 5, 10)
    ) -> dict[str, Judgement]:
        """Measures rankings under every protocol.

        Args:
          rankings: Q rankings of database ids, best first; they may be cut short.
          kappas: the cut-offs of recall and precision, see `tfvlad.evaluation.metrics.evaluate`.

        Returns:
          Protocol -> judgement.

        Raises:
          ConfigError: see `tfvlad.evaluation.metrics.evaluate`.
        """
        return {name: self._judgement(rankings, truths, kappas) for name, truths in self.protocols.items()}

    def _judgement(
        self, rankings: Sequence[Ids] | npt.NDArray[Any], truths: Sequence[Truth], kappas: Sequence[int]
    ) -> Judgement:
        evaluation = evaluate(rankings, truths, kappas)
        values = evaluation.aps
        if self.measure == "N-S score":
            # With four right answers, the last has rank 4 or more: precision at 4 is their share of the first four.
            values = GROUP * evaluate(rankings, truths, (GROUP,)).precisions_at[GROUP]
        counted = values[~np.isnan(values)]
        return Judgement(self.measure, values, float(counted.mean()) if counted.size else float("nan"), evaluation)
