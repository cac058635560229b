"""Studies of a sweep with made-up values, for tests of what reads studies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tfvlad import EncoderConfig
from tfvlad.config import Encoding
from tfvlad.sweep.grid import SearchSetting, Setting
from tfvlad.sweep.study import Cell, Quality, SearchCell, Study

NAN = float("nan")


def cell(setting: Setting, values: npt.ArrayLike, protocols: Sequence[str] = ("only",), ms: float = 10.0) -> Cell:
    """A cell whose queries have these values; 1 / value is the rank of the first right answer."""
    of_queries = np.asarray(values, np.float64)
    known = np.nan_to_num(of_queries)
    ranks = np.where(known > 0, np.round(1 / np.maximum(known, 1e-3)), 0).astype(np.int64)
    score = float(np.nanmean(of_queries)) if not np.isnan(of_queries).all() else NAN
    quality = Quality(score, of_queries, float((ranks == 1).mean()), ranks)
    top = np.full((len(of_queries), 5), -1)
    top[:, :2] = [[0, 1]] * len(of_queries)
    return Cell(setting, dict.fromkeys(protocols, quality), setting.dim or 2048, 4096, ms, 1.0, top)


def search_cell(
    setting: Setting,
    way: SearchSetting,
    values: npt.ArrayLike | None,
    ms: float = 10.0,
    size: float = 512.0,
    protocols: Sequence[str] = ("only",),
) -> SearchCell:
    """A cell of a search whose queries have these values; None where it was not possible."""
    if values is None:
        return SearchCell(setting, way, {}, 0.0, 0.0, "no library for that")
    return SearchCell(setting, way, cell(setting, values, protocols).qualities, size, ms)


def impossible(setting: Setting, reason: str = "more dimensions than images to fit on") -> Cell:
    """A cell whose setting was not possible."""
    return Cell(setting, {}, 0, 0, NAN, NAN, np.zeros((0, 5), np.int64), reason)


def study(cells: Sequence[Cell], queries: int, protocols: Sequence[str] = ("only",), proxy: bool = False) -> Study:
    """A study of these cells, whose images are not there."""
    layers = sorted({made.setting.layer for made in cells if made.setting.layer})
    return Study(
        name="covers",
        measure="mAP",
        protocols=list(protocols),
        proxy=proxy,
        config=EncoderConfig(),
        layers=layers,
        queries=[f"/nowhere/query{n}.jpg" for n in range(queries)],
        database=["/nowhere/right.jpg", "/nowhere/wrong.jpg"],
        right=[[0]] * queries,
        fit_on=50,
        cells=sorted(cells, key=lambda made: made.setting),
        seed=0,
    )


def grid(
    values: Callable[[Setting], npt.ArrayLike],
    layers: Sequence[str] = ("a", "b", "c", "d"),
    sizes: Sequence[int] = (224, 448),
    encodings: Sequence[Encoding] = ("vlad", "mean"),
    dims: Sequence[int] = (0, 128),
    protocols: Sequence[str] = ("only",),
) -> Study:
    """A study of every combination of these, with the values that the function returns for each setting."""
    settings = [
        Setting(size, layer, encoding, 100 if encoding == "vlad" else 0, dim)
        for size in sizes
        for encoding in encodings
        for layer in ([""] if encoding == "fc" else layers)
        for dim in dims
    ]
    made = [cell(setting, values(setting), protocols, ms=setting.image_size / 10) for setting in settings]
    return study(made, len(next(iter(made[0].qualities.values())).values), protocols)
