"""Which setting to take: the best, the shortest that is as good, and those that nothing beats at their cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tfvlad.config import ENCODING_NAMES, Encoding
from tfvlad.sweep.grid import Setting
from tfvlad.sweep.statistics import Difference, best_of, difference, intervals
from tfvlad.sweep.study import Cell, SearchCell, Study


class Recommendation(NamedTuple):
    """A setting that a reader may want to take.

    Attributes:
      why: what it is the best at.
      cell: its cell.
      to_best: by how much it is better than the best setting, mostly below 0; None for the best itself.
    """

    why: str
    cell: Cell
    to_best: Difference | None


def described(setting: Setting) -> str:
    """A setting in words, such as ``VLAD, fire8_concat, 448 px, K = 100, 128-D``."""
    parts = [ENCODING_NAMES[setting.encoding], setting.layer, f"{setting.image_size} px"]
    clusters = f"K = {setting.clusters}" if setting.clusters else ""
    return ", ".join(part for part in [*parts, clusters, f"{setting.dim}-D" if setting.dim else "full"] if part)


def score(study: Study, cell: Cell | SearchCell) -> float:
    """The cell's score under the study's first protocol; NaN if it has none."""
    quality = cell.qualities.get(study.protocols[0])
    return math.nan if quality is None else float(quality.score)


def milliseconds(cell: Cell) -> float:
    """Milliseconds per image: the network up to the layer, then the encoding."""
    return cell.network_ms + cell.encoding_ms


def several_processors(study: Study) -> str:
    """Warns that milliseconds of different cells cannot be compared; empty if they can."""
    if len(study.processors) < 2:
        return ""
    return f"Milliseconds were measured on different processors, and only compare on one: {'; '.join(study.processors)}"


def ranked(study: Study) -> list[Cell]:
    """The cells that have a score, the best first.

    Of cells with equal scores the one that costs less comes first: fewer bytes, then a smaller image, then an earlier
    layer. Milliseconds do not decide, so that the order of a study does not depend on where it is timed.
    """
    depth = {layer: place for place, layer in enumerate(study.layers)}

    def order(cell: Cell) -> tuple[float, int, int, int, Setting]:
        setting = cell.setting
        return -score(study, cell), cell.size, setting.image_size, depth.get(setting.layer, len(depth)), setting

    return sorted((cell for cell in study.cells if not math.isnan(score(study, cell))), key=order)


def score_intervals(study: Study, protocol: str) -> dict[Setting, tuple[float, float]]:
    """The 95 % confidence interval of each setting's score under a protocol; none for settings without a score."""
    cells = [cell for cell in study.cells if protocol in cell.qualities]
    if not cells:
        return {}
    bounds = intervals(np.stack([cell.qualities[protocol].values for cell in cells]), study.seed)
    return dict(zip((cell.setting for cell in cells), bounds, strict=True))


def score_of_choice(study: Study) -> tuple[float, float, float]:
    """The score of the best setting with its interval, if it is chosen by other queries than it is measured on.

    Returns:
      Mean, lower and upper end; see `tfvlad.sweep.statistics.best_of`. At least one cell must have a score.
    """
    return best_of(np.stack([cell.qualities[study.protocols[0]].values for cell in ranked(study)]), study.seed)


def recommendations(study: Study) -> Iterator[Recommendation]:
    """The best setting, the shortest that is as good, and the best of each other encoding."""
    shortest = shortest_as_good(study)
    if shortest is None:
        return
    cells = ranked(study)
    best = cells[0]
    yield Recommendation("The best", best, None)
    if shortest is not best:
        yield Recommendation("The shortest that cannot be told from it", shortest, _advantage(study, shortest, best))
    for encoding, name in ENCODING_NAMES.items():
        alike = [cell for cell in cells if cell.setting.encoding == encoding]
        if alike and alike[0] is not best and alike[0] is not shortest:
            yield Recommendation(f"The best of {name}", alike[0], _advantage(study, alike[0], best))


