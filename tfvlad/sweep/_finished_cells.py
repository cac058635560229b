"""Finished cells on disk: one JSON file each, under a name made of everything that shapes the cell (see ``_keys``)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tfvlad.errors import ArtifactError
from tfvlad.evaluation.datasets import Query
from tfvlad.storage.atomic import or_null, read_json, write_json
from tfvlad.sweep._keys import Keys
from tfvlad.sweep._plan import SizePlan, SweepTask
from tfvlad.sweep.grid import DescriptorKind, SearchSetting, Setting
from tfvlad.sweep.output_folder import CELLS
from tfvlad.sweep.study import SHOWN, Cell, Quality, SearchCell

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
        write_json(self._path(self._keys.cell(kind, dim)), cell_to_json(cell))

    def impossible(self, kind: DescriptorKind, dim: int, why: str) -> Cell:
        """Makes the cell of a setting that is not possible."""
        nothing = np.full((len(self._task.dataset.queries), SHOWN), -1, np.int64)
        return Cell(kind.setting(self._plan.image_size, dim), {}, 0, 0, 0.0, 0.0, nothing, why)

    def key(self, setting: Setting) -> str:
        """The name of the cell of a setting at this size."""
        return self._keys.cell(DescriptorKind(setting.layer, setting.encoding, setting.clusters), setting.dim)

    def failures(self) -> Failures:
        """The images that could not be used at this size, in this sweep or in an earlier one with the same images."""
        stored = read_json(self._failures_path()) or []
        return {Query(path, box and tuple(box)): why for path, box, why in stored}

    def add_failures(self, failures: Failures) -> None:
        """Stores failures, for later sweeps that find all cells finished and so do not read the images again."""
        known = self.failures() | failures
        write_json(self._failures_path(), [[*image, reason] for image, reason in known.items()])

    def _missing(self, kind: DescriptorKind) -> list[int]:
        dims = [dim for dim in self._task.grid.dims if not self._plan.why_not(kind, dim)]
        return [dim for dim in dims if self._get(kind, dim) is None]

    def _get(self, kind: DescriptorKind, dim: int) -> Cell | None:
        stored = read_json(self._path(self._keys.cell(kind, dim)))
        return None if stored is None else cell_from_json(stored)

    def _failures_path(self) -> str:
        return self._path(f"failed-{self.size_key}")

    def _path(self, key: str) -> str:
        return os.path.join(self._folder, f"{key}.json")


def cell_to_json(cell: Cell) -> dict[str, Any]:
    """A cell as values that JSON knows: NaN becomes null."""
    return {
        **vars(cell),
        "setting": vars(cell.setting),
        "top": cell.top.tolist(),
        "qualities": _qualities_to_json(cell.qualities),
    }


def cell_from_json(stored: Mapping[str, Any]) -> Cell:
    """The cell that `cell_to_json` was given."""
    parts = {
        "setting": Setting(**stored["setting"]),
        "qualities": _qualities_from_json(stored["qualities"]),
        "top": np.array(stored["top"], np.int64),
    }
    return Cell(**{**stored, **parts})


def search_to_json(cell: SearchCell) -> dict[str, Any]:
    """The cell of a search as values that JSON knows."""
    return {
        **vars(cell),
        "setting": vars(cell.setting),
        "search": vars(cell.search),
        "qualities": _qualities_to_json(cell.qualities),
    }


def search_from_json(stored: Mapping[str, Any]) -> SearchCell:
    """The cell that `search_to_json` was given."""
    parts = {
        "setting": Setting(**stored["setting"]),
        "search": SearchSetting(**stored["search"]),
        "qualities": _qualities_from_json(stored["qualities"]),
    }
    return SearchCell(**{**stored, **parts})


def _qualities_to_json(qualities: Mapping[str, Quality]) -> dict[str, Any]:
    return {
        protocol: {
            "score": or_null(quality.score),
            "values": [or_null(value) for value in quality.values.tolist()],
            "recall_at_1": or_null(quality.recall_at_1),
            "first_ranks": quality.first_ranks.tolist(),
        }
        for protocol, quality in qualities.items()
    }


def _qualities_from_json(stored: Mapping[str, Any]) -> dict[str, Quality]:
    return {
        protocol: Quality(
            _or_nan(quality["score"]),
            np.array([_or_nan(value) for value in quality["values"]], np.float64),
            _or_nan(quality["recall_at_1"]),
            np.array(quality["first_ranks"], np.int64),
        )
        for protocol, quality in stored.items()
    }


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
