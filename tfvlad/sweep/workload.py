"""What a sweep has still to do at one image size: the cells that are possible and not there yet."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from tfvlad.errors import ArtifactError
from tfvlad.sweep.cells import CellCache
from tfvlad.sweep.keys import Keys
from tfvlad.sweep.limits import Limits
from tfvlad.sweep.plan import Stream
from tfvlad.sweep.results import SHOWN, Cell
from tfvlad.sweep.task import Task

_CELLS = "cells"  # the folder of finished cells, in the output's


class Workload:
    """The work at one image size.

    Attributes:
      task: what is to be done.
      limits: what is possible.
      cache: finished cells.
      keys: their names.
      missing: descriptors -> numbers of dimensions that are possible and whose cells are not there yet.
    """

    def __init__(self, task: Task, limits: Limits) -> None:
        """Takes what to do, and what is possible."""
        self.task = task
        self.limits = limits
        self.cache = CellCache(os.path.join(task.folder, _CELLS))
        self.keys = Keys(
            task.dataset, task.fit_on, task.config, limits.network, limits.image_size, task.seed, limits.streams
        )
        self.missing = {stream: dims for stream in limits.streams if (dims := self._missing(stream))}

    def cells(self) -> Iterator[Cell]:
        """Every setting's, once all that was missing is put.

        Raises:
          ArtifactError: somebody has taken one away.
        """
        for stream in self.limits.streams:
            for dim in self.task.grid.dims:
                why = self.limits.why_not(stream, dim)
                cell = self.impossible(stream, dim, why) if why else self.cache.get(self.keys.cell(stream, dim))
                if cell is None:
                    raise ArtifactError(self.task.folder, "finished cells have been taken away; start again")
                yield cell

    def put(self, stream: Stream, dim: int, cell: Cell) -> None:
        """Keeps a finished cell."""
        self.cache.put(self.keys.cell(stream, dim), cell)

    def impossible(self, stream: Stream, dim: int, why: str) -> Cell:
        """The cell of a setting that is not possible."""
        nothing = np.full((len(self.task.dataset.queries), SHOWN), -1, np.int64)
        return Cell(stream.setting(self.limits.image_size, dim), {}, 0, 0, 0.0, 0.0, nothing, why)

    def _missing(self, stream: Stream) -> list[int]:
        dims = [dim for dim in self.task.grid.dims if not self.limits.why_not(stream, dim)]
        return [dim for dim in dims if self.cache.get(self.keys.cell(stream, dim)) is None]