def shortest_as_good(study: Study) -> Cell | None:
    """The shortest descriptor that the queries cannot tell from the best; of each length, its best cell is compared.

    Returns:
      The cell, which may be the best itself; None if no cell has a score.
    """
    cells = ranked(study)
    best_of_length: dict[int, Cell] = {}
    for cell in cells:
        best_of_length.setdefault(cell.size, cell)
    for _, cell in sorted(best_of_length.items()):
        if cell is cells[0] or _advantage(study, cells[0], cell).low <= 0:
            return cell
    return None


def like_for_like(study: Study, encoding: Encoding) -> list[Cell]:
    """An encoding's cells at one K and one dimension, so that only layer and image size differ.

    Args:
      study: the study.
      encoding: the encoding.

    Returns:
      The cells with a score, in the study's order. Of all pairs of K and dimension, the one is taken that most layers
      and sizes have, and of several such the one with the best mean score.
    """
    shapes: dict[tuple[int, int], list[Cell]] = {}
    for cell in study.cells:
        if cell.setting.encoding == encoding and not math.isnan(score(study, cell)):
            shapes.setdefault((cell.setting.clusters, cell.setting.dim), []).append(cell)
    return max(
        shapes.values(), key=lambda cells: (len(cells), math.fsum(score(study, cell) for cell in cells)), default=[]
    )


def front(study: Study, cost: Callable[[Cell], float]) -> list[Cell]:
    """The cells that no other cell beats at the same or a lower cost (the Pareto front), the cheapest first.

    Args:
      study: the study.
      cost: returns the cost of a cell; cells whose cost is NaN are left out.
    """
    kept: list[Cell] = []
    for cell in sorted(ranked(study), key=lambda cell: (cost(cell), -score(study, cell))):
        if not math.isnan(cost(cell)) and (not kept or score(study, cell) > score(study, kept[-1])):
            kept.append(cell)
    return kept


def rival(study: Study, best: Cell) -> Cell | None:
    """The cell to compare the best one with: the same setting at the last layer, else the best cell of another layer,
    else the second best; None if there is no other cell."""
    cells = [cell for cell in ranked(study) if cell is not best]
    for is_rival in (
        lambda cell: (cell.setting.layer, *_but_layer(cell)) == ("".join(study.layers[-1:]), *_but_layer(best)),
        lambda cell: cell.setting.layer != best.setting.layer,
        lambda cell: True,
    ):
        for cell in cells:
            if is_rival(cell):
                return cell
    return None


def disagreements(study: Study, best: Cell, other: Cell, number: int) -> list[int]:
    """The queries that two cells rank most differently, by the reciprocal of the first right answer's rank.

    Args:
      study: the study.
      best: one cell.
      other: another cell.
      number: how many queries at most; half of them in favour of either cell if there are so many.

    Returns:
      Positions of queries: first those on which `best` does better, the clearest first; then those on which it does
      worse.
    """
    of_best, of_other = (_reciprocal(cell.qualities[study.protocols[0]].first_ranks) for cell in (best, other))
    gain = of_best - of_other
    wins = _largest(gain, len(gain))
    losses = _largest(-gain, number // 2)
    return wins[: number - len(losses)] + losses


def _advantage(study: Study, cell: Cell, other: Cell) -> Difference:
    """By how much `cell` is better than `other`, compared query by query."""
    protocol = study.protocols[0]
    return difference(cell.qualities[protocol].values, other.qualities[protocol].values, study.seed)


def _but_layer(cell: Cell) -> tuple[int, str, int, int]:
    return cell.setting.image_size, cell.setting.encoding, cell.setting.clusters, cell.setting.dim


def _reciprocal(ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.where(ranks > 0, 1 / np.maximum(ranks, 1), 0.0)


def _largest(gains: npt.NDArray[np.float64], number: int) -> list[int]:
    order = np.argsort(-gains, kind="stable")[:number]
    return [int(query) for query in order if gains[query] > 0]
