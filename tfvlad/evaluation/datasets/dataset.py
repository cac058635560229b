"""A data set: queries, the database that is searched for them, and right answers under one or more protocols."""

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

GROUP = 4  # images of each object in UKBench


class DatabaseImage(NamedTuple):
    """An image of the database, which a search may find.

    Attributes:
      name: path relative to the indexed folder, or to the folder of the data set.
      path: path of the image file.
      id: the id that stands for the image in rankings and ground truth.
    """

    name: str
    path: str
    id: int


class Size(NamedTuple):
    """The numbers of queries and of database images that a data set was published with."""

    queries: int
    images: int


class Query(NamedTuple):
    """An image to search for, or a part of one.

    Attributes:
      path: the image file.
      box: (x1, y1, x2, y2) in pixels of the upright image; None to search for the whole image.
    """

    path: str
    box: Box | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """How well rankings answer the queries of a data set under one protocol.

    Attributes:
      measure: the measure that papers report for the data set.
      values: (Q,) float64, its value for each query: the average precision, or the number of images of the query's
        group among the first four; NaN for a query without a right answer.
      score: mean of the values that are not NaN, the figure that papers report; NaN where there is none.
      evaluation: the metrics that every data set has.
    """

    measure: Measure
    values: FloatArray
    score: float
    evaluation: Evaluation


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Queries and, in the same order, their right answers, as `tfvlad.evaluation.metrics.evaluate` takes them.

    Attributes:
      queries: the Q queries.
      protocols: name -> for each query the ids of the images that show its object (``ok``) and of those to be ignored
        (``junk``). A query that its protocol takes out of its own ranking is junk for itself. Settings are chosen by
        the first protocol.
      database: the images that are ranked.
      name: name of the data set, for titles.
      folder: the folder of the published files; images in it that are not in `database` are ignored by the protocol.
      measure: the measure that papers report for the data set.
      published: its size as published; None where the files themselves tell it, or where nothing was published.
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
        """A sentence that says how much of the published data set is here; empty where all of it is, or may be."""
        whole, here = self.published, Size(len(self.queries), len(self.database))
        if whole is None or (here.queries >= whole.queries and here.images >= whole.images):
            return ""
        return (
            f"{self.folder} holds {here.queries:,} of the {whole.queries:,} queries and {here.images:,} of the "
            f"{whole.images:,} images of {self.name}; figures on a part do not compare with published ones"
        )

    @property
    def ground_truth(self) -> list[Truth]:
        """The right answers of each query under the first protocol."""
        return next(iter(self.protocols.values()))

    def whole_images(self) -> Dataset:
        """Returns the data set with whole images in place of the boxes of its queries."""
        return dataclasses.replace(self, queries=[Query(query.path) for query in self.queries])

    def select(self, positions: Sequence[int]) -> Dataset:
        """Returns the data set with only the queries at these positions, in this order."""
        protocols = {name: [truths[position] for position in positions] for name, truths in self.protocols.items()}
        return dataclasses.replace(
            self, queries=[self.queries[position] for position in positions], protocols=protocols
        )

    def judge(
        self, rankings: Sequence[Ids] | npt.NDArray[Any], kappas: Sequence[int] = (1, 5, 10)
    ) -> dict[str, Judgement]:
        """Judges rankings under every protocol.

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
            # The last of four right answers has rank 4 or more, so precision at 4 is the share of the first four.
            values = GROUP * evaluate(rankings, truths, (GROUP,)).precisions_at[GROUP]
        counted = values[~np.isnan(values)]
        return Judgement(self.measure, values, float(counted.mean()) if counted.size else float("nan"), evaluation)
