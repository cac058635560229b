"""Finished cells on disk, so that nothing is computed twice: one JSON file each, named by all that shapes it."""

from __future__ import annotations

import hashlib
import json
import math
import os
from typing import Any

import numpy as np

from tfvlad.storage.json_files import or_null, read_json, write_json
from tfvlad.sweep.results import Cell, Quality, Setting


class CellCache:
    """The folder of finished cells."""

    def __init__(self, folder: str) -> None:
        """Takes the folder, which need not be there yet."""
        self._folder = folder

    def get(self, key: str) -> Cell | None:
        """A finished cell, or None."""
        stored = self.get_json(key)
        return None if stored is None else from_json(stored)

    def put(self, key: str, cell: Cell) -> None:
        """Keeps a cell, whole or not at all."""
        self.put_json(key, as_json(cell))

    def get_json(self, key: str) -> Any:
        """Anything else that was kept under a key; None where nothing is, or nothing that can be read."""
        return read_json(self._path(key))

    def put_json(self, key: str, value: Any) -> None:
        """Keeps anything else."""
        write_json(self._path(key), value)

    def _path(self, key: str) -> str:
        return os.path.join(self._folder, f"{key}.json")


def digest(value: Any) -> str:
    """A name for whatever can be written as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def as_json(cell: Cell) -> dict[str, Any]:
    """A cell in JSON's own terms: null for NaN."""
    return {
        **vars(cell),
        "setting": vars(cell.setting),
        "top": cell.top.tolist(),
        "qualities": {
            protocol: {
                "score": or_null(quality.score),
                "values": [or_null(value) for value in quality.values.tolist()],
                "recall_at_1": or_null(quality.recall_at_1),
                "first_ranks": quality.first_ranks.tolist(),
            }
            for protocol, quality in cell.qualities.items()
        },
    }


def from_json(stored: dict[str, Any]) -> Cell:
    """The cell that `as_json` wrote."""
    qualities = {
        protocol: Quality(
            _or_nan(quality["score"]),
            np.array([_or_nan(value) for value in quality["values"]], np.float64),
            _or_nan(quality["recall_at_1"]),
            np.array(quality["first_ranks"], np.int64),
        )
        for protocol, quality in stored["qualities"].items()
    }
    parts = {"setting": Setting(**stored["setting"]), "qualities": qualities, "top": np.array(stored["top"], np.int64)}
    return Cell(**{**stored, **parts})


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
