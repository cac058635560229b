"""The charts of a sweep's report: quality by layer, by dimension and by cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import get_args

from tfvlad.config import ENCODING_NAMES, Encoding
from tfvlad.reports.charts import Axis, Chart, Point, Series, linear, logarithmic, names
from tfvlad.sweep.choice import described, front, like_for_like, ranked, score
from tfvlad.sweep.grid import Setting
from tfvlad.sweep.study import Cell, Study

Intervals = Mapping[Setting, tuple[float, float]]  # of the first protocol's score

ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)  # an encoding's position is its colour
FRONT_COLOUR = 5
APART = 0.1  # between the error bars of two image sizes, as a share of the distance between two layers


def in_words(setting: Setting) -> str:
    """A setting in words, with a hyphen in "32-D" at which no line is broken."""
    words, comma, last = described(setting).rpartition(", ")
    return words + comma + last.replace("-", "\N{NON-BREAKING HYPHEN}")


def by_layer(study: Study, intervals: Intervals) -> list[Chart]:
    """Quality by layer: a chart for each encoding, with a line for each image size (the paper's figure of layers and
    scales). All charts have the same axes. The fully connected features, which have no layer, are a dashed line in the
    chart of the VLAD."""
    places = {layer: float(n) for n, layer in enumerate(study.layers)}
    sizes = sorted({cell.setting.image_size for cell in study.cells})
    kept = {encoding: like_for_like(study, encoding) for encoding in ENCODINGS}
    quality = _quality_axis(study, (cell for cells in kept.values() for cell in cells), intervals)
    charts = []
    for encoding, cells in kept.items():
        if encoding == "fc" or not cells:
            continue
        lines = []
        for n, size in enumerate(sizes):
            at = {cell.setting.layer: cell for cell in cells if cell.setting.image_size == size}
            shift = APART * (n - (len(sizes) - 1) / 2)
            points = [
                _point(study, at[layer], place + shift, intervals) if layer in at else Point(place, math.nan)
                for layer, place in places.items()
            ]
            if at:
                lines.append(Series(f"{size} px", points, n))
        if encoding == "vlad":
            lines += [_connected(study, cell, len(places), sizes) for cell in kept["fc"]]
        charts.append(Chart(f"{_shape(cells[0])}, by layer", names("layer", study.layers), quality, lines))
    return charts


def by_dimension(study: Study, intervals: Intervals) -> Chart | None:
    """Quality by the length of the descriptor (the paper's figure of dimensions), for each encoding at the layer, image
    size and K where it is best. None if no descriptor was shortened."""
    if not any(cell.setting.dim for cell in ranked(study)):
        return None
    lines = []
    for colour, encoding in enumerate(ENCODINGS):
        cells = [cell for cell in ranked(study) if cell.setting.encoding == encoding]
        if not cells:
            continue
        best = cells[0].setting
        alike = sorted((cell for cell in cells if _but_dim(cell.setting) == _but_dim(best)), key=lambda cell: cell.size)
        points = [_point(study, c, c.size, intervals)._replace(hollow=not c.setting.dim) for c in alike]
        lines.append(Series(in_words(best).rpartition(", ")[0], points, colour))
    axis = logarithmic("numbers in the descriptor", (point.x for line in lines for point in line.points))
    return Chart("Quality by dimension", axis, _axis_of(study, lines), lines)


def by_cost(study: Study, label: str, cost: Callable[[Cell], float]) -> tuple[Chart, list[Cell]]:
    """Quality by cost. The settings that nothing beats at their cost are joined by a line and numbered from 1.

    Args:
      study: the study.
      label: the name of the axis, with the unit of the cost.
      cost: returns the cost of a cell; cells whose cost is not above 0 are left out.

    Returns:
      The chart, and the numbered cells in order.
    """
    cells = [cell for cell in ranked(study) if cost(cell) > 0]
    series = []
    for colour, encoding in enumerate(ENCODINGS):
        points = [
            Point(cost(cell), score(study, cell), about=_about(study, cell))
            for cell in cells
            if cell.setting.encoding == encoding
        ]
        if points:
            series.append(Series(ENCODING_NAMES[encoding], points, colour, joined=False))
    unbeaten = [cell for cell in front(study, cost) if cost(cell) > 0]
    numbers = [Point(cost(cell), score(study, cell), number=n) for n, cell in enumerate(unbeaten, start=1)]
    series.append(Series("nothing better at this cost", numbers, FRONT_COLOUR, marked=False))
    chart = Chart(f"Quality by {label}", logarithmic(label, map(cost, cells)), _axis_of(study, series), series)
    return chart, unbeaten


def _connected(study: Study, cell: Cell, layers: int, sizes: list[int]) -> Series:
    size = cell.setting.image_size
    ends = [Point(end, score(study, cell)) for end in (-0.5, layers - 0.5)]
    return Series(f"fully connected, {size} px", ends, sizes.index(size), dashed=True, marked=False)


def _point(study: Study, cell: Cell, x: float, intervals: Intervals) -> Point:
    return Point(x, score(study, cell), *intervals[cell.setting], _about(study, cell))


def _about(study: Study, cell: Cell) -> str:
    return f"{in_words(cell.setting)}: {study.measure} {score(study, cell):.3f}"


def _quality_axis(study: Study, cells: Iterable[Cell], intervals: Intervals) -> Axis:
    shown = [value for cell in cells for value in (score(study, cell), *intervals[cell.setting])]
    return linear(study.measure, shown)


def _axis_of(study: Study, series: Iterable[Series]) -> Axis:
    return linear(study.measure, (v for line in series for p in line.points for v in (p.y, p.low, p.high)))


def _shape(cell: Cell) -> str:
    """The encoding with its K and dimension, without layer and image size."""
    words = in_words(cell.setting).split(", ")
    return ", ".join([words[0], *words[3:]])


def _but_dim(setting: Setting) -> tuple[int, str, int]:
    return setting.image_size, setting.layer, setting.clusters
