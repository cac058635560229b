"""Which setting to take: the best, the shortest as good, those that nothing beats at their cost, and a rival."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tfvlad.config import ENCODING_NAMES, Encoding
from tfvlad.sweep.results import Cell, Setting, Study
from tfvlad.sweep.statistics import difference


def described(setting: Setting) -> str:
    """A setting in words, such as ``VLAD, fire8_concat, 448 px, K = 100, 128-D``."""
    parts = [ENCODING_NAMES[setting.encoding], setting.layer, f"{setting.image_size} px"]
    clusters = f"K = {setting.clusters}" if setting.clusters else ""
    return ", ".join(part for part in [*parts, clusters, f"{setting.dim}-D" if setting.dim else "full"] if part)


def score(study: Study, cell: Cell) -> float:
    """The cell's score under the study's first protocol; NaN where it has none."""
    quality = cell.qualities.get(study.protocols[0])
    return math.nan if quality is None else float(quality.score)


def milliseconds(cell: Cell) -> float:
    """What an image costs: the network up to the layer, then the encoding."""
    return cell.network_ms + cell.encoding_ms


def several_processors(study: Study) -> str:
    """That milliseconds do not compare, in words; empty where they do."""
    if len(study.processors) < 2:
        return ""
    return f"Milliseconds were measured on different processors, and only compare on one: {'; '.join(study.processors)}"


def ranked(study: Study) -> list[Cell]:
    """The cells that have a score, the best first.

    Among equals comes first what costs less: fewer bytes, a smaller image, an earlier layer. Milliseconds do not
    decide, so that the same study has the same order wherever it is timed.
    """
    depth = {layer: place for place, layer in enumerate(study.layers)}

    def order(cell: Cell) -> tuple[float, int, int, int, Setting]:
        setting = cell.setting
        return -score(study, cell), cell.size, setting.image_size, depth.get(setting.layer, len(depth)), setting

    return sorted((cell for cell in study.cells if not math.isnan(score(study, cell))), key=order)


def like_for_like(study: Study, encoding: Encoding) -> list[Cell]:
    """An encoding's cells at one K and one dimension, so that only layer and image size differ.

    Args:
      study: the study.
      encoding: which.

    Returns:
      The scored cells of the K and dimension that were possible at most places, and of those score best on average;
      sorted as the study's are.
    """
    shapes: dict[tuple[int, int], list[Cell]] = {}
    for cell in study.cells:
        if cell.setting.encoding == encoding and not math.isnan(score(study, cell)):
            shapes.setdefault((cell.setting.clusters, cell.setting.dim), []).append(cell)
    return max(
        shapes.values(), key=lambda cells: (len(cells), math.fsum(score(study, cell) for cell in cells)), default=[]
    )


def shortest_as_good(study: Study) -> Cell | None:
    """The shortest descriptor that the queries cannot tell from the best one; of each length, its best cell is asked.

    Returns:
      The cell, which may be the best itself; None where no cell has a score.
    """
    cells = ranked(study)
    values = [cell.qualities[study.protocols[0]].values for cell in cells]
    best_of_length: dict[int, int] = {}
    for place, cell in enumerate(cells):
        best_of_length.setdefault(cell.size, place)
    for _, place in sorted(best_of_length.items()):
        if place == 0 or difference(values[0], values[place], study.seed).low <= 0:
            return cells[place]
    return None


def front(study: Study, cost: Callable[[Cell], float]) -> list[Cell]:
    """The cells that no other is better than at the same or a lower cost (the Pareto front), the cheapest first.

    Args:
      study: the study.
      cost: what a cell costs; cells where it is NaN are left out.
    """
    kept: list[Cell] = []
    for cell in sorted(ranked(study), key=lambda cell: (cost(cell), -score(study, cell))):
        if not math.isnan(cost(cell)) and (not kept or score(study, cell) > score(study, kept[-1])):
            kept.append(cell)
    return kept


def rival(study: Study, best: Cell) -> Cell | None:
    """What to show the best cell beside: its own setting at the last layer; else the best cell of another layer; else
    the second best; None where there is only one."""
    cells = [cell for cell in ranked(study) if cell is not best]
    for alike in (
        lambda cell: (cell.setting.layer, *_but_layer(cell)) == ("".join(study.layers[-1:]), *_but_layer(best)),
        lambda cell: cell.setting.layer != best.setting.layer,
        lambda cell: True,
    ):
        for cell in cells:
            if alike(cell):
                return cell
    return None


def disagreements(study: Study, best: Cell, other: Cell, number: int) -> list[int]:
    """The queries that two cells rank most differently, by the reciprocal of the first right answer's rank.

    Args:
      study: the study.
      best: one cell.
      other: another.
      number: how many queries at most; half of them for either side, where there are as many.

    Returns:
      Positions of queries: first those that `best` finds and `other` does not, the clearest first; then the reverse.
    """
    found, missed = (_reciprocal(cell.qualities[study.protocols[0]].first_ranks) for cell in (best, other))
    gain = found - missed
    wins = _largest(gain, len(gain))
    losses = _largest(-gain, number // 2)
    return wins[: number - len(losses)] + losses


def _but_layer(cell: Cell) -> tuple[int, str, int, int]:
    return cell.setting.image_size, cell.setting.encoding, cell.setting.clusters, cell.setting.dim


def _reciprocal(ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.where(ranks > 0, 1 / np.maximum(ranks, 1), 0.0)


def _largest(gains: npt.NDArray[np.float64], number: int) -> list[int]:
    order = np.argsort(-gains, kind="stable")[:number]
    return [int(query) for query in order if gains[query] > 0]
