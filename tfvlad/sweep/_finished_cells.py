"""Finished cells on disk: one JSON file each, under a name made of everything that shapes the cell (see ``_keys``)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from tfvlad.errors import ArtifactError
from tfvlad.evaluation.datasets import Query
from tfvlad.storage.atomic import read_json, write_json
from tfvlad.sweep._keys import Keys
from tfvlad.sweep._plan import SizePlan, SweepTask
from tfvlad.sweep._stored_cells import Shape, read_cell, store_cell
from tfvlad.sweep.grid import DescriptorKind, Setting
from tfvlad.sweep.output_folder import CELLS
from tfvlad.sweep.study import SHOWN, Cell

Failures = dict[Query, str]  # image, or part of one -> why it cannot be used


class FinishedCells:
    """The cells at one image size, as far as they are finished.

    Attributes:
      size_key: the name of what all settings at this size share.
      missing: kind of descriptor -> numbers of dimensions that are possible and whose cells were not finished when
        this object was made.
    """

    def __init__(self, task: SweepTask, plan: SizePlan) -> None:
        """Looks up which cells are finished."""
        self._task = task
        self._plan = plan
        self._keys = Keys(task, plan)
        self._shape = Shape.of(task.dataset)
        self._folder = os.path.join(task.folder, CELLS)
        self.size_key = self._keys.size
        self.missing = {kind: dims for kind in plan.kinds if (dims := self._missing(kind))}

    def all(self) -> Iterator[Cell]:
        """The cells of all settings, once everything that was missing is finished.

        Raises:
          ArtifactError: somebody has deleted a finished cell.
        """
        for kind in self._plan.kinds:
            for dim in self._task.grid.dims:
                why = self._plan.why_not(kind, dim)
                cell = self.impossible(kind, dim, why) if why else self._get(kind, dim)
                if cell is None:
                    raise ArtifactError(self._task.folder, "finished cells have been taken away; start again")
                yield cell

    def put(self, kind: DescriptorKind, dim: int, cell: Cell) -> None:
        """Stores a finished cell, whole or not at all."""
        store_cell(self._path(self._keys.cell(kind, dim)), cell)

    def impossible(self, kind: DescriptorKind, dim: int, why: str) -> Cell:
        """Makes the cell of a setting that is not possible."""
        nothing = np.full((len(self._task.dataset.queries), SHOWN), -1, np.int64)
        return Cell(kind.setting(self._plan.image_size, dim), {}, 0, 0, 0.0, 0.0, nothing, why)

    def key(self, setting: Setting) -> str:
        """The name of the cell of a setting at this size."""
        return self._keys.cell(DescriptorKind(setting.layer, setting.encoding, setting.clusters), setting.dim)

    def failures(self) -> Failures:
        """The images that could not be used at this size, in this sweep or in an earlier one with the same images.

        Raises:
          ArtifactError: the file that tells them is damaged. The cells that leave them out would be believed otherwise.
        """
        path = self._failures_path()
        stored = read_json(path)
        try:
            if stored is None and not os.path.exists(path):
                return {}
            return {Query(str(image), box and tuple(map(float, box))): str(why) for image, box, why in stored}
        except (TypeError, ValueError):
            raise ArtifactError(path, f"is damaged; delete {self._folder} to start again") from None

    def add_failures(self, failures: Failures) -> None:
        """Stores failures, for later sweeps that find all cells finished and so do not read the images again."""
        known = self.failures() | failures
        write_json(self._failures_path(), [[*image, reason] for image, reason in known.items()])

    def _missing(self, kind: DescriptorKind) -> list[int]:
        dims = [dim for dim in self._task.grid.dims if not self._plan.why_not(kind, dim)]
        return [dim for dim in dims if self._get(kind, dim) is None]

    def _get(self, kind: DescriptorKind, dim: int) -> Cell | None:
        setting = kind.setting(self._plan.image_size, dim)
        return read_cell(self._path(self._keys.cell(kind, dim)), setting, self._shape)

    def _failures_path(self) -> str:
        return self._path(f"failed-{self.size_key}")

    def _path(self, key: str) -> str:
        return os.path.join(self._folder, f"{key}.json")
