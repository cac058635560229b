"""Cells as values that JSON knows, and back: what is read is checked, as anybody may have changed it."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from tfvlad.evaluation.datasets import Dataset
from tfvlad.storage.atomic import or_null, read_json, write_json
from tfvlad.sweep._keys import digest
from tfvlad.sweep.grid import SearchSetting, Setting
from tfvlad.sweep.study import SHOWN, Cell, Quality, SearchCell

_DIGEST = "digest"  # of everything else in the file
_LARGEST_SCORE = {"mAP": 1.0, "N-S score": 4.0}
_MOST = 2**53  # bytes, and milliseconds

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Shape:
    """What every cell of a sweep has in common.

    Attributes:
      queries: how many there are.
      database: how many images there are to be found.
      protocols: the names of the data set's protocols.
      measure: its own measure.
    """

    queries: int
    database: int
    protocols: frozenset[str]
    measure: str

    @classmethod
    def of(cls, dataset: Dataset) -> Shape:
        """The shape of the cells of a sweep on a data set."""
        return cls(len(dataset.queries), len(dataset.database), frozenset(dataset.protocols), dataset.measure)


def store_cell(path: str, cell: Cell | SearchCell) -> None:
    """Writes a cell, whole or not at all."""
    stored = cell_to_json(cell)
    write_json(path, {**stored, _DIGEST: digest(stored)})


def cell_to_json(cell: Cell | SearchCell) -> dict[str, Any]:
    """A cell as values that JSON knows: NaN becomes null."""
    own = {"top": cell.top.tolist()} if isinstance(cell, Cell) else {"search": vars(cell.search)}
    return {**vars(cell), "setting": vars(cell.setting), "qualities": _qualities_to_json(cell.qualities), **own}


def read_cell(path: str, setting: Setting, shape: Shape) -> Cell | None:
    """Reads the cell of a setting; None where there is none, or where a line was logged that it is damaged."""

    def make(stored: dict[str, Any]) -> Cell:
        cell = Cell(**{**stored, "setting": setting, "qualities": _qualities(stored["qualities"], shape),
                       "top": _whole(stored["top"], -1, shape.database - 1)})  # fmt: skip
        _require(cell.top.shape == (shape.queries, SHOWN), "top")
        for name in ("size", "encoder_bytes"):
            _require(type(stored[name]) is int and 0 <= stored[name] <= _MOST, name)
        for name in ("network_ms", "encoding_ms"):
            _require_amount(stored[name], name)
        return cell

    found: Cell | None = _read(path, {"setting": vars(setting)}, make)
    return found


def read_search_cell(path: str, setting: Setting, search: SearchSetting, shape: Shape) -> SearchCell | None:
    """Reads the cell of a way to search, likewise."""

    def make(stored: dict[str, Any]) -> SearchCell:
        qualities = _qualities(stored["qualities"], shape)
        for name in ("bytes_per_image", "ms_per_query"):
            _require_amount(stored[name], name)
        return SearchCell(**{**stored, "setting": setting, "search": search, "qualities": qualities})

    found: SearchCell | None = _read(path, {"setting": vars(setting), "search": vars(search)}, make)
    return found


def _read(path: str, same: Mapping[str, Any], make: Any) -> Any:
    try:
        stored = read_json(path)
        if stored is None and not os.path.exists(path):
            return None
        if not isinstance(stored, dict):
            _fail("no cell")
        found = stored.pop(_DIGEST, None)
        _require(found == digest(stored), _DIGEST)
        for name, value in same.items():
            _require(digest(stored[name]) == digest(value), name)
        for name in ("impossible", "processor"):
            _require(isinstance(stored[name], str), name)
        _require(bool(stored["qualities"]) != bool(stored["impossible"]), "qualities")
        return make(stored)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        _log.warning("%s is damaged (%s), and is computed again", path, error)
        return None


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


def _qualities(stored: Any, shape: Shape) -> dict[str, Quality]:
    _require(set(stored) in (set(), set(shape.protocols)), "protocols")
    largest = _LARGEST_SCORE[shape.measure]
    qualities = {}
    for protocol, quality in stored.items():
        (score,), (recall,) = _shares([quality["score"]], largest), _shares([quality["recall_at_1"]], 1.0)
        values, ranks = _shares(quality["values"], largest), _whole(quality["first_ranks"], 0, shape.database)
        _require(len(values) == len(ranks) == shape.queries and ranks.ndim == 1, "values")
        qualities[protocol] = Quality(float(score), values, float(recall), ranks)
    return qualities


def _shares(values: Any, largest: float) -> npt.NDArray[np.float64]:
    """Numbers between 0 and the largest, or NaN where JSON has null."""
    numbers = [0.0 if value is None else value for value in values]
    _require(isinstance(values, list) and all(type(number) in (int, float) for number in numbers), "values")
    shares = np.array([math.nan if value is None else value for value in values], np.float64)
    _require(bool(((shares >= 0) & (shares <= largest) | np.isnan(shares)).all()), "a value out of its range")
    return shares


def _whole(values: Any, least: int, most: int) -> npt.NDArray[np.int64]:
    whole = np.array(values)
    _require(whole.dtype.kind == "i" and bool(((whole >= least) & (whole <= most)).all()), "a number out of its range")
    return whole.astype(np.int64)


def _require_amount(value: Any, name: str) -> None:
    _require(type(value) in (int, float) and 0 <= value <= _MOST, name)


def _require(holds: bool, what: str) -> None:
    if not holds:
        _fail(what)


def _fail(what: str) -> NoReturn:
    raise ValueError(what)
